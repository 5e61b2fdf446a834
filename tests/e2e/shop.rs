//! The whole shop: the sinks equal the result of SQL over the source, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use sandbar_harness::{KafkaCluster, Seed, topics};
use sandbar_shop::Kind;
use sandbar_shop_full::Shop;
use sandbar_shop_full::plan::SOURCE;
use serde_json::Value;

#[test]
fn the_sinks_end_equal_to_what_sql_over_the_source_says() {
    let seed = Seed::new("the_sinks_end_equal_to_what_sql_over_the_source_says");
    let kafka = KafkaCluster::shared();
    let mut shop = Shop::open(kafka, seed.value());
    shop.trade(500);
    shop.kill_host(300);
    shop.trade(300);
    shop.add_column();
    shop.kill_host(300);
    shop.kill_connect(300);
    shop.trade(300);
    shop.settle();

    for kind in [Kind::Insert, Kind::Update, Kind::Delete, Kind::Renumber, Kind::Restock, Kind::Reprice] {
        assert!(shop.done.get(&kind).is_some_and(|&count| count > 10), "{kind:?}: {:?}", shop.done);
    }
    for comparison in shop.compare() {
        println!("{comparison}");
        assert!(comparison.rows_expected() > 100, "{comparison}");
        assert!(comparison.is_equal(), "{comparison}\n{}", comparison.differences().join("\n"));
    }
    assert_captured(&shop, kafka, "products", "shop.public.products");
    assert_captured(&shop, kafka, "restocks", "shop.public.restocks");
    assert_captured_once(kafka, "shop.public.new_orders");
    assert_reordered_once(kafka);
}

/// A product that runs low is ordered, and not with every order until somebody delivers: its reorders count from 1, and at
/// each one more has been delivered than at the one before. (The shop changes prices in its table, and no stock.)
fn assert_reordered_once(kafka: &KafkaCluster) {
    let mut levels = BTreeMap::<String, Vec<Value>>::new();
    for record in topics::read_committed(kafka, "stock.levels").iter().filter(|record| record.value.is_some()) {
        let level = serde_json::from_str(&record.value_text()).expect("a level is JSON");
        levels.entry(record.key_text()).or_default().push(level);
    }
    let mut last = BTreeMap::<String, (u64, i64)>::new();
    for record in topics::read_committed(kafka, "stock.reorders") {
        let reorder: Value = serde_json::from_str(&record.value_text()).expect("a reorder is JSON");
        let (count, restocked) = last.entry(record.key_text()).or_insert((0, -1));
        *count += 1;
        assert_eq!(reorder["reorder_id"], format!("{}-{count}", reorder["product_id"]), "{reorder}");
        // The level that was sent with it; there may be an equal one of the same millisecond.
        let with_it = levels[&record.key_text()].iter().filter(|level| {
            level["reorder_open"] == true && level["level"] == reorder["level"] && level["at_ms"] == reorder["at_ms"]
        });
        let delivered = with_it.filter_map(|level| level["restocked"].as_i64()).find(|sum| *sum > *restocked);
        *restocked = delivered.unwrap_or_else(|| panic!("{restocked} were delivered before, and no more: {reorder}"));
    }
    assert!(!last.is_empty(), "no product has run low");
}

/// A place in the database's log occurs once for each key: the source is exactly once, too.
fn assert_captured_once(kafka: &KafkaCluster, topic: &str) {
    let mut seen = BTreeSet::new();
    for record in topics::read_committed(kafka, topic).iter().filter(|record| record.value.is_some()) {
        let event: Value = serde_json::from_str(&record.value_text()).expect("an event is JSON");
        let change = (record.key_text(), event["source"]["lsn"].to_string(), event["op"].to_string());
        assert!(!seen.contains(&change), "{topic}: {change:?} twice");
        seen.insert(change);
    }
}

/// The topic is keyed by product, and its last row of each primary key is the table's.
fn assert_captured(shop: &Shop<'_>, kafka: &KafkaCluster, table: &str, topic: &str) {
    let mut rows = BTreeMap::new();
    for record in topics::read_committed(kafka, topic) {
        let event: Value = serde_json::from_str(&record.value_text()).expect("an event is JSON");
        let row = &event["after"];
        assert_eq!(record.key_text(), format!(r#"{{"product_id":{}}}"#, row["product_id"]), "{topic}");
        let key = if table == "products" { &row["product_id"] } else { &row["restock_id"] };
        rows.insert(key.as_i64().expect("a number"), row.clone());
    }
    let quantity = if table == "products" { "stock" } else { "quantity" };
    let sum: i64 = rows.values().map(|row| row[quantity].as_i64().expect("a number")).sum();
    let expected = shop.postgres.value(SOURCE.name, &format!("SELECT count(*), sum({quantity}) FROM {table}"));
    assert_eq!(format!("{}|{sum}", rows.len()), expected, "{table}");
}
