//! Counts the records of each key, and puts each count out. The benchmarks measure it beside `groupByKey().count()`.

#![forbid(unsafe_code)]

use sandbar_sdk::prelude::*;

/// Adds one to the count of the record's key. The output is eight bytes, as Kafka's serializer of longs writes them.
#[transform(stores = ["counts"])]
pub fn count<'a>(record: Record<'a, &'a [u8]>) -> Result<Message<'a>> {
    let counts = Store::<[u8], u64>::open("counts")?;
    let key = record.key_as::<&[u8]>()?;
    let count = counts.get(key)?.unwrap_or(0) + 1;
    counts.put(key, &count)?;
    Ok(record.forward().value(count.to_be_bytes().to_vec()))
}
