//! The masks of a sight, on each kind of answer.

use serde_json::value::RawValue;

use crate::api_types::{HeaderOut, JsonOrText, Line, RecordContent, Sample};
use crate::model::codes::Code;
use crate::model::json;
use crate::model::log_entry::LogEntry;
use crate::model::names::TopicName;
use crate::model::redaction::{MASK, Mask, Masked, Unmaskable, first_name};
use crate::model::status::{LastError, TransformStatus};

use super::super::problem::Refusal;
use super::Sight;

/// The header in which a dead letter names the topic of its record. That of a dead letter which failed again is renamed.
const ORIGIN: &str = "sandbar.error.topic";
/// The header in which a dead letter has the message of its failure.
const MESSAGE: &str = "sandbar.error.message";

// === impl Sight ===

impl Sight {
    /// The sample as the caller sees it. `None`: the caller sees none, or the text is no sample.
    pub fn sample(&self, text: String) -> Option<String> {
        if self.is_whole() {
            return Some(text);
        }
        if !self.has_data && !self.is_for_viewers {
            return None;
        }
        let mut sample: Sample = json::read(text.as_bytes()).ok()?;
        let mask = self.record_mask(&sample.topic, &sample.input.content);
        if let Some(mask) = &mask {
            self.apply(mask, &mut sample.input.content);
        }
        let shows_derived = self.shows_derived() && mask.is_none();
        let mut is_redacted = !shows_derived;
        for output in &mut sample.outputs {
            is_redacted |= self.output(shows_derived, &output.topic, &mut output.record.content);
        }
        if let Some(failed) = sample.failed.as_mut().filter(|_| !shows_derived) {
            failed.message = MASK.into();
        }
        if !is_redacted {
            return Some(text);
        }
        self.metrics.redacted("tail");
        sample.redacted = true;
        Some(serde_json::to_string(&sample).expect("plain data"))
    }

    /// Masks a record of a topic that stands for itself, as an input of a dry run does. Returns true if something was masked.
    pub fn record(&self, topic: &str, content: &mut RecordContent, way: &str) -> bool {
        if self.is_whole() {
            return false;
        }
        let mask = self.record_mask(topic, content);
        self.put_on(mask.as_ref(), content, way);
        mask.is_some()
    }

    /// Masks a dead letter, with the message of its failure, which a guest may have made of the record. Returns true if
    /// something was masked.
    pub fn dead_letter(&self, topic: &str, content: &mut RecordContent) -> bool {
        if self.is_whole() {
            return false;
        }
        let mask = self.dead_letter_mask(topic, content);
        self.put_on(mask.as_ref(), content, "dead-letters");
        let shows_derived = self.shows_derived() && mask.is_none();
        let messages = content.headers.iter_mut().filter(|header| first_name(&header.name) == MESSAGE);
        for header in messages.filter(|_| !shows_derived) {
            header.value = Some(JsonOrText::Text(MASK.to_owned()));
            header.value_base64 = None;
        }
        !shows_derived
    }

    fn put_on(&self, mask: Option<&Mask>, content: &mut RecordContent, way: &str) {
        if let Some(mask) = mask {
            self.apply(mask, content);
            self.metrics.redacted(way);
        }
    }

    /// The mask of a record; `None`: it is shown as it is.
    fn record_mask(&self, topic: &str, content: &RecordContent) -> Option<Mask> {
        self.mask_by(topic, content, |origins| self.viewers_of(topic) == Some(true) && self.are_for_viewers(origins))
    }

    /// The mask of a dead letter: it is a record of its origins, and its topic needs no rule. An origin may be the input of a
    /// revision that is not kept any more.
    fn dead_letter_mask(&self, topic: &str, content: &RecordContent) -> Option<Mask> {
        self.mask_by(topic, content, |origins| {
            self.viewers_of(topic) != Some(false) && !origins.is_empty() && self.are_for_viewers(origins)
        })
    }

