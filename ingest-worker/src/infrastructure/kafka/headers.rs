//! Reads the headers of records. Any client may write a header whose name is not UTF-8; rdkafka
//! 0.39 panics on it and offers no other way to read a header. Such a header is left out.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use rdkafka::message::{Header, Headers};

/// Returns the headers whose names are UTF-8, in order.
pub(crate) fn readable<H: Headers>(
    headers: Option<&H>,
) -> impl DoubleEndedIterator<Item = Header<'_, &[u8]>> {
    let count = headers.map_or(0, Headers::count);
    (0..count).filter_map(move |index| read(headers?, index))
}

/// Returns how many headers have a name that is not UTF-8.
pub(crate) fn unreadable<H: Headers>(headers: Option<&H>) -> usize {
    headers.map_or(0, Headers::count) - readable(headers).count()
}

fn read<H: Headers>(headers: &H, index: usize) -> Option<Header<'_, &[u8]>> {
    let _quiet = QuietPanics::new();
    // Reading changes nothing, so a panic leaves nothing inconsistent.
    catch_unwind(AssertUnwindSafe(|| headers.try_get(index))).ok().flatten()
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the panic hook from logging while it exists, on its thread: one record with such a header
/// may be read many times.
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

    /// Headers of which the second has a name that is not UTF-8.
    struct HeadersWithInvalidName;

    impl Headers for HeadersWithInvalidName {
        fn count(&self) -> usize {
            3
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            let names: [&[u8]; 3] = [b"a", b"\xff", b"c"];
            // As rdkafka does.
            let key = std::str::from_utf8(names.get(index)?).unwrap();
            Some(Header { key, value: Some(b"v") })
        }
    }

    #[test]
    fn a_header_whose_name_is_not_utf_8_is_left_out() {
        let names: Vec<&str> =
            readable(Some(&HeadersWithInvalidName)).map(|header| header.key).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(unreadable(Some(&HeadersWithInvalidName)), 1);
        assert_eq!(readable::<HeadersWithInvalidName>(None).count(), 0);
    }
}
