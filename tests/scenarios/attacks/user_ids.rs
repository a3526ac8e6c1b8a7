//! User ids that look like patterns, other keys or other channels are served like any other, and
//! isolated from each other.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    stack::TIMEOUT,
};
use serde_json::json;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![a_user_id_that_is_a_pattern_or_another_key_reads_no_other_user];

async fn a_user_id_that_is_a_pattern_or_another_key_reads_no_other_user(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, victim) = (context.stack().await?, fresh_user());
    let mut own = vec![stack.client(&victim).await?];
    let fixed = ["*", "?", "[a-z]*", "teacher-*", "revoked", "/revoked", "ws/revoked"];
    let of_victim = [
        format!("{victim}*"),
        format!("{victim} "),
        victim.to_uppercase(),
        format!("ws:{victim}"),
        format!("stream:{{{victim}}}"),
        format!("{{{victim}}}"),
        format!("x}}:{{{victim}"),
        format!("../{victim}"),
        format!("[Åsa] 😀{victim}"),
        format!("'\"\\{victim}"),
    ];
    let mut others = Vec::new();
    for user in fixed.map(str::to_owned).into_iter().chain(of_victim) {
        others.push(([stack.client(&user).await?], user));
    }
    let secret = json!({"event": "secret", "data": {"for": victim}});
    stack.publish(&victim, &secret.to_string()).await?;
    let frame = own[0].next_notification(TIMEOUT).await?;
    ensure!(frame == secret, "expected {secret}, got {frame}");
    for (clients, user) in &mut others {
        let event = events::designed()?[0].fresh(user)?;
        stack.producer.send(&event).await?;
        let received = expect_notifications(&mut clients[0], &[event]).await;
        received.with_context(|| format!("{user:?}"))?;
        expect_no_further_frames(stack, user, clients).await?;
    }
    expect_no_further_frames(stack, &victim, &mut own).await
}
