//! The works of the comparison. Contenders of one work read one input, and their outputs are equal.

use crate::digest::Form;
use crate::input::Keys;

/// The hot keys of a count, and the rows of the table.
pub const HOT_KEYS: u64 = 10_000;
/// The table of the join, keyed by customer.
pub const CUSTOMERS: &str = "bench.customers";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    PassThrough,
    Strip,
    CountUniform,
    CountHot,
    Join,
}

// === impl Work ===

impl Work {
    pub const ALL: [Self; 5] = [Self::PassThrough, Self::Strip, Self::CountUniform, Self::CountHot, Self::Join];

    /// The name of its files and targets.
    pub fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::Strip => "strip",
            Self::CountUniform => "count-uniform",
            Self::CountHot => "count-hot",
            Self::Join => "join",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::PassThrough => "Pass-through",
            Self::Strip => "Field-strip: six fields of an order",
            Self::CountUniform => "Count per key, uniform keys",
            Self::CountHot => "Count per key, 10,000 hot keys",
            Self::Join => "Join with a table of 10,000 customers",
        }
    }

    pub fn input(self) -> &'static str {
        match self {
            Self::PassThrough | Self::Strip => "bench.orders",
            Self::CountUniform => "bench.orders-by-customer",
            Self::CountHot | Self::Join => "bench.orders-by-hot-customer",
        }
    }

    /// The keys of its input; `uniform` is the number of uniform ones.
    pub fn keys(self, uniform: u64) -> Keys {
        match self {
            Self::PassThrough | Self::Strip => Keys::Order,
            Self::CountUniform => Keys::Customer(uniform),
            Self::CountHot | Self::Join => Keys::Customer(HOT_KEYS),
        }
    }

    /// The sense in which its outputs are equal.
    pub fn form(self) -> Form {
        match self {
            Self::PassThrough => Form::Bytes,
            Self::Strip | Self::Join => Form::Json,
            Self::CountUniform | Self::CountHot => Form::Counts,
        }
    }
}
