//! A host with given replies, for answers that a real host does not give at will.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// An answer to one route; given several times, its answers come one after the other, and the last one stays.
#[derive(Debug, Clone)]
pub struct Reply {
    /// `GET /v1/hosts`: method and path, with the query.
    pub route: String,
    /// 0: the request is read, then the connection breaks. 307: the body is the redirect's target.
    pub status: u16,
    pub body: String,
}

#[derive(Debug, Clone)]
pub struct RecordedRequest {
    pub route: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// A server on a port of its own. It lives as long as the test process.
pub struct CannedHost {
    pub url: String,
    seen: Arc<Mutex<Vec<RecordedRequest>>>,
}

// === impl Reply ===

impl Reply {
    pub fn new(status: u16, route: &str, body: Value) -> Self {
        Self { route: route.to_owned(), status, body: body.to_string() }
    }

    pub fn broken(route: &str) -> Self {
        Self { route: route.to_owned(), status: 0, body: String::new() }
    }
}

// === impl RecordedRequest ===

impl RecordedRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

// === impl CannedHost ===

impl CannedHost {
    pub fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let mut replies = replies.into_iter().collect::<Vec<_>>();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("a connection"), &mut replies, &log);
            }
        });
        Self { url, seen }
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<RecordedRequest> {
        self.seen.lock().expect("unpoisoned").clone()
    }
}

/// One request a connection.
fn answer(mut stream: TcpStream, replies: &mut Vec<Reply>, log: &Mutex<Vec<RecordedRequest>>) {
    let Some(request) = read(&stream) else {
        return;
    };
    let fits: Vec<usize> = (0..replies.len()).filter(|&i| replies[i].route == request.route).collect();
    let reply = match fits.as_slice() {
        [] => Reply::new(404, "", Value::from(format!("no reply for {}", request.route))),
        [only] => replies[*only].clone(),
        [first, ..] => replies.remove(*first),
    };
    log.lock().expect("unpoisoned").push(request);
    if reply.status > 0 {
        let Reply { status, body, .. } = reply;
        let location = if status == 307 { format!("Location: {body}\r\n") } else { String::new() };
        let head = format!("HTTP/1.1 {status} x\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // The client may be gone: then its test says so.
        let _ = stream.write_all((head + &body).as_bytes());
    }
}

fn read(stream: &TcpStream) -> Option<RecordedRequest> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let route = lines.first()?.rsplit_once(' ')?.0.to_owned();
    let header = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let mut request =
        RecordedRequest { route, headers: lines[1..].iter().filter_map(header).collect(), body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}
