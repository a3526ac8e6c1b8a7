//! The WebSocket protocol (RFC 6455), case by case, with the numbers of the Autobahn test suite
//! (sections 1 to 7 and 10). The gateway is no echo server: it ignores a valid text and serves on,
//! and closes on a binary message with 1003.

mod closing;
mod framing;
mod utf8;

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::{
    events::fresh_user,
    stack::{Layout, Stack},
};
use support::raw_socket::{RawSocket, ServerFrame, client_frame};

use crate::{context::Context, runner::scenarios};

scenarios![every_case_of_the_autobahn_test_suite_has_the_expected_result,];

/// Cases that run concurrently, each on a connection of its own.
const CONCURRENT_CASES: usize = 16;

#[derive(Clone, Debug)]
enum Expected {
    /// These pongs, after which the client is still served.
    Served(Vec<Vec<u8>>),
    /// These pongs, then a close frame with this code.
    Closed(Vec<Vec<u8>>, u16),
}

/// Bytes that a client sends, and what it has to receive.
#[derive(Debug)]
struct Case {
    id: String,
    bytes: Vec<u8>,
    /// How many bytes are sent in one write.
    chunk_size: usize,
    expected: Expected,
}

impl Case {
    fn new(id: impl Into<String>, frames: &[Vec<u8>], expected: Expected) -> Self {
        Self { id: id.into(), bytes: frames.concat(), chunk_size: usize::MAX, expected }
    }

    fn in_chunks_of(mut self, bytes: usize) -> Self {
        self.chunk_size = bytes;
        self
    }

    async fn run(&self, server: SocketAddr, token: &str) -> anyhow::Result<()> {
        let mut socket = RawSocket::connect_websocket(server, token).await?;
        for chunk in self.bytes.chunks(self.chunk_size) {
            // After an error the connection is closed, but the frames before the close remain.
            if socket.send(chunk).await.is_err() {
                break;
            }
        }
        let (pongs, closed) = match &self.expected {
            Expected::Served(pongs) => {
                socket.send(&client_frame(0x81, br#"{"type":"ping"}"#)).await?;
                (pongs, None)
            }
            Expected::Closed(pongs, code) => (pongs, Some(*code)),
        };
        let last = match closed {
            None => ServerFrame::Text(r#"{"type":"pong"}"#.into()),
            Some(code) => ServerFrame::Close(code),
        };
        let pongs = pongs.iter().cloned().map(ServerFrame::Pong);
        for expected in pongs.chain([last]) {
            let frame = socket.next_frame().await?;
            ensure!(frame == expected, "expected {expected:?}, got {frame:?}");
        }
        Ok(())
    }
}

async fn every_case_of_the_autobahn_test_suite_has_the_expected_result(
    context: &Context,
) -> anyhow::Result<()> {
    let gateway_settings = vec![("WEBSOCKET_MAX_MESSAGE_SIZE", (1 << 20).to_string())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack: Stack = context.own_stack(&layout).await?;
    let server = stack.gateways[0].address();
    let cases = [framing::all(), utf8::all(), closing::all()].into_iter().flatten();
    let cases: Vec<Case> = cases.collect();
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    ensure!(ids.len() == cases.len(), "two cases have the same number");
    let runs = cases.iter().map(|case| async {
        let token = stack.token(&fresh_user())?;
        case.run(server, &token).await.with_context(|| format!("case {}", case.id))
    });
    stream::iter(runs).buffer_unordered(CONCURRENT_CASES).try_collect::<()>().await?;
    println!("{} cases of the WebSocket protocol", cases.len());
    stack.shut_down_and_check_logs().await
}
