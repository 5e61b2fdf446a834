//! From a change event to the order that a service keeps. Pure: a configuration and a record in, a verdict out.

use crate::config::{Config, ITEM_COUNT, ORDER_TOTAL, OutputField};
use crate::items::{self, ItemsError};
use sandbar_debezium::json::scan::Index;
use sandbar_debezium::json::{self, Document, JsonError, Value};
use sandbar_debezium::{
    CompleteRow, Decimal, DecimalError, Encoding, Event, EventError, FILLER_HINT, Form, KeyError, Op, RowError,
};
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
    #[error("neither the record's key nor the row has a number or a text as `{0}`")]
    NoKey(String),
    #[error("neither the record's key nor the row says for certain what `{0}` was: {FILLER_HINT}")]
    NoOldKey(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error("column `{0}`: {1}")]
    Column(String, JsonError),
    #[error("column `{0}`: {1:?} {2}")]
    Decimal(String, String, DecimalError),
    #[error("column `{0}`: {1}")]
    DecimalForm(String, &'static str),
    #[error("`drop_when` cannot look at `{0}`: it is a decimal, which comes encoded")]
    EncodedCondition(String),
    #[error("the row has none of the kept columns, but {0}. Set `allow_empty: true` if such a row is to be written")]
    Empty(String),
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
    items: Document,
}

/// A row to be written.
struct Change<'a> {
    config: &'a Config,
    after: Value<'a>,
    row: CompleteRow<'a>,
    forms: Option<Vec<Form>>,
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
        Some(value) => Event::read_as(json::read(value, index).map_err(EventError::from)?, config.envelope)?,
    };
    let key = key.map(|key| read_key(config, key, key_index)).transpose();
    let Some(event) = event else { return tombstone(key) };
    match event.op {
        Op::Truncate => Ok(Verdict::ignore(IgnoreReason::Truncate)),
        Op::Message => Ok(Verdict::ignore(IgnoreReason::Message)),
        Op::Delete => {
            let key = match key?.flatten() {
                Some(key) => key,
                None => {
                    if event.before.is_none() {
                        return Err(EventError::NoRow(event.op, "before", false).into());
                    }
                    let forms = event.forms(&config.columns)?;
                    Cow::Owned(old_key(config, &event, forms.as_deref())?)
                }
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
    items: &mut Document,
) -> Result<Verdict<'a>, StripError> {
    let after = event.after.ok_or(EventError::NoRow(event.op, "after", false))?;
    let row = CompleteRow::of_event(&config.columns, &event)?;
    let change = Change { config, after, row, forms: event.forms(&config.columns)? };
    let (key, moved_from) = match key {
        // Debezium makes a delete and a create of a change of key, so that this one holds for before and after.
        Some(key) => (key, None),
        None => {
            let key = change.key()?;
            let moved_from = moved_from(config, &event, change.forms.as_deref(), &key)?;
            (Cow::Owned(key), moved_from)
        }
    };
    // An order may have been written under the key of a create, too: before a truncate, or under an earlier configuration
    // before the topic is read again.
    let action = if change.is_dropped()? {
        Action::Delete(key)
    } else {
        change.write(out, items)?;
        Action::Put(key)
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
        let value = |column: usize| self.row.get(column).ok().flatten();
        let key = self.config.key.of_row(&self.config.columns, self.forms.as_deref(), value)?;
        key.ok_or_else(|| no_key(self.config))
    }

    fn form(&self, column: usize) -> Form {
        self.forms.as_ref().map_or(Form::Unknown, |forms| forms[column])
    }

    fn is_dropped(&self) -> Result<bool, StripError> {
        let Some(condition) = &self.config.drop_when else { return Ok(false) };
        if matches!(self.form(condition.column), Form::Decimal(_) | Form::BadScale) {
            return Err(StripError::EncodedCondition(self.config.columns.name(condition.column).to_owned()));
        }
        Ok(condition.holds(self.row.need(condition.column)?))
    }

    /// Writes the order. A kept column that the row does not have is left out: the table had none when the row changed.
    fn write(&self, out: &mut Vec<u8>, document: &mut Document) -> Result<(), StripError> {
        out.clear();
        out.push(b'{');
        for kept in &self.config.keep {
            let Some(value) = self.row.get(kept.column)? else { continue };
            out.extend_from_slice(&kept.label);
            self.write_value(kept, value, out)?;
            out.push(b',');
        }
        if out.len() == 1 && !self.config.keep.is_empty() && !self.config.allow_empty {
            return Err(StripError::Empty(found(self.after)));
        }
        if let Some(column) = self.config.items {
            let name = || self.config.columns.name(column).to_owned();
            let items = self.row.need(column)?;
            if !items.is_null() {
                self.form(column).encoding(None).map_err(|why| StripError::DecimalForm(name(), why))?;
            }
            let totals = items::totals(items, document).map_err(|error| StripError::Items(name(), error))?;
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

    fn write_value(&self, kept: &OutputField, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), StripError> {
        let name = || self.config.columns.name(kept.column).to_owned();
        // Where there is no list, none of its decimals is encoded.
        let form = if value.is_null() { Form::Unknown } else { self.form(kept.column) };
        let encoding: Option<Encoding> = form.encoding(kept.encoding).map_err(|why| StripError::DecimalForm(name(), why))?;
        match encoding {
            None => {
                value.check().map_err(|error| StripError::Column(name(), error))?;
                out.extend_from_slice(value.text());
                Ok(())
            }
            Some(encoding) => encoding.write(value, out).map_err(|error| {
                let text = String::from_utf8_lossy(value.text()).trim_matches('"').to_owned();
                StripError::Decimal(name(), text, error)
            }),
        }
    }
}

/// The names of some columns of a row, for an error.
fn found(row: Value<'_>) -> String {
    let mut names = Vec::new();
    let mut members = row.members();
    while let Some(Ok(Some((name, _)))) = members.as_mut().map(|members| members.next()) {
        if names.len() == 5 {
            names.push("..".to_owned());
            break;
        }
        names.push(format!("`{}`", String::from_utf8_lossy(&name[..name.len().min(100)])));
    }
    names.join(", ")
}

// === Keys ===

/// Reads a record's key, with or without a schema around it. `None`: the key does not hold the key field.
fn read_key<'a>(config: &Config, key: &'a [u8], index: &mut Index) -> Result<Option<Cow<'a, [u8]>>, StripError> {
    Ok(config.key.of_record(&config.columns, key, index)?.map(|key| key.text))
}

/// The key of a row as it was before. A value of `before` that may be a filler is none: a delete of order 0 would leave the
/// right order for ever.
fn old_key(config: &Config, event: &Event<'_>, forms: Option<&[Form]>) -> Result<Vec<u8>, StripError> {
    let before = event.known_before(&config.columns)?;
    let value = |column: usize| before.as_ref().and_then(|before| before.get(column));
    let key = config.key.of_row(&config.columns, forms, value)?;
    key.ok_or_else(|| StripError::NoOldKey(config.key.names(&config.columns)))
}

/// The key that a row has left for this one.
fn moved_from(
    config: &Config,
    event: &Event<'_>,
    forms: Option<&[Form]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StripError> {
    let Some(before) = event.before.and_then(Value::members) else { return Ok(None) };
    let before = config.columns.pick(before).map_err(EventError::from)?;
    let written = config.key.of_row(&config.columns, forms, |column| before.get(column))?;
    if written.as_deref() == Some(key) { Ok(None) } else { old_key(config, event, forms).map(Some) }
}

fn no_key(config: &Config) -> StripError {
    StripError::NoKey(config.key.names(&config.columns))
}

fn extend(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
