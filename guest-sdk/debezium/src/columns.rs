//! The columns that a configuration asks for, found in a row.

use crate::decimal::is_variable_scale;
use crate::envelope::{Event, EventError, name_of};
use crate::filler::may_be_filler;
use crate::json::text::unescape;
use crate::json::{JsonError, Kind, Members, Value};
use crate::unavailable::Placeholder;

/// Names of columns, each with a number.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    names: Vec<String>,
    /// Numbers of the columns by the length of their names: one look tells most unwanted columns apart.
    by_len: Vec<Vec<usize>>,
    /// Numbers of the columns that conditions look at.
    compared: Vec<usize>,
    placeholder: Placeholder,
}

/// The values of the wanted columns in one row, by their numbers.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    values: Vec<Option<Value<'a>>>,
}

/// A row after a change, with the row before it where that has values which the change did not send.
#[derive(Clone, Debug)]
pub struct CompleteRow<'a> {
    columns: &'a Columns,
    row: Row<'a>,
    before: Option<Row<'a>>,
}

/// The reason why a row has no such value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The table had no such column when the row changed.
    #[error("the row has no column `{0}`")]
    NoColumn(String),
    /// A large value that the change left as it was.
    #[error(
        "column `{0}` was not sent (PostgreSQL leaves out large values that did not change), and `before` does not hold \
         it: set REPLICA IDENTITY FULL on the table"
    )]
    Unavailable(String),
    /// A value that a condition cannot be compared with, so that the condition would never hold.
    #[error("a condition cannot look at `{0}`: it is {1}")]
    Compared(String, &'static str),
}

// === impl Columns ===

impl Columns {
    /// The number of a column, new or known.
    pub fn add(&mut self, name: &str) -> usize {
        if let Some(known) = self.names.iter().position(|known| known == name) {
            return known;
        }
        let column = self.names.len();
        self.names.push(name.to_owned());
        self.by_len.resize(self.by_len.len().max(name.len() + 1), Vec::new());
        self.by_len[name.len()].push(column);
        column
    }

    /// The number of a column that a condition looks at, new or known. [`CompleteRow::need`] refuses its objects and arrays.
    pub(crate) fn add_compared(&mut self, name: &str) -> usize {
        let column = self.add(name);
        if !self.compared.contains(&column) {
            self.compared.push(column);
        }
        column
    }

    /// Sets the connector's `unavailable.value.placeholder`, where that is not Debezium's own.
    pub fn set_placeholder(&mut self, placeholder: Placeholder) {
        self.placeholder = placeholder;
    }

    /// Returns true if the value is the mark of one that was not sent.
    #[inline]
    pub fn is_unavailable(&self, value: Value<'_>) -> bool {
        self.placeholder.is(value)
    }

    /// The numbers of the columns.
    pub fn numbers(&self) -> std::ops::Range<usize> {
        0..self.names.len()
    }

    /// The name of a column.
    pub fn name(&self, column: usize) -> &str {
        &self.names[column]
    }

    /// The number of the column of this name, if it is wanted.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let candidates = self.by_len.get(name.len())?;
        candidates.iter().copied().find(|&column| self.names[column].as_bytes() == name)
    }

    /// Finds the wanted columns of a row. Of a name that is there twice the last one counts, as in every JSON library.
    pub fn pick<'a>(&self, row: Members<'a>) -> Result<Row<'a>, JsonError> {
        let mut values = vec![None; self.names.len()];
        let mut members = row.clone();
        while let Some((name, value)) = members.next()? {
            if let Some(column) = self.find(name) {
                values[column] = Some(value);
            }
        }
        if values.iter().any(Option::is_none) {
            self.pick_escaped(row, &mut values)?;
        }
        Ok(Row { values })
    }

    /// Looks once more, for names that are written with escapes. Debezium writes none, some libraries do.
    #[cold]
    fn pick_escaped<'a>(&self, mut row: Members<'a>, values: &mut [Option<Value<'a>>]) -> Result<(), JsonError> {
        while let Some((name, value)) = row.next()? {
            if name.contains(&b'\\') {
                let mut plain = Vec::new();
                unescape(name, &mut plain)?;
                if let Some(column) = self.find(&plain) {
                    values[column] = Some(value);
                }
            }
        }
        Ok(())
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    /// The value of a column, if the row has it.
    pub fn get(&self, column: usize) -> Option<Value<'a>> {
        self.values[column]
    }

    /// The row without the values for which `keep` is false.
    pub(crate) fn retain(mut self, keep: impl Fn(usize, Value<'a>) -> bool) -> Self {
        for (column, value) in self.values.iter_mut().enumerate() {
            *value = value.filter(|value| keep(column, *value));
        }
        self
    }
}

