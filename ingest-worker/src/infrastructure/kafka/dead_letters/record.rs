//! The content of a dead letter: the original record with the reason in headers, reduced step by
//! step where the topic refuses it as too large.

use std::mem;

use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::FutureRecord,
};
use shared::time::Timestamp;

use super::header;
use crate::{
    domain::record::{DeadLetterReason, Rejection},
    infrastructure::kafka::record::OwnedRecord,
};

/// The parts of the original record that a dead letter leaves out; each step includes those before
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Omitted {
    Nothing,
    Value,
    Headers,
    Key,
}

impl Omitted {
    /// Returns the next step; `None` after the last.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Nothing => Some(Self::Value),
            Self::Value => Some(Self::Headers),
            Self::Headers => Some(Self::Key),
            Self::Key => None,
        }
    }
}

/// A record that cannot be processed.
#[derive(Debug)]
pub(super) struct Original<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) written_at: Option<Timestamp>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Vec<(&'a str, Option<&'a [u8]>)>,
    /// The number of headers that are missing in `headers`.
    pub(super) unread_headers: usize,
    /// Whether `value` is missing because of its size.
    pub(super) lacks_value: bool,
}

impl<'a> From<&'a OwnedRecord> for Original<'a> {
    fn from(record: &'a OwnedRecord) -> Self {
        Self {
            topic: record.topic(),
            partition: record.partition(),
            offset: record.offset(),
            written_at: record.written_at(),
            key: record.key(),
            value: record.value(),
            headers: record.headers(),
            unread_headers: record.state.unread_headers,
            lacks_value: record.state.lacks_value,
        }
    }
}

/// A dead letter with a part left out.
#[derive(Debug)]
pub(super) struct DeadLetterRecord<'a> {
    key: Vec<u8>,
    value: Option<&'a [u8]>,
    headers: OwnedHeaders,
}

impl<'a> DeadLetterRecord<'a> {
    pub(super) fn new(
        original: &Original<'a>,
        rejection: &Rejection,
        worker: &str,
        omitted: Omitted,
    ) -> Self {
        let key = original.key.filter(|_| omitted < Omitted::Key);
        Self {
            // A compacted topic takes no record without a key.
            key: key.map_or_else(|| original.origin().into_bytes(), <[u8]>::to_vec),
            value: original.value.filter(|_| omitted < Omitted::Value),
            headers: original.dead_letter_headers(rejection, worker, omitted),
        }
    }

    /// Returns it in a form that compaction keeps, and that replaces no other: its key is its
    /// origin, and it has a value.
    pub(super) fn for_compacted_topic(mut self, original: &Original<'_>) -> Self {
        let key = mem::replace(&mut self.key, original.origin().into_bytes());
        if key != self.key {
            self.headers = self.headers.insert(Header { key: header::KEY, value: Some(&key) });
        }
        if original.value.is_none() && !original.lacks_value {
            let null = Header { key: header::VALUE_NULL, value: Some("true") };
            self.headers = self.headers.insert(null);
        }
        self.value = self.value.or(Some(b""));
        self
    }

    /// The dead letter of records that are skipped unread, up to the offset `to`.
    pub(super) fn skipped(original: &Original<'a>, worker: &str, to: i64) -> Self {
        let detail = format!("offsets {} to {} were skipped unread", original.offset, to - 1);
        let rejection = DeadLetterReason::Skipped.with_detail(detail);
        let mut dead_letter = Self::new(original, &rejection, worker, Omitted::Key);
        let to = to.to_string();
        dead_letter.headers =
            dead_letter.headers.insert(Header { key: header::SKIPPED_TO, value: Some(&to) });
        // Without a value it would be a tombstone, which a compacted topic removes.
        dead_letter.value = Some(b"");
        dead_letter
    }

    pub(super) fn to_record<'r>(&'r self, topic: &'r str) -> FutureRecord<'r, [u8], [u8]> {
        let mut record = FutureRecord::to(topic).key(&*self.key).headers(self.headers.clone());
        record.payload = self.value;
        record
    }
}

impl<'a> Original<'a> {
    /// A record of which only the position is known.
    pub(super) fn unread(topic: &'a str, partition: i32, offset: i64) -> Self {
        let (written_at, key, value, headers) = (None, None, None, Vec::new());
        let (unread_headers, lacks_value) = (0, false);
        Self {
            topic,
            partition,
            offset,
            written_at,
            key,
            value,
            headers,
            unread_headers,
            lacks_value,
        }
    }
}