    /// The mask of the rules for a record; of a record that is not for viewers, a caller without `data` sees nothing.
    fn mask_by(&self, topic: &str, content: &RecordContent, is_for_viewers: impl FnOnce(&[&str]) -> bool) -> Option<Mask> {
        let origins = origins(content);
        if self.has_data || is_for_viewers(&origins) { self.mask(topic, &origins) } else { Some(Mask::whole()) }
    }

    /// Returns true if callers without `data` may see masked records of all these topics.
    fn are_for_viewers(&self, topics: &[&str]) -> bool {
        topics.iter().all(|topic| self.viewers_of(topic) == Some(true))
    }

    /// Returns true if every rule for a topic lets callers without `data` see masked records. `None`: it has no rule.
    fn viewers_of(&self, topic: &str) -> Option<bool> {
        let topic: TopicName = topic.parse().ok()?;
        self.lets_viewers(&topic)
    }

    /// Masks the results of a dry run. Returns true if something was masked.
    pub fn dry_run_output(&self, topic: &str, content: &mut RecordContent) -> bool {
        let is_masked = self.output(self.shows_derived(), topic, content);
        if is_masked {
            self.metrics.redacted("test");
        }
        is_masked
    }

    /// The message of a failure in a dry run. `None`: it is not shown.
    pub fn dry_run_failure<'a>(&self, message: &'a str) -> Option<&'a str> {
        if !self.shows_derived() {
            self.metrics.redacted("test");
        }
        self.shows_derived().then_some(message)
    }

    /// The refusal of a dry run, whose message may quote a row of a table.
    pub fn dry_run_refusal(&self, refusal: Refusal) -> Refusal {
        match is_of_record(refusal.code().as_str()) && !self.shows_derived() {
            true => Refusal::new(refusal.code(), MASK),
            false => refusal,
        }
    }

    /// Masks an entry of the log: a line of a guest, or the message of a failure in an event.
    pub fn log_entry(&self, entry: &mut LogEntry) {
        if self.is_clear {
            return;
        }
        match &entry.event {
            None => MASK.clone_into(&mut entry.message),
            Some(_) => match code_of_record(&entry.message) {
                Some(end) => entry.message.replace_range(end.., &format!(" {MASK}")),
                None => return,
            },
        }
        self.metrics.redacted("logs");
    }

    /// Masks the errors that records caused, also from callers who may not see log lines: a guest may quote a record in both.
    pub fn statuses(&self, statuses: &mut [TransformStatus]) {
        if self.is_clear && self.hears_guests {
            return;
        }
        for status in statuses {
            let own = [&mut status.rollout.error, &mut status.error];
            let errors = own.into_iter().chain(status.partitions.iter_mut().map(|partition| &mut partition.error));
            errors.flatten().for_each(|error| self.error(error));
        }
    }

    fn error(&self, error: &mut LastError) {
        if is_of_record(error.code.as_str()) {
            MASK.clone_into(&mut error.message);
            self.metrics.redacted("status");
        }
    }

    /// Masks an output, whose topic may have rules as well. Returns true if something was masked.
    fn output(&self, shows_derived: bool, topic: &str, content: &mut RecordContent) -> bool {
        let mask = if shows_derived { self.mask(topic, &[]) } else { Some(Mask::whole()) };
        mask.iter().for_each(|mask| self.apply(mask, content));
        mask.is_some()
    }

    fn apply(&self, mask: &Mask, content: &mut RecordContent) {
        let key = masked(&mut content.key, &mut content.key_base64, |text| mask.key(text));
        let value = masked(&mut content.value, &mut content.value_base64, |text| mask.value(text));
        for reason in [key, value].into_iter().flatten() {
            self.metrics.masked_whole(reason.as_str());
        }
        if mask.hides_header_names() {
            content.headers.clear();
        }
        for HeaderOut { name, value, value_base64 } in &mut content.headers {
            let has_value = value_base64.is_some() || value.as_ref().is_some_and(|value| !matches!(value, JsonOrText::Null));
            if has_value && mask.has_header(name) {
                *value = Some(JsonOrText::Text(MASK.to_owned()));
                *value_base64 = None;
            }
        }
    }
}

