//! A sample: a record with its outputs, as a tail shows it.

use super::names::TopicName;
use super::redaction::first_name;
use super::text;
use super::units::Timestamp;

/// An input record with its outputs, as they were committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub at: Timestamp,
    pub revision: u64,
    pub topic: TopicName,
    pub partition: i32,
    pub offset: i64,
    pub input: Content,
    pub outputs: Vec<SampledOutput>,
    /// Number of further outputs, which are not shown.
    pub outputs_more: usize,
    /// Code and message, where the record failed.
    pub failed: Option<(super::codes::Code, String)>,
}

/// An output of a sampled record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampledOutput {
    pub topic: TopicName,
    pub content: Content,
}

/// A record's bytes, key and value cut to [`Content::PART_BYTES_MAX`] each, headers to [`Content::HEADERS_BYTES_MAX`]. The
/// headers of a dead letter come first: they say whose rules the record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// True if a part of the record was cut off.
    pub cut: bool,
}

impl Content {
    /// Longest key, value or header's value that is shown.
    pub const PART_BYTES_MAX: usize = 4096;
    /// Most headers that are shown.
    pub const HEADERS_MAX: usize = 16;
    /// Names and values of headers that are shown, together.
    pub const HEADERS_BYTES_MAX: usize = 4096;

    pub fn of(timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> Self {
        let is_long = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| bytes.len() > Self::PART_BYTES_MAX);
        let mut cut = is_long(key) || is_long(value) || headers.len() > Self::HEADERS_MAX;
        let mut left = Self::HEADERS_BYTES_MAX;
        let mut shown = Vec::new();
        let mut headers: Vec<_> = headers.iter().collect();
        headers.sort_by_key(|(name, _)| rank(name));
        for (name, value) in headers.into_iter().take(Self::HEADERS_MAX) {
            let own_name = text::cut(name, left);
            left -= own_name.len();
            let own_value = value.map(|value| part(value, left));
            left -= own_value.as_ref().map_or(0, Vec::len);
            cut |= own_name.len() < name.len() || own_value.as_ref().map(Vec::len) < value.map(<[u8]>::len);
            shown.push((own_name.to_owned(), own_value));
        }
        let part = |bytes: Option<&[u8]>| bytes.map(|bytes| part(bytes, Self::PART_BYTES_MAX));
        Self { timestamp, key: part(key), value: part(value), headers: shown, cut }
    }

    pub fn bytes(&self) -> usize {
        let part = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + part(value));
        part(&self.key) + part(&self.value) + headers.sum::<usize>()
    }
}

impl Sample {
    /// Most outputs of a record that are shown.
    pub const OUTPUTS_MAX: usize = 8;

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let outputs = self.outputs.iter().map(|output| output.content.bytes() + output.topic.as_str().len());
        256 + self.input.bytes() + outputs.sum::<usize>() + self.failed.as_ref().map_or(0, |(_, message)| message.len())
    }
}

/// The place of a header among those of a record, so that no other header takes the room of a dead letter's topic.
fn rank(name: &str) -> u8 {
    const OF_LETTER: &str = "sandbar.error.";
    let is_renamed = first_name(name) != name;
    match first_name(name).strip_prefix(OF_LETTER) {
        Some("topic") if !is_renamed => 0,
        Some("topic") => 1,
        Some(_) => 2,
        None => 3,
    }
}

/// The beginning of a key or value.
fn part(bytes: &[u8], bytes_max: usize) -> Vec<u8> {
    whole_text(&bytes[..bytes.len().min(bytes_max)], bytes.len()).to_vec()
}

/// Text that was cut (`cut`, from `bytes_before`) ends with a whole character: else it would show as bytes.
fn whole_text(cut: &[u8], bytes_before: usize) -> &[u8] {
    match std::str::from_utf8(cut) {
        Err(error) if cut.len() < bytes_before && error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_at_a_character() {
        let max = Content::PART_BYTES_MAX;
        let odd = format!("a{}", "é".repeat(max));
        let binary = vec![0xff; max + 1];
        #[track_caller]
        fn check(value: &[u8], length: usize, cut: bool) {
            let content = Content::of(0, None, Some(value), &[]);
            let shown = content.value.as_ref().map_or(0, Vec::len);
            assert_eq!((shown, content.cut), (length, cut), "{} bytes", value.len());
        }
        check(b"short".as_slice(), 5, false);
        check(&vec![b'x'; max], max, false);
        check(&vec![b'x'; max + 1], max, true);
        check(odd.as_bytes(), max - 1, true);
        check(&binary, max, true);
        let headers = vec![("h", Some(b"v".as_slice())); Content::HEADERS_MAX + 1];
        let content = Content::of(0, None, None, &headers);
        assert_eq!((content.headers.len(), content.cut), (Content::HEADERS_MAX, true));
        for (name, value) in [("n".repeat(1 << 20), 1), ("n".to_owned(), 1 << 20), ("n".repeat(3000), 3000)] {
            let value = vec![b'v'; value];
            let headers = vec![(name.as_str(), Some(value.as_slice())); 16];
            let content = Content::of(0, None, None, &headers);
            assert!(content.bytes() <= Content::HEADERS_BYTES_MAX && content.cut, "{} bytes", content.bytes());
        }
    }

    #[test]
    fn the_headers_of_a_dead_letter_are_shown_before_others() {
        let long = vec![b'm'; Content::HEADERS_BYTES_MAX];
        let mut headers = vec![("h", Some(long.as_slice())); Content::HEADERS_MAX];
        headers.extend([
            ("was.sandbar.error.message", Some(long.as_slice())),
            ("was.sandbar.error.topic", Some(b"first".as_slice())),
            ("sandbar.error.topic", Some(b"second".as_slice())),
            ("sandbar.error.message", Some(b"m".as_slice())),
        ]);
        let content = Content::of(0, None, None, &headers);
        let shown = |index: usize| (content.headers[index].0.as_str(), content.headers[index].1.as_deref());
        assert_eq!(shown(0), ("sandbar.error.topic", Some(b"second".as_slice())));
        assert_eq!(shown(1), ("was.sandbar.error.topic", Some(b"first".as_slice())));
        assert_eq!(shown(2).0, "was.sandbar.error.message");
        assert_eq!((content.headers.len(), content.cut), (Content::HEADERS_MAX, true));
        // Others stay in their order.
        let content = Content::of(0, None, None, &[("b", None), ("a", None), ("sandbar.error", None)]);
        assert_eq!(content.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "a", "sandbar.error"]);
    }
}
