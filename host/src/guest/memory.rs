//! The memory of an instance against `limits.memory`, and against the budget of the host: its linear memories, the elements
//! of its tables, and its own size in the host ([`Footprint`]).
//!
//! The limits of all instances together may be more than a machine has, since few need all of theirs. An instance that gets
//! no more from the host is not to blame: its call ends as a fault of the host, which is tried again.

use std::sync::Arc;

use super::budget::{Budget, Share};
use super::structure::Footprint;

/// A table's element is a pointer in the host.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// The memory of one instance. Growth is granted here before wasmtime carries it out.
pub(super) struct Memory {
    bytes_max: usize,
    /// Its part of the memory of all instances.
    share: Share,
    /// Its part of the memory of its team's candidates, if it is of one.
    share_of_team: Option<Share>,
    /// Everything but linear memories and tables: it is there from the beginning.
    instance_bytes: usize,
    linear_bytes: usize,
    table_bytes: usize,
    /// The last growth that was granted. wasmtime says at once if it fails, and never says that it succeeded.
    granted: Option<Growth>,
    /// A growth that this call asked for was over the limit.
    pub refused: bool,
    /// The reason for which the host, or the system, refused a growth that the limit allows.
    pub refused_by_host: Option<String>,
}

/// The bytes by which linear memory, or tables, grow.
#[derive(Debug, Clone, Copy)]
enum Growth {
    Linear(usize),
    Table(usize),
}

impl Memory {
    pub fn new(bytes_max: usize, footprint: &Footprint, host: &Arc<Budget>, team: Option<&Arc<Budget>>) -> Self {
        Self {
            bytes_max,
            share: host.share(),
            share_of_team: team.map(Budget::share),
            instance_bytes: usize::try_from(footprint.bytes).unwrap_or(usize::MAX),
            linear_bytes: 0,
            table_bytes: 0,
            granted: None,
            refused: false,
            refused_by_host: None,
        }
    }

    /// Tells whether the instance fits without its linear memories and tables.
    pub fn has_room(&self) -> bool {
        self.instance_bytes <= self.bytes_max
    }

    /// Takes the memory that an instance has beside its linear memories and tables. An error is the host's.
    pub fn take_instance(&mut self) -> Result<(), String> {
        self.take_of_host(self.instance_bytes)
    }

    pub fn bytes(&self) -> usize {
        self.instance_bytes.saturating_add(self.linear_bytes).saturating_add(self.table_bytes)
    }

    /// Grants a linear memory's growth, from 0 where it is made. One beyond the memory's own maximum fails anyway: that
    /// is the module's matter, and counts nothing.
    pub fn grow_linear(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        self.granted = None;
        let more = desired.saturating_sub(current);
        if maximum.is_some_and(|maximum| desired > maximum) || !self.take(more) {
            return false;
        }
        self.linear_bytes += more;
        self.granted = Some(Growth::Linear(more));
        true
    }

