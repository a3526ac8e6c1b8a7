//! One connection to the server: reads commands, runs them, and writes replies and pushes in order.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{output::Output, reply::take_command, server::Server};
use crate::network::{End, Link};

/// Serves a connection until either side closes it.
pub(super) async fn serve(server: Server, id: u64, mut end: End, link: Link, output: Output) {
    let mut received = BytesMut::new();
    loop {
        let (bytes, cut) = output.take();
        let written = end.write_all(&bytes).await;
        if let Some(torn) = cut {
            link.cut(torn);
        }
        if written.is_err() {
            break;
        }
        if !output.is_empty() {
            continue;
        }
        tokio::select! {
            biased;
            () = output.changed() => {}
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