// === impl Event ===

impl<'a> Event<'a> {
    /// Finds the wanted columns of the row `before`, without the values that may be fillers: null, zero and empty values,
    /// and the column's default by the event's schema. `None`: the event has no such row.
    ///
    /// # Errors
    /// Fails if the row or the schema is not JSON.
    pub fn known_before(&self, columns: &Columns) -> Result<Option<Row<'a>>, EventError> {
        let Some(before) = self.before.and_then(Value::members) else { return Ok(None) };
        let defaults = self.defaults(columns)?;
        let row = columns.pick(before)?;
        Ok(Some(row.retain(|column, value| !may_be_filler(value, defaults.get(column).copied().flatten()))))
    }
}

// === impl CompleteRow ===

impl<'a> CompleteRow<'a> {
    /// Finds the wanted columns of an event's row `after`, and looks into `before` if one was not sent.
    ///
    /// # Errors
    /// Fails if the event has no row `after`, or a row or the schema is not JSON.
    pub fn of_event(columns: &'a Columns, event: &Event<'a>) -> Result<Self, EventError> {
        let after = event.after.ok_or(EventError::NoRow(event.op, "after", false))?;
        let mut completed = CompleteRow::without_before(columns, after)?;
        if completed.lacks_values() {
            completed.before = event.known_before(columns)?;
        }
        Ok(completed)
    }

    /// Finds the wanted columns of the row `after`, and looks into `before` if one was not sent. [`CompleteRow::of_event`]
    /// knows the schema, too: without it, the default of a column in `before` is taken for its value.
    ///
    /// # Errors
    /// Fails if a row is not a JSON object.
    pub fn new(columns: &'a Columns, after: Value<'a>, before: Option<Value<'a>>) -> Result<Self, EventError> {
        let mut completed = CompleteRow::without_before(columns, after)?;
        if completed.lacks_values() {
            let before = before.and_then(Value::members).map(|before| columns.pick(before)).transpose()?;
            completed.before = before.map(|row| row.retain(|_, value| !may_be_filler(value, None)));
        }
        Ok(completed)
    }

    fn without_before(columns: &'a Columns, after: Value<'a>) -> Result<Self, EventError> {
        let row = columns.pick(after.members().ok_or(EventError::NotAnObject)?)?;
        Ok(CompleteRow { columns, row, before: None })
    }

    fn lacks_values(&self) -> bool {
        let is_unavailable = |column| self.row.get(column).is_some_and(|value| self.columns.is_unavailable(value));
        self.columns.numbers().any(is_unavailable)
    }

    /// The value of a column, if the row has it.
    pub fn get(&self, column: usize) -> Result<Option<Value<'a>>, RowError> {
        match self.row.get(column) {
            Some(value) if self.columns.is_unavailable(value) => match self.sent_before(column) {
                Some(value) => Ok(Some(value)),
                None => Err(RowError::Unavailable(self.columns.name(column).to_owned())),
            },
            value => Ok(value),
        }
    }

    /// The value in `before` of a column that the change left out. A filler is none: it is small, and a value that was left
    /// out is large.
    fn sent_before(&self, column: usize) -> Option<Value<'a>> {
        self.before.as_ref()?.get(column).filter(|value| !self.columns.is_unavailable(*value))
    }

    /// The value of a column without which nothing can be said about the row. The column of a
    /// [`Condition`](crate::Condition) has one that the condition can be compared with.
    pub fn need(&self, column: usize) -> Result<Value<'a>, RowError> {
        let name = || self.columns.name(column).to_owned();
        let value = self.get(column)?.ok_or_else(|| RowError::NoColumn(name()))?;
        if self.columns.compared.contains(&column) && matches!(value.kind(), Kind::Array | Kind::Object) {
            let found = if is_variable_scale(value) { "a decimal, which comes encoded" } else { name_of(value) };
            return Err(RowError::Compared(name(), found));
        }
        Ok(value)
    }
}
