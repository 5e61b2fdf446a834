//! Records for the transforms of a scene, without end: a rate needs values that grow from scrape to scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sandbar_harness::{KafkaCluster, Message, Producer};

const PAUSE: Duration = Duration::from_millis(300);

/// Produces the same messages to one topic, again and again, until it is dropped.
pub(super) struct Traffic {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(kafka: &'static KafkaCluster, topic: &str, messages: Vec<Message>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        let topic = topic.to_owned();
        let thread = std::thread::spawn(move || {
            let producer = Producer::new(kafka);
            while !ends.load(Ordering::Relaxed) {
                producer.send_all(&topic, &messages);
                std::thread::sleep(PAUSE);
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It may have panicked, which its output says.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
