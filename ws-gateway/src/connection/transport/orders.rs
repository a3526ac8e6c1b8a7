//! Every order in which hub, task and client can act on one connection. The queue and the socket
//! take their lock once in each call, so orders of calls are all that threads can do. A call is a
//! step; every sequence of steps is tried, each state once.

use std::{collections::VecDeque, task::Waker};

use super::*;
use crate::{
    exhaustive::{self, Woken, explore},
    hub::outbox::{Due, Item, Limits, Pushed},
    protocol::Frame,
};

const LIMITS: Limits =
    Limits { capacity: 8, max_bytes: 1 << 10, max_delay: std::time::Duration::ZERO };
/// The frames that the hub sends.
const TEXTS: [&str; 3] = ["1", "2", "3"];
const PONG: &[u8] = b"\x8a\x02pp";

/// A socket with a small send buffer.
#[derive(Debug)]
struct FakeSocket {
    capacity: usize,
    sent: Mutex<(VecDeque<u8>, Option<Waker>)>,
}

impl FakeSocket {
    fn sent(&self) -> MutexGuard<'_, (VecDeque<u8>, Option<Waker>)> {
        self.sent.lock().unwrap()
    }
}

impl Socket for FakeSocket {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = self.sent();
        if sent.0.len() < self.capacity {
            return Poll::Ready(Ok(()));
        }
        sent.1 = Some(context.waker().clone());
        Poll::Pending
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = self.sent();
        let length = bytes.len().min(self.capacity - sent.0.len());
        sent.0.extend(&bytes[..length]);
        if length == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(length) }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.try_write(&bytes)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What the connection's task does next, as `select_loop.rs` and `wire.rs` have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Waits for frames, and writes a pong meanwhile.
    Wait,
    Drain,
    BeginWrite,
    WriteUnbuffered,
    WriteBuffer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The hub queues the next frame.
    Push,
    /// The hub writes the queue.
    Flush,
    /// A ping of the client arrives.
    Ping,
    /// The task continues: with the queue, or while it waits also with the pong.
    Task,
    WritePong,
    /// The client reads everything.
    Read,
}

const STEPS: [Step; 6] =
    [Step::Push, Step::Flush, Step::Ping, Step::Task, Step::WritePong, Step::Read];

#[derive(Debug)]
struct System {
    outbox: Outbox,
    socket: SharedSocket<FakeSocket>,
    pushed: usize,
    to_flush: bool,
    is_pinged: bool,
    next: Next,
    woken: Arc<Woken>,
    /// Texts that the task has drained, then the bytes in its write buffer.
    drained: Vec<String>,
    buffer: Vec<u8>,
    received: Vec<u8>,
}

impl System {
    /// Equal states have equal wakers, so all systems share `woken`.
    fn new(capacity: usize, woken: &Arc<Woken>) -> Self {
        woken.set(true);
        let socket = SharedSocket::new(FakeSocket { capacity, sent: Mutex::default() });
        let outbox = Outbox::new(LIMITS);
        outbox.set_writer(socket.writer().unwrap());
        Self {
            outbox,
            socket,
            pushed: 0,
            to_flush: false,
            is_pinged: false,
            next: Next::Wait,
            woken: Arc::clone(woken),
            drained: Vec::new(),
            buffer: Vec::new(),
            received: Vec::new(),
        }
    }

    fn can(&self, step: Step) -> bool {
        let runs = self.woken.get();
        match step {
            Step::Push => self.pushed < TEXTS.len(),
            Step::Flush => self.to_flush,
            Step::Ping => !self.is_pinged,
            Step::Task => runs,
            Step::WritePong => runs && self.next == Next::Wait && !self.buffer.is_empty(),
            Step::Read => !self.socket.0.socket.sent().0.is_empty(),
        }
    }

