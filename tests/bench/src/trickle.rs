//! A topic that gets two records a second, and the time until each of many outputs has them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbar_harness::{LiveReader, Message, Producer, wait};

/// Time between two records.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Sends `count` records at the pace of the trickle, and returns the sorted latencies of all outputs.
pub fn send(producer: &Producer, input: &str, reader: &mut LiveReader, count: usize, outputs: usize) -> Vec<f64> {
    let started = Instant::now();
    let mut latencies_ms = Vec::new();
    let mut sent = 0;
    while latencies_ms.len() < count * outputs {
        while sent < count && started.elapsed() >= PAUSE * sent as u32 {
            producer.send(input, &Message::new(sent.to_string(), now_ms().to_string()));
            producer.flush();
            sent += 1;
        }
        for record in reader.poll(Duration::from_millis(2)) {
            let created: f64 = record.value_text().parse().expect("the time at which it was sent");
            latencies_ms.push(now_ms() - created);
        }
        assert!(started.elapsed() < 2 * wait::PATIENCE, "{} of {} outputs arrived", latencies_ms.len(), count * outputs);
    }
    latencies_ms.sort_by(f64::total_cmp);
    latencies_ms
}

pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

#[expect(clippy::disallowed_methods, reason = "the time at which a record is made and read, in this process")]
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1000.0
}
