//! Stores in memory, which share a budget.

use super::budgets::MemoryShare;
use crate::state::local::{Change, Entry, LocalError, LocalStore, Mark, Memory};

/// Counted for each entry beside its key and value: the tree around them is not free.
const ENTRY_BYTES: u64 = 64;

/// A store in memory that counts itself.
pub(super) struct CountedMemory {
    memory: Memory,
    share: MemoryShare,
}

impl CountedMemory {
    pub fn new(share: MemoryShare) -> Self {
        Self { memory: Memory::default(), share }
    }
}

impl LocalStore for CountedMemory {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        self.memory.get(key)
    }

    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on_entry: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        self.memory.scan(start, end, on_entry)
    }

    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError> {
        self.share.set(mark.bytes + mark.entries * ENTRY_BYTES);
        self.memory.apply(changes, mark)
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        self.memory.mark()
    }

    fn wipe(&mut self) -> Result<(), LocalError> {
        self.share.set(0);
        self.memory.wipe()
    }

    fn wants_cache(&self) -> bool {
        false
    }
}
