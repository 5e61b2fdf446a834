//! `shop-orders`: prints change events as NDJSON, one `{"key":.., "value":.., "headers":.., "timestamp_ms":..}` a line.

#![forbid(unsafe_code)]

use anyhow::Context;
use clap::Parser;
use sandbar_shop::{Format, Generator, PlainOrders};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};

/// Makes up the change events of a web shop's orders, the same ones for the same seed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The number of records
    #[arg(long, default_value_t = 10)]
    count: usize,
    /// The seed of the random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With {"schema": .., "payload": ..} around keys and values
    #[arg(long, conflicts_with = "plain")]
    schema: bool,
    /// Flat orders of about 600 bytes instead of change events
    #[arg(long)]
    plain: bool,
}

fn main() -> anyhow::Result<()> {
    let Arguments { count, seed, schema, plain } = Arguments::parse();
    let format = if schema { Format::WithSchema } else { Format::Plain };
    let lines: Box<dyn Iterator<Item = Value>> = if plain {
        Box::new(PlainOrders::new(seed).map(|order| line(&order.key, Some(&order.value), &[], order.timestamp_ms)))
    } else {
        let events = Generator::with_format(seed, format);
        Box::new(events.map(|event| line(&event.key, event.value.as_deref(), &event.headers, event.timestamp_ms)))
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let written = lines.take(count).try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    match written {
        // The reader, `head` for example, has had enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

fn line(key: &[u8], value: Option<&[u8]>, headers: &[(String, Option<Vec<u8>>)], timestamp_ms: i64) -> Value {
    let headers: Vec<Value> = headers.iter().map(|(name, value)| json!([name, value.as_deref().map(text)])).collect();
    json!({"key": text(key), "value": value.map(text), "headers": headers, "timestamp_ms": timestamp_ms})
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
