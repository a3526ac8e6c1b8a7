//! WebSocket frames that no correct client sends.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    stack::{Layout, Stack},
};
use support::raw_socket::{RawSocket, ServerFrame, client_frame, frame_header};

use tokio::time::timeout;

use super::{MAX_GROWTH, memory};
use crate::{assertions::expect_notifications, context::Context, runner::scenarios};

/// The default of `MAX_REQUEST_HEAD`, which bounds a message with a new token. The gateway reads a
/// frame up to this length to its end before it checks the frame.
const MAX_TOKEN_MESSAGE: u64 = 32_768;

scenarios![
    a_frame_with_an_oversized_length_is_rejected_before_memory_is_allocated,
    a_message_in_too_many_fragments_is_rejected,
    an_unmasked_frame_is_rejected,
    a_flood_of_pings_or_messages_is_throttled_and_delays_no_other_client,
    empty_continuation_frames_cost_no_more_than_messages,
    random_bytes_are_rejected,
];

async fn connect(stack: &Stack) -> anyhow::Result<RawSocket> {
    RawSocket::connect_websocket(stack.gateways[0].address(), &stack.token(&fresh_user())?).await
}

async fn expect_close(socket: &mut RawSocket, codes: &[u16]) -> anyhow::Result<()> {
    let frame = socket.next_frame().await?;
    let is_expected = matches!(frame, ServerFrame::Close(code) if codes.contains(&code));
    ensure!(is_expected, "expected a close frame with one of {codes:?}, got {frame:?}");
    Ok(())
}

async fn a_frame_with_an_oversized_length_is_rejected_before_memory_is_allocated(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let before = memory(&stack).await?;
    for length in
        [MAX_TOKEN_MESSAGE + 1, 17 << 20, 1 << 30, 1 << 40, (1 << 63) - 1, 1 << 63, u64::MAX]
    {
        // Only the header is sent, with its mask.
        let mut socket = connect(&stack).await?;
        socket.send(&frame_header(0x81, length)).await?;
        socket.send(&[0; 4]).await?;
        expect_close(&mut socket, &[1009, 1002]).await?;
    }
    let growth = memory(&stack).await? - before;
    ensure!(growth < MAX_GROWTH, "memory grew by {growth} bytes");
    stack.shut_down_and_check_logs().await
}

async fn a_message_in_too_many_fragments_is_rejected(context: &Context) -> anyhow::Result<()> {
    let mut socket = connect(context.stack().await?).await?;
    socket.send(&client_frame(0x01, &[b'x'; 4_096])).await?;
    let fragments = client_frame(0x00, &[b'x'; 4_096]).repeat(8);
    // The connection may be closed while the fragments are sent.
    if let Err(error) = socket.send(&fragments).await {
        ensure!(error.is::<std::io::Error>(), "expected an I/O error, got {error}");
    }
    expect_close(&mut socket, &[1009]).await
}

async fn an_unmasked_frame_is_rejected(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for frame in [&b"\x81\x02hi"[..], b"\x89\x00", b"\x88\x00"] {
        let mut socket = connect(stack).await?;
        socket.send(frame).await?;
        expect_close(&mut socket, &[1002]).await?;
    }
    Ok(())
}

async fn a_flood_of_pings_or_messages_is_throttled_and_delays_no_other_client(
    context: &Context,
) -> anyhow::Result<()> {
    const MESSAGES: u16 = 500;
    let (stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let (mut pings, mut texts) = (connect(&stack).await?, connect(&stack).await?);
    pings.send(&client_frame(0x89, b"p").repeat(2_000)).await?;
    let filter = client_frame(0x81, br#"{"type":"filter","categories":["a"]}"#);
    texts.send(&filter.repeat(MESSAGES.into())).await?;
    let event = events::designed()?[0].fresh(&user)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut client, &[event]).await?;
    let gateway = &stack.gateways[0];
    let floods = gateway.metric("websocket_client_rate_limited_total").await?;
    ensure!(floods >= 2.0, "expected two floods to be counted, got {floods}");
    let filters = gateway.metric("websocket_client_messages_total{type=\"filter\"}").await?;
    ensure!(filters < f64::from(MESSAGES), "all {filters} messages were read at once");
    stack.shut_down_and_check_logs().await
}

async fn empty_continuation_frames_cost_no_more_than_messages(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let (gateway, mut socket) = (&stack.gateways[0], connect(&stack).await?);
    let cpu_before = gateway.metric("process_cpu_seconds_total").await?;
    socket.send(&client_frame(0x01, b"")).await?;
    let fragments = client_frame(0x00, b"").repeat(10_000);
    let sending = async {
        loop {
            socket.send(&fragments).await?;
        }
    };
    // The gateway stops reading, so that the buffers between both ends fill at once.
    let ended: Result<anyhow::Result<()>, _> = timeout(Duration::from_secs(5), sending).await;
    ensure!(ended.is_err(), "the connection ended: {ended:?}");
    let spent = gateway.metric("process_cpu_seconds_total").await? - cpu_before;
    ensure!(spent <= 1.0, "the gateway spent {spent} s of CPU in 5 s");
    let floods = gateway.metric("websocket_client_rate_limited_total").await?;
    ensure!(floods >= 1.0, "expected a flood to be counted, got {floods}");
    stack.shut_down_and_check_logs().await
}

async fn random_bytes_are_rejected(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for low_bits in 0..64_u8 {
        let mut socket = connect(stack).await?;
        let mut bytes: Vec<u8> = (0..=MAX_TOKEN_MESSAGE).map(|_| rand::random()).collect();
        // Reserved bits are set in the first byte.
        bytes[0] = 0xf0 | low_bits;
        socket.send(&bytes).await?;
        let closed = expect_close(&mut socket, &[1002, 1009]).await;
        closed.with_context(|| format!("bytes {bytes:02x?}"))?;
    }
    Ok(())
}
