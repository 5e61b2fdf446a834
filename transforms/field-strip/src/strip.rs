//! From a change event to the order that a service keeps. Pure: a configuration and a record in, a verdict out.

use crate::config::{Config, ITEM_COUNT, ORDER_TOTAL, OutputField};
use crate::items::{self, ItemsError};
use sandbar_debezium::json::scan::Index;
use sandbar_debezium::json::text::{is_number, unescape};
use sandbar_debezium::json::{self, JsonError, Kind, Value};
use sandbar_debezium::{CompleteRow, Decimal, DecimalError, Event, EventError, Form, Op, RowError, key_id};
use std::borrow::Cow;

/// The outcome for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// A key that the order has left, so that it is to be deleted first.
    pub moved_from: Option<Vec<u8>>,
    pub action: Action<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Write the value in [`Scratch::value`] under this key.
    Put(Cow<'a, [u8]>),
    /// Write a tombstone under this key.
    Delete(Cow<'a, [u8]>),
    Ignore(IgnoreReason),
}

/// Why a record leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreReason {
    /// The order is to be dropped, and was never written.
    DroppedAtOnce,
    Truncate,
    Message,
    /// A tombstone whose key does not say which order it is for.
    ForeignTombstone,
}

/// Why a record fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("the event's op is {0:?}, but it has no row `{1}`")]
    NoRow(Op, &'static str),
    #[error("neither the record's key nor the row has a number or a text as `{0}`")]
    NoKey(String),
    #[error("the record's key is not JSON: {0}")]
    Key(JsonError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error("column `{0}`: {1}")]
    Column(String, JsonError),
    #[error("column `{0}`: {1:?} {2}")]
    Decimal(String, String, DecimalError),
    #[error("column `{0}`: {1}")]
    Items(String, ItemsError),
    #[error("what would be written is not UTF-8, so the record is not either")]
    Utf8,
}

/// Memory that is used again for each record, and the value that is to be written.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// The value of [`Action::Put`].
    pub value: Vec<u8>,
    event: Index,
    key: Index,
    items: items::Scratch,
}

/// A row to be written.
struct Change<'a> {
    config: &'a Config,
    row: CompleteRow<'a>,
}

/// Decides the outcome for a record.
pub fn strip<'a>(
    config: &Config,
    key: Option<&'a [u8]>,
    value: Option<&[u8]>,
    scratch: &mut Scratch,
) -> Result<Verdict<'a>, StripError> {
    let Scratch { value: out, event: index, key: key_index, items } = scratch;
    let event = match value {
        None => None,
        Some(value) => Event::read(json::read(value, index).map_err(EventError::from)?)?,
    };
    let key = key.map(|key| read_key(config, key, key_index)).transpose();
    let Some(event) = event else { return tombstone(key) };
    match event.op {
        Op::Truncate => Ok(Verdict::ignore(IgnoreReason::Truncate)),
        Op::Message => Ok(Verdict::ignore(IgnoreReason::Message)),
        Op::Delete => {
            let key = match key?.flatten() {
                Some(key) => key,
                None => Cow::Owned(row_key(config, event.before.ok_or(StripError::NoRow(event.op, "before"))?)?),
            };
            Ok(Verdict { moved_from: None, action: Action::Delete(key) })
        }
        Op::Create | Op::Read | Op::Update | Op::Flat => upsert(config, key?.flatten(), event, out, items),
    }
}

fn upsert<'a, 'e>(
    config: &'e Config,
    key: Option<Cow<'a, [u8]>>,
    event: Event<'e>,
    out: &mut Vec<u8>,
    items: &mut items::Scratch,
) -> Result<Verdict<'a>, StripError> {
    let after = event.after.ok_or(StripError::NoRow(event.op, "after"))?;
    let row = CompleteRow::new(&config.columns, after, event.before)?;
    let op = if event.op == Op::Flat { row.op() } else { event.op };
    let change = Change { config, row };
    let (key, moved_from) = match key {
        // Debezium makes a delete and a create of a change of key, so that this one holds for before and after.
        Some(key) => (key, None),
        None => {
            let key = change.key()?;
            (Cow::Owned(key.clone()), old_key(config, event.before)?.filter(|old_key| *old_key != key))
        }
    };
    let action = match op {
        Op::Delete => Action::Delete(key),
        // Under a new key nothing has been written. After a snapshot or an update something may have been: under an
        // earlier status, or an earlier configuration.
        Op::Create if change.is_dropped()? => Action::Ignore(IgnoreReason::DroppedAtOnce),
        _ if change.is_dropped()? => Action::Delete(key),
        _ => {
            let forms = event.forms(&config.columns)?;
            change.write(forms.as_deref(), out, items)?;
            Action::Put(key)
        }
    };
    Ok(Verdict { moved_from, action })
}

/// Debezium sends one after each delete, which was a tombstone already. It is passed on: it changes nothing, and where a
/// connector is set to send tombstones only, it is all there is.
fn tombstone<'a>(key: Result<Option<Option<Cow<'a, [u8]>>>, StripError>) -> Result<Verdict<'a>, StripError> {
    match key?.flatten() {
        Some(key) => Ok(Verdict { moved_from: None, action: Action::Delete(key) }),
        None => Ok(Verdict::ignore(IgnoreReason::ForeignTombstone)),
    }
}

// === impl Verdict ===

impl Verdict<'_> {
    fn ignore(why: IgnoreReason) -> Self {
        Verdict { moved_from: None, action: Action::Ignore(why) }
    }
}

// === impl Change ===

