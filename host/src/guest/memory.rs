//! The memory of an instance against `limits.memory`: its linear memories, the elements of its tables, and its own
//! size in the host ([`Footprint`]).

use super::structure::Footprint;

/// A table's element is a pointer in the host.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// The memory of one instance. Growth is granted here before wasmtime carries it out.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bytes_max: usize,
    /// Everything but linear memories and tables: it is there from the beginning.
    instance_bytes: usize,
    linear_bytes: usize,
    table_bytes: usize,
    /// The last growth that was granted. wasmtime says at once if it fails, and never says that it succeeded.
    granted: Option<Growth>,
    /// A growth that this call asked for was over the limit.
    pub refused: bool,
    /// The system's words where it refused a growth that was granted.
    pub refused_by_system: Option<String>,
}

/// By how much one of the two becomes more.
#[derive(Debug, Clone, Copy)]
enum Growth {
    Linear(usize),
    Table(usize),
}

impl Memory {
    pub fn new(bytes_max: usize, footprint: &Footprint) -> Self {
        let instance_bytes = usize::try_from(footprint.bytes).unwrap_or(usize::MAX);
        Self { bytes_max, instance_bytes, ..Self::default() }
    }

    /// Tells whether the instance fits without its linear memories and tables.
    pub fn has_room(&self) -> bool {
        self.instance_bytes <= self.bytes_max
    }

    pub fn bytes(&self) -> usize {
        self.instance_bytes.saturating_add(self.linear_bytes).saturating_add(self.table_bytes)
    }

    /// Grants a linear memory's growth, from 0 where it is made. One beyond the memory's own maximum fails anyway: that
    /// is the module's matter, and counts nothing.
    pub fn grow_linear(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        self.granted = None;
        let more = desired.saturating_sub(current);
        if maximum.is_some_and(|maximum| desired > maximum) || !self.fits(more) {
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
        if maximum.is_some_and(|maximum| desired > maximum) || !self.fits(more) {
            return false;
        }
        self.table_bytes += more;
        self.granted = Some(Growth::Table(more));
        true
    }

    /// Gives back the growth that was granted last and then failed.
    pub fn grow_failed(&mut self, refusal: String) {
        match self.granted.take() {
            Some(Growth::Linear(bytes)) => self.linear_bytes -= bytes,
            Some(Growth::Table(bytes)) => self.table_bytes -= bytes,
            None => return,
        }
        self.refused_by_system = Some(refusal);
    }

    /// Forgets the refusals of an earlier call: a trap is explained by its own call alone.
    pub fn begin_call(&mut self) {
        self.refused = false;
        self.refused_by_system = None;
    }

    fn fits(&mut self, more: usize) -> bool {
        let fits = self.bytes().checked_add(more).is_some_and(|total| total <= self.bytes_max);
        self.refused |= !fits;
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn memory(bytes_max: usize, instance_bytes: u64) -> Memory {
        Memory::new(bytes_max, &Footprint { bytes: instance_bytes, ..Footprint::default() })
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
        assert_eq!((memory.bytes(), memory.refused_by_system.as_deref()), (0, Some("no memory")));
        // One that the memory's own maximum forbids is not granted, and its failure gives nothing back.
        assert!(memory.grow_linear(0, PAGE, None));
        assert!(!memory.grow_linear(PAGE, 2 * PAGE, Some(PAGE)));
        memory.grow_failed("over its maximum".into());
        assert_eq!(memory.bytes(), PAGE);
        assert!(!memory.refused);
    }
}
