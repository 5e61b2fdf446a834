//! Text, bytes and times, to C and from it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::Duration;

/// Borrows bytes that C owns; None for null.
///
/// # Safety
/// `start` is null, or points to `len` bytes that live for `'a`.
pub(super) unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// Copies text that C owns; empty for null.
///
/// # Safety
/// `raw` is null or NUL-terminated.
pub(super) unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

/// Makes text for C. A NUL cannot be in a name that was parsed; should one be, the text ends there.
pub fn c_string(raw: &str) -> CString {
    CString::new(raw.split('\0').next().unwrap_or_default()).expect("cut before the first NUL")
}

/// The milliseconds of a wait. A part of one counts as a whole: who waits until a deadline would ask for no wait in its last
/// millisecond, again and again.
pub(super) fn ms(wait: Duration) -> c_int {
    c_int::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_millisecond_is_waited_for() {
        for (wait, expected) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (u64::MAX, c_int::MAX)] {
            assert_eq!(ms(Duration::from_nanos(wait)), expected, "{wait} ns");
        }
    }
}
