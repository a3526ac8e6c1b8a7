use std::{sync::Mutex, time::Duration};

use futures_util::FutureExt;

use super::*;
use crate::{
    hub::outbox::{Due, Limits, Pushed},
    protocol::{Frame, TraceContext},
};

const LIMITS: Limits =
    Limits { capacity: 8, max_bytes: 1 << 10, max_delay: Duration::from_secs(1) };

/// A socket that takes a number of frames, the last of which in part.
#[derive(Debug)]
struct FakeSocket {
    room: usize,
    is_partial: bool,
    writes: Mutex<Vec<Vec<String>>>,
}

impl FakeSocket {
    fn new(room: usize, is_partial: bool) -> Arc<Self> {
        Arc::new(Self { room, is_partial, writes: Mutex::default() })
    }

    fn writes(&self) -> Vec<Vec<String>> {
        self.writes.lock().unwrap().clone()
    }
}

impl SocketWriter for FakeSocket {
    fn try_write(&self, texts: &[&str]) -> Written {
        let frames = texts.len().min(self.room);
        let taken = texts[..frames].iter().map(|text| (*text).to_owned()).collect();
        self.writes.lock().unwrap().push(taken);
        Written { frames, is_partial: self.is_partial }
    }
}

fn outbox(socket: &Arc<FakeSocket>) -> Outbox {
    let outbox = Outbox::new(LIMITS);
    outbox.set_writer(Arc::clone(socket) as Arc<dyn SocketWriter>);
    outbox
}

fn frame(text: &str) -> Item {
    Item::Frame(Frame::published(text.into()))
}

#[test]
fn frames_that_are_queued_together_share_a_write_that_the_task_does_not_notice() {
    let socket = FakeSocket::new(8, false);
    let outbox = outbox(&socket);
    assert_eq!(outbox.due(None, true).now_or_never(), None);
    assert_eq!(outbox.push(frame("1")), Pushed::ToFlush);
    assert_eq!(outbox.push(frame("2")), Pushed::Queued);
    assert_eq!(outbox.flush().items, [frame("1"), frame("2")]);
    assert_eq!(socket.writes(), [["1", "2"]]);
    assert_eq!(outbox.due(None, true).now_or_never(), None);
    assert_eq!(outbox.push(frame("3")), Pushed::ToFlush);
}

#[test]
fn the_task_is_woken_for_what_the_socket_does_not_take() {
    for (room, is_partial, written, left) in [
        (0, false, vec![], vec![frame("1"), frame("2")]),
        (1, false, vec![frame("1")], vec![frame("2")]),
        (1, true, vec![frame("1")], vec![frame("2")]),
        (2, true, vec![frame("1"), frame("2")], vec![]),
    ] {
        let outbox = outbox(&FakeSocket::new(room, is_partial));
        assert_eq!(outbox.due(None, true).now_or_never(), None);
        outbox.push(frame("1"));
        outbox.push(frame("2"));
        assert_eq!(outbox.flush().items, written);
        // Later frames must not overtake the rest.
        assert_eq!(outbox.push(frame("3")), Pushed::Queued);
        assert!(outbox.flush().items.is_empty());
        assert_eq!(outbox.due(None, true).now_or_never(), Some(Due::Now));
        assert_eq!(outbox.drain().items, [left, vec![frame("3")]].concat());
    }
}

#[test]
fn nothing_is_written_while_the_task_writes_or_filters() {
    let socket = FakeSocket::new(8, false);
    let outbox = outbox(&socket);
    assert_eq!(outbox.push(frame("before it waits")), Pushed::Queued);
    assert!(outbox.flush().items.is_empty());
    assert_eq!(outbox.drain().items.len(), 1);
    assert_eq!(outbox.due(None, false).now_or_never(), None);
    assert_eq!(outbox.push(frame("with a filter")), Pushed::Queued);
    assert_eq!(outbox.drain().items.len(), 1);
    assert_eq!(outbox.due(None, true).now_or_never(), None);
    assert_eq!(outbox.push(frame("while the task begins to write")), Pushed::ToFlush);
    outbox.begin_write();
    assert!(outbox.flush().items.is_empty());
    assert!(socket.writes().is_empty());
    assert_eq!(outbox.drain().items.len(), 1);
}

#[test]
fn a_gap_and_a_traced_frame_are_left_to_the_task() {
    let mut traced = Frame::published("traced".into());
    let received_at = std::time::SystemTime::UNIX_EPOCH;
    traced.trace_context = Some(Box::new(TraceContext { parent: "p".into(), received_at }));
    for other in [Item::Gap, Item::Frame(traced)] {
        let outbox = outbox(&FakeSocket::new(8, false));
        assert_eq!(outbox.due(None, true).now_or_never(), None);
        outbox.push(frame("1"));
        outbox.push(other.clone());
        assert_eq!(outbox.flush().items, [frame("1")]);
        assert_eq!(outbox.due(None, true).now_or_never(), Some(Due::Now));
        assert_eq!(outbox.drain().items, std::slice::from_ref(&other));
        assert_eq!(outbox.due(None, true).now_or_never(), None);
        assert_eq!(outbox.push(other), Pushed::Queued);
        assert!(outbox.state().waker.is_none(), "the task is not woken");
    }
}
