//! The WebSocket protocol, case by case, with the numbers of the Autobahn test suite (sections 1
//! to 7 and 10). This server echoes nothing: a text that is right is ignored, and the client is
//! still served; a binary message is refused with 1003; pings are answered by what they carried.

pub(crate) mod cases;
pub(crate) mod closing;
pub(crate) mod texts;

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::{
    events::fresh_user,
    stack::{Layout, Stack},
};
use support::raw_socket::{RawSocket, ServerFrame, client_frame};

use crate::{context::Context, runner::scenarios};

scenarios![every_case_of_the_protocol_has_the_expected_end,];

/// How many connections there are at once.
const AT_ONCE: usize = 16;

/// How many bytes go out together.
#[derive(Clone, Copy, Debug)]
enum Chop {
    /// All that there are.
    Whole,
    /// So many.
    Parts(usize),
}

/// What has to come of a case.
#[derive(Clone, Debug)]
enum Expected {
    /// These pongs, and the client is still served.
    Served(Vec<Vec<u8>>),
    /// These pongs, then a close with this code.
    Closed(Vec<Vec<u8>>, u16),
}

/// One case: what is sent, and what has to come of it.
#[derive(Debug)]
struct Case {
    id: String,
    bytes: Vec<u8>,
    chop: Chop,
    expected: Expected,
}

impl Case {
    fn new(id: impl Into<String>, frames: &[Vec<u8>], expected: Expected) -> Self {
        Self { id: id.into(), bytes: frames.concat(), chop: Chop::Whole, expected }
    }

    fn chopped(mut self, bytes: usize) -> Self {
        self.chop = Chop::Parts(bytes);
        self
    }

    async fn run(&self, server: SocketAddr, token: &str) -> anyhow::Result<()> {
        let mut raw = RawSocket::connect_websocket(server, token).await?;
        let size = match self.chop {
            Chop::Whole => self.bytes.len(),
            Chop::Parts(size) => size,
        };
        for part in self.bytes.chunks(size.max(1)) {
            if raw.send(part).await.is_err() {
                // Closed already; what was said before that is still to be read.
                break;
            }
        }
        let (pongs, closed) = match &self.expected {
            Expected::Served(pongs) => {
                raw.send(&client_frame(0x81, br#"{"type":"ping"}"#)).await?;
                (pongs, None)
            }
            Expected::Closed(pongs, code) => (pongs, Some(*code)),
        };
        for pong in pongs {
            let heard = raw.next_frame().await?;
            ensure!(heard == ServerFrame::Pong(pong.clone()), "{heard:?} instead of a pong");
        }
        let last = raw.next_frame().await?;
        match closed {
            None => ensure!(last == ServerFrame::Text(r#"{"type":"pong"}"#.into()), "{last:?}"),
            Some(code) => ensure!(last == ServerFrame::Close(code), "{last:?}, not {code}"),
        }
        Ok(())
    }
}

async fn every_case_of_the_protocol_has_the_expected_end(context: &Context) -> anyhow::Result<()> {
    let gateway_settings = vec![("WEBSOCKET_MAX_MESSAGE_SIZE", (1 << 20).to_string())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack: Stack = context.own_stack(&layout).await?;
    let server = stack.gateways[0].address();
    let cases = [cases::all(), texts::all(), closing::all()].into_iter().flatten();
    let cases: Vec<Case> = cases.collect();
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    ensure!(ids.len() == cases.len(), "two cases have one number");
    let count = cases.len();
    // Made here: a future that borrows in a stream is not `Send` for all that the compiler knows.
    let mut runs = Vec::with_capacity(count);
    for case in cases {
        let token = stack.token(&fresh_user())?;
        runs.push(async move {
            case.run(server, &token).await.with_context(|| format!("case {}", case.id))
        });
    }
    stream::iter(runs).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    println!("{count} cases of the WebSocket protocol");
    stack.shut_down_and_check_logs().await
}