    fn act_as_task(&mut self) {
        self.next = match self.next {
            Next::Wait => match self.poll_due() {
                Poll::Ready(Due::Now) => Next::Drain,
                Poll::Ready(due) => panic!("{due:?}"),
                Poll::Pending => {
                    let is_blocked = self.buffer.is_empty() || self.write_buffer().is_pending();
                    self.woken.set(!is_blocked);
                    Next::Wait
                }
            },
            Next::Drain => {
                let items = self.outbox.drain().items;
                self.drained = items.iter().map(|item| text(item).to_owned()).collect();
                Next::BeginWrite
            }
            Next::BeginWrite => {
                self.outbox.begin_write();
                Next::WriteUnbuffered
            }
            Next::WriteUnbuffered => {
                let texts = std::mem::take(&mut self.drained);
                let slices: Vec<&str> = texts.iter().map(String::as_str).collect();
                let written = self.socket.0.try_write(&slices).frames;
                for text in &slices[written..] {
                    self.buffer.extend(Header::of(text.len()).bytes());
                    self.buffer.extend(text.as_bytes());
                }
                Next::WriteBuffer
            }
            Next::WriteBuffer => match self.write_buffer() {
                Poll::Ready(()) if self.buffer.is_empty() => Next::Wait,
                poll => {
                    self.woken.set(poll.is_ready());
                    Next::WriteBuffer
                }
            },
        };
    }

    fn poll_due(&self) -> Poll<Due> {
        let waker = self.woken.waker();
        std::pin::pin!(self.outbox.due(None, true)).poll(&mut Context::from_waker(&waker))
    }

    /// Writes a part of the buffer; flushes if it is empty.
    fn write_buffer(&mut self) -> Poll<()> {
        let waker = self.woken.waker();
        let (socket, context) = (Pin::new(&mut self.socket), &mut Context::from_waker(&waker));
        if self.buffer.is_empty() {
            return socket.poll_flush(context).map(Result::unwrap);
        }
        let written = ready!(socket.poll_write(context, &self.buffer)).unwrap();
        self.buffer.drain(..written);
        Poll::Ready(())
    }
}

impl exhaustive::System for System {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        STEPS.into_iter().filter(|step| self.can(*step)).collect()
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Push => {
                let frame = Item::Frame(Frame::published(TEXTS[self.pushed].into()));
                self.to_flush |= self.outbox.push(frame) == Pushed::ToFlush;
                self.pushed += 1;
            }
            Step::Flush => {
                self.to_flush = false;
                drop(self.outbox.flush());
            }
            Step::Ping => {
                self.is_pinged = true;
                self.buffer.extend(PONG);
                self.woken.set(true);
            }
            Step::Task => self.act_as_task(),
            Step::WritePong => drop(self.write_buffer()),
            Step::Read => {
                let mut sent = self.socket.0.socket.sent();
                self.received.extend(sent.0.drain(..));
                if let Some(waker) = sent.1.take() {
                    waker.wake();
                }
            }
        }
    }

    fn fingerprint(&self) -> String {
        format!("{self:?}")
    }

    /// Checks that nothing is left, lost or mixed once no step is possible.
    fn check(&self, steps: &[Step]) {
        if !self.steps().is_empty() {
            return;
        }
        let mut frames = [PONG, b"\x81\x011", b"\x81\x012", b"\x81\x013"];
        let mut rest = &self.received[..];
        while let Some(frame) = frames.iter_mut().find(|f| !f.is_empty() && rest.starts_with(f)) {
            rest = &rest[frame.len()..];
            *frame = b"";
        }
        let all = String::from_utf8_lossy(&self.received);
        assert!(rest.is_empty() && frames.iter().all(|f| f.is_empty()), "{all:?} after {steps:?}");
        // The pong may be anywhere.
        let order: Vec<usize> = TEXTS.iter().filter_map(|text| all.rfind(text)).collect();
        assert!(order.is_sorted(), "{all:?} after {steps:?}");
    }
}

fn text(item: &Item) -> &str {
    match item {
        Item::Frame(frame) => &frame.text,
        Item::Gap => "",
    }
}

#[tokio::test(start_paused = true)]
async fn no_order_of_calls_loses_mixes_or_reorders_frames() {
    for capacity in 1..=8 {
        let woken = Arc::default();
        let states = explore(|| System::new(capacity, &woken));
        assert!(states > 500, "{states} states with a buffer of {capacity} bytes");
    }
}
