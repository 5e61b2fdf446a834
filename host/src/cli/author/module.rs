//! Modules in files, as verbs read them: whole, and within bounds.

use std::io;
use std::path::Path;

use crate::bounded_input;

/// Largest module that is read from a file, or pulled; a host has a lower limit of its own.
pub const MODULE_BYTES_MAX: u64 = 256 << 20;

/// Reads a module.
pub fn read_module(path: &Path) -> io::Result<Vec<u8>> {
    bounded_input::read_file(path, MODULE_BYTES_MAX)
}
