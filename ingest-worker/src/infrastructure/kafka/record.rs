//! A record that has been read and is not finished, and what the domain sees of it.

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers, OwnedMessage},
};
use shared::{
    time::Timestamp,
    trace::{EventSpan, TRACEPARENT},
};
use tokio::time::Instant;
use tracing::field::{self, Value};

use super::offsets::Lease;
use crate::domain::record::Record;

/// A record in hand.
#[derive(Debug)]
pub(crate) struct InHand<'c> {
    body: Body<'c>,
    /// Under which assignment it was read.
    pub(crate) lease: Lease,
    /// When it was first read.
    pub(crate) since: Instant,
    /// Whether it may wait no longer for its owner.
    pub(crate) wait_expired: bool,
    /// The work on it, if traces are made.
    pub(crate) trace: Option<EventSpan>,
}

/// Fresh records are borrowed from the client; those that wait are copied, as a borrowed one
/// keeps everything in memory that was fetched with it.
#[derive(Debug)]
enum Body<'c> {
    Fresh(BorrowedMessage<'c>),
    Waited(OwnedMessage),
}

impl<'c> InHand<'c> {
    pub(crate) fn new(message: BorrowedMessage<'c>, lease: Lease) -> Self {
        let since = Instant::now();
        Self { body: Body::Fresh(message), lease, since, wait_expired: false, trace: None }
    }

    /// The same, in memory of its own.
    pub(crate) fn detach(self) -> InHand<'static> {
        let Self { body, lease, since, wait_expired, trace } = self;
        let body = match body {
            Body::Fresh(message) => Body::Waited(message.detach()),
            Body::Waited(message) => Body::Waited(message),
        };
        InHand { body, lease, since, wait_expired, trace }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        let record = match &self.body {
            Body::Fresh(message) => record(message),
            Body::Waited(message) => record(message),
        };
        Record { wait_expired: self.wait_expired, ..record }
    }

    pub(crate) fn topic(&self) -> &str {
        match &self.body {
            Body::Fresh(message) => message.topic(),
            Body::Waited(message) => message.topic(),
        }
    }

    pub(crate) fn partition(&self) -> i32 {
        match &self.body {
            Body::Fresh(message) => message.partition(),
            Body::Waited(message) => message.partition(),
        }
    }

    pub(crate) fn offset(&self) -> i64 {
        match &self.body {
            Body::Fresh(message) => message.offset(),
            Body::Waited(message) => message.offset(),
        }
    }

    /// When it was written.
    pub(crate) fn written_at(&self) -> Option<Timestamp> {
        match &self.body {
            Body::Fresh(message) => written_at(message),
            Body::Waited(message) => written_at(message),
        }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Fresh(message) => message.key(),
            Body::Waited(message) => message.key(),
        }
    }

    /// Each header's name and value.
    pub(crate) fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        match &self.body {
            Body::Fresh(message) => headers(message.headers()),
            Body::Waited(message) => headers(message.headers()),
        }
    }

    /// Names its trace in logs.
    pub(crate) fn trace_id(&self) -> Option<impl Value> {
        self.trace.as_ref().map(|trace| field::display(trace.trace_id()))
    }

    /// The bytes it keeps in memory.
    pub(crate) fn size(&self) -> usize {
        let value = match &self.body {
            Body::Fresh(message) => message.payload(),
            Body::Waited(message) => message.payload(),
        };
        value.map_or(0, <[u8]>::len)
    }
}

fn record<M: Message>(message: &M) -> Record<'_> {
    let (mut event_id, mut traceparent) = (None, None);
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let said = match header.key {
            "event_id" => &mut event_id,
            TRACEPARENT => &mut traceparent,
            _ => continue,
        };
        *said = said.or(header.value);
    }
    Record {
        topic: message.topic(),
        written_at: written_at(message),
        value: message.payload(),
        event_id: event_id.and_then(text),
        traceparent: traceparent.and_then(text),
        wait_expired: false,
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn written_at<M: Message>(message: &M) -> Option<Timestamp> {
    message.timestamp().to_millis().and_then(|millis| Timestamp::from_millisecond(millis).ok())
}

fn headers<H: Headers>(headers: Option<&H>) -> Vec<(&str, Option<&[u8]>)> {
    headers.map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key, header.value)).collect()
    })
}