impl Change<'_> {
    fn key(&self) -> Result<Vec<u8>, StripError> {
        let id = self.row.get(self.config.key.column)?;
        id.and_then(|id| key_of(self.config, id)).ok_or_else(|| no_key(self.config))
    }

    fn is_dropped(&self) -> Result<bool, StripError> {
        match &self.config.drop_when {
            Some(condition) => Ok(condition.holds(self.row.need(condition.column)?)),
            None => Ok(false),
        }
    }

    /// Writes the order. A kept column that the row does not have is left out: the table had none when the row changed.
    fn write(&self, forms: Option<&[Form]>, out: &mut Vec<u8>, items: &mut items::Scratch) -> Result<(), StripError> {
        out.clear();
        out.push(b'{');
        for kept in &self.config.keep {
            let Some(value) = self.row.get(kept.column)? else { continue };
            let form = forms.map_or(kept.form, |forms| forms[kept.column]);
            out.extend_from_slice(&kept.label);
            self.write_value(kept, form, value, out)?;
            out.push(b',');
        }
        if let Some(column) = self.config.items {
            let totals = items::totals(self.row.need(column)?, items)
                .map_err(|error| StripError::Items(self.config.columns.name(column).to_owned(), error))?;
            extend(out, &[b"\"", ORDER_TOTAL.as_bytes(), b"\":\""]);
            totals.order_total.write(out);
            extend(out, &[b"\",\"", ITEM_COUNT.as_bytes(), b"\":"]);
            Decimal::from(totals.item_count).write(out);
            out.push(b',');
        }
        if out.ends_with(b",") {
            out.pop();
        }
        out.push(b'}');
        // Names and totals are UTF-8, so that any other bytes come from the record.
        str::from_utf8(out).map(drop).map_err(|_| StripError::Utf8)
    }

    fn write_value(&self, kept: &OutputField, form: Form, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), StripError> {
        let name = || self.config.columns.name(kept.column).to_owned();
        match form {
            Form::Plain => {
                value.check().map_err(|error| StripError::Column(name(), error))?;
                out.extend_from_slice(value.text());
                Ok(())
            }
            Form::Decimal { scale } => write_decimal(value, scale, out).map_err(|error| {
                let text = String::from_utf8_lossy(value.text()).trim_matches('"').to_owned();
                StripError::Decimal(name(), text, error)
            }),
        }
    }
}

// === Values ===

/// Writes a decimal as a text, whichever way the connector is set to send it.
fn write_decimal(value: Value<'_>, scale: u32, out: &mut Vec<u8>) -> Result<(), DecimalError> {
    let decimal = match value.kind() {
        Kind::Null => {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        // Not a digit is changed: `double` has lost its digits already.
        Kind::Number(text) if is_number(text) => {
            extend(out, &[b"\"", text, b"\""]);
            return Ok(());
        }
        // base64 has no point, so that this is decimal.handling.mode=string.
        Kind::Text(text) if text.contains(&b'.') && is_number(text) => {
            extend(out, &[b"\"", text, b"\""]);
            return Ok(());
        }
        Kind::Text(text) if text.contains(&b'\\') => {
            let mut plain = Vec::new();
            unescape(text, &mut plain).map_err(|_| DecimalError::Base64)?;
            Decimal::from_base64(&plain, scale)?
        }
        Kind::Text(text) => Decimal::from_base64(text, scale)?,
        Kind::Object => variable_scale(value)?,
        _ => return Err(DecimalError::Syntax),
    };
    out.push(b'"');
    decimal.write(out);
    out.push(b'"');
    Ok(())
}

/// A `NUMERIC` without a precision: `{"scale":9,"value":"ESIQ9H3pgRU="}`.
fn variable_scale(value: Value<'_>) -> Result<Decimal, DecimalError> {
    let member = |name: &[u8]| value.member(name).ok().flatten().map(Value::kind);
    match (member(b"scale"), member(b"value")) {
        (Some(Kind::Number(scale)), Some(Kind::Text(unscaled))) => {
            let scale = str::from_utf8(scale).ok().and_then(|scale| scale.parse().ok()).ok_or(DecimalError::Syntax)?;
            Decimal::from_base64(unscaled, scale)
        }
        _ => Err(DecimalError::Syntax),
    }
}

// === Keys ===

/// Reads a record's key, with or without a schema around it. `None`: the key does not hold the key field.
fn read_key<'a>(config: &Config, key: &'a [u8], index: &mut Index) -> Result<Option<Cow<'a, [u8]>>, StripError> {
    let id = key.strip_prefix(config.key.label.as_slice()).and_then(|rest| rest.strip_suffix(b"}"));
    if id.is_some_and(is_number) {
        return Ok(Some(Cow::Borrowed(key)));
    }
    let id = key_id(&config.columns, config.key.column, key, index).map_err(StripError::Key)?;
    Ok(id.and_then(|id| key_of(config, id)).map(Cow::Owned))
}

/// The key of a row that is gone.
fn row_key(config: &Config, row: Value<'_>) -> Result<Vec<u8>, StripError> {
    old_key(config, Some(row))?.ok_or_else(|| no_key(config))
}

fn old_key(config: &Config, before: Option<Value<'_>>) -> Result<Option<Vec<u8>>, StripError> {
    let Some(before) = before.and_then(Value::members) else { return Ok(None) };
    let before = config.columns.pick(before).map_err(EventError::from)?;
    Ok(before.get(config.key.column).and_then(|id| key_of(config, id)))
}

/// The output's key for an id.
fn key_of(config: &Config, id: Value<'_>) -> Option<Vec<u8>> {
    let is_usable = matches!(id.kind(), Kind::Number(_) | Kind::Text(_)) && id.check().is_ok();
    (is_usable && str::from_utf8(id.text()).is_ok()).then(|| [config.key.label.as_slice(), id.text(), b"}"].concat())
}

fn no_key(config: &Config) -> StripError {
    StripError::NoKey(config.columns.name(config.key.column).to_owned())
}

fn extend(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
