//! Frames that no client of ours sends.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    stack::{Layout, Stack},
};
use support::raw_socket::{RawSocket, ServerFrame, client_frame, frame_header};

use super::{count, memory};
use crate::{assertions::expect_notifications, context::Context, runner::scenarios};

scenarios![
    a_frame_that_claims_to_be_huge,
    a_message_in_more_parts_than_fit,
    a_frame_that_is_not_masked,
    a_flood_of_pings_and_one_of_messages,
    bytes_that_are_no_frames,
];

async fn raw(stack: &Stack) -> anyhow::Result<RawSocket> {
    RawSocket::connect_websocket(stack.gateways[0].address(), &stack.token(&fresh_user())?).await
}

async fn closed(raw: &mut RawSocket, codes: &[u16]) -> anyhow::Result<()> {
    let heard = raw.next_frame().await?;
    let right = matches!(heard, ServerFrame::Close(code) if codes.contains(&code));
    ensure!(right, "{heard:?} instead of a close with one of {codes:?}");
    Ok(())
}

async fn a_frame_that_claims_to_be_huge(context: &Context) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let before = memory(&stack).await?;
    for length in [4_097, 17 << 20, 1 << 30, 1 << 40, (1 << 63) - 1, 1 << 63, u64::MAX] {
        // Nothing of it is sent but its length: it is refused before there is room for it.
        let mut raw = raw(&stack).await?;
        raw.send(&frame_header(0x81, length)).await?;
        raw.send(&[0; 4]).await?;
        closed(&mut raw, &[1009, 1002]).await?;
    }
    let grown = memory(&stack).await? - before;
    ensure!(grown < f64::from(16 << 20), "it has taken {grown} bytes");
    stack.shut_down_and_check_logs().await
}

async fn a_message_in_more_parts_than_fit(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let mut raw = raw(stack).await?;
    raw.send(&client_frame(0x01, b"x")).await?;
    let parts = client_frame(0x00, b"x").repeat(4_200);
    // It may be closed while we still send.
    if let Err(problem) = raw.send(&parts).await {
        ensure!(problem.is::<std::io::Error>(), "{problem}");
    }
    closed(&mut raw, &[1009]).await
}

async fn a_frame_that_is_not_masked(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for bytes in [&b"\x81\x02hi"[..], b"\x89\x00", b"\x88\x00"] {
        let mut raw = raw(stack).await?;
        raw.send(bytes).await?;
        closed(&mut raw, &[1002]).await?;
    }
    Ok(())
}

async fn a_flood_of_pings_and_one_of_messages(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let mut good = stack.client(&user).await?;
    let (mut pings, mut texts) = (raw(&stack).await?, raw(&stack).await?);
    pings.send(&client_frame(0x89, b"p").repeat(2_000)).await?;
    texts.send(&client_frame(0x81, br#"{"type":"filter","categories":["a"]}"#).repeat(500)).await?;
    let event = events::designed()?[0].fresh(&user)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut good, &[event]).await?;
    let floods = count(&stack, "websocket_client_floods_total").await?;
    ensure!(floods >= 2.0, "{floods} floods were noticed");
    let filters = count(&stack, "websocket_client_messages_total{type=\"filter\"}").await?;
    ensure!(filters < 500.0, "all {filters} messages were read at once");
    drop((pings, texts, good));
    stack.shut_down_and_check_logs().await
}

async fn bytes_that_are_no_frames(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for seed in 0..64_u8 {
        let mut raw = raw(stack).await?;
        let noise: Vec<u8> = (0..512).map(|_| rand::random()).collect();
        raw.send(&[&[0xf0 | seed], &noise[..]].concat()).await?;
        let right = closed(&mut raw, &[1002, 1009]).await;
        right.with_context(|| format!("seed {seed}, {noise:02x?}"))?;
    }
    Ok(())
}
