//! A proxy before a broker that holds, delays or loses single requests and replies, like a network, at the moment that
//! a test wants.
//!
//! The proxy knows the first bytes of each message of Kafka's protocol: its length, the request's api key, and the
//! correlation id that request and reply share. A broker has a listener that advertises the proxy's address, so nothing
//! is rewritten.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::wait;

/// Requests, by their api keys.
pub const PRODUCE: i16 = 0;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const OFFSET_COMMIT: i16 = 8;
pub const OFFSET_FETCH: i16 = 9;
pub const FIND_COORDINATOR: i16 = 10;
pub const JOIN_GROUP: i16 = 11;
pub const HEARTBEAT: i16 = 12;
pub const DESCRIBE_GROUPS: i16 = 15;
pub const CREATE_TOPICS: i16 = 19;
pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
pub const END_TXN: i16 = 26;
pub const TXN_OFFSET_COMMIT: i16 = 28;
pub const DESCRIBE_ACLS: i16 = 29;
pub const DESCRIBE_CONFIGS: i16 = 32;
pub const DELETE_GROUPS: i16 = 42;

/// Larger than any message of these tests.
const FRAME_BYTES_MAX: usize = 100 << 20;

/// The faults for requests, over all proxies of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Arc<Rule>>>>);

#[derive(Debug)]
struct Rule {
    api_keys: Vec<i16>,
    /// Something that is in the request: a group, a transactional id.
    containing: Vec<u8>,
    kind: Kind,
    state: Mutex<Caught>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One request is kept, and its connection cut.
    Hold,
    /// One request is answered, but the reply is lost, and the connection cut.
    LoseReply,
    /// All wait until the fault is over.
    Stall,
    /// All pass, and are counted.
    Count,
}

#[derive(Debug, Default)]
struct Caught {
    count: usize,
    over: bool,
    request: Option<(SocketAddr, Vec<u8>)>,
}

/// A fault under way. Dropped, it is over.
#[derive(Debug)]
pub struct Fault {
    faults: Faults,
    rule: Arc<Rule>,
}

// === impl Faults ===

impl Faults {
    /// Keeps the next request of this kind that contains this text, and cuts its connection.
    pub fn hold(&self, api_key: i16, containing: &str) -> Fault {
        self.add(&[api_key], containing, Kind::Hold)
    }

    /// Loses the reply to the next such request.
    pub fn lose_reply(&self, api_key: i16, containing: &str) -> Fault {
        self.add(&[api_key], containing, Kind::LoseReply)
    }

    /// Lets all such requests wait, and whatever comes after them on their connections.
    pub fn stall(&self, api_keys: &[i16], containing: &str) -> Fault {
        self.add(api_keys, containing, Kind::Stall)
    }

    /// Counts such requests, which pass.
    pub fn count(&self, api_key: i16, containing: &str) -> Fault {
        self.add(&[api_key], containing, Kind::Count)
    }

    fn add(&self, api_keys: &[i16], containing: &str, kind: Kind) -> Fault {
        let api_keys = api_keys.to_vec();
        let containing = containing.as_bytes().to_vec();
        let state = Mutex::default();
        let changed = Condvar::new();
        let rule = Arc::new(Rule { api_keys, containing, kind, state, changed });
        self.rules().push(rule.clone());
        Fault { faults: self.clone(), rule }
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Arc<Rule>>> {
        self.0.lock().expect("nobody panics with it")
    }

    /// The fault that this request meets, if any: then it counts as caught.
    fn meet(&self, request: &[u8], broker: SocketAddr) -> Option<Arc<Rule>> {
        let api_key = i16::from_be_bytes([*request.get(4)?, *request.get(5)?]);
        let rules = self.rules();
        let rule = rules.iter().find(|rule| rule.takes(api_key, request))?.clone();
        let mut caught = rule.caught();
        caught.count += 1;
        if rule.kind == Kind::Hold {
            caught.request = Some((broker, request.to_vec()));
        }
        drop(caught);
        rule.changed.notify_all();
        Some(rule)
    }
}

// === impl Rule ===

impl Rule {
    fn takes(&self, api_key: i16, request: &[u8]) -> bool {
        let caught = self.caught();
        let spent = caught.over || (matches!(self.kind, Kind::Hold | Kind::LoseReply) && caught.count > 0);
        let length = self.containing.len();
        let has = || length == 0 || request.windows(length).any(|window| window == self.containing);
        !spent && self.api_keys.contains(&api_key) && has()
    }

