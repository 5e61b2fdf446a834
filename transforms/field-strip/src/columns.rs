//! The columns that a configuration asks for, found in a row.

use crate::envelope::Op;
use crate::json::text::unescape;
use crate::json::{Kind, Malformed, Members, Value};

/// Names of columns, each with a number.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    names: Vec<String>,
    /// Numbers of the columns by the length of their names: one look tells most unwanted columns apart.
    by_len: Vec<Vec<usize>>,
}

/// The values of the wanted columns in one row, by their numbers.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    values: Vec<Option<Value<'a>>>,
    /// What `ExtractNewRecordState` adds to a row: `__deleted` if deletes are rewritten, `__op` if `add.fields` asks.
    deleted: bool,
    op: Option<&'a [u8]>,
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

    pub fn numbers(&self) -> std::ops::Range<usize> {
        0..self.names.len()
    }

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
    pub fn pick<'a>(&self, row: Members<'a>) -> Result<Row<'a>, Malformed> {
        let mut picked = Row { values: vec![None; self.names.len()], deleted: false, op: None };
        let mut members = row.clone();
        let mut found = 0;
        while let Some((name, value)) = members.next()? {
            if let Some(column) = self.find(name) {
                picked.values[column] = Some(value);
                found += 1;
            }
            if let [b'_', b'_', ..] = name {
                picked.note(name, value.kind());
            }
        }
        if found < self.names.len() {
            self.pick_escaped(row, &mut picked.values)?;
        }
        Ok(picked)
    }

    /// Looks once more, for names that are written with escapes. Debezium writes none, some libraries do.
    #[cold]
    fn pick_escaped<'a>(&self, mut row: Members<'a>, values: &mut [Option<Value<'a>>]) -> Result<(), Malformed> {
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
    pub fn get(&self, column: usize) -> Option<Value<'a>> {
        self.values[column]
    }

    /// What happened to the row, as far as it says so itself. A row that does not is taken for an update.
    pub fn op(&self) -> Op {
        match self.deleted {
            true => Op::Delete,
            false => self.op.and_then(Op::parse).unwrap_or(Op::Update),
        }
    }

    fn note(&mut self, name: &[u8], value: Kind<'a>) {
        match (name, value) {
            (b"__deleted", Kind::Text(b"true") | Kind::Bool(true)) => self.deleted = true,
            (b"__op", Kind::Text(op)) => self.op = Some(op),
            _ => {}
        }
    }
}
