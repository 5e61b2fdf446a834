//! An eye on hosts that are under attack: their lives, their answers, their memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::http::Api;

/// Longest time that a host under attack may take for /healthz. It takes a millisecond on an idle machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks each host for its health all the time, in a thread of its own.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Answers>>,
    threads: Vec<JoinHandle<()>>,
    pids: Vec<u32>,
}

#[derive(Debug, Default)]
struct Answers {
    longest: Duration,
    asked: usize,
    wrong: Vec<String>,
}

// === impl Watch ===

impl Watch {
    pub fn start(hosts: &[&Host]) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Answers::default()));
        let began = Instant::now();
        let watched = |host: &&Host| {
            let stop = stop.clone();
            let seen = seen.clone();
            let address = host.address();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A connection of its own each time: an open one would be served where new ones are not.
                    look(&Api::waiting(address, ANSWER_WITHIN), began, &seen);
                    std::thread::sleep(PAUSE);
                }
            })
        };
        let threads = hosts.iter().map(watched).collect();
        let pids = hosts.iter().map(|host| host.pid().expect("the host runs")).collect();
        Watch { stop, seen, threads, pids }
    }

    /// Ends the watch, and returns the faults: late or missing answers, and hosts that died or took too much memory.
    pub fn finish(self, hosts: &[&Host], memory_bytes_max: u64) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("it does not panic");
        }
        let seen = std::mem::take(&mut *self.seen.lock().expect("nobody panics with it"));
        println!("/healthz was asked {} times; the longest answer took {:?}", seen.asked, seen.longest);
        let mut wrong = seen.wrong;
        for (host, pid) in hosts.iter().zip(self.pids) {
            match memory_bytes(pid) {
                Some(bytes) => {
                    println!("host {}: {} MiB of memory at most", host.address(), bytes >> 20);
                    if bytes > memory_bytes_max {
                        wrong.push(format!("host {} took {bytes} bytes of memory", host.address()));
                    }
                }
                None => wrong.push(format!("host {} has died", host.address())),
            }
        }
        wrong
    }
}

fn look(api: &Api, began: Instant, seen: &Mutex<Answers>) {
    let asked = Instant::now();
    let answer = api.try_get("/healthz");
    let took = asked.elapsed();
    let mut seen = seen.lock().expect("nobody panics with it");
    seen.asked += 1;
    if took > seen.longest {
        println!("/healthz, asked at {:.1?} of the attack, took {took:?}", asked.duration_since(began));
    }
    seen.longest = seen.longest.max(took);
    match answer {
        Ok(answer) if answer.status == 200 => {}
        other if seen.wrong.len() < 10 => {
            let at = asked.duration_since(began);
            seen.wrong.push(format!("/healthz, asked at {at:.1?} of the attack: {other:?}"));
        }
        _ => {}
    }
}

/// The most memory that a process has had; `None`: there is no such process any more.
fn memory_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
