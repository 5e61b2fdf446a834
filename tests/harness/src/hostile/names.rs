//! Names of functions that hurt whoever reads them.

/// A C++ name of nested substitutions: each level writes the one before it out sixteen times. Whoever demangles it
/// writes gigabytes.
pub fn exponential_name() -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let level = |number: usize| format!("S{}_", DIGITS[number] as char).repeat(16);
    let levels: String = (0..12).map(|number| format!("ES_I{}", level(number))).collect();
    format!("_Z1f1AIi{levels}E")
}
