//! The commands that a worker has not carried out yet, in their order.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::Command;
use super::bell::{Bell, Commands};

/// The commands that wait for one worker. It reads [`Command::Stop`] once nobody is left to send commands.
pub struct Inbox {
    commands: Receiver<Command>,
    /// Rings when a command comes.
    bell: Bell,
    /// Commands that came while nobody could carry them out.
    kept: VecDeque<Command>,
}

/// A worker's inbox, and its other end.
pub fn channel() -> (Commands, Inbox) {
    let (sender, received) = mpsc::channel();
    let inbox = Inbox::from(received);
    (Commands::new(sender, inbox.bell().clone()), inbox)
}

impl From<Receiver<Command>> for Inbox {
    fn from(commands: Receiver<Command>) -> Self {
        Self { commands, bell: Bell::default(), kept: VecDeque::new() }
    }
}

impl Inbox {
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Takes the next command, if there is one.
    pub fn take(&mut self) -> Option<Command> {
        self.kept.pop_front().or_else(|| match self.commands.try_recv() {
            Ok(command) => Some(command),
            Err(TryRecvError::Disconnected) => Some(Command::Stop),
            Err(TryRecvError::Empty) => None,
        })
    }

    /// Waits up to `time` for the next command.
    pub fn wait(&mut self, time: Duration) -> Option<Command> {
        self.kept.pop_front().or_else(|| match self.commands.recv_timeout(time) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Disconnected) => Some(Command::Stop),
            Err(RecvTimeoutError::Timeout) => None,
        })
    }

    /// Returns true if one of the commands that have come stops the worker. Look-ups are dropped without an answer: there
    /// is no state to look into.
    pub fn is_stopped(&mut self) -> bool {
        let mut is_stopped = self.kept.iter().any(|command| matches!(command, Command::Stop));
        while !is_stopped {
            match self.commands.try_recv() {
                Ok(Command::LookUp(_)) => {}
                Ok(command) => {
                    is_stopped = matches!(command, Command::Stop);
                    self.kept.push_back(command);
                }
                Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::worker::LookUp;

    #[test]
    fn a_stop_is_seen_behind_other_commands_which_are_kept() {
        let (sender, received) = mpsc::channel();
        let mut inbox = Inbox::from(received);
        assert!(!inbox.is_stopped() && inbox.take().is_none());
        let (answer, _) = sync_channel(1);
        let look_up = LookUp { partition: 0, store: String::new(), key: Vec::new(), answer };
        for command in [Command::Resume, Command::LookUp(look_up), Command::LookForPartitions] {
            sender.send(command).expect("it is there");
        }
        assert!(!inbox.is_stopped());
        sender.send(Command::Stop).expect("it is there");
        assert!(inbox.is_stopped() && inbox.is_stopped());
        assert!(matches!(inbox.take(), Some(Command::Resume)));
        assert!(matches!(inbox.wait(Duration::ZERO), Some(Command::LookForPartitions)));
        assert!(matches!(inbox.take(), Some(Command::Stop)));
        drop(sender);
        assert!(inbox.is_stopped() && matches!(inbox.wait(Duration::ZERO), Some(Command::Stop)));
    }
}
