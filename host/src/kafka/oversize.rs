//! The sizes that topics have refused of late, so that a larger record fails before it is sent.
//!
//! A broker that refuses a record for its size costs an abort, and with many large records little else would be done. So
//! for some seconds after a refusal a record is held against the refused one: it is sure to be refused where it is larger,
//! both as it is and compressed. Then the next one is sent again, so a limit that was raised is found out.

use std::time::{Duration, Instant};

use crate::model::batch::header_bytes;
use crate::model::names::TopicName;
use crate::ports::ProducerRecord;

/// For so long a refusal is believed to hold.
const BELIEVED: Duration = Duration::from_secs(5);
/// A record is surely larger where it has so much more: the compressor here is the producer's kind, not the producer's own.
const MARGIN_PERCENT: usize = 2;
const MARGIN_BYTES: usize = 64;

/// Bytes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub raw: usize,
    pub compressed: usize,
}

/// The refused sizes, by topic.
#[derive(Debug, Default)]
pub(super) struct Oversize {
    refused: Vec<(TopicName, Size, Instant)>,
}

// === impl Size ===

impl Size {
    pub fn of(key: Option<&[u8]>, value: Option<&[u8]>, header_bytes: usize) -> Self {
        let rest = key.map_or(0, <[u8]>::len) + header_bytes;
        let value = value.unwrap_or_default();
        Self { raw: rest + value.len(), compressed: rest + lz4_flex::block::compress(value).len() }
    }

    fn with_margin(self) -> Self {
        let more = |bytes: usize| bytes.saturating_add(bytes / 100 * MARGIN_PERCENT).saturating_add(MARGIN_BYTES);
        Self { raw: more(self.raw), compressed: more(self.compressed) }
    }
}

// === impl Oversize ===

impl Oversize {
    /// Notes that a topic has refused a record of this size.
    pub fn note(&mut self, topic: TopicName, size: Size, now: Instant) {
        self.forget(now);
        let known = self.refused.iter_mut().find(|(name, ..)| *name == topic);
        match known {
            Some((_, least, at)) if size.compressed <= least.compressed => (*least, *at) = (size, now),
            Some(_) => {}
            None => self.refused.push((topic, size, now)),
        }
    }

    /// Forgets the refusals that are no longer believed.
    pub fn forget(&mut self, now: Instant) {
        self.refused.retain(|(_, _, at)| now.duration_since(*at) < BELIEVED);
    }

    pub fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// The reason why a topic is sure to refuse a record.
    pub fn foresee(&self, topic: &TopicName, record: &ProducerRecord<'_>, now: Instant) -> Option<String> {
        let (_, refused, at) = self.refused.iter().find(|(name, ..)| name == topic)?;
        let least = refused.with_margin();
        let headers = header_bytes(record.headers);
        let raw = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers;
        if raw < least.raw || now.duration_since(*at) >= BELIEVED {
            return None;
        }
        let size = Size::of(record.key, record.value, headers);
        (size.compressed >= least.compressed)
            .then(|| format!("topic {topic}: {raw} bytes, and it has just refused a smaller record ({})", refused.raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    /// Tells whether a record of this value is refused `later` than one of 10,000 bytes of noise was.
    fn is_foreseen(topic: &str, value: &[u8], later: Duration) -> bool {
        let refused = "refused".parse::<TopicName>().expect("valid");
        let now = Instant::now();
        let mut oversize = Oversize::default();
        for bytes in [12_000, 10_000, 11_000] {
            oversize.note(refused.clone(), Size::of(None, Some(&noise(bytes)), 0), now);
        }
        let record = ProducerRecord { topic: 0, partition: None, key: None, value: Some(value), headers: &[], timestamp: 1 };
        oversize.foresee(&topic.parse().expect("valid"), &record, now + later).is_some()
    }

    #[test]
    fn only_what_is_surely_larger_is_foreseen() {
        for (topic, value, later, foreseen) in [
            ("refused", noise(10_500), 0, true),
            ("refused", noise(10_500), 4, true),
            ("refused", noise(10_500), 5, false),
            ("refused", noise(10_100), 0, false),
            ("refused", noise(9000), 0, false),
            ("refused", vec![b'a'; 1_000_000], 0, false),
            ("other", noise(10_500), 0, false),
        ] {
            let found = is_foreseen(topic, &value, Duration::from_secs(later));
            assert_eq!(found, foreseen, "{topic}, {} bytes, {later} s", value.len());
        }
    }
}
