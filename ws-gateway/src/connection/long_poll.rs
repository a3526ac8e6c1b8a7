//! The channel of a long poll: ends with the first frames, when the client's time is over, or when
//! the client sends another request. It continues with the next poll at the position that it was
//! answered.

use std::{fmt, mem, pin::Pin, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::channel::{Channel, Reconnect};
use crate::protocol::{CloseReason, Disconnect, Position, ReadSummary, Resume};

/// The minimum time for the subscription and the first page of the history, however short the
/// client's time is: several times as long as they take, unless Redis is unavailable.
const MIN_CONFIRMATION_TIME: Duration = Duration::from_secs(2);

/// What a poll is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The frames, in order.
    pub(crate) frames: Vec<Utf8Bytes>,
    /// Where the next poll continues.
    pub(crate) next: Option<Position>,
    /// The result of the resume; none if the subscription was not confirmed.
    pub(crate) resume: Option<Resume>,
    /// Why the poll ended.
    pub(crate) end: Disconnect,
}

/// A poll that is not answered yet.
pub(crate) struct LongPoll {
    answer: oneshot::Sender<Answer>,
    frames: Vec<Utf8Bytes>,
    position: Option<Position>,
    resume: Option<Resume>,
    /// The position up to which the user has read, as far as the client knows with these frames.
    read_up_to: Option<Position>,
    deadline: Instant,
    /// When the poll ends if there is no position yet to continue at.
    confirmed_by: Instant,
    /// Ends when the client sends another request on the same connection.
    next_request: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether the client was pinged since the last call of `receive`.
    is_pinged: bool,
}

impl LongPoll {
    /// Returns a poll that is answered after `wait` or at `next_request` at the latest, and its
    /// answer. A read state is a part of the answer if the user has read up to another position.
    #[must_use]
    pub(crate) fn new(
        wait: Duration,
        read_up_to: Option<Position>,
        next_request: impl Future<Output = ()> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let poll = Self {
            answer,
            frames: Vec::new(),
            position: None,
            resume: None,
            read_up_to,
            deadline: Instant::now() + wait,
            confirmed_by: Instant::now() + wait.max(MIN_CONFIRMATION_TIME),
            next_request: Box::pin(next_request),
            is_pinged: false,
        };
        (poll, receiver)
    }
}

