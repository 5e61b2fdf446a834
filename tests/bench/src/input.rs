//! The orders. They are made from a counter, so that every run has equal ones. Parts that do not repeat in real orders
//! (names, streets, traces) do not repeat here either, or lz4 would be too cheap.

use std::fmt::Write;

use sandbar_harness::{KafkaCluster, Message, Producer};

const FIRST: [&str; 8] = ["Ada", "Grace", "Edsger", "Barbara", "Leslie", "Frances", "Donald", "Radia"];
const LAST: [&str; 8] = ["Lovelace", "Hopper", "Dijkstra", "Liskov", "Lamport", "Allen", "Knuth", "Perlman"];
const STATUS: [&str; 4] = ["paid", "placed", "shipped", "cancelled"];
const NOTES: [&str; 4] =
    ["Leave at the door; \\\"ring twice\\\".", "", "gift \u{2013} wrap it", "Call before delivery, please"];

const TIERS: [&str; 3] = ["gold", "silver", "none"];

/// A small random generator (xorshift*): good enough to look random to lz4.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 33) % limit
    }

    fn of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The keys of the orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Each order's own id.
    Order,
    /// The customer's id, one of so many, each as likely as the others.
    Customer(u64),
}

/// The customers of orders that are not keyed by them.
const CUSTOMERS: u64 = 1_000_000;
const FIRST_ID: u64 = 100_000_000;

/// Produces the orders; answers with the bytes of their values.
pub fn produce(kafka: &KafkaCluster, topic: &str, records: u64, keys: Keys) -> u64 {
    let producer = Producer::new(kafka);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut bytes = 0;
    for id in FIRST_ID..FIRST_ID + records {
        let (key, order) = keyed_order(&mut random, id, keys);
        bytes += order.len() as u64;
        producer.send(topic, &Message::new(key, order));
    }
    producer.flush();
    bytes
}

/// Produces a row for each of so many customers.
pub fn produce_customers(kafka: &KafkaCluster, topic: &str, customers: u64) {
    let producer = Producer::new(kafka);
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for id in 0..customers {
        let first = random.of(&FIRST);
        let last = random.of(&LAST);
        let tier = random.of(&TIERS);
        let row = format!("{{\"id\":{id},\"name\":\"{first} {last}\",\"tier\":\"{tier}\",\"country\":\"PT\"}}");
        producer.send(topic, &Message::new(id.to_string(), row));
    }
    producer.flush();
}

/// An order that is no load by itself, for a measurement of latency.
pub fn one_order(number: u64) -> String {
    order(&mut Random(number * 2 + 1), FIRST_ID + number, number % CUSTOMERS)
}

fn keyed_order(random: &mut Random, id: u64, keys: Keys) -> (String, String) {
    let customers = if let Keys::Customer(customers) = keys { customers } else { CUSTOMERS };
    let customer = random.below(customers);
    let key = if keys == Keys::Order { id } else { customer };
    (key.to_string(), order(random, id, customer))
}

fn order(r: &mut Random, id: u64, customer: u64) -> String {
    let mut order = String::with_capacity(700);
    let created_at_ms = 1_735_689_600_000 + (id - FIRST_ID) * 7;
    let first = r.of(&FIRST);
    let last = r.of(&LAST);
    let number = r.below(10_000);
    let house = r.below(300);
    let zip = r.below(9000) + 1000;
    let quantity = r.below(5) + 1;
    let cents = r.below(20_000) + 99;
    let quantity_2 = r.below(5) + 1;
    let cents_2 = r.below(20_000) + 99;
    let total_cents = quantity * cents + quantity_2 * cents_2;
    let trace = r.next();
    let span = r.next();
    write!(
        order,
        "{{\"id\":{id},\"customer\":{{\"id\":{customer},\"name\":\"{first} {last}\",\"email\":\"{first}.{last}{number}@example.com\",\
         \"tier\":\"{tier}\"}},\"status\":\"{status}\",\"currency\":\"EUR\",\"total_cents\":{total_cents},\
         \"created_at_ms\":{created_at_ms},\"updated_at_ms\":{updated_at_ms},\"shipping\":{{\"street\":\"{house} Analytical Way\",\
         \"city\":\"Porto\",\"zip\":\"{zip}-001\",\"country\":\"PT\"}},\"lines\":[{{\"sku\":\"KB-{number}-PT\",\"quantity\":{quantity},\
         \"cents\":{cents},\"note\":\"engraved\"}},{{\"sku\":\"MS-{house}\",\"quantity\":{quantity_2},\"cents\":{cents_2},\
         \"note\":\"{note}\"}}],\"tags\":[\"web\",\"returning\",\"summer-2025\"],\"notes\":\"{note}\",\"trace\":\"{trace:016x}{span:016x}\"}}",
        tier = r.of(&TIERS),
        status = r.of(&STATUS),
        updated_at_ms = created_at_ms + r.below(100_000),
        note = r.of(&NOTES),
    )
    .expect("a String takes all");
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: Keys, expected: &str) {
        let (key, order) = keyed_order(&mut Random(7), FIRST_ID, keys);
        let order: serde_json::Value = serde_json::from_str(&order).expect("an order is JSON");
        let customer = order["customer"]["id"].to_string();
        assert_eq!(key, if expected == "customer" { customer } else { order["id"].to_string() });
    }

    #[test]
    fn orders_are_keyed_as_it_is_asked() {
        check(Keys::Order, "id");
        check(Keys::Customer(10), "customer");
    }
}
