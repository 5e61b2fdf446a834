//! The orders. They are made from a counter, so that every run has equal ones. Parts that do not repeat in real orders
//! (names, streets, traces) do not repeat here either, or lz4 would be too cheap.

use std::fmt::Write;

use sandbar_harness::{KafkaCluster, Message, Producer};

const FIRST: [&str; 8] = ["Ada", "Grace", "Edsger", "Barbara", "Leslie", "Frances", "Donald", "Radia"];
const LAST: [&str; 8] = ["Lovelace", "Hopper", "Dijkstra", "Liskov", "Lamport", "Allen", "Knuth", "Perlman"];
const STATUS: [&str; 4] = ["paid", "placed", "shipped", "cancelled"];
const NOTES: [&str; 4] =
    ["Leave at the door; \\\"ring twice\\\".", "", "gift \u{2013} wrap it", "Call before delivery, please"];

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

/// Produces the orders; answers with the bytes of their values.
pub fn produce(kafka: &KafkaCluster, topic: &str, records: u64) -> u64 {
    let producer = Producer::new(kafka);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut bytes = 0;
    for i in 0..records {
        let id = 100_000_000 + i;
        let order = order(&mut random, id);
        bytes += order.len() as u64;
        producer.send(topic, &Message::new(id.to_string(), order));
    }
    producer.flush();
    bytes
}

fn order(r: &mut Random, id: u64) -> String {
    let mut order = String::with_capacity(700);
    let created_at_ms = 1_735_689_600_000 + (id - 100_000_000) * 7;
    let first = r.of(&FIRST);
    let last = r.of(&LAST);
    let customer = r.below(1_000_000);
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
        tier = r.of(&["gold", "silver", "none"]),
        status = r.of(&STATUS),
        updated_at_ms = created_at_ms + r.below(100_000),
        note = r.of(&NOTES),
    )
    .expect("a String takes all");
    order
}
