//! Pieces that several folders of tests share.

pub mod gated;
pub mod guests;
