use rdkafka::{Timestamp, message::Header};

use super::*;
use crate::infrastructure::kafka::offsets::Offsets;

fn record(headers: OwnedHeaders) -> InFlightRecord<OwnedMessage> {
    let mut offsets = Offsets::default();
    offsets.assign("t", 0);
    let admitted = offsets.read("t", 0, 7).expect("an assigned partition");
    let (value, key) = (Some(b"value".to_vec()), Some(b"key".to_vec()));
    let message =
        OwnedMessage::new(value, key, "t".into(), Timestamp::CreateTime(1), 0, 7, Some(headers));
    InFlightRecord::new(message, &admitted)
}

fn with(headers: OwnedHeaders, key: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some("v") })
}

#[test]
fn headers_over_the_limit_are_left_out_of_a_record_and_counted() {
    let flood = (0..3 * headers::MAX_HEADERS).fold(OwnedHeaders::new(), |all, _| with(all, "n"));
    let record = record(flood);
    assert_eq!(record.state.unread_headers, 2 * headers::MAX_HEADERS);
    let few = self::record(with(OwnedHeaders::new(), "n")).into_owned();
    let parked = record.into_owned();
    assert_eq!(parked.headers().len(), headers::MAX_HEADERS);
    assert_eq!(parked.memory() - few.memory(), 2 * (headers::MAX_HEADERS - 1));
}

#[test]
fn the_memory_of_a_record_contains_its_key_and_headers() {
    let one = record(with(OwnedHeaders::new(), "name"));
    let none = record(OwnedHeaders::new());
    assert_eq!(one.memory() - none.memory(), 5);
    assert!(none.memory() > mem::size_of::<RecordState>() + "valuekey".len());
}

#[test]
fn a_record_that_is_copied_keeps_what_it_was_read_with() {
    let headers = ["a", "event_id", "traceparent"].into_iter().fold(OwnedHeaders::new(), with);
    let fresh = record(headers);
    let (id, trace) = (fresh.record().event_id, fresh.record().traceparent);
    assert_eq!((id, trace), (Some("v"), Some("v")));
    let copied = fresh.into_owned();
    assert_eq!((copied.topic(), copied.partition(), copied.offset()), ("t", 0, 7));
    assert_eq!((copied.key(), copied.value()), (Some(&b"key"[..]), Some(&b"value"[..])));
    assert!(copied.written_at().is_some());
    assert_eq!((copied.record().event_id, copied.record().traceparent), (Some("v"), Some("v")));
    assert_eq!(copied.headers().len(), 3);
}

#[test]
fn a_value_over_the_limit_is_not_copied() {
    let limit = "value".len();
    let [kept, left_out] =
        [limit, limit - 1].map(|max| record(OwnedHeaders::new()).into_owned_up_to(max));
    assert_eq!((kept.value(), kept.state.lacks_value), (Some(&b"value"[..]), false));
    assert_eq!((left_out.value(), left_out.state.lacks_value), (None, true));
    assert_eq!(left_out.key(), Some(&b"key"[..]));
}
