//! Medians, and the ratios that are promised.

use crate::contender::Contender;
use crate::figures::Figures;

/// Prints the table. `measured` is by round, then by contender.
pub fn print(contenders: &[Contender], measured: &[Vec<Figures>]) {
    println!("\n{:30}{:>16}{:>12}{:>12}", "medians", "ns CPU/record", "records/s", "peak RSS");
    for (i, contender) in contenders.iter().enumerate() {
        let of = |figure: fn(&Figures) -> f64| median(measured.iter().map(|round| figure(&round[i])).collect());
        let cpu = of(|f| f.cpu_ns);
        let rate = of(|f| f.records_per_second);
        let rss = of(|f| f.rss_mib);
        println!("{:30}{cpu:>16.0}{rate:>12.0}{rss:>8.0} MiB", contender.title);
    }
    println!("\n{:64}{:>6}{:>10}", "CPU per record, as a ratio (medians over the rounds)", "", "at most");
    for (i, contender) in contenders.iter().enumerate() {
        let Some((rival, at_most)) = contender.beside else { continue };
        let Some(j) = contenders.iter().position(|other| other.name == rival) else { continue };
        let ratio = median(measured.iter().map(|round| round[i].cpu_ns / round[j].cpu_ns).collect());
        let title = format!("{} / {}", contender.title, contenders[j].title);
        println!("{title:64}{ratio:>6.2}{at_most:>10.2}{}", if ratio > at_most { "  over" } else { "" });
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let low = values[(values.len() - 1) / 2];
    let high = values[values.len() / 2];
    (low + high) / 2.0
}
