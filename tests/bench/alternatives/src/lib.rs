//! The guest's side of `wit/alternatives.wit`: pass-through.

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "alternatives", pub_export_macro: true });
}

use bindings::exports::sandbar::alternatives::crossings::{Guest, Row, Sent};

/// The exports.
pub struct Alternatives;

impl Guest for Alternatives {
    fn rows(batch: Vec<Row>) -> Result<Vec<Sent>, String> {
        Ok(batch.into_iter().enumerate().map(|(source, row)| pass(source as u32, row)).collect())
    }

    fn one(row: Row) -> Result<Option<Sent>, String> {
        Ok(Some(pass(0, row)))
    }
}

fn pass(source: u32, row: Row) -> Sent {
    Sent { target: 0, source, key: row.key, value: row.value, headers: row.headers }
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated: functions that the host calls by name")]
mod exported {
    use super::{Alternatives, bindings};

    bindings::export!(Alternatives with_types_in bindings);
}
