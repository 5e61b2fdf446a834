//! A streaming answer: server-sent events.

use std::io::{BufRead, BufReader, Lines};

use serde::de::DeserializeOwned;
use ureq::BodyReader;

use super::super::error::{Error, Kind, Result};
use crate::model::json;

/// The events of an answer.
pub struct EventStream {
    url: String,
    lines: Lines<BufReader<BodyReader<'static>>>,
}

// === impl EventStream ===

impl EventStream {
    pub fn new(url: String, body: BodyReader<'static>) -> Self {
        Self { url, lines: BufReader::new(body).lines() }
    }

    /// Returns the id and the data of the next event, or `None` at the end of the answer.
    pub fn next(&mut self) -> Result<Option<(Option<i64>, String)>> {
        let mut id = None;
        let mut data = None;
        for line in self.lines.by_ref() {
            let line = line
                .map_err(|error| Error::new(Kind::Broken, format_args!("the connection to {} broke: {error}", self.url)))?;
            match line.split_once(": ") {
                Some(("id", value)) => id = value.parse().ok(),
                Some(("data", value)) => data = Some(value.to_owned()),
                // The data has the kind of an event, too; a comment shows that the connection stands.
                _ => {}
            }
            if let Some(data) = data.take_if(|_| line.is_empty()) {
                return Ok(Some((id, data)));
            }
        }
        Ok(None)
    }

    pub fn parse<T: DeserializeOwned>(&self, line: &str) -> Result<T> {
        json::read(line.as_bytes()).map_err(|error| Error::not_a_host(&self.url, error))
    }
}