/// Masks a key or value. Returns the reason for which its paths could not be looked for, if they could not.
fn masked(
    content: &mut Option<JsonOrText>,
    base64: &mut Option<Line>,
    mask: impl Fn(Option<&str>) -> Masked,
) -> Option<Unmaskable> {
    let text = match &*content {
        _ if base64.is_some() => None,
        // Nothing is in it.
        None | Some(JsonOrText::Null) => return None,
        Some(JsonOrText::Text(text)) => Some(text.as_str()),
        Some(JsonOrText::Json(raw)) => Some(raw.get()),
    };
    let masked = mask(text);
    let whole = || JsonOrText::Text(MASK.to_owned());
    let shown = match (&masked, &*content) {
        (Masked::Same, _) => return None,
        (Masked::Json(json), Some(JsonOrText::Json(_))) => {
            RawValue::from_string(json.clone()).map_or_else(|_| whole(), JsonOrText::Json)
        }
        (Masked::Json(json), _) => JsonOrText::Text(json.clone()),
        (Masked::Whole(_), _) => whole(),
    };
    *content = Some(shown);
    *base64 = None;
    match masked {
        Masked::Whole(reason) => reason,
        Masked::Same | Masked::Json(_) => None,
    }
}

/// The topics that a record names as its origin.
pub(super) fn origins(content: &RecordContent) -> Vec<&str> {
    let named = content.headers.iter().filter(|header| first_name(&header.name) == ORIGIN);
    let topics = named.filter_map(|header| match &header.value {
        Some(JsonOrText::Text(topic)) => Some(topic.as_str()),
        _ => None,
    });
    topics.collect()
}

/// Returns true for codes whose message may quote a record: those of failed records and of calls, and that of a table,
/// which names a key.
fn is_of_record(code: &str) -> bool {
    code.starts_with("E1") || code.starts_with(Code::TableKeys.as_str())
}

/// The end of the first code in an event's message, if it is that of a record. The host wrote all that is before it. A code
/// is a word there: the name of a topic, which may look like one, has a partition's number behind it.
fn code_of_record(message: &str) -> Option<usize> {
    let mut start = 0;
    for word in message.split(' ') {
        let end = start + word.len();
        if is_code(word) {
            return is_of_record(word).then_some(end);
        }
        start = end + 1;
    }
    None
}

fn is_code(word: &str) -> bool {
    word.strip_prefix('E').is_some_and(|number| number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_an_event_ends_with_the_code_of_a_record() {
        #[track_caller]
        fn check(message: &str, expected: Option<&str>) {
            assert_eq!(code_of_record(message).map(|end| &message[..end]), expected, "{message}");
        }
        check("E101 a@b", Some("E101"));
        check(
            "3 failed records were skipped, the last for E102 é",
            Some("3 failed records were skipped, the last for E102"),
        );
        check("in/1 is paused at offset 7: E101", Some("in/1 is paused at offset 7: E101"));
        check("revision 2: E235 the key", Some("revision 2: E235"));
        check("E101", Some("E101"));
        // Names of topics.
        check("STORE001.orders/3 is paused at offset 7: E101 a", Some("STORE001.orders/3 is paused at offset 7: E101"));
        check("SALE2024/0 is paused: E102 a", Some("SALE2024/0 is paused: E102"));
        check("E001/0 is paused: E101 a", Some("E001/0 is paused: E101"));
        check("partitions of this host: 1: SALE1010/0", None);
        check("E204 not authorized, E101 too", None);
        check("revision 2 runs", None);
        check("é", None);
    }
}
