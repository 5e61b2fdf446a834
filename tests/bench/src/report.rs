//! The tables of the comparison, and the targets.

use crate::contender::Contender;
use crate::figures::Figures;
use crate::results;
use crate::stats::Spread;
use crate::table::{Row, Table};
use crate::target::{self, Limit};
use crate::work::Work;

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Measure {
    Cpu,
    Rate,
    WarmCpu,
    WarmRate,
    Rss,
}

/// A contender, its rival, and the bound of the ratio of their figures.
const PROMISES: [(&str, &str, Measure, f64); 15] = [
    ("pass-through", "forward", Measure::Cpu, 1.10),
    ("tailed", "pass-through", Measure::Cpu, 1.02),
    ("json-strip", "native", Measure::Cpu, 1.45),
    ("json-strip", "native", Measure::Rate, 0.7),
    ("json-strip", "streams-strip", Measure::Cpu, 0.22),
    ("json-strip", "streams-strip", Measure::Rate, 4.0),
    ("json-strip", "streams-strip", Measure::WarmCpu, 0.28),
    ("json-strip", "streams-strip", Measure::WarmRate, 3.5),
    ("json-strip", "streams-strip", Measure::Rss, 0.3),
    ("pass-through", "streams-forward", Measure::Rss, 0.3),
    ("count-uniform", "streams-count-uniform", Measure::WarmCpu, 0.5),
    ("count-hot", "streams-count-hot", Measure::WarmCpu, 0.5),
    ("count-uniform", "streams-count-uniform", Measure::Cpu, 0.5),
    ("count-hot", "streams-count-hot", Measure::Cpu, 0.5),
    ("field-strip", "native", Measure::Cpu, 1.8),
];

/// The most memory of a host at full load, in MiB, without state.
const STATELESS_RSS_MIB: f64 = 120.0;
const STATELESS: [&str; 2] = ["pass-through", "json-strip"];

const COLUMNS: [(&str, Measure); 5] = [
    ("ns CPU a record", Measure::Cpu),
    ("records/s", Measure::Rate),
    ("second half: ns CPU", Measure::WarmCpu),
    ("second half: records/s", Measure::WarmRate),
    ("peak RSS, MiB", Measure::Rss),
];

/// Writes a table for each work, then prints the targets. `measured` is by round, then by contender.
pub fn write(contenders: &[Contender], measured: &[Vec<Figures>]) -> anyhow::Result<()> {
    for work in Work::ALL {
        let rows: Vec<Row> = (0..contenders.len())
            .filter(|&index| contenders[index].work == work)
            .map(|index| {
                let figure = |measure: Measure| Spread::of(measured.iter().map(|round| measure.of(&round[index])));
                let figures = COLUMNS.map(|(_, measure)| figure(measure)).to_vec();
                Row { name: contenders[index].title.to_owned(), figures }
            })
            .collect();
        if !rows.is_empty() {
            let columns = COLUMNS.map(|(name, _)| name).to_vec();
            let table = Table { title: work.title().to_owned(), subject: "contender", columns, rows };
            results::write(work.name(), &table, 0)?;
        }
    }
    print_targets(contenders, measured);
    Ok(())
}

fn print_targets(contenders: &[Contender], measured: &[Vec<Figures>]) {
    let index = |name: &str| contenders.iter().position(|contender| contender.name == name);
    for (contender, rival, measure, limit) in PROMISES {
        if let (Some(own), Some(other)) = (index(contender), index(rival)) {
            let ratios = measured.iter().map(|round| measure.of(&round[own]) / measure.of(&round[other]));
            target::print(&name(contender, rival, measure), Spread::of(ratios).median, measure.limit(limit));
        }
    }
    for name in STATELESS {
        if let Some(own) = index(name) {
            let rss = Spread::of(measured.iter().map(|round| round[own].rss_mib));
            target::print(&format!("{}_rss_mib", name.replace('-', "_")), rss.median, Limit::AtMost(STATELESS_RSS_MIB));
        }
    }
}

fn name(contender: &str, rival: &str, measure: Measure) -> String {
    format!("{contender}_by_{rival}_{}", measure.name()).replace('-', "_")
}

// === impl Measure ===

impl Measure {
    fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::Cpu => figures.whole.cpu_ns,
            Self::Rate => figures.whole.records_per_second,
            Self::WarmCpu => figures.second_half.cpu_ns,
            Self::WarmRate => figures.second_half.records_per_second,
            Self::Rss => figures.rss_mib,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Rate => "rate",
            Self::WarmCpu => "warm_cpu",
            Self::WarmRate => "warm_rate",
            Self::Rss => "rss",
        }
    }

    /// Less CPU time and less memory are better, and more records a second.
    fn limit(self, bound: f64) -> Limit {
        match self {
            Self::Cpu | Self::WarmCpu | Self::Rss => Limit::AtMost(bound),
            Self::Rate | Self::WarmRate => Limit::AtLeast(bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders;

    #[test]
    fn each_promise_names_two_contenders() {
        let all = contenders::all();
        for (contender, rival, ..) in PROMISES {
            for name in [contender, rival] {
                assert!(all.iter().any(|other| other.name == name), "{name}");
            }
        }
    }

    #[test]
    fn the_name_of_a_target_has_no_spaces_and_ends_with_its_measure() {
        assert_eq!(name("json-strip", "streams-strip", Measure::WarmRate), "json_strip_by_streams_strip_warm_rate");
    }

    #[test]
    fn a_rate_is_bounded_from_below() {
        assert_eq!(Measure::Rate.limit(4.0), Limit::AtLeast(4.0));
        assert_eq!(Measure::Cpu.limit(0.5), Limit::AtMost(0.5));
    }
}
