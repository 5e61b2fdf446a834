//! What a transaction has written so far: encoded blocks in memory, which become visible all at once or never.
//!
//! Owned by one session (or one append). Bounded: [`Outputs::push`] refuses what goes over the limit.

use super::block::{self, Builder, Entry};
use super::store::PartitionId;

/// The transaction has grown over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The buffered records of one transaction, by partition.
#[derive(Debug)]
pub struct Outputs {
    partitions: Vec<Buffer>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Buffer {
    id: PartitionId,
    full: Vec<Builder>,
    open: Builder,
}

/// Blocks of one partition that are ready to be written, with their spans.
#[derive(Debug)]
pub struct Sealed {
    pub id: PartitionId,
    pub blocks: Vec<(u32, Vec<u8>)>,
}

impl Outputs {
    pub fn new(bytes_max: usize) -> Self {
        Self { partitions: Vec::new(), bytes: 0, bytes_max }
    }

    /// Adds the partitions of a topic; returns the index of the first, from which [`Outputs::push`] counts.
    pub fn add_topic(&mut self, topic: u32, partitions: i32) -> usize {
        let first = self.partitions.len();
        self.partitions.extend((0..partitions).map(|number| Buffer {
            id: PartitionId { topic, number },
            full: Vec::new(),
            open: Builder::default(),
        }));
        first
    }

    /// Buffers a record for the partition at `index`.
    pub fn push(&mut self, index: usize, entry: &Entry<'_>) -> Result<(), Full> {
        if self.bytes + block::entry_bytes(entry) > self.bytes_max {
            return Err(Full);
        }
        let buffer = &mut self.partitions[index];
        self.bytes += buffer.open.push(buffer.open.next_delta(), entry);
        if buffer.open.is_full() {
            buffer.full.push(std::mem::take(&mut buffer.open));
        }
        Ok(())
    }

    /// Hands the records over for writing; the buffer is empty again.
    pub fn seal(&mut self, written_at: i64) -> Vec<Sealed> {
        self.bytes = 0;
        let touched = self.partitions.iter_mut().filter(|buffer| !buffer.full.is_empty() || !buffer.open.is_empty());
        touched
            .map(|buffer| {
                let open = Some(std::mem::take(&mut buffer.open)).filter(|open| !open.is_empty());
                let builders = std::mem::take(&mut buffer.full).into_iter().chain(open);
                let blocks = builders.map(|mut builder| (builder.span(), builder.seal(written_at))).collect();
                Sealed { id: buffer.id, blocks }
            })
            .collect()
    }

    /// Forgets everything that was buffered.
    pub fn clear(&mut self) {
        self.bytes = 0;
        for buffer in &mut self.partitions {
            buffer.full.clear();
            buffer.open = Builder::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_bounded_and_cut_into_blocks() {
        let mut outputs = Outputs::new(1024 * 1024);
        assert_eq!((outputs.add_topic(7, 2), outputs.add_topic(9, 1)), (0, 2));
        let value = vec![0; 1000];
        let entry = Entry { timestamp: 0, key: None, value: Some(&value), headers: &[] };
        let taken = (0..2000).take_while(|_| outputs.push(1, &entry).is_ok()).count();
        assert_eq!(taken, 1024 * 1024 / 1028);
        let sealed = outputs.seal(5);
        assert_eq!(sealed.len(), 1);
        assert_eq!(sealed[0].id, PartitionId { topic: 7, number: 1 });
        let records: usize = sealed[0].blocks.iter().map(|(span, _)| *span as usize + 1).sum();
        assert_eq!((sealed[0].blocks.len(), records), (4, taken));
        assert!(outputs.push(2, &entry).is_ok(), "sealing makes room");
        outputs.clear();
        assert!(outputs.seal(6).is_empty());
    }
}
