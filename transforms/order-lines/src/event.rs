//! The content of a record about an order. Pure: a configuration and a record in.

use crate::config::Config;
use crate::items::{self, ItemsError, Line};
use crate::time;
use sandbar_debezium::json::scan::Index;
use sandbar_debezium::json::{self, JsonError, Kind, Value};
use sandbar_debezium::{CompleteRow, Event, EventError, Id, Op, RowError, key_id};

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordContent {
    /// The order exists, in this state.
    Is {
        order_id: Id,
        /// The id that the order has left, where the record's key does not say it.
        moved_from: Option<Id>,
        known: Known,
    },
    /// The order is gone.
    Gone(Id),
    /// Nothing about an order; why.
    Nothing(&'static str),
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
    #[error("the record's key is not JSON: {0}")]
    Key(JsonError),
    #[error("the event's op is {0:?}, but it has no row `{1}`")]
    NoRow(Op, &'static str),
    #[error("neither the record's key nor the row has a whole number or a text as `{0}`")]
    NoId(String),
    #[error("column `{0}`: {1}")]
    Items(String, ItemsError),
}

/// Memory that is used again for each record.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    event: Index,
    key: Index,
    items: items::Scratch,
}

/// Reads a record.
pub fn read(
    config: &Config,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    scratch: &mut Scratch,
) -> Result<RecordContent, SaidError> {
    let key_id = match key {
        Some(key) => key_id(&config.columns, config.order, key, &mut scratch.key).map_err(SaidError::Key)?,
        None => None,
    };
    let key_id = key_id.and_then(Id::read);
    let event = match value {
        Some(value) => Event::read(json::read(value, &mut scratch.event).map_err(EventError::from)?)?,
        None => None,
    };
    let Some(event) = event else {
        return Ok(key_id.map_or(
            RecordContent::Nothing("a tombstone whose key does not say which order it is for"),
            RecordContent::Gone,
        ));
    };
    match event.op {
        // A truncate names no keys, and only one partition hears of it.
        Op::Truncate => Ok(RecordContent::Nothing("a TRUNCATE, which does not say which orders are gone")),
        Op::Message => Ok(RecordContent::Nothing("a message")),
        Op::Delete => {
            let before = || event.before.ok_or(SaidError::NoRow(event.op, "before"));
            let order_id = match key_id {
                Some(order_id) => order_id,
                None => row_id(config, before()?)?.ok_or_else(|| no_id(config))?,
            };
            Ok(RecordContent::Gone(order_id))
        }
        Op::Create | Op::Read | Op::Update | Op::Flat => is(config, key_id, event, &mut scratch.items),
    }
}

fn is(
    config: &Config,
    key_id: Option<Id>,
    event: Event<'_>,
    scratch: &mut items::Scratch,
) -> Result<RecordContent, SaidError> {
    let after = event.after.ok_or(SaidError::NoRow(event.op, "after"))?;
    let row = CompleteRow::new(&config.columns, after, event.before)?;
    let (order_id, moved_from) = match key_id {
        // Debezium makes a delete and a create of a change of key, so that this one holds for before and after.
        Some(order_id) => (order_id, None),
        None => {
            let order_id = row.get(config.order)?.and_then(Id::read).ok_or_else(|| no_id(config))?;
            let old_id = event.before.map(|before| row_id(config, before)).transpose()?.flatten();
            let moved_from = old_id.filter(|old_id| *old_id != order_id);
            (order_id, moved_from)
        }
    };
    if event.op == Op::Flat && row.op() == Op::Delete {
        return Ok(RecordContent::Gone(order_id));
    }
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
            Some(items::lines(items, scratch).map_err(|error| SaidError::Items(name(), error))?)
        }
        Err(RowError::Unavailable(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(RecordContent::Is { order_id, moved_from, known: Known { counted, at_ms, lines } })
}

fn row_id(config: &Config, row: Value<'_>) -> Result<Option<Id>, SaidError> {
    let Some(members) = row.members() else { return Ok(None) };
    let row = config.columns.pick(members).map_err(EventError::from)?;
    Ok(row.get(config.order).and_then(Id::read))
}

fn no_id(config: &Config) -> SaidError {
    SaidError::NoId(config.columns.name(config.order).to_owned())
}
