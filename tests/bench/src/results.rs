//! The files of results: tables in Markdown and plots in SVG, in `target/bench`, or in the directory that BENCH_RESULTS
//! names. `make bench-docs` copies them to docs/benchmarks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sandbar_harness::dirs;

use crate::svg;
use crate::table::Table;

/// Prints a table and writes it to `<name>.md`, with a plot of one column as `<name>.svg`.
pub fn write(name: &str, table: &Table, plotted: usize) -> anyhow::Result<()> {
    let bars: Vec<_> = table.rows.iter().map(|row| (row.name.as_str(), row.figures[plotted])).collect();
    write_with(name, table, &svg::bars(&table.title, table.columns[plotted], &bars))
}

/// Prints a table and writes it to `<name>.md`, with the plot as `<name>.svg`.
pub fn write_with(name: &str, table: &Table, plot: &str) -> anyhow::Result<()> {
    let text = table.markdown();
    println!("\n{text}");
    file(&format!("{name}.md"), &format!("{text}\n![{}]({name}.svg)\n", table.title))?;
    file(&format!("{name}.svg"), plot)
}

/// Writes a file of results.
pub fn file(name: &str, content: &str) -> anyhow::Result<()> {
    write_in(&directory(), name, content)
}

fn write_in(directory: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let path = directory.join(name);
    fs::write(&path, content).with_context(|| path.display().to_string())
}

fn directory() -> PathBuf {
    std::env::var_os("BENCH_RESULTS").map_or_else(|| dirs::target().join("bench/results"), PathBuf::from)
}
