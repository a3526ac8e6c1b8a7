//! A record that was read and is not finished, and the view of it that the domain takes.

use std::{mem, time::Duration};

use rdkafka::{
    Message,
    message::{OwnedHeaders, OwnedMessage},
};
use shared::{time::Timestamp, trace::EventSpan};
use tokio::time::Instant;

use super::{
    headers::{self, HeaderIndex},
    offsets::{Admitted, InFlightId},
};
use crate::domain::{
    ordering::OrderingKey,
    record::{ParkReason, Record, Restore},
};

/// A record as a [`super::source::RecordSource`] yields it.
pub trait SourceRecord: Message + Send + Sync {}

impl<M: Message + Send + Sync> SourceRecord for M {}

/// A record in flight. Fresh records are borrowed from the client. Those that are parked are
/// copied, because a borrowed one keeps everything in memory that was fetched with it. So are those
/// with headers that are not read; the copy lacks them.
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
    headers: HeaderIndex,
    /// The number of its headers that were not read; the record lacks them.
    pub(crate) unread_headers: usize,
    /// Whether its value was too large to be copied.
    pub(crate) lacks_value: bool,
    /// Whether it may have been processed before its partition was rewound.
    pub(crate) is_reread: bool,
    /// Set if its notification may have been published before, and Redis may have lost it.
    pub(crate) restore: Option<Restore>,
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
    /// The total time in which nothing could be published, when it was first parked. Time added
    /// since does not count as waiting for an owner.
    pub(crate) outages_before: Duration,
    /// Whether it was parked for as long as its owner may stay unknown.
    pub(crate) wait_expired: bool,
}

impl RecordState {
    /// Whether the record was finished before it is read again.
    pub(crate) fn was_finished(&self) -> bool {
        self.restore.is_some_and(Restore::was_finished)
    }
}

impl<R: SourceRecord> InFlightRecord<R> {
    /// Takes a record that the offsets have admitted.
    #[must_use]
    pub fn new(message: R, admitted: &Admitted) -> Self {
        let headers = HeaderIndex::of(message.headers());
        let unread_headers = headers.unread;
        let (body, headers) = if unread_headers == 0 {
            (Body::Fresh(message), headers)
        } else {
            let message = copy(&message, message.payload());
            let headers = HeaderIndex::of(message.headers());
            (Body::Owned(message), headers)
        };
        let state = RecordState {
            id: admitted.id,
            since: Instant::now(),
            headers,
            unread_headers,
            lacks_value: false,
            is_reread: admitted.is_reread,
            restore: admitted.restore,
            span: None,
            parked: None,
        };
        Self { body, state }
    }

    /// Returns the record in memory of its own.
    pub(crate) fn into_owned(self) -> OwnedRecord {
        self.into_owned_up_to(usize::MAX)
    }

    /// As [`Self::into_owned`], but without a value of more than `max_value` bytes.
    pub(crate) fn into_owned_up_to(self, max_value: usize) -> OwnedRecord {
        let Self { body, mut state } = self;
        let body = match body {
            Body::Fresh(message) => {
                let value = message.payload();
                state.lacks_value = value.is_some_and(|value| value.len() > max_value);
                copy(&message, value.filter(|_| !state.lacks_value))
            }
            Body::Owned(message) => message,
        };
        InFlightRecord { body: Body::Owned(body), state }
    }

    /// Returns the view of it that the domain takes.
    pub(crate) fn record(&self) -> Record<'_> {
        let record = either!(self, message => record(message, &self.state.headers));
        let parked = self.state.parked.as_deref();
        Record {
            is_reread: self.state.is_reread,
            restore: self.state.restore,
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

    /// Returns the name and value of each header.
    pub(crate) fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        either!(self, message => headers_of(message))
    }

    /// Returns the bytes of its value, key, headers and fixed parts.
    pub(crate) fn memory(&self) -> usize {
        let fixed = mem::size_of::<Self>() + self.topic().len();
        let parts = [self.value(), self.key()].map(|part| part.map_or(0, <[u8]>::len));
        parts.iter().sum::<usize>() + self.state.headers.bytes + fixed
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
}

pub(super) fn record<'m, M: Message>(message: &'m M, headers: &HeaderIndex) -> Record<'m> {
    Record {
        topic: message.topic(),
        written_at: written_at(message),
        value: message.payload(),
        event_id: headers::text_at(message.headers(), headers.event_id),
        traceparent: headers::text_at(message.headers(), headers.traceparent),
        ..Record::default()
    }
}

/// Copies a record with this value and those of its headers that are read.
fn copy<M: Message>(message: &M, value: Option<&[u8]>) -> OwnedMessage {
    let headers = headers::readable(message.headers());
    let copied = headers.fold(None, |copied: Option<OwnedHeaders>, header| {
        Some(copied.unwrap_or_default().insert(header))
    });
    OwnedMessage::new(
        value.map(<[u8]>::to_vec),
        message.key().map(<[u8]>::to_vec),
        message.topic().to_owned(),
        message.timestamp(),
        message.partition(),
        message.offset(),
        copied,
    )
}

pub(super) fn written_at<M: Message>(message: &M) -> Option<Timestamp> {
    message.timestamp().to_millis().and_then(|millis| Timestamp::from_millisecond(millis).ok())
}

fn headers_of<M: Message>(message: &M) -> Vec<(&str, Option<&[u8]>)> {
    headers::readable(message.headers()).map(|header| (header.key, header.value)).collect()
}

#[cfg(test)]
mod tests;
