//! A change event with typed rows.

mod row;
pub(crate) mod schema_texts;
mod sent;

pub use sent::Sent;

use crate::envelope::{Envelope, Event, Op};
use crate::json;
use crate::json::Value;
use crate::json::scan::Index;
use crate::unavailable::{Placeholder, UNAVAILABLE_VALUE_PLACEHOLDER};
use row::{Rows, read_row};
use sandbar_sdk::{Error, FromValue, Result};
use serde::de::DeserializeOwned;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// A change event whose rows are `T`: envelopes and flat rows, with and without a schema. A tombstone is none: it is the
/// `None` of an `Option<Change<T>>`, also in a wrapper.
///
/// A flat row (`ExtractNewRecordState`) is `after`, its op [`Op::Flat`]; one that is marked as deleted is `before`. Rows that
/// are not there, or null, are `None`. Under REPLICA IDENTITY DEFAULT `before` has little more than the key, also in the
/// events of a table, so that its type needs options or defaults. Its other columns are null, and those that are `NOT NULL` hold
/// zero, an empty value or their default: do not count with them.
///
/// A row fails if `T` reads a column whose value was not sent, and `before` does not have it either; [`Sent`] reads it
/// as such instead. Columns that `T` does not name may be anything.
///
/// Rows, and the structs in them, are JSON objects: an array is not taken for one, unless serde reads the value from a
/// buffer of its own (`flatten`, `untagged`, `tag`).
#[derive(Clone, Debug)]
pub struct Change<T> {
    /// The kind of change.
    pub op: Op,
    /// The row before the change.
    pub before: Option<T>,
    /// The row after the change.
    pub after: Option<T>,
}

/// The settings of a connector that are not Debezium's own, for [`ChangeOf`].
///
/// ```
/// use sandbar_debezium::{ChangeOf, Connector};
/// use sandbar_sdk::prelude::*;
///
/// /// Our connector, as its configuration in Kafka Connect is.
/// struct Shop;
///
/// impl Connector for Shop {
///     const UNAVAILABLE_VALUE_PLACEHOLDER: &'static str = "(not sent)";
/// }
///
/// #[derive(Deserialize)]
/// struct Order {
///     note: String,
/// }
///
/// #[transform]
/// fn notes(order: Record<'_, ChangeOf<Shop, Order>>) -> Result<Option<Message<'_>>> {
///     let Some(row) = &order.value.after else { return Ok(None) };
///     order.forward().with_json(&row.note).map(Some)
/// }
/// # use sandbar_sdk::testing::{Harness, Input};
/// # fn main() {
/// # let event = r#"{"before":{"note":"ring twice"},"after":{"note":"(not sent)"},"op":"u"}"#;
/// # assert_eq!(Harness::<notes>::new(()).run([Input::text(event)]).messages[0].text(), "\"ring twice\"");
/// # }
/// ```
pub trait Connector {
    /// The connector's `unavailable.value.placeholder`, as [`Placeholder::new`] takes it: a text, or `hex:` and digits.
    const UNAVAILABLE_VALUE_PLACEHOLDER: &'static str = UNAVAILABLE_VALUE_PLACEHOLDER;
    /// The form of the events.
    const ENVELOPE: Envelope = Envelope::Auto;
}

/// A change event of a connector whose settings are not Debezium's own. It reads as the [`Change`] that it holds.
pub struct ChangeOf<C, T> {
    /// The change.
    pub change: Change<T>,
    connector: PhantomData<fn() -> C>,
}

thread_local! {
    /// The placeholders of the connectors that a transform names, by their texts.
    static OWN_PLACEHOLDERS: RefCell<Vec<(&'static str, Rc<Placeholder>)>> = const { RefCell::new(Vec::new()) };
}

// === impl Change ===

impl<'a, T: DeserializeOwned> FromValue<'a> for Change<T> {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        Self::from_nullable(bytes)?.ok_or_else(no_event)
    }

    fn from_nullable(bytes: Option<&'a [u8]>) -> Result<Option<Self>> {
        Change::read(bytes, Placeholder::standard(), Envelope::Auto)
    }
}

fn no_event() -> Error {
    Error::new("null, where the transform expects a change event")
}

impl<T: DeserializeOwned> Change<T> {
    /// Reads an event; `None` is a tombstone, alone or in a wrapper.
    fn read(bytes: Option<&[u8]>, placeholder: &Placeholder, envelope: Envelope) -> Result<Option<Self>> {
        let Some(bytes) = bytes else { return Ok(None) };
        let mut index = Index::default();
        let Some(event) = Event::read_as(json::read(bytes, &mut index)?, envelope)? else { return Ok(None) };
        let row = |name: &str, row: Option<Value<'_>>, fallback: Option<Value<'_>>| {
            let is_read = Cell::new(false);
            let rows = |row| Rows { row, fallback, event: &event, placeholder, is_read: &is_read };
            let row = row.map(|row| read_row::<T>(rows(row))).transpose();
            row.map_err(|error| Error::from(error).context(name))
        };
        let before = row("before", event.before, None)?;
        let after = row("after", event.after, event.before)?;
        Ok(Some(Change { op: event.op, before, after }))
    }
}

// === impl ChangeOf ===

impl<'a, C: Connector, T: DeserializeOwned> FromValue<'a> for ChangeOf<C, T> {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        Self::from_nullable(bytes)?.ok_or_else(no_event)
    }

    fn from_nullable(bytes: Option<&'a [u8]>) -> Result<Option<Self>> {
        let placeholder = own_placeholder(C::UNAVAILABLE_VALUE_PLACEHOLDER)?;
        let change = Change::read(bytes, &placeholder, C::ENVELOPE)?;
        Ok(change.map(|change| ChangeOf { change, connector: PhantomData }))
    }
}

/// The placeholder of this text. Its shapes are made once.
fn own_placeholder(text: &'static str) -> Result<Rc<Placeholder>> {
    OWN_PLACEHOLDERS.with_borrow_mut(|known| {
        if let Some((_, placeholder)) = known.iter().find(|(known, _)| *known == text) {
            return Ok(Rc::clone(placeholder));
        }
        let placeholder = Rc::new(Placeholder::new(text).map_err(Error::new)?);
        known.push((text, Rc::clone(&placeholder)));
        Ok(placeholder)
    })
}

impl<C, T> Deref for ChangeOf<C, T> {
    type Target = Change<T>;

    fn deref(&self) -> &Change<T> {
        &self.change
    }
}

impl<C, T> DerefMut for ChangeOf<C, T> {
    fn deref_mut(&mut self) -> &mut Change<T> {
        &mut self.change
    }
}

impl<C, T: Clone> Clone for ChangeOf<C, T> {
    fn clone(&self) -> Self {
        ChangeOf { change: self.change.clone(), connector: PhantomData }
    }
}

impl<C, T: fmt::Debug> fmt::Debug for ChangeOf<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change.fmt(f)
    }
}

#[cfg(test)]
mod tests;
