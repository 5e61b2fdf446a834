//! The shop's changes as SQL, for a database whose changes a real Debezium captures. The tables are those of
//! `shop/sql/shopdb.sql`.

use std::collections::BTreeMap;

use crate::change::Change;
use crate::debezium::{json_text, jsonb_items};
use crate::generator::{ChangeEvent, Generator};
use crate::order::{Order, PRODUCTS, euros};
use crate::random::Random;
use crate::time::iso;

/// The kind of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Insert,
    Update,
    Delete,
    /// A change of the primary key.
    Renumber,
    Restock,
    Reprice,
}

/// A statement that changes one row; it ends with a semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub kind: Kind,
    pub sql: String,
}

/// Statements without end: the changes of the [`Generator`]'s orders, with deliveries and new prices among them.
#[derive(Clone, Debug)]
pub struct Statements {
    orders: Generator,
    random: Random,
}

// === impl Statements ===

impl Statements {
    /// The first order is placed at this time, the others within minutes.
    pub fn new(seed: u64, start_us: i64) -> Self {
        Statements { orders: Generator::new(seed).starting_at(start_us), random: Random::new(!seed) }
    }

    fn of_orders(&mut self) -> Statement {
        let events = self.orders.next_transaction();
        let changes: Vec<&Change> = events.iter().map(|ChangeEvent { change, .. }| change).collect();
        match changes[..] {
            [Change::Found(order) | Change::Created(order)] => insert(order),
            [Change::Updated { after, .. }] => update(after),
            [Change::Deleted(order), Change::Forgotten { .. }] => delete(order.order_id),
            [Change::Deleted(old), Change::Forgotten { .. }, Change::Created(new)] => renumber(old.order_id, new.order_id),
            _ => unreachable!("no transaction of the generator has these changes: {changes:?}"),
        }
    }
}

impl Iterator for Statements {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        let product_id = 1 + self.random.below(PRODUCTS);
        Some(match self.random.below(100) {
            0..6 => restock(product_id, 10 + self.random.below(90)),
            6..10 => reprice(product_id, 100 + self.random.below(9_900)),
            _ => self.of_orders(),
        })
    }
}

// === Statements ===

fn insert(order: &Order) -> Statement {
    let address = format!(r#"{{"zip": "00000", "city": {}, "street": "Teststr. 1"}}"#, json_text(order.city));
    let ordered_at = iso(order.ordered_at_us);
    let row = BTreeMap::from([
        ("order_id", order.order_id.to_string()),
        ("customer_id", order.customer_id.to_string()),
        ("customer_name", quoted(&order.customer_name)),
        ("email", quoted(&order.email)),
        ("ship_address", quoted(&address)),
        ("items", quoted(&jsonb_items(&order.items))),
        ("status", quoted(order.status.name())),
        ("total", euros(order.total_cents)),
        ("currency", quoted(order.currency)),
        ("gift", order.gift.to_string()),
        ("note", order.note.map_or_else(null, quoted)),
        ("ordered_on", quoted(&ordered_at[..10])),
        ("ordered_at", quoted(&ordered_at)),
        ("version", order.version.to_string()),
    ]);
    let columns: Vec<&str> = row.keys().copied().collect();
    let values: Vec<String> = row.into_values().collect();
    let sql = format!("INSERT INTO new_orders ({}) VALUES ({});", columns.join(", "), values.join(", "));
    Statement { kind: Kind::Insert, sql }
}

fn update(order: &Order) -> Statement {
    let sql = format!(
        "UPDATE new_orders SET status = {}, gift = {}, note = {}, version = {} WHERE order_id = {};",
        quoted(order.status.name()),
        order.gift,
        order.note.map_or_else(null, quoted),
        order.version,
        order.order_id,
    );
    Statement { kind: Kind::Update, sql }
}

fn delete(order_id: u64) -> Statement {
    Statement { kind: Kind::Delete, sql: format!("DELETE FROM new_orders WHERE order_id = {order_id};") }
}

fn renumber(old: u64, new: u64) -> Statement {
    let sql = format!("UPDATE new_orders SET order_id = {new} WHERE order_id = {old};");
    Statement { kind: Kind::Renumber, sql }
}

fn restock(product_id: u64, quantity: u64) -> Statement {
    let sql = format!("INSERT INTO restocks (product_id, quantity) VALUES ({product_id}, {quantity});");
    Statement { kind: Kind::Restock, sql }
}

fn reprice(product_id: u64, cents: u64) -> Statement {
    let sql = format!("UPDATE products SET price = {} WHERE product_id = {product_id};", euros(cents));
    Statement { kind: Kind::Reprice, sql }
}

/// A string under `standard_conforming_strings`, where a backslash is a backslash.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn null() -> String {
    "NULL".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_occurs_and_the_seed_decides() {
        let statements: Vec<Statement> = Statements::new(7, 0).take(2_000).collect();
        assert_eq!(statements, Statements::new(7, 0).take(2_000).collect::<Vec<_>>());
        let count = |kind| statements.iter().filter(|statement| statement.kind == kind).count();
        for kind in [Kind::Insert, Kind::Update, Kind::Delete, Kind::Renumber, Kind::Restock, Kind::Reprice] {
            assert!(count(kind) > 20, "{kind:?}: {}", count(kind));
        }
        assert!(statements.iter().all(|statement| statement.sql.ends_with(';')));
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quoted(r"O'Sample \ '"), r"'O''Sample \ '''");
    }
}
