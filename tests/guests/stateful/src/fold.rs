//! The work of a record on the store.
//!
//! | value | does | puts out, under the record's key |
//! |---|---|---|
//! | a number | adds it to the key's sum | `COUNT SUM` |
//! | null | deletes the key | `gone` |
//! | `scan` | reads all, page by page | `all ENTRIES COUNTS SUMS` |
//! | `poison` | counts it, then panics | |
//! | `refuse` | counts it, then fails alone | |
//!
//! An entry is `COUNT SUM`, and `bytes` more to fill it.

use crate::{Config, Mode, with_sums};
use sandbar_sdk::bindings::sandbar::transform::state::Store;
use sandbar_sdk::prelude::*;

const PAGE: u32 = 100;
/// Keys of its own, which no record has.
pub(crate) const OWN: &[u8] = b"\xff";

/// `#[transform]` would export it, and the exports are the module's own.
pub(crate) enum Fold {}

impl sandbar_sdk::Transform for Fold {
    type Config = Config;

    fn apply<'a>(record: Record<'a>, config: &'a Config, out: &mut Output<'_>) -> Result<()> {
        let Some(key) = record.key() else { bail!("the record has no key") };
        let answer = |text: String| record.forward().value(text);
        if config.mode == Mode::Fat {
            with_sums(|sums| sums.put(key, &vec![b'x'; config.bytes]));
            return out.send(answer(config.bytes.to_string()));
        }
        match record.value {
            None => {
                with_sums(|sums| sums.delete(key));
                out.send(answer("gone".to_owned()))
            }
            Some(b"scan") => {
                let (entries, count, sum) = with_sums(scan);
                out.send(answer(format!("all {entries} {count} {sum}")))
            }
            Some(b"poison") => {
                add(key, 1, config.bytes);
                panic!("the value is poison");
            }
            Some(b"refuse") => {
                add(key, 1, config.bytes);
                bail!("the record is refused")
            }
            Some(value) => {
                let (count, sum) = add(key, parse(value)?, config.bytes);
                out.send(answer(format!("{count} {sum}")))
            }
        }
    }
}

fn add(key: &[u8], number: i64, fill: usize) -> (i64, i64) {
    with_sums(|sums| {
        let (count, sum) = sums.get(key).map_or((0, 0), |entry| read(&entry));
        let now = (count + 1, sum + number);
        sums.put(key, format!("{} {} {}", now.0, now.1, "x".repeat(fill)).trim_end().as_bytes());
        now
    })
}

fn read(entry: &[u8]) -> (i64, i64) {
    let text = std::str::from_utf8(entry).expect("the module's own entry");
    let mut numbers = text.split(' ').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("a count"), numbers.next().expect("a sum"))
}

fn parse(value: &[u8]) -> Result<i64> {
    let Ok(text) = std::str::from_utf8(value) else { bail!("the value is no text") };
    Ok(text.parse()?)
}

fn scan(sums: &Store) -> (usize, i64, i64) {
    let mut entries = 0;
    let mut count = 0;
    let mut sum = 0;
    let mut from = Vec::new();
    loop {
        let page = sums.scan(&from, Some(OWN), PAGE);
        for entry in &page {
            let (own_count, own_sum) = read(&entry.value);
            (entries, count, sum) = (entries + 1, count + own_count, sum + own_sum);
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => {
                from.clone_from(&last.key);
                from.push(0);
            }
            _ => return (entries, count, sum),
        }
    }
}
