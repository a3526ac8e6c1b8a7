//! The channel of a long poll: ends with the first frames, or when the client's time is over. The
//! client continues with the next poll at the position that it was answered.

use std::{mem, time::Duration};

use bytes::Bytes;
use futures_util::future::pending;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::channel::{Channel, Reconnect};
use crate::protocol::{Disconnect, Position, Resume};

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
#[derive(Debug)]
pub(crate) struct LongPoll {
    answer: oneshot::Sender<Answer>,
    frames: Vec<Utf8Bytes>,
    position: Option<Position>,
    resume: Option<Resume>,
    deadline: Instant,
    /// Whether the client was pinged since the last call of `receive`.
    is_pinged: bool,
}

impl LongPoll {
    /// Returns a poll that is answered after `wait` at the latest, and its answer.
    #[must_use]
    pub(crate) fn new(wait: Duration) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let (frames, position, resume) = (Vec::new(), None, None);
        let deadline = Instant::now() + wait;
        (Self { answer, frames, position, resume, deadline, is_pinged: false }, receiver)
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
            return pending().await;
        }
        sleep_until(self.deadline).await;
        Err(Disconnect::Answered)
    }

    async fn write(&mut self, texts: Vec<Utf8Bytes>, _: &mut bool) -> Result<(), Disconnect> {
        self.frames.extend(texts);
        let is_news = self.resume.is_some_and(|resume| resume != Resume::Complete);
        if is_news || !self.frames.is_empty() { Err(Disconnect::Answered) } else { Ok(()) }
    }

    async fn ping(&mut self) -> Result<(), Disconnect> {
        self.is_pinged = true;
        Ok(())
    }

    fn set_resume(&mut self, resume: Resume) {
        self.resume = Some(resume);
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
        let (mut poll, answer) = LongPoll::new(WAIT);
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
        let (mut poll, answer) = LongPoll::new(WAIT);
        poll.set_resume(Resume::Complete);
        let start = Instant::now();
        assert_eq!(poll.receive().await, Err(Disconnect::Answered));
        assert_eq!(start.elapsed(), WAIT);
        assert!(answered(poll, Disconnect::Answered, answer).await.frames.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_does_not_resume_completely_is_answered_at_once() {
        for resume in [Resume::None, Resume::Incomplete] {
            let (mut poll, _answer) = LongPoll::new(WAIT);
            poll.set_resume(resume);
            let written = poll.write(Vec::new(), &mut false).await;
            assert_eq!(written, Err(Disconnect::Answered), "{resume:?}");
        }
    }
}
