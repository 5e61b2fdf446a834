//! The company of a product in orders, and its recommendations. Pure.
//!
//! Purchases are counted by other product and span of days. A weight is made of the counts when it is needed. So
//! nothing is rounded before, the order of records does not matter while no pair is forgotten, and a purchase that is taken back leaves no trace.

use crate::config::Config;
use sandbar_debezium::Id;
use sandbar_sdk::{Error, Result};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The other products in the orders of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Company {
    pub product_id: Id,
    /// The number of days that are counted as one.
    bucket_days: i64,
    /// In the order of their ids.
    others: Vec<Other>,
    /// The last recommendation.
    pub top: Top,
}

/// A product that was bought with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Other {
    product_id: Id,
    /// The category, by the last look into the table of products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// Spans of days, ascending, and how many orders of each there are.
    counts: Vec<(i64, u32)>,
}

/// The recommendation for a product, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    pub others: Vec<Id>,
    pub categories: Vec<String>,
}

// === impl Company ===

impl Company {
    pub fn new(product_id: Id, bucket_days: i64) -> Self {
        Company { product_id, bucket_days, others: Vec::new(), top: Top::default() }
    }

    /// Returns true if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty() && self.top == Top::default()
    }

    /// An order of that day has both products.
    pub fn join(&mut self, other: Id, day: i64, category: impl Fn(&Id) -> Result<Option<String>>) -> Result<()> {
        let at = match self.find(&other) {
            Ok(at) => at,
            Err(at) => {
                let category = category(&other)?;
                self.others.insert(at, Other { product_id: other, category, counts: Vec::new() });
                at
            }
        };
        let bucket = day.div_euclid(self.bucket_days);
        let counts = &mut self.others[at].counts;
        match counts.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(at) => {
                let (_, count) = &mut counts[at];
                *count = count
                    .checked_add(1)
                    .ok_or_else(|| Error::new("a pair has more than 2^32 orders in one span of days"))?;
            }
            Err(at) => counts.insert(at, (bucket, 1)),
        }
        Ok(())
    }

    /// An order of that day no longer has both. A forgotten pair cannot be taken back, and need not be.
    pub fn leave(&mut self, other: &Id, day: i64) {
        let Ok(at) = self.find(other) else { return };
        let bucket = day.div_euclid(self.bucket_days);
        let counts = &mut self.others[at].counts;
        if let Ok(at) = counts.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            counts[at].1 -= 1;
            if counts[at].1 == 0 {
                counts.remove(at);
            }
        }
        if counts.is_empty() {
            self.others.remove(at);
        }
    }

    /// Reads the categories again.
    pub fn categorise(&mut self, category: impl Fn(&Id) -> Result<Option<String>>) -> Result<()> {
        for other in &mut self.others {
            other.category = category(&other.product_id)?;
        }
        Ok(())
    }

    /// Forgets purchases that weigh too little on this day, and products over the limit, and returns the best.
    pub fn follow(&mut self, config: &Config, today: i64) -> Top {
        let bucket_days = self.bucket_days;
        let weight = |other: &Other| -> u128 {
            let weight = |&(bucket, count): &(i64, u32)| {
                let age = today.saturating_sub(bucket.saturating_mul(bucket_days));
                u128::from(count) * u128::from(config.decay.weight(age))
            };
            other.counts.iter().map(weight).sum()
        };
        self.others.retain(|other| weight(other) >= config.least_weight);
        for other in &mut self.others {
            // A purchase without weight goes, even if the pair stays.
            other
                .counts
                .retain(|&(bucket, _)| config.decay.weight(today.saturating_sub(bucket.saturating_mul(bucket_days))) > 0);
        }
        // Best first; among equals the lesser id. Both hold whatever order the records came in.
        let mut ranked: Vec<(Reverse<u128>, usize)> =
            self.others.iter().enumerate().map(|(at, other)| (Reverse(weight(other)), at)).collect();
        ranked.sort_unstable();
        ranked.truncate(config.pairs_max);

        let others = ranked.iter().take(config.top).map(|&(_, at)| self.others[at].product_id.clone()).collect();
        let mut by_category: BTreeMap<&str, u128> = BTreeMap::new();
        for &(Reverse(weight), at) in &ranked {
            if let Some(category) = &self.others[at].category {
                *by_category.entry(category).or_default() += weight;
            }
        }
        let mut categories: Vec<(Reverse<u128>, &str)> =
            by_category.into_iter().map(|(category, weight)| (Reverse(weight), category)).collect();
        categories.sort_unstable();
        let categories = categories.into_iter().take(config.top).map(|(_, category)| category.to_owned()).collect();

        if ranked.len() < self.others.len() {
            let mut kept: Vec<usize> = ranked.into_iter().map(|(_, at)| at).collect();
            kept.sort_unstable();
            let mut at = 0..;
            self.others.retain(|_| at.next().is_some_and(|at| kept.binary_search(&at).is_ok()));
        }
        Top { others, categories }
    }

    fn find(&self, other: &Id) -> Result<usize, usize> {
        self.others.binary_search_by(|known| known.product_id.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).expect("a configuration")
    }

    fn company(joined: &[(i64, i64)]) -> Company {
        let mut company = Company::new(Id::Number(0), 7);
        for &(other, day) in joined {
            company
                .join(Id::Number(other), day, |id| Ok(Some(format!("c{}", id.to_string().len()))))
                .expect("small numbers");
        }
        company
    }

    #[track_caller]
    fn check(company: &mut Company, config: &Config, today: i64, others: &[i64], categories: &[&str]) {
        let top = company.follow(config, today);
        assert!(top.others.iter().cloned().eq(others.iter().map(|&other| Id::Number(other))), "{:?}", top.others);
        assert_eq!(top.categories, categories);
    }

    #[test]
    fn more_and_newer_orders_weigh_more_and_equals_go_by_id() {
        let config = config(r#"{"half_life_days":28,"top":3}"#);
        let mut known = company(&[(30, 0), (3, 0), (3, 0), (20, 0)]);
        check(&mut known, &config, 0, &[3, 20, 30], &["c1", "c2"]);
        // One order of four weeks later weighs as much as two of the first day.
        known.join(Id::Number(30), 28, |_| Ok(None)).expect("small");
        check(&mut known, &config, 28, &[30, 3, 20], &["c2", "c1"]);
        // Time alone does not turn the order around.
        check(&mut known, &config, 200, &[30, 3, 20], &["c2", "c1"]);
        check(&mut known, &config, 400, &[], &[]);
        assert!(known.is_empty());
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let config = config("{}");
        let mut known = company(&[(1, 0), (2, 0), (1, 9)]);
        let before = known.clone();
        known.join(Id::Number(3), 10, |_| Ok(None)).expect("small");
        known.join(Id::Number(1), 10, |_| Ok(None)).expect("small");
        known.leave(&Id::Number(1), 10);
        known.leave(&Id::Number(3), 10);
        assert_eq!(known, before);
        // A purchase that is not stored is not taken back.
        known.leave(&Id::Number(9), 10);
        known.leave(&Id::Number(2), 100);
        assert_eq!(known, before);
        known.leave(&Id::Number(1), 0);
        known.leave(&Id::Number(1), 9);
        check(&mut known, &config, 9, &[2], &["c1"]);
    }

    #[test]
    fn what_is_too_little_or_too_much_is_forgotten() {
        let config = config(r#"{"half_life_days":7,"bucket_days":7,"top":2,"pairs_max":2,"least_weight_ppm":250000}"#);
        let mut known = company(&[(1, 0), (2, 0), (2, 0), (3, 0), (4, 7)]);
        check(&mut known, &config, 7, &[2, 4], &["c1"]);
        assert_eq!(known.others.len(), 2);
        // A quarter is just enough.
        check(&mut known, &config, 21, &[2, 4], &["c1"]);
        check(&mut known, &config, 28, &[], &[]);
    }
}
