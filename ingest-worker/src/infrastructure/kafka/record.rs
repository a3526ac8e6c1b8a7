//! A record that was read and is not finished, and the view of it that the domain takes.

use std::mem;

use rdkafka::{
    Message,
    message::{BorrowedMessage, OwnedMessage},
};
use shared::{
    time::Timestamp,
    trace::{EventSpan, TRACEPARENT},
};
use tokio::time::Instant;

use super::{
    headers,
    offsets::{Admitted, InFlightId},
};
use crate::domain::{
    ordering::OrderingKey,
    record::{ParkReason, Record},
};

/// A record as a [`super::source::RecordSource`] yields it.
pub trait SourceRecord: Message + Send + Sync {
    /// Returns the record in memory of its own.
    fn into_owned(self) -> OwnedMessage;
}

impl SourceRecord for BorrowedMessage<'_> {
    fn into_owned(self) -> OwnedMessage {
        self.detach()
    }
}

impl SourceRecord for OwnedMessage {
    fn into_owned(self) -> OwnedMessage {
        self
    }
}

/// A record in flight. Fresh records are borrowed from the client. Those that are parked are
/// copied, because a borrowed one keeps everything in memory that was fetched with it.
#[derive(Debug)]
pub struct InFlightRecord<R> {
    body: Body<R>,
    pub(crate) state: RecordState,
}

#[derive(Debug)]
enum Body<R> {
    Fresh(R),
    Owned(OwnedMessage),
}

/// Evaluates an expression for either kind of message.
macro_rules! either {
    ($record:expr, $message:ident => $value:expr) => {
        match &$record.body {
            Body::Fresh($message) => $value,
            Body::Owned($message) => $value,
        }
    };
}

/// A record that does not borrow from the client.
pub type OwnedRecord = InFlightRecord<OwnedMessage>;

/// The state of a record in flight.
#[derive(Debug)]
pub(crate) struct RecordState {
    /// Names it in its partition's offsets.
    pub(crate) id: InFlightId,
    /// When it was read.
    pub(crate) since: Instant,
    /// Whether it may have been processed before its partition was rewound.
    pub(crate) is_reread: bool,
    /// Its trace, if tracing is enabled.
    pub(crate) span: Option<EventSpan>,
    /// Set once it has been parked.
    pub(crate) parked: Option<Box<ParkState>>,
}

/// Why and since when a record is parked.
#[derive(Debug)]
pub(crate) struct ParkState {
    /// Its number in the order of reading.
    pub(crate) order: u64,
    pub(crate) reason: ParkReason,
    /// The keys that hold up other records.
    pub(crate) keys: Vec<OrderingKey>,
    pub(crate) backoff: shared::backoff::Backoff,
    pub(crate) retry_at: Instant,
    /// Whether it was parked for as long as its owner may stay unknown.
    pub(crate) wait_expired: bool,
}

impl<R: SourceRecord> InFlightRecord<R> {
    /// Takes a record that the offsets have admitted.
    #[must_use]
    pub fn new(message: R, admitted: &Admitted) -> Self {
        let state = RecordState {
            id: admitted.id,
            since: Instant::now(),
            is_reread: admitted.is_reread,
            span: None,
            parked: None,
        };
        Self { body: Body::Fresh(message), state }
    }

    /// Returns the record in memory of its own.
    pub(crate) fn into_owned(self) -> OwnedRecord {
        let body = match self.body {
            Body::Fresh(message) => message.into_owned(),
            Body::Owned(message) => message,
        };
        InFlightRecord { body: Body::Owned(body), state: self.state }
    }

    /// Returns the view of it that the domain takes.
    pub(crate) fn record(&self) -> Record<'_> {
        let record = either!(self, message => record(message));
        let parked = self.state.parked.as_deref();
        Record {
            is_reread: self.state.is_reread,
            order: parked.map(|parked| parked.order),
            wait_expired: parked.is_some_and(|parked| parked.wait_expired),
            ..record
        }
    }

    /// Returns the topic that it was read from.
    pub fn topic(&self) -> &str {
        either!(self, message => message.topic())
    }

    /// Returns its partition.
    pub fn partition(&self) -> i32 {
        either!(self, message => message.partition())
    }

    /// Returns its offset.
    pub fn offset(&self) -> i64 {
        either!(self, message => message.offset())
    }

    /// Returns the record's timestamp.
    pub(crate) fn written_at(&self) -> Option<Timestamp> {
        either!(self, message => written_at(message))
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        either!(self, message => message.key())
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        either!(self, message => message.payload())
    }

    /// Returns the name and value of each header whose name is UTF-8.
    pub(crate) fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        either!(self, message => readable_headers(message))
    }

    /// Returns the number of headers whose names are not UTF-8.
    pub(crate) fn unreadable_headers(&self) -> usize {
        either!(self, message => headers::unreadable(message.headers()))
    }

    /// Returns the bytes of its value.
    pub(crate) fn value_size(&self) -> usize {
        self.value().map_or(0, <[u8]>::len)
    }
}

impl OwnedRecord {
    /// Returns the same record as one of a batch of borrowed records.
    pub(crate) fn into_batch<R>(self) -> InFlightRecord<R> {
        let body = match self.body {
            Body::Fresh(message) | Body::Owned(message) => Body::Owned(message),
        };
        InFlightRecord { body, state: self.state }
    }

    /// Returns the bytes that it keeps in memory: value, key, headers and fixed parts.
    pub(crate) fn memory(&self) -> usize {
        let headers = self.headers();
        let headers = headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len));
        let fixed = mem::size_of::<Self>() + self.topic().len();
        self.value_size() + self.key().map_or(0, <[u8]>::len) + headers.sum::<usize>() + fixed
    }
}

fn record<M: Message>(message: &M) -> Record<'_> {
    let (mut event_id, mut traceparent) = (None, None);
    for header in headers::readable(message.headers()) {
        let value = match header.key {
            "event_id" => &mut event_id,
            TRACEPARENT => &mut traceparent,
            _ => continue,
        };
        *value = value.or(header.value);
    }
    Record {
        topic: message.topic(),
        written_at: written_at(message),
        value: message.payload(),
        event_id: event_id.and_then(text),
        traceparent: traceparent.and_then(text),
        ..Record::default()
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn written_at<M: Message>(message: &M) -> Option<Timestamp> {
    message.timestamp().to_millis().and_then(|millis| Timestamp::from_millisecond(millis).ok())
}

fn readable_headers<M: Message>(message: &M) -> Vec<(&str, Option<&[u8]>)> {
    headers::readable(message.headers()).map(|header| (header.key, header.value)).collect()
}
