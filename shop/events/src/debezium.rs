//! Change events as the Debezium PostgreSQL connector (3.6) writes them, of a table under REPLICA IDENTITY FULL: the
//! order of the members, the spaces in `jsonb`, the base64 of decimals.

use crate::change::Change;
use crate::order::{Item, Order, euros};
use crate::time::{days, iso};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The form of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `schemas.enable=false`
    #[default]
    Plain,
    /// With `{"schema": .., "payload": ..}` around keys and values.
    WithSchema,
}

/// The place of a change in PostgreSQL's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub now_us: i64,
    pub transaction: u64,
    pub lsn: u64,
}

const KEY_SCHEMA: &str = r#"{"type":"struct","fields":[{"type":"int64","optional":false,"field":"order_id"}],"optional":false,"name":"shop.public.new_orders.Key"}"#;
const VALUE_SCHEMA: &str = include_str!("value_schema.json");

// === impl Format ===

impl Format {
    pub(crate) fn key(self, order_id: u64) -> Vec<u8> {
        self.wrapped(KEY_SCHEMA, format!(r#"{{"order_id":{order_id}}}"#))
    }

    /// `None` is a tombstone.
    pub(crate) fn value(self, change: &Change, source: Source) -> Option<Vec<u8>> {
        let null = || "null".to_owned();
        let (op, before, after) = match change {
            Change::Found(order) => ("r", null(), row(order)),
            Change::Created(order) => ("c", null(), row(order)),
            Change::Updated { before, after } => ("u", row(before), row(after)),
            Change::Deleted(order) => ("d", row(order), null()),
            Change::Forgotten { .. } => return None,
        };
        let captured_us = source.captured_us();
        let payload = format!(
            r#"{{"before":{before},"after":{after},"source":{},"transaction":null,"op":"{op}","ts_ms":{},"ts_us":{captured_us},"ts_ns":{}}}"#,
            source.json(op == "r"),
            captured_us / 1000,
            captured_us * 1000 + 285,
        );
        Some(self.wrapped(VALUE_SCHEMA, payload))
    }

    fn wrapped(self, schema: &str, payload: String) -> Vec<u8> {
        match self {
            Format::Plain => payload.into_bytes(),
            Format::WithSchema => format!(r#"{{"schema":{schema},"payload":{payload}}}"#).into_bytes(),
        }
    }
}

// === impl Source ===

impl Source {
    /// The time at which the connector has read the change.
    pub(crate) fn captured_us(self) -> i64 {
        self.now_us + 142_845
    }

    fn json(self, snapshot: bool) -> String {
        let Source { now_us, transaction, lsn } = self;
        let now_ms = now_us / 1000;
        let now_ns = now_us * 1000;
        format!(
            r#"{{"version":"3.6.3.Final","connector":"postgresql","name":"shop","ts_ms":{now_ms},"snapshot":"{snapshot}","db":"shopdb","sequence":"[null,\"{lsn}\"]","ts_us":{now_us},"ts_ns":{now_ns},"schema":"public","table":"new_orders","txId":{transaction},"lsn":{lsn},"xmin":null,"origin":null,"origin_lsn":null}}"#
        )
    }
}

// === Rows ===

fn row(order: &Order) -> String {
    let address = format!(r#"{{"zip": "00000", "city": "{}", "street": "Teststr. 1"}}"#, order.city);
    format!(
        r#"{{"order_id":{},"customer_id":{},"customer_name":{},"email":{},"phone":null,"ship_address":{},"items":{},"status":"{}","total":"{}","currency":"{}","gift":{},"note":{},"tags":null,"ordered_on":{},"ordered_at":"{}","local_ts":null,"local_ts3":null,"slot":null,"trace_id":null,"version":{}}}"#,
        order.order_id,
        order.customer_id,
        json_text(&order.customer_name),
        json_text(&order.email),
        json_text(&address),
        json_text(&jsonb_items(&order.items)),
        order.status.name(),
        decimal(order.total_cents),
        order.currency,
        order.gift,
        order.note.map_or_else(|| "null".to_owned(), json_text),
        days(order.ordered_at_us),
        iso(order.ordered_at_us),
        order.version,
    )
}

/// PostgreSQL writes `jsonb` with its shorter names first, and a space after colons and commas.
pub(crate) fn jsonb_items(items: &[Item]) -> String {
    let items = items.iter().map(|item| {
        let price = euros(item.unit_price_cents);
        format!(r#"{{"qty": {}, "product_id": {}, "unit_price": {price}}}"#, item.qty, item.product_id)
    });
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// The base64 of the unscaled value as Java's `BigInteger.toByteArray` gives it: no longer than its sign needs.
fn decimal(unscaled: u64) -> String {
    let bytes = i128::from(unscaled).to_be_bytes();
    let spare = bytes.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    STANDARD.encode(&bytes[spare..])
}

pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Status;

    #[test]
    fn decimals_are_javas() {
        for (unscaled, expected) in
            [(0, "AA=="), (10, "Cg=="), (2780, "Ctw="), (127, "fw=="), (128, "AIA="), (278_000, "BD3w"), (32_768, "AIAA")]
        {
            assert_eq!(decimal(unscaled), expected, "{unscaled}");
        }
    }

    /// The expected text is the connector's for the same row, member for member, but for the columns that the shop
    /// leaves null.
    #[test]
    fn a_row_is_written_as_the_connector_does() {
        let order = Order {
            order_id: 1001,
            customer_id: 7,
            customer_name: "Ada Example".to_owned(),
            email: "ada@example.test".to_owned(),
            city: "Köln",
            items: vec![
                Item { product_id: 1, qty: 2, unit_price_cents: 790 },
                Item { product_id: 2, qty: 1, unit_price_cents: 1200 },
            ],
            status: Status::New,
            total_cents: 2780,
            currency: "EUR",
            gift: false,
            note: Some("line1\nline \"2\" ☃"),
            ordered_at_us: 1_772_361_296_789_012,
            version: 1,
        };
        let expected = r#"{"order_id":1001,"customer_id":7,"customer_name":"Ada Example","email":"ada@example.test","phone":null,"ship_address":"{\"zip\": \"00000\", \"city\": \"Köln\", \"street\": \"Teststr. 1\"}","items":"[{\"qty\": 2, \"product_id\": 1, \"unit_price\": 7.90}, {\"qty\": 1, \"product_id\": 2, \"unit_price\": 12.00}]","status":"new","total":"Ctw=","currency":"EUR","gift":false,"note":"line1\nline \"2\" ☃","tags":null,"ordered_on":20513,"ordered_at":"2026-03-01T10:34:56.789012Z","local_ts":null,"local_ts3":null,"slot":null,"trace_id":null,"version":1}"#;
        assert_eq!(row(&order), expected);
    }
}
