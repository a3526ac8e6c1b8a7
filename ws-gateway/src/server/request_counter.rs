//! A stream that counts the requests that a client has sent. HTTP/1.1 allows a client to send the
//! next request before the response to the last one; hyper then reads no further, and does not
//! notice that the client has disconnected.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// The end of a request without a body.
const END: &[u8; 4] = b"\r\n\r\n";

/// A stream whose reads are reported to the activity of its connection.
#[derive(Debug)]
pub(super) struct RequestCounter<S> {
    stream: S,
    activity: Activity,
    /// The number of bytes of [`END`] that were read last.
    matched: usize,
}

impl<S> RequestCounter<S> {
    pub(super) fn new(stream: S, activity: Activity) -> Self {
        Self { stream, activity, matched: 0 }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn count(&mut self, bytes: &[u8]) {
        let mut requests = 0;
        for &byte in bytes {
            self.matched = match self.matched {
                matched if byte == END[matched] => matched + 1,
                _ => usize::from(byte == END[0]),
            };
            if self.matched == END.len() {
                requests += 1;
                self.matched = 0;
            }
        }
        let has_begun_next = !bytes.is_empty() && !bytes.ends_with(END);
        self.activity.record_requests(requests, has_begun_next);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RequestCounter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.count(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RequestCounter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_request_that_follows_another_is_noticed_however_the_bytes_are_split() {
        let requests = b"GET /events HTTP/1.1\r\nHost: h\r\n\r\nG";
        for split in 0..requests.len() {
            let activity = Activity::default();
            let mut counter = RequestCounter::new((), activity.clone());
            activity.serve();
            let (first, second) = requests.split_at(split);
            counter.count(first);
            assert_eq!(activity.next_request().now_or_never(), None, "split at {split}");
            counter.count(second);
            assert_eq!(activity.next_request().now_or_never(), Some(()), "split at {split}");
        }
    }

    #[tokio::test]
    async fn a_request_after_the_response_to_the_last_one_follows_none() {
        let activity = Activity::default();
        let mut counter = RequestCounter::new((), activity.clone());
        for _ in 0..3 {
            counter.count(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            activity.serve();
            assert_eq!(activity.next_request().now_or_never(), None);
        }
        counter.count(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        activity.serve();
        assert_eq!(activity.next_request().now_or_never(), Some(()));
    }
}
