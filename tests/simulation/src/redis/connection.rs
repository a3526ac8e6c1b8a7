//! One connection to the server: reads commands, runs them, and writes replies and pushes in order.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use super::{
    reply::{Reply, take_command},
    server::Server,
};
use crate::network::{End, Link};

/// Replies and pushes that have to be written. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// Set if the connection is cut instead of the next write; whether half of that arrives.
    cut: Option<bool>,
}

impl Output {
    pub(super) fn push(&self, reply: &Reply) {
        reply.encode(&mut self.state().bytes);
        self.0.changed.notify_one();
    }

    /// Cuts the connection instead of writing; `torn`: half of the bytes arrive.
    pub(super) fn cut_after(&self, torn: bool) {
        self.state().cut = Some(torn);
        self.0.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no code panics while it holds this lock")
    }
}

/// Serves a connection until either side closes it.
pub(super) async fn serve(server: Server, id: u64, mut end: End, link: Link, output: Output) {
    let mut received = BytesMut::new();
    loop {
        let (bytes, cut) = {
            let mut state = output.state();
            (std::mem::take(&mut state.bytes), state.cut.take())
        };
        let written = end.write_all(&bytes).await;
        if let Some(torn) = cut {
            link.cut(torn);
        }
        if written.is_err() {
            break;
        }
        if !output.state().bytes.is_empty() {
            continue;
        }
        tokio::select! {
            biased;
            () = output.0.changed.notified() => {}
            read = end.read_buf(&mut received) => {
                if !matches!(read, Ok(1..)) {
                    break;
                }
                while let Some(command) = take_command(&mut received) {
                    server.execute(id, &command);
                    // Other connections' commands run in the middle of a pipeline.
                    if server.sim.chance(10) {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }
    server.close(id);
}
