//! A sink's table beside the result of SQL over the source.

use std::collections::BTreeSet;
use std::fmt;

use sandbar_harness::Postgres;

use crate::plan::{SOURCE, Sink};

const SHOWN_MAX: usize = 5;

#[derive(Debug)]
pub struct Comparison {
    table: &'static str,
    expected: BTreeSet<String>,
    actual: BTreeSet<String>,
}

// === impl Comparison ===

impl Comparison {
    /// Rows are compared as `jsonb`: columns by name, numbers with their scale.
    #[track_caller]
    pub fn read(postgres: &Postgres, sink: &Sink) -> Comparison {
        let rows = |database, from: &str| {
            let rows = postgres.query(database, &format!("SELECT to_jsonb(row) FROM {from} AS row"));
            let count = rows.len();
            let rows: BTreeSet<String> = rows.into_iter().collect();
            // Each has a primary key.
            assert_eq!(rows.len(), count, "{}: equal rows in {database}", sink.table);
            rows
        };
        Comparison {
            table: sink.table,
            expected: rows(SOURCE.name, &format!("({})", sink.expected)),
            actual: rows(sink.database, sink.table),
        }
    }

    pub fn is_equal(&self) -> bool {
        self.expected == self.actual
    }

    pub fn rows_expected(&self) -> usize {
        self.expected.len()
    }

    /// The first rows that are missing or too many, one a line.
    pub fn differences(&self) -> Vec<String> {
        let missing = self.expected.difference(&self.actual).map(|row| format!("{}: missing  {row}", self.table));
        let unexpected = self.actual.difference(&self.expected).map(|row| format!("{}: too many {row}", self.table));
        missing.take(SHOWN_MAX).chain(unexpected.take(SHOWN_MAX)).collect()
    }
}

/// `shop <table> <rows expected> <rows equal>`
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = self.expected.intersection(&self.actual).count();
        write!(f, "shop {} {} {equal}", self.table, self.expected.len())
    }
}