impl fmt::Debug for LongPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongPoll").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Channel for LongPoll {
    async fn receive(&mut self) -> Result<Message, Disconnect> {
        // The request of a client that is gone is dropped, and this channel with it.
        if mem::take(&mut self.is_pinged) {
            return Ok(Message::Pong(Bytes::new()));
        }
        if self.resume.is_none() {
            // There is no position to continue at yet.
            sleep_until(self.confirmed_by).await;
            return Err(Disconnect::ByGateway(CloseReason::SubscriptionTimeout));
        }
        tokio::select! {
            () = sleep_until(self.deadline) => {}
            () = self.next_request.as_mut() => {}
        }
        Err(Disconnect::Answered)
    }

    async fn write(&mut self, texts: Vec<Utf8Bytes>, _: &mut bool) -> Result<(), Disconnect> {
        for text in texts {
            match ReadSummary::of_frame(&text) {
                Some(read) => self.set_read_state(&read),
                None => self.frames.push(text),
            }
        }
        let is_incomplete = self.resume.is_some_and(|resume| resume != Resume::Complete);
        if is_incomplete || !self.frames.is_empty() { Err(Disconnect::Answered) } else { Ok(()) }
    }

    async fn ping(&mut self) -> Result<(), Disconnect> {
        self.is_pinged = true;
        Ok(())
    }

    fn set_resume(&mut self, resume: Resume) {
        self.resume = Some(resume);
    }

    fn set_read_state(&mut self, read: &ReadSummary) {
        if self.read_up_to.replace(read.read_up_to) != Some(read.read_up_to) {
            self.frames.push(read.to_frame());
        }
    }

    fn set_position(&mut self, position: Position) {
        self.position = Some(position);
    }

    async fn close(self, end: Disconnect, _: Option<Reconnect>) {
        let Self { answer, frames, position: next, resume, .. } = self;
        // The request may have been dropped.
        answer.send(Answer { frames, next, resume, end }).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const WAIT: Duration = Duration::from_secs(25);

    /// Returns the answer once the poll has ended.
    async fn answered(
        poll: LongPoll,
        end: Disconnect,
        answer: oneshot::Receiver<Answer>,
    ) -> Answer {
        poll.close(end, None).await;
        answer.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_answered_by_the_first_frames_and_names_the_position_after_them() {
        let (mut poll, answer) = LongPoll::new(WAIT, None, pending());
        poll.set_resume(Resume::Complete);
        assert_eq!(poll.write(Vec::new(), &mut false).await, Ok(()));
        let position = "7-0".parse().unwrap();
        poll.set_position(position);
        let end = poll.write(vec!["{}".into()], &mut false).await.unwrap_err();
        let Answer { frames, next, resume, .. } = answered(poll, end, answer).await;
        assert_eq!((frames.len(), next, resume), (1, Some(position), Some(Resume::Complete)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_frames_it_is_answered_when_its_time_is_over() {
        let (mut poll, answer) = LongPoll::new(WAIT, None, pending());
        poll.set_resume(Resume::Complete);
        let start = Instant::now();
        assert_eq!(poll.receive().await, Err(Disconnect::Answered));
        assert_eq!(start.elapsed(), WAIT);
        assert!(answered(poll, Disconnect::Answered, answer).await.frames.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_by_the_time_of_its_client_if_it_has_no_position_by_then() {
        for (wait, by) in [(WAIT, WAIT), (Duration::ZERO, MIN_CONFIRMATION_TIME)] {
            let (start, (mut poll, answer)) =
                (Instant::now(), LongPoll::new(wait, None, pending()));
            let end = poll.receive().await.unwrap_err();
            assert_eq!(end, Disconnect::ByGateway(CloseReason::SubscriptionTimeout));
            assert_eq!(start.elapsed(), by);
            assert_eq!(answered(poll, end, answer).await.resume, None);
        }
    }

    #[tokio::test]
    async fn it_is_answered_with_a_read_state_that_the_client_does_not_know() {
        let [one, two] = ["1-0", "2-0"].map(|text| text.parse().unwrap());
        let read = ReadSummary { unread: 3, read_up_to: two, exact: true, counted_to: two };
        for (known, is_answered) in [(None, true), (Some(one), true), (Some(two), false)] {
            let (mut poll, answer) = LongPoll::new(WAIT, known, pending());
            poll.set_resume(Resume::Complete);
            poll.set_read_state(&read);
            let written = poll.write(Vec::new(), &mut false).await;
            assert_eq!(written.is_err(), is_answered, "{known:?}");
            if let Err(end) = written {
                let frames = answered(poll, end, answer).await.frames;
                let expected = r#"{"event":"read_state","data":{"up_to":"2-0","unread":3,"#;
                assert!(frames[0].starts_with(expected), "{frames:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_published_read_state_is_a_part_of_the_answer_once_and_only_if_it_is_not_known() {
        let [one, two] = ["1-0", "2-0"].map(|text| text.parse().unwrap());
        let frame = |read_up_to| {
            ReadSummary { unread: 3, read_up_to, exact: true, counted_to: two }.to_frame()
        };
        let (mut poll, answer) = LongPoll::new(WAIT, Some(one), pending());
        poll.set_resume(Resume::Complete);
        assert_eq!(poll.write(vec![frame(one), frame(one)], &mut false).await, Ok(()));
        let end = poll.write(vec![frame(two), frame(two)], &mut false).await.unwrap_err();
        assert_eq!(answered(poll, end, answer).await.frames, [frame(two)]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_answered_when_the_client_sends_another_request() {
        let start = Instant::now();
        let next_request = tokio::time::sleep(Duration::from_secs(3));
        let (mut poll, _answer) = LongPoll::new(WAIT, None, next_request);
        poll.set_resume(Resume::Complete);
        assert_eq!(poll.receive().await, Err(Disconnect::Answered));
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_client_that_does_not_resume_completely_is_answered_at_once() {
        for resume in [Resume::None, Resume::Incomplete] {
            let (mut poll, _answer) = LongPoll::new(WAIT, None, pending());
            poll.set_resume(resume);
            let written = poll.write(Vec::new(), &mut false).await;
            assert_eq!(written, Err(Disconnect::Answered), "{resume:?}");
        }
    }
}
