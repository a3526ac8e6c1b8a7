//! How long it takes until all clients of a gateway that was killed are live again at another.

use std::time::Duration;

use anyhow::ensure;
use load::{
    crew::Crew,
    events::Kind,
    plan::Crowd,
    run::ms,
    source::{Going, Schedule},
};

use crate::{
    rig::{self, ARRIVE, CONNECT, Rig},
    row::{Goal, Row},
};

pub(crate) async fn measure(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let sockets = rig.pick(40, 15_000);
    rig.on_stack((1, 2), async |stack| {
        let crowd = Crowd { come_back: true, at_first: true, ..rig::crowd(stack, sockets) };
        let mut crew = Crew::gather(crowd.clone()).await?;
        crew.connect(CONNECT).await?;
        let all = sockets as u64;
        // One event each, so that everybody has a position to go on from; and one each afterwards.
        let schedule = Schedule::of(&crowd, Kind::File, rig.pick(200, 5_000), 2 * all);
        let (kafka, going) = (stack.kafka.client_config(), Going::default());
        let shared = going.clone();
        let sending = tokio::task::spawn_blocking(move || schedule.send(&kafka, &shared));
        crew.until("an event each", ARRIVE, |stand| stand.received >= all).await?;
        stack.gateways[0].kill().await?;
        let limit = Duration::from_mins(1);
        crew.until("everybody has noticed", limit, |stand| stand.connected < all).await?;
        let took = crew.until("all are back", limit, |stand| stand.connected == all).await?;
        let sent = sending.await??;
        rig::arrived(&crew, 2 * all).await?;
        let tally = crew.finish(sent.events).await?;
        stack.gateways[0].restart().await?;
        ensure!(tally.disconnects >= all, "only {} had to come back", tally.disconnects);
        let returns = tally.returns.percentiles();
        let wrong = tally.missing + tally.duplicates + tally.out_of_order;
        Ok(vec![
            Row::of("comeback", "s p99", vec![ms(returns.p99_us) / 1e3], Goal::AtMost(5.0))
                .noted(format!(
                    "{sockets} clients at once, with events under way; the last after {:.1} s, \
                     all by {took:.1?}; {} attempts failed",
                    ms(returns.max_us) / 1e3,
                    tally.refused
                ))
                .missed_if((wrong > 0).then(|| format!("{wrong} texts missing, twice or late"))),
        ])
    })
    .await
}
