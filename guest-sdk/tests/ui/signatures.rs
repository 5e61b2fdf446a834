#![allow(unused_variables)]

use sandbar_sdk::prelude::*;

struct Config;

#[transform]
fn no_parameters() {}

#[transform]
async fn waits(record: Record<'_>) {}

#[transform]
unsafe fn unsound(record: Record<'_>) {}

#[transform]
extern "C" fn foreign(record: Record<'_>) {}

#[transform]
fn generic<T>(record: Record<'_>) {}

#[transform]
fn implicitly_generic(record: impl Send) {}

#[transform]
fn record_by_reference(record: &Record<'_>) {}

#[transform]
fn config_by_value(record: Record<'_>, config: Config) {}

#[transform]
fn output_before_config(record: Record<'_>, out: &mut Output, config: &Config) {}

#[transform]
fn too_many(record: Record<'_>, config: &Config, out: &mut Output, more: &mut Output) {}

#[transform(fast)]
fn arguments(record: Record<'_>) {}

#[transform(stores = "levels")]
fn one_store(record: Record<'_>) {}

#[transform(stores = ["levels", "levels"])]
fn the_same_store(record: Record<'_>) {}

#[transform(tables = [products])]
fn table_without_quotes(record: Record<'_>) {}

#[transform(tick = "on_tick")]
fn tick_in_quotes(record: Record<'_>) {}

#[transform(tick = on_tick, tick = on_tick)]
fn two_ticks(record: Record<'_>) {}

#[transform]
struct NoFunction;

struct Service;

impl Service {
    #[transform]
    fn method(&self, record: Record<'_>) {}
}

fn main() {}
