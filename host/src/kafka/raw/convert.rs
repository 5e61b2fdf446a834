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

pub(super) fn ms(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}