    fn caught(&self) -> MutexGuard<'_, Caught> {
        self.state.lock().expect("nobody panics with it")
    }

    fn wait_over(&self) {
        let caught = self.caught();
        drop(self.changed.wait_while(caught, |caught| !caught.over).expect("nobody panics with it"));
    }
}

// === impl Fault ===

impl Fault {
    /// Waits until a request has met it.
    #[track_caller]
    pub fn wait_caught(&self) {
        let what = format!("a request {:?} meets its fault", self.rule.api_keys);
        wait::until(&what, wait::PATIENCE, || if self.rule.caught().count > 0 { Ok(()) } else { Err("none".into()) });
    }

    /// The number of requests that have met it.
    pub fn requests(&self) -> usize {
        self.rule.caught().count
    }

    /// Sends on the request that was held. Returns the broker's reply, from the correlation id on.
    pub fn deliver(self) -> Vec<u8> {
        let (broker, request) = self.rule.caught().request.take().expect("a request was held");
        let mut stream = TcpStream::connect(broker).expect("the broker listens");
        stream.write_all(&request).expect("the broker reads");
        read_frame(&mut stream).expect("the broker answers")[4..].to_vec()
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.rule.caught().over = true;
        self.rule.changed.notify_all();
        self.faults.rules().retain(|rule| !Arc::ptr_eq(rule, &self.rule));
    }
}

/// Listens before `broker`. Its threads end with the process.
pub fn start(listener: TcpListener, broker: SocketAddr, faults: Faults) {
    let run = move || {
        for client in listener.incoming().flatten() {
            // The broker is not there yet, or not any more: so it looks to the client.
            let Ok(upstream) = TcpStream::connect(broker) else { continue };
            connect(client, upstream, broker, faults.clone());
        }
    };
    std::thread::Builder::new().name("proxy".into()).spawn(run).expect("a thread");
}

/// Replies that are to be lost, by correlation id.
type Doomed = Arc<Mutex<HashMap<[u8; 4], Arc<Rule>>>>;

fn connect(client: TcpStream, upstream: TcpStream, broker: SocketAddr, faults: Faults) {
    let doomed = Doomed::default();
    for stream in [&client, &upstream] {
        stream.set_nodelay(true).expect("a TCP stream");
    }
    let [client_again, upstream_again] = [&client, &upstream].map(|stream| stream.try_clone().expect("a second handle"));
    let seen = doomed.clone();
    spawn(move || {
        let mut from = &client;
        let mut to = &upstream;
        while let Some(request) = read_frame(&mut from) {
            let mut met = faults.meet(&request, broker);
            while let Some(stall) = met.as_ref().filter(|rule| rule.kind == Kind::Stall) {
                stall.wait_over();
                met = faults.meet(&request, broker);
            }
            match met.as_ref().map(|rule| rule.kind) {
                Some(Kind::Hold) => break,
                Some(Kind::LoseReply) => {
                    let id = request[8..12].try_into().expect("4 bytes");
                    seen.lock().expect("nobody panics with it").insert(id, met.expect("it is some"));
                }
                Some(Kind::Stall | Kind::Count) | None => {}
            }
            if to.write_all(&request).is_err() {
                break;
            }
        }
        cut(&client, &upstream);
    });
    spawn(move || {
        let mut from = &upstream_again;
        let mut to = &client_again;
        while let Some(reply) = read_frame(&mut from) {
            let is_lost = doomed.lock().expect("nobody panics with it").contains_key(&reply[4..8]);
            if is_lost || to.write_all(&reply).is_err() {
                break;
            }
        }
        cut(&client_again, &upstream_again);
    });
}

fn spawn(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("proxied".into()).spawn(run).expect("a thread");
}

fn cut(client: &TcpStream, upstream: &TcpStream) {
    // The peer may have ended already.
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
}

/// A message with its length before it; none where the stream ends.
fn read_frame(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let bytes = usize::try_from(i32::from_be_bytes(length)).ok().filter(|bytes| (4..FRAME_BYTES_MAX).contains(bytes))?;
    let mut frame = vec![0; 4 + bytes];
    frame[..4].copy_from_slice(&length);
    stream.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}
