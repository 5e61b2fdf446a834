//! Tables of one transform whose look-ups are counted: a table that no look-up ever hits gives no error of its own.

use std::sync::Arc;

use prometheus::IntCounter;

use crate::model::names::Alias;
use crate::ports::Table;
use crate::telemetry::metrics::TransformMetrics;

struct CountedTable {
    inner: Arc<dyn Table>,
    hits: IntCounter,
    misses: IntCounter,
}

/// Counts the look-ups in these tables, whose names in the spec are in the same order.
pub fn counted<'a>(
    tables: &[Arc<dyn Table>],
    names: impl Iterator<Item = &'a Alias>,
    metrics: &TransformMetrics,
) -> Arc<[Arc<dyn Table>]> {
    let count = |(inner, name): (&Arc<dyn Table>, &Alias)| {
        let [hits, misses] = ["hit", "miss"].map(|result| metrics.table_look_ups(name.as_str(), result));
        Arc::new(CountedTable { inner: inner.clone(), hits, misses }) as Arc<dyn Table>
    };
    tables.iter().zip(names).map(count).collect()
}

impl Table for CountedTable {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.inner.get(key);
        if found.is_some() {
            self.hits.inc()
        } else {
            self.misses.inc()
        }
        found
    }
}
