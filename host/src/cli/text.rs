//! Output for people and for programs: aligned columns, `name: value` lines, and JSON.

use std::fmt;
use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::error::{Error, Kind, Result};
use crate::api_types::SpecDocument;
use crate::model::text;

/// The form of a verb's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// Rows under headings, aligned with spaces; the first row is the headings.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// Adds a row; an empty cell shows as `-`.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.rows[0].len());
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { text::one_line(&cell).into_owned() };
        self.rows.push(cells.map(shown).to_vec());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// `name: value` lines, aligned.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    let line = |(name, value): &(&str, String)| format!("{:width$}  {}\n", format!("{name}:"), text::one_line(value));
    pairs.iter().map(line).collect()
}

pub fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// `1 record`, `2 records`.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The first digits of `sha256:...`, enough to tell modules apart.
pub fn short(digest: &str) -> String {
    digest.strip_prefix("sha256:").map_or(digest, |hex| hex.get(..12).unwrap_or(hex)).to_owned()
}

/// A spec as YAML. The caller indents the lines: a string may have several of them.
pub fn yaml(spec: &SpecDocument) -> String {
    text::lines(&spec.to_yaml()).into_owned()
}

/// Writes a line to standard error. If nobody reads it any more, the verb goes on, and ends with its own exit code.
pub fn tell(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes to standard output. The reader may stop at any time (`| head`).
pub fn emit(shown: &str) -> Result<()> {
    emit_while_read(shown).map(drop)
}

/// Writes a line of JSON to standard output.
pub fn emit_json(json: &str) -> Result<()> {
    emit(&json_line(json))
}

/// Writes a value as a line of JSON to standard output.
pub fn emit_value(value: &impl Serialize) -> Result<()> {
    emit_json(&serde_json::to_string(value).expect("a value that is shown is plain data"))
}

/// A line of JSON without a character that acts on a terminal.
pub fn json_line(json: &str) -> String {
    text::json(json.trim_end()).into_owned() + "\n"
}

/// Writes to standard output; returns false if nobody reads any more. Lines break where the caller has broken them, and no
/// other control character gets through: every text goes this way.
pub fn emit_while_read(shown: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text::lines(shown).as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::new(Kind::Failed, format_args!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(["NAME", "LAG"]);
        table.row(["orders/field-strip".into(), String::new()]);
        table.row(["a/é".into(), "12".into()]);
        assert_eq!(table.to_string(), "NAME                LAG\norders/field-strip  -\na/é                 12\n");
        assert_eq!(fields(&[("a", "1".into()), ("long", "2".into())]), "a:     1\nlong:  2\n");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
    }
}