    /// Grants a table's growth, in elements.
    pub fn grow_table(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        self.granted = None;
        let more = desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES);
        if maximum.is_some_and(|maximum| desired > maximum) || !self.take(more) {
            return false;
        }
        self.table_bytes += more;
        self.granted = Some(Growth::Table(more));
        true
    }

    /// Gives back the growth that was granted last and then failed.
    pub fn grow_failed(&mut self, refusal: String) {
        let bytes = match self.granted.take() {
            Some(Growth::Linear(bytes)) => {
                self.linear_bytes -= bytes;
                bytes
            }
            Some(Growth::Table(bytes)) => {
                self.table_bytes -= bytes;
                bytes
            }
            None => return,
        };
        self.share.shrink(bytes as u64);
        if let Some(share) = &mut self.share_of_team {
            share.shrink(bytes as u64);
        }
        self.refused_by_host = Some(refusal);
    }

    /// Forgets the refusals of an earlier call: a trap is explained by its own call alone.
    pub fn begin_call(&mut self) {
        self.refused = false;
        self.refused_by_host = None;
    }

    /// Takes memory, if both limits allow it.
    fn take(&mut self, more: usize) -> bool {
        let fits = self.bytes().checked_add(more).is_some_and(|total| total <= self.bytes_max);
        self.refused |= !fits;
        if !fits {
            return false;
        }
        let taken = self.take_of_host(more);
        let is_taken = taken.is_ok();
        // A later growth that is granted does not undo a refusal.
        self.refused_by_host = taken.err().or(self.refused_by_host.take());
        is_taken
    }

    fn take_of_host(&mut self, bytes: usize) -> Result<(), String> {
        if let Some(share) = &mut self.share_of_team {
            share.grow(bytes as u64).map_err(|used| {
                format!("it needs {bytes} bytes more, {used} by candidates of its team (half of guest_memory_max)")
            })?;
        }
        let grown = self.share.grow(bytes as u64);
        if let (Err(_), Some(share)) = (&grown, &mut self.share_of_team) {
            share.shrink(bytes as u64);
        }
        grown.map_err(|used| format!("it needs {bytes} bytes more, {used} by all (guest_memory_max)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn memory(bytes_max: usize, instance_bytes: u64) -> Memory {
        memory_of(bytes_max, instance_bytes, u64::MAX)
    }

    fn memory_of(bytes_max: usize, instance_bytes: u64, host_bytes_max: u64) -> Memory {
        let host = Arc::new(Budget::new(host_bytes_max, |_| {}));
        memory_within(bytes_max, instance_bytes, &host, None)
    }

    fn memory_within(bytes_max: usize, instance_bytes: u64, host: &Arc<Budget>, team: Option<&Arc<Budget>>) -> Memory {
        Memory::new(bytes_max, &Footprint { bytes: instance_bytes, ..Footprint::default() }, host, team)
    }

    #[test]
    fn a_candidate_counts_for_its_team_and_for_the_host() {
        let [host, team] = [4, 2].map(|pages| Arc::new(Budget::new(pages * PAGE as u64, |_| {})));
        let candidate = || memory_within(8 * PAGE, 0, &host, Some(&team));
        let mut first = candidate();
        assert!(first.grow_linear(0, 2 * PAGE, None));
        let mut second = candidate();
        assert!(!second.grow_linear(0, PAGE, None));
        let refusal = second.refused_by_host.take().unwrap_or_default();
        assert!(!second.refused && refusal.contains("candidates of its team"), "{refusal}");
        // The others of the host have the rest of its memory.
        let mut other = memory_within(8 * PAGE, 0, &host, None);
        assert!(other.grow_linear(0, 2 * PAGE, None));
        // Memory that fails, or that the host does not have, is taken from neither.
        first.grow_failed("no memory".into());
        assert!(other.grow_linear(2 * PAGE, 4 * PAGE, None));
        assert!(!second.grow_linear(0, PAGE, None));
        assert!(second.refused_by_host.take().is_some_and(|refusal| refusal.contains("by all")));
        drop(other);
        assert!(second.grow_linear(0, 2 * PAGE, None));
    }

    #[test]
    fn a_refusal_of_the_host_is_not_one_of_the_limit() {
        let mut memory = memory_of(4 * PAGE, PAGE as u64, 2 * PAGE as u64);
        memory.take_instance().expect("there is room");
        assert!(memory.grow_linear(0, PAGE, None));
        assert!(!memory.grow_linear(PAGE, 2 * PAGE, None));
        assert!(!memory.refused && memory.refused_by_host.is_some());
        assert_eq!(memory.bytes(), 2 * PAGE);
        memory.begin_call();
        assert!(!memory.grow_linear(PAGE, 4 * PAGE, None));
        assert!(memory.refused && memory.refused_by_host.is_none(), "the limit comes first");
        assert!(memory_of(PAGE, PAGE as u64, 1).take_instance().is_err());
    }

    #[test]
    fn no_growth_wraps() {
        let mut memory = memory(64 << 20, 0);
        assert!(memory.grow_linear(0, PAGE, None));
        for desired in [usize::MAX, usize::MAX - PAGE + 1, usize::MAX / 2, 0usize.wrapping_sub(PAGE)] {
            assert!(!memory.grow_linear(0, desired, None), "{desired}");
            assert!(!memory.grow_table(0, desired, None), "{desired}");
            assert_eq!(memory.bytes(), PAGE);
        }
        assert!(memory.refused);
    }

    #[test]
    fn everything_counts_together_up_to_the_limit_itself() {
        let mut memory = memory(4 * PAGE, PAGE as u64);
        assert!(memory.grow_linear(0, PAGE, None));
        assert!(memory.grow_table(0, PAGE / ELEMENT_BYTES, None));
        assert!(!memory.refused);
        assert!(!memory.grow_linear(PAGE, 3 * PAGE, None));
        assert!(memory.refused);
        assert!(memory.grow_linear(PAGE, 2 * PAGE, None));
        assert_eq!(memory.bytes(), 4 * PAGE);
        assert!(!memory.grow_table(0, 1, None));
        assert!(!super::tests::memory(PAGE, PAGE as u64 + 1).has_room());
    }

    #[test]
    fn a_growth_that_fails_is_given_back_once() {
        let mut memory = memory(4 * PAGE, 0);
        assert!(memory.grow_linear(0, 4 * PAGE, None));
        memory.grow_failed("no memory".into());
        memory.grow_failed("no memory".into());
        assert_eq!((memory.bytes(), memory.refused_by_host.as_deref()), (0, Some("no memory")));
        // One that the memory's own maximum forbids is not granted, and its failure gives nothing back.
        assert!(memory.grow_linear(0, PAGE, None));
        assert!(!memory.grow_linear(PAGE, 2 * PAGE, Some(PAGE)));
        memory.grow_failed("over its maximum".into());
        assert_eq!(memory.bytes(), PAGE);
        assert!(!memory.refused);
    }
}
