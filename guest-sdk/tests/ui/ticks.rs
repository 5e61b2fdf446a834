#![allow(unused_variables)]

use sandbar_sdk::prelude::*;

#[derive(Deserialize)]
struct Config;

#[derive(Deserialize)]
struct Other;

fn by_reference(tick: &Tick) {}

#[transform(tick = by_reference)]
fn tick_by_reference(record: Record<'_>) {}

fn another_config(tick: Tick, config: &Other) {}

#[transform(tick = another_config)]
fn tick_of_another_config(record: Record<'_>, config: &Config) {}

fn returns_a_number(tick: Tick) -> u32 {
    0
}

#[transform(tick = returns_a_number)]
fn tick_that_returns_a_number(record: Record<'_>) {}

#[transform(tick = absent)]
fn tick_that_is_not_there(record: Record<'_>) {}

fn main() {}
