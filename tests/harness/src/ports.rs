//! Free ports of the loopback interface.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that nobody listens on. It lies below the range from which the kernel gives ports to outgoing connections:
/// one of those could take it between here and the process that it is meant for.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 200) as u16 * 100;
    for _ in 0..20_000 {
        let port = 12_000 + (first - 12_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from 12000 to 31999");
}
