//! A table of figures: min, median and max of each, as Markdown and as text.

use std::fmt::Write;

use crate::stats::Spread;

/// A table with one row for each contender or point.
#[derive(Debug)]
pub struct Table {
    pub title: String,
    /// The heading of the rows' names.
    pub subject: &'static str,
    /// Names with their units.
    pub columns: Vec<&'static str>,
    pub rows: Vec<Row>,
}

#[derive(Debug)]
pub struct Row {
    pub name: String,
    /// One for each column.
    pub figures: Vec<Spread>,
}

// === impl Table ===

impl Table {
    /// The table in Markdown; each cell has the median, and the least and the most in parentheses.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n| {} |", self.title, self.subject);
        self.columns.iter().for_each(|column| write!(text, " {column} |").expect("a String takes all"));
        text.push_str("\n|---|");
        self.columns.iter().for_each(|_| text.push_str("---|"));
        for row in &self.rows {
            write!(text, "\n| {} |", row.name).expect("a String takes all");
            for figure in &row.figures {
                let Spread { min, median, max } = figure;
                let [min, median, max] = [min, median, max].map(|value| number(*value));
                write!(text, " {median} ({min} - {max}) |").expect("a String takes all");
            }
        }
        text.push('\n');
        text
    }
}

/// Three digits at least, and thousands apart.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size < 0.9995 => 3,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.into_iter().for_each(|fraction| write!(grouped, ".{fraction}").expect("a String takes all"));
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, expected: &str) {
        assert_eq!(number(value), expected, "{value}");
    }

    #[test]
    fn numbers_have_three_digits_or_more() {
        check(0.2149, "0.215");
        check(1.5, "1.50");
        check(12.34, "12.3");
        check(999.6, "1,000");
        check(14_285.2, "14,285");
        check(-1_234.0, "-1,234");
        check(1_234_567.0, "1,234,567");
    }

    #[test]
    fn a_cell_has_median_least_and_most() {
        let figures = vec![Spread { min: 1.0, median: 2.0, max: 3000.0 }];
        let row = Row { name: "Sandbar".to_owned(), figures };
        let table =
            Table { title: "Strip".to_owned(), subject: "contender", columns: vec!["ns CPU a record"], rows: vec![row] };
        let expected = "# Strip\n| contender | ns CPU a record |\n|---|---|\n| Sandbar | 2.00 (1.00 - 3,000) |\n";
        assert_eq!(table.markdown(), expected);
    }
}
