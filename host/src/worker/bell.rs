//! Wakes a worker that waits for records: a command has come, or an input that it does not fetch has got records.

use std::sync::Arc;
use std::sync::mpsc::{SendError, Sender};

use parking_lot::Mutex;

use super::Command;
use crate::ports::Waker;

/// The bell of one worker. Cloning shares it.
#[derive(Clone, Default)]
pub struct Bell(Arc<Mutex<Option<Waker>>>);

impl Bell {
    /// From now on rings for a session that can be woken.
    pub(super) fn hang(&self, waker: Option<Waker>) {
        *self.0.lock() = waker;
    }

    pub fn ring(&self) {
        if let Some(wake) = &*self.0.lock() {
            wake();
        }
    }
}

/// Sends commands to a worker. Cloning shares it.
#[derive(Clone)]
pub struct Commands {
    sender: Sender<Command>,
    bell: Bell,
}

impl Commands {
    pub(super) fn new(sender: Sender<Command>, bell: Bell) -> Self {
        Self { sender, bell }
    }

    /// Sends a command. An error means that the worker has ended.
    pub fn send(&self, command: Command) -> Result<(), SendError<Command>> {
        self.sender.send(command)?;
        self.bell.ring();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::worker::inbox;

    #[test]
    fn a_command_rings() {
        let (commands, mut inbox) = inbox::channel();
        commands.send(Command::Resume).expect("it is there");
        let rings = Arc::new(AtomicU32::new(0));
        let counted = rings.clone();
        inbox.bell().hang(Some(Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })));
        commands.send(Command::LookForPartitions).expect("it is there");
        assert_eq!(rings.load(Ordering::SeqCst), 1);
        inbox.bell().hang(None);
        commands.send(Command::Stop).expect("it is there");
        assert_eq!(rings.load(Ordering::SeqCst), 1);
        let taken: Vec<bool> = [(); 3].map(|()| inbox.wait(Duration::ZERO).is_some()).into();
        assert_eq!(taken, [true; 3]);
        drop(inbox);
        assert!(commands.send(Command::Resume).is_err());
    }
}
