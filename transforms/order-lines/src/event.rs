//! The content of a record about an order. Pure: a configuration and a record in.

use crate::config::Config;
use crate::items::{self, ItemsError, Line};
use crate::time;
use sandbar_debezium::json::scan::Index;
use sandbar_debezium::json::{self, Document, Kind, Value};
use sandbar_debezium::{CompleteRow, Event, EventError, FILLER_HINT, Form, Id, KeyError, Op, RowError};
use serde_json::value::RawValue;

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordContent {
    /// The order exists, in this state.
    Is {
        order: OrderKey,
        /// The key that the order has left, where the record's key does not say it.
        moved_from: Option<OrderKey>,
        known: Known,
    },
    /// The order is gone.
    Gone(OrderKey),
    /// Nothing about an order; why.
    Nothing(&'static str),
}

/// The key of an order. Two orders may have one id, if the records' keys have other columns too: an order of two
/// tables, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderKey {
    pub id: Id,
    /// The whole key, by which the order is stored.
    pub text: String,
    /// True if the id alone does not name the order.
    pub is_wider: bool,
}

/// The state of an order in a change event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// True if the order counts.
    pub counted: bool,
    /// The time of the order, in ms since the Unix epoch, if it can be read.
    pub at_ms: Option<i64>,
    /// Its lines by product; `None`: they were not sent, because they did not change.
    pub lines: Option<Vec<Line>>,
}

/// Why a record fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaidError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("`uncounted_when` cannot look at `{0}`: it is a decimal, which comes encoded")]
    EncodedCondition(String),
    #[error("column `{0}`: {1}")]
    DecimalForm(String, &'static str),
    #[error("neither the record's key nor the row has a whole number or a text as `{0}`")]
    NoId(String),
    #[error("neither the record's key nor the row says for certain what `{0}` was: {FILLER_HINT}")]
    NoOldId(String),
    #[error("column `{0}`: {1}")]
    Items(String, ItemsError),
}

/// Memory that is used again for each record.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    event: Index,
    key: Index,
    items: Document,
}

/// Reads a record.
pub fn read(
    config: &Config,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    scratch: &mut Scratch,
) -> Result<RecordContent, SaidError> {
    let key = match key {
        Some(key) => order_key(config, key, &mut scratch.key)?,
        None => None,
    };
    let event = match value {
        Some(value) => Event::read_as(json::read(value, &mut scratch.event).map_err(EventError::from)?, config.envelope)?,
        None => None,
    };
    let Some(event) = event else {
        return Ok(key.map_or(
            RecordContent::Nothing("a tombstone whose key does not say which order it is for"),
            RecordContent::Gone,
        ));
    };
    match event.op {
        // A truncate names no keys, and only one partition hears of it.
        Op::Truncate => Ok(RecordContent::Nothing("a TRUNCATE, which does not say which orders are gone")),
        Op::Message => Ok(RecordContent::Nothing("a message")),
        Op::Delete => {
            let order = match key {
                Some(order) => order,
                None => {
                    if event.before.is_none() {
                        return Err(EventError::NoRow(event.op, "before", false).into());
                    }
                    let forms = event.forms(&config.columns)?;
                    key_before(config, &event, forms.as_deref())?
                }
            };
            Ok(RecordContent::Gone(order))
        }
        Op::Create | Op::Read | Op::Update | Op::Flat => is(config, key, event, &mut scratch.items),
    }
}

