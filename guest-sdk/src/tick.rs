//! Work at intervals, without a record.

use crate::bindings::sandbar::transform::types::{Batch, Setup};
use crate::returned::Returned;
use crate::span::NULL;
use crate::{Output, Result, Transform};

/// A call of a tick function: its time and its partition. The host calls the function once in each interval of the
/// spec's `tick`, between batches, for each partition.
#[derive(Clone, Copy)]
pub struct Tick<'a> {
    setup: &'a Setup,
    input: usize,
    partition: u32,
    now_ms: i64,
}

/// A transform with a tick. [`#[transform(tick = ..)]`](macro@crate::transform) implements it.
pub trait Ticks: Transform {
    /// Does the work of one tick.
    ///
    /// # Errors
    /// An error undoes the tick, with its messages and writes. The next tick comes at its time.
    fn tick(tick: Tick<'_>, config: &Self::Config, out: &mut Output<'_>) -> Result<()>;
}

/// A function that `#[transform(tick = ..)]` may name. `Form` tells the signatures apart.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tick function",
    note = "it takes `tick: Tick`, and after it at most `config: &Config` (of the transform's own type) and \
            `out: &mut Output`; it returns what a transform may return, without borrowing"
)]
pub trait TickFunction<Config, Form> {
    fn call(self, tick: Tick<'_>, config: &Config, out: &mut Output<'_>) -> Result<()>;
}

/// Calls a tick function of any of the signatures.
#[doc(hidden)]
pub fn call_tick<Config, Form>(
    function: impl TickFunction<Config, Form>,
    tick: Tick<'_>,
    config: &Config,
    out: &mut Output<'_>,
) -> Result<()> {
    function.call(tick, config, out)
}

// === impl Tick ===

impl<'a> Tick<'a> {
    pub(crate) fn new(setup: &'a Setup, input: u32, partition: u32, now_ms: i64) -> Self {
        Tick { setup, input: input as usize, partition, now_ms }
    }

    /// The time, in ms since the Unix epoch. A transform has no other clock.
    pub fn now_ms(self) -> i64 {
        self.now_ms
    }

    /// The partition whose stores the function sees.
    pub fn partition(self) -> u32 {
        self.partition
    }

    /// The name of the topic that the partition belongs to; with stores, that of the first input.
    pub fn topic(self) -> &'a str {
        &self.setup.inputs[self.input]
    }

    /// The index of that topic among the transform's inputs, in the order of the spec.
    pub fn input(self) -> usize {
        self.input
    }

    /// The batch behind a tick's output: one row without data.
    pub(crate) fn batch(self) -> Batch {
        Batch {
            input: self.input as u32,
            partition: self.partition,
            now: self.now_ms,
            first_offset: 0,
            offset_deltas: vec![0],
            timestamps: vec![self.now_ms],
            data: Vec::new(),
            keys: vec![NULL; 2],
            values: vec![NULL; 2],
            header_counts: Vec::new(),
            headers: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Tick<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tick")
            .field("topic", &self.topic())
            .field("partition", &self.partition)
            .field("now_ms", &self.now_ms)
            .finish()
    }
}

// === impl TickFunction ===

/// The forms of a tick function by its parameters beside the tick. They keep the implementations apart.
#[doc(hidden)]
pub enum Alone {}
#[doc(hidden)]
pub enum WithConfig {}
#[doc(hidden)]
pub enum WithOutput {}
#[doc(hidden)]
pub enum WithBoth {}

impl<F, C, R> TickFunction<C, (Alone, R)> for F
where
    F: FnOnce(Tick<'_>) -> R,
    R: Returned,
{
    fn call(self, tick: Tick<'_>, _: &C, out: &mut Output<'_>) -> Result<()> {
        self(tick).send(out)
    }
}

impl<F, C, R> TickFunction<C, (WithConfig, R)> for F
where
    F: FnOnce(Tick<'_>, &C) -> R,
    R: Returned,
{
    fn call(self, tick: Tick<'_>, config: &C, out: &mut Output<'_>) -> Result<()> {
        self(tick, config).send(out)
    }
}

impl<F, C, R> TickFunction<C, (WithOutput, R)> for F
where
    F: FnOnce(Tick<'_>, &mut Output<'_>) -> R,
    R: Returned,
{
    fn call(self, tick: Tick<'_>, _: &C, out: &mut Output<'_>) -> Result<()> {
        self(tick, out).send(out)
    }
}

impl<F, C, R> TickFunction<C, (WithBoth, R)> for F
where
    F: FnOnce(Tick<'_>, &C, &mut Output<'_>) -> R,
    R: Returned,
{
    fn call(self, tick: Tick<'_>, config: &C, out: &mut Output<'_>) -> Result<()> {
        self(tick, config, out).send(out)
    }
}
