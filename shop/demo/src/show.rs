//! The lines that the demo prints.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::{INPUT, OUTPUT, TRANSFORM, print_next, shop};

/// Longest part of a record that is shown.
const SHOWN_CHARS: usize = 150;
const REFRESH: Duration = Duration::from_secs(1);

pub fn step(text: &str) {
    println!("demo: {text}");
    let _ = std::io::stdout().flush();
}

/// Totals of the transform, as the metrics have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub records_in: u64,
    pub records_out: u64,
    pub filtered: u64,
    pub failed: u64,
}

impl Totals {
    pub fn read(api: &Api) -> anyhow::Result<Self> {
        let text = api.get_text("/metrics")?;
        let sum = |name: &str| {
            let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
        };
        Ok(Self {
            records_in: sum("sandbar_records_in_total"),
            records_out: sum("sandbar_records_out_total"),
            filtered: sum("sandbar_records_filtered_total"),
            failed: sum("sandbar_records_failed_total"),
        })
    }
}

pub struct Screen<'a> {
    api: &'a Api,
    before: Totals,
    at: Instant,
    rounds: u64,
}

impl<'a> Screen<'a> {
    pub fn new(api: &'a Api) -> Self {
        Self { api, before: Totals::default(), at: Instant::now(), rounds: 0 }
    }

    /// A round of lines, once a second.
    pub fn refresh(&mut self) -> anyhow::Result<()> {
        if self.at.elapsed() < REFRESH {
            return Ok(());
        }
        let totals = Totals::read(self.api)?;
        let status = self.api.get(&format!("{TRANSFORM}/status"))?;
        let seconds = self.at.elapsed().as_secs_f64();
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        if self.rounds == 3 {
            print_next(self.api.base());
            println!("{}", if std::io::stdout().is_terminal() { "Ctrl-C ends the demo.\n" } else { "" });
        }
        let partition = (self.rounds % u64::from(crate::PARTITIONS)) as u32;
        if let Some(record) = shop::latest(self.api, INPUT, partition)? {
            println!("  in   {}", shown(&record));
        }
        if let Some(record) = shop::latest(self.api, OUTPUT, partition)? {
            println!("  out  {}", shown(&record));
        }
        println!(
            "{:<8} in {:>7} ({:>6.0}/s)   out {:>7} ({:>6.0}/s)   dropped {:>5}   failed {}   lag {}",
            status["state"].as_str().unwrap_or("?"),
            totals.records_in,
            rate(totals.records_in, self.before.records_in),
            totals.records_out,
            rate(totals.records_out, self.before.records_out),
            totals.filtered,
            totals.failed,
            status["lag"],
        );
        (self.before, self.at, self.rounds) = (totals, Instant::now(), self.rounds + 1);
        Ok(())
    }
}

fn shown(record: &serde_json::Value) -> String {
    let value = record["value"].as_str().map_or("(tombstone)".to_owned(), |value| {
        let short: String = value.chars().take(SHOWN_CHARS).collect();
        if short.len() < value.len() { format!("{short}... ({} bytes)", value.len()) } else { short }
    });
    format!("{}  {value}", record["key"].as_str().unwrap_or("(null)"))
}