fn is(
    config: &Config,
    key: Option<OrderKey>,
    event: Event<'_>,
    document: &mut Document,
) -> Result<RecordContent, SaidError> {
    let row = CompleteRow::of_event(&config.columns, &event)?;
    let forms = event.forms(&config.columns)?;
    let forms = forms.as_deref();
    let (order, moved_from) = match key {
        // Debezium makes a delete and a create of a change of key, so that this one holds for before and after.
        Some(order) => (order, None),
        None => {
            let order = row_key(config, row.get(config.order)?, forms)?.ok_or_else(|| no_id(config))?;
            let moved_from = moved_from(config, &event, forms, &order)?;
            (order, moved_from)
        }
    };
    check_condition(config, forms)?;
    let counted = match &config.uncounted_when {
        Some(condition) => !condition.holds(row.need(condition.column)?),
        None => true,
    };
    let at_ms = match row.get(config.at)?.map(Value::kind) {
        Some(Kind::Text(text)) => time::parse_ms(text),
        _ => None,
    };
    let lines = match row.need(config.items) {
        Ok(items) => {
            let name = || config.columns.name(config.items).to_owned();
            if !items.is_null() {
                let form = form(forms, config.items);
                form.encoding(None).map_err(|why| SaidError::DecimalForm(name(), why))?;
            }
            Some(items::lines(items, document).map_err(|error| SaidError::Items(name(), error))?)
        }
        Err(RowError::Unavailable(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(RecordContent::Is { order, moved_from, known: Known { counted, at_ms, lines } })
}

fn form(forms: Option<&[Form]>, column: usize) -> Form {
    forms.map_or(Form::Unknown, |forms| forms[column])
}

/// A decimal with a schema comes encoded, so that the condition would never hold.
fn check_condition(config: &Config, forms: Option<&[Form]>) -> Result<(), SaidError> {
    let Some(condition) = &config.uncounted_when else { return Ok(()) };
    match form(forms, condition.column) {
        Form::Decimal(_) | Form::BadScale => {
            Err(SaidError::EncodedCondition(config.columns.name(condition.column).to_owned()))
        }
        _ => Ok(()),
    }
}

/// The order that a record's key names; `None`: it names none.
fn order_key(config: &Config, key: &[u8], index: &mut Index) -> Result<Option<OrderKey>, SaidError> {
    let Some(key) = config.key.of_record(&config.columns, key, index)? else { return Ok(None) };
    let mut index = Index::default();
    let row = json::read(&key.text, &mut index).map_err(KeyError::Malformed)?;
    let Some(members) = row.members() else { return Ok(None) };
    let row = config.columns.pick(members).map_err(KeyError::Malformed)?;
    let Some(id) = row.get(config.order).and_then(Id::read) else { return Ok(None) };
    if !key.is_wider {
        return Ok(Some(OrderKey::of(config, id)));
    }
    Ok(Some(OrderKey { id, text: String::from_utf8_lossy(&key.text).into_owned(), is_wider: true }))
}

/// The order that a row names by the value of its column.
fn row_key(config: &Config, id: Option<Value<'_>>, forms: Option<&[Form]>) -> Result<Option<OrderKey>, SaidError> {
    let Some(id) = id.filter(|id| !config.columns.is_unavailable(*id)) else { return Ok(None) };
    if form(forms, config.order).is_encoded(id) {
        return Err(KeyError::Encoded(config.columns.name(config.order).to_owned()).into());
    }
    Ok(Id::read(id).map(|id| OrderKey::of(config, id)))
}

/// The order that the row named before the change. A value of `before` that may be a filler names none: the lines of the right
/// order would never be retracted.
fn key_before(config: &Config, event: &Event<'_>, forms: Option<&[Form]>) -> Result<OrderKey, SaidError> {
    let before = event.known_before(&config.columns)?;
    let id = before.and_then(|before| before.get(config.order));
    row_key(config, id, forms)?.ok_or_else(|| SaidError::NoOldId(config.columns.name(config.order).to_owned()))
}

/// The order that the row has left for this one.
fn moved_from(
    config: &Config,
    event: &Event<'_>,
    forms: Option<&[Form]>,
    order: &OrderKey,
) -> Result<Option<OrderKey>, SaidError> {
    let Some(before) = event.before.and_then(Value::members) else { return Ok(None) };
    let before = config.columns.pick(before).map_err(EventError::from)?;
    let written = row_key(config, before.get(config.order), forms)?;
    if written.as_ref() == Some(order) { Ok(None) } else { key_before(config, event, forms).map(Some) }
}

fn no_id(config: &Config) -> SaidError {
    SaidError::NoId(config.columns.name(config.order).to_owned())
}

// === impl OrderKey ===

impl OrderKey {
    /// The key of an order that its id alone names.
    fn of(config: &Config, id: Id) -> Self {
        let text = id.key(config.columns.name(config.order));
        OrderKey { id, text, is_wider: false }
    }

    /// The key as JSON, where the id alone does not name the order.
    pub fn wider(&self) -> Option<&RawValue> {
        if self.is_wider { serde_json::from_str(&self.text).ok() } else { None }
    }
}