impl Original<'_> {
    /// Returns topic, partition, offset and time: a topic that is created again has the same
    /// offsets.
    fn origin(&self) -> String {
        let origin = format!("{}:{}:{}", self.topic, self.partition, self.offset);
        match self.written_at {
            Some(time) => format!("{origin}:{}", time.as_millisecond()),
            None => origin,
        }
    }

    fn dead_letter_headers(&self, why: &Rejection, worker: &str, omitted: Omitted) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new();
        if omitted < Omitted::Headers {
            // One of the record's own must not pass for one of the worker's.
            let own = self.headers.iter().filter(|(key, _)| !key.starts_with(header::PREFIX));
            for (key, value) in own {
                headers = headers.insert(Header { key, value: *value });
            }
        }
        let (partition, offset) = (self.partition.to_string(), self.offset.to_string());
        let written_at = self.written_at.map(|at| at.to_string()).unwrap_or_default();
        let unread = self.unread_headers.to_string();
        let has_key = self.key.is_some() && omitted < Omitted::Key;
        for (key, value, is_present) in [
            (header::REASON, why.reason.label(), true),
            (header::DETAIL, &*why.detail, true),
            (header::TOPIC, self.topic, true),
            (header::PARTITION, &*partition, true),
            (header::OFFSET, &*offset, true),
            (header::TIMESTAMP, &*written_at, true),
            (header::WORKER, worker, true),
            (header::VALUE_OMITTED, "true", omitted >= Omitted::Value),
            (header::HEADERS_OMITTED, "true", omitted >= Omitted::Headers),
            (header::KEY_OMITTED, "true", !has_key),
            (header::HEADERS_UNREADABLE, &*unread, self.unread_headers > 0),
        ] {
            if is_present {
                headers = headers.insert(Header { key, value: Some(value) });
            }
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;
    use crate::infrastructure::kafka::headers;

    fn original(key: Option<&[u8]>) -> Original<'_> {
        Original {
            topic: "t",
            partition: 3,
            offset: 42,
            written_at: None,
            key,
            value: Some(b"value"),
            headers: vec![("trace", Some(b"00"))],
            unread_headers: 0,
            lacks_value: false,
        }
    }

    /// Returns value, key and header names of a dead letter.
    fn parts(key: Option<&[u8]>, omitted: Omitted) -> (Option<Vec<u8>>, Vec<u8>, Vec<String>) {
        let why = DeadLetterReason::Malformed.with_detail("detail");
        let dead_letter = DeadLetterRecord::new(&original(key), &why, "worker", omitted);
        let names = dead_letter.headers.iter().map(|header| header.key.to_owned()).collect();
        (dead_letter.value.map(<[u8]>::to_vec), dead_letter.key, names)
    }

    #[test]
    fn each_step_leaves_out_one_more_part_and_the_last_keeps_only_the_reason() {
        let mut step = Some(Omitted::Nothing);
        let mut seen = Vec::new();
        while let Some(omitted) = step {
            let (value, key, names) = parts(Some(b"key"), omitted);
            let has_trace = names.iter().any(|name| name == "trace");
            seen.push((value.is_some(), has_trace, key == b"key"));
            let has_header = |name: &str| names.iter().any(|other| other == name);
            assert!(has_header("dlq.reason") && has_header("dlq.topic"), "{names:?}");
            assert_eq!(has_header("dlq.value_omitted"), omitted >= Omitted::Value);
            step = omitted.next();
        }
        let expected =
            [(true, true, true), (false, true, true), (false, false, true), (false, false, false)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_header_of_the_record_does_not_pass_for_one_of_the_workers() {
        let own = [("dlq.replayed", "0:0"), ("dlq.value_omitted", "true"), ("dlq.topic", "x")];
        let headers = own.map(|(name, value)| (name, Some(value.as_bytes()))).to_vec();
        let original = Original { headers, ..original(None) };
        let why = DeadLetterReason::Malformed.with_detail("detail");
        let dead_letter = DeadLetterRecord::new(&original, &why, "worker", Omitted::Nothing);
        let named = |name| dead_letter.headers.iter().filter(move |header| header.key == name);
        assert_eq!(named(header::REPLAYED).count(), 0);
        assert_eq!(named(header::VALUE_OMITTED).count(), 0);
        let topics: Vec<_> = named(header::TOPIC).map(|header| header.value).collect();
        assert_eq!(topics, [Some(&b"t"[..])]);
    }

    #[test]
    fn dead_letters_in_a_compacted_topic_differ_in_their_keys_and_have_values() {
        let why = DeadLetterReason::NotJson.with_detail("detail");
        for (offset, value) in [(0, Some(&b"value"[..])), (1, None)] {
            let original = Original { offset, value, ..original(Some(b"key")) };
            let dead_letter = DeadLetterRecord::new(&original, &why, "worker", Omitted::Nothing)
                .for_compacted_topic(&original);
            assert_eq!(dead_letter.key, format!("t:3:{offset}").into_bytes());
            assert_eq!(dead_letter.value, value.or(Some(b"")));
            let added = |name| headers::added(Some(&dead_letter.headers), name);
            assert_eq!(added(header::KEY), Some(&b"key"[..]));
            assert_eq!(added(header::VALUE_NULL).is_some(), value.is_none());
        }
        let skipped = DeadLetterRecord::skipped(&Original::unread("t", 3, 42), "worker", 43);
        assert_eq!((&skipped.key[..], skipped.value), (&b"t:3:42"[..], Some(&b""[..])));
    }

    #[test]
    fn dead_letters_of_the_same_offset_of_a_topic_that_was_created_again_differ_in_their_keys() {
        let why = DeadLetterReason::NotJson.with_detail("detail");
        let keys = [1_000, 2_000].map(|ms| {
            let written_at = Timestamp::from_millisecond(ms).ok();
            let original = Original { written_at, ..original(Some(b"key")) };
            let dead_letter = DeadLetterRecord::new(&original, &why, "worker", Omitted::Nothing);
            dead_letter.for_compacted_topic(&original).key
        });
        assert_eq!(keys, [b"t:3:42:1000", b"t:3:42:2000"]);
    }

    #[test]
    fn a_dead_letter_of_a_record_without_a_key_has_its_origin_as_key() {
        let (_, key, names) = parts(None, Omitted::Nothing);
        assert_eq!(key, b"t:3:42");
        assert!(names.iter().any(|name| name == "dlq.key_omitted"));
    }
}
