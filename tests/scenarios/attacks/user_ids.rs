//! User ids that look like something else: patterns, other keys, other channels.

use anyhow::ensure;
use harness::{events::fresh_user, stack::TIMEOUT};
use serde_json::json;

use crate::{assertions::expect_no_further_frames, context::Context, runner::scenarios};

scenarios![a_user_id_that_is_a_pattern_or_another_name,];

async fn a_user_id_that_is_a_pattern_or_another_name(context: &Context) -> anyhow::Result<()> {
    let (stack, victim) = (context.stack().await?, fresh_user());
    let mut own = vec![stack.client(&victim).await?];
    let mut attackers = Vec::new();
    for id in [
        "*".to_owned(),
        "?".to_owned(),
        "[a-z]*".to_owned(),
        "teacher-*".to_owned(),
        format!("{victim}*"),
        format!("{victim} "),
        victim.to_uppercase(),
        format!("ws:{victim}"),
        format!("stream:{{{victim}}}"),
        format!("{{{victim}}}"),
        format!("x}}:{{{victim}"),
        format!("../{victim}"),
        "revoked".to_owned(),
        "/revoked".to_owned(),
        "ws/revoked".to_owned(),
    ] {
        attackers.push((stack.client(&id).await?, id));
    }
    let secret = json!({"event": "secret", "data": {"for": victim}});
    stack.publish(&victim, &secret.to_string()).await?;
    ensure!(own[0].next_notification(TIMEOUT).await? == secret, "the victim gets it");
    for (client, id) in &mut attackers {
        let marker = json!({"event": "marker", "data": {"for": id}});
        stack.publish(id, &marker.to_string()).await?;
        let frame = client.next_notification(TIMEOUT).await?;
        ensure!(frame == marker, "{id:?} got {frame}");
    }
    expect_no_further_frames(stack, &victim, &mut own).await
}
