//! Reads the headers of records, at a cost per record that is bounded. Any client may write a
//! header whose name is not UTF-8; rdkafka 0.39 panics on it and offers no other way to read a
//! header.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use rdkafka::message::{Header, Headers};
use shared::trace::TRACEPARENT;

/// Most headers that are read of a record; producers write a handful.
pub(crate) const MAX_HEADERS: usize = 1_000;

/// Reading ends at this many names that are not UTF-8: each costs a caught panic.
const MAX_UNREADABLE: usize = 8;

/// The last headers of a dead letter, among which are all that the worker has added.
const MAX_ADDED: usize = 16;

/// What the worker uses of a record's headers, found by reading them once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderIndex {
    /// Where the first header `event_id` that has a value is.
    pub(crate) event_id: Option<usize>,
    /// The same of `traceparent`.
    pub(crate) traceparent: Option<usize>,
    /// The bytes of the names and values that were read.
    pub(crate) bytes: usize,
    /// The number of headers that were not read: those whose names are not UTF-8, and all after the
    /// 1,000th or after the eighth of such names.
    pub(crate) unread: usize,
}

impl HeaderIndex {
    pub(crate) fn of<H: Headers>(headers: Option<&H>) -> Self {
        let mut index = Self { unread: headers.map_or(0, Headers::count), ..Self::default() };
        for (position, header) in positions_and_readable(headers) {
            index.unread -= 1;
            index.bytes += header.key.len() + header.value.map_or(0, <[u8]>::len);
            let found = match header.key {
                "event_id" => &mut index.event_id,
                TRACEPARENT => &mut index.traceparent,
                _ => continue,
            };
            *found = found.or(header.value.map(|_| position));
        }
        index
    }
}

/// Returns the text of the header at a position that a [`HeaderIndex`] has found.
pub(crate) fn text_at<H: Headers>(headers: Option<&H>, position: Option<usize>) -> Option<&str> {
    std::str::from_utf8(headers?.try_get(position?)?.value?).ok()
}

/// Returns the headers that are read, in order.
pub(crate) fn readable<H: Headers>(headers: Option<&H>) -> impl Iterator<Item = Header<'_, &[u8]>> {
    positions_and_readable(headers).map(|(_, header)| header)
}

/// Returns the value of a header that the worker has added to a dead letter.
pub(crate) fn added<'h, H: Headers>(headers: Option<&'h H>, name: &str) -> Option<&'h [u8]> {
    let count = headers.map_or(0, Headers::count);
    let last = read_at(headers, (0..count).rev().take(MAX_ADDED));
    last.map(|(_, header)| header).find(|header| header.key == name)?.value
}

fn positions_and_readable<H: Headers>(
    headers: Option<&H>,
) -> impl Iterator<Item = (usize, Header<'_, &[u8]>)> {
    let count = headers.map_or(0, Headers::count);
    read_at(headers, 0..count.min(MAX_HEADERS))
}

/// Reads the headers at `positions`, up to the last name that may be unreadable.
fn read_at<H: Headers>(
    headers: Option<&H>,
    positions: impl Iterator<Item = usize>,
) -> impl Iterator<Item = (usize, Header<'_, &[u8]>)> {
    let mut unreadable = 0;
    let read = positions.map_while(move |position| {
        let header = (unreadable < MAX_UNREADABLE).then(|| read(headers?, position))?;
        unreadable += usize::from(header.is_none());
        Some(header.map(|header| (position, header)))
    });
    read.flatten()
}

fn read<H: Headers>(headers: &H, index: usize) -> Option<Header<'_, &[u8]>> {
    let _quiet = QuietPanics::new();
    // Reading changes nothing, so a panic leaves nothing inconsistent.
    catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok().flatten()
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the panic hook from logging while it exists, on its thread.
struct QuietPanics;

impl QuietPanics {
    fn new() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let hook = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                if !IS_QUIET.get() {
                    hook(panic);
                }
            }));
        });
        IS_QUIET.set(true);
        Self
    }
}

impl Drop for QuietPanics {
    fn drop(&mut self) {
        IS_QUIET.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers with these names; counts the reads.
    struct NamedHeaders {
        names: Vec<&'static [u8]>,
        reads: Cell<usize>,
    }

    impl NamedHeaders {
        fn new(names: Vec<&'static [u8]>) -> Self {
            Self { names, reads: Cell::new(0) }
        }
    }

    impl Headers for NamedHeaders {
        fn count(&self) -> usize {
            self.names.len()
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            self.reads.update(|reads| reads + 1);
            // As rdkafka does.
            let key = std::str::from_utf8(self.names.get(index)?).unwrap();
            Some(Header { key, value: Some(b"v") })
        }
    }

    fn names(headers: &NamedHeaders) -> Vec<&str> {
        readable(Some(headers)).map(|header| header.key).collect()
    }

    #[test]
    fn a_header_whose_name_is_not_utf_8_is_left_out() {
        let headers = NamedHeaders::new(vec![b"a", b"\xff", b"event_id", b"event_id"]);
        assert_eq!(names(&headers), ["a", "event_id", "event_id"]);
        let expected = HeaderIndex { event_id: Some(2), traceparent: None, bytes: 20, unread: 1 };
        assert_eq!(HeaderIndex::of(Some(&headers)), expected);
        assert_eq!(text_at(Some(&headers), expected.event_id), Some("v"));
        assert_eq!(HeaderIndex::of::<NamedHeaders>(None), HeaderIndex::default());
    }

    #[test]
    fn headers_are_read_up_to_a_number_of_unreadable_ones() {
        let mut all = vec![b"\xff" as &[u8]; 90_001];
        all[0] = b"a";
        let headers = NamedHeaders::new(all);
        assert_eq!(HeaderIndex::of(Some(&headers)).unread, 90_000);
        assert_eq!(headers.reads.get(), 1 + MAX_UNREADABLE);
    }

    #[test]
    fn headers_are_read_up_to_a_number() {
        let headers = NamedHeaders::new(vec![b"name"; 90_000]);
        let index = HeaderIndex::of(Some(&headers));
        assert_eq!((index.unread, index.bytes), (90_000 - MAX_HEADERS, MAX_HEADERS * 5));
        assert_eq!(headers.reads.get(), MAX_HEADERS);
    }

    #[test]
    fn a_header_that_the_worker_has_added_is_found_behind_any_number_of_others() {
        let mut all = vec![b"\xff" as &[u8]; 90_000];
        all.extend([b"dlq.reason" as &[u8], b"dlq.topic"]);
        let headers = NamedHeaders::new(all);
        assert_eq!(added(Some(&headers), "dlq.reason"), Some(&b"v"[..]));
        assert_eq!(added(Some(&headers), "dlq.replayed"), None);
        assert!(headers.reads.get() < 2 * MAX_ADDED);
    }
}
