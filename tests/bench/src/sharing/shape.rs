//! Who has the clients.

use std::str::FromStr;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each transform has a consumer and a producer, as a host's workers do.
    Own,
    /// Each has a consumer; one producer writes and commits for all, under the membership of each.
    OneProducer,
    /// One consumer, in one group, and one producer for all.
    OneOfBoth,
}

impl Shape {
    pub const ALL: [Self; 3] = [Self::Own, Self::OneProducer, Self::OneOfBoth];

    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::OneProducer => "one-producer",
            Self::OneOfBoth => "one-of-both",
        }
    }
}

impl FromStr for Shape {
    type Err = anyhow::Error;

    fn from_str(raw: &str) -> anyhow::Result<Self> {
        Self::ALL.into_iter().find(|shape| shape.name() == raw).ok_or_else(|| anyhow::anyhow!("no shape {raw}"))
    }
}
