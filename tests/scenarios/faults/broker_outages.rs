//! Outages of all brokers: each is one line at warning level in the log of each worker.

use std::time::Duration;

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    eventually,
    service::Service,
    stack::{Layout, Stack},
};
use serde_json::Value;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
    under_load::RECOVERY_TIMEOUT,
};

scenarios![
    an_outage_of_the_brokers_is_one_warning_of_each_worker,
    brokers_that_do_not_respond_are_one_warning,
];

/// One worker runs and has an offset to commit, another is started during the outage.
async fn an_outage_of_the_brokers_is_one_warning_of_each_worker(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![
        ("LOG_LEVEL", "DEBUG".to_owned()),
        // Longer than the topics keep records, of which a worker would warn.
        ("IDEMPOTENCY_TTL", "30d".to_owned()),
    ];
    let layout = Layout { workers: 2, worker_settings, ..Layout::default() };
    let mut stack = context.own_broker(&layout).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    hand_over_partitions(&mut stack).await?;
    let [before, after] =
        [events::designed()?[0].fresh(&user)?, events::designed()?[0].fresh(&user)?];
    stack.producer.send(&before).await?;
    expect_notifications(&mut clients[0], &[before]).await?;
    let Stack { kafka, workers, .. } = &mut stack;
    kafka
        .kill_and_restart_after(async {
            workers[1].start_again().await?;
            wait_for_checks(workers).await
        })
        .await?;
    // The first one was not read meanwhile: its connection may have been closed.
    clients = [stack.client(&user).await?];
    stack.producer.send(&after).await?;
    expect_notifications(&mut clients[0], &[after]).await?;
    for worker in &stack.workers {
        worker.wait_until_ready().await?;
        expect_one_warning(worker)?;
        // A worker that has just started logs it with its second check.
        eventually("the outage ends with one line", RECOVERY_TIMEOUT, async || {
            let ends = worker.log()?.matches("Kafka brokers answer again").count();
            ensure!(ends == 1, "{}: expected one line at the end, got {ends}", worker.name());
            Ok(())
        })
        .await?;
    }
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn brokers_that_do_not_respond_are_one_warning(context: &Context) -> anyhow::Result<()> {
    // Longer than the topics keep records, of which a worker would warn.
    let worker_settings = vec![("IDEMPOTENCY_TTL", "30d".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let stack = context.own_broker(&layout).await?;
    stack.kafka.freeze(true).await?;
    eventually("the outage is logged", RECOVERY_TIMEOUT, async || {
        expect_one_warning(&stack.workers[0])
    })
    .await?;
    stack.kafka.freeze(false).await?;
    stack.workers[0].wait_until_ready().await?;
    expect_one_warning(&stack.workers[0])?;
    stack.shut_down_and_check_logs().await
}

/// Stops the second worker, and waits until the first one has its partitions: a rebalance that an
/// outage interrupts would leave it without any, whose lag is not measured.
async fn hand_over_partitions(stack: &mut Stack) -> anyhow::Result<()> {
    const ASSIGNED: &str = "ingest_worker_assigned_partitions";
    let all = eventually("each worker has partitions", RECOVERY_TIMEOUT, async || {
        let first = stack.workers[0].metric(ASSIGNED).await?;
        let second = stack.workers[1].metric(ASSIGNED).await?;
        ensure!(first > 0.0 && second > 0.0, "{first} and {second}");
        Ok(first + second)
    })
    .await?;
    stack.workers[1].stop().await?;
    eventually("the first worker has all partitions", RECOVERY_TIMEOUT, async || {
        let assigned = stack.workers[0].metric(ASSIGNED).await?;
        ensure!(assigned >= all, "{assigned} of {all}");
        Ok(())
    })
    .await
}

/// Waits until two workers have made their periodic checks; the second has just been started.
async fn wait_for_checks(workers: &[Service]) -> anyhow::Result<()> {
    // What the checks of each worker log at debug level, and how often. The lag is that of assigned
    // partitions, which the session timeout takes away after two checks at most; the retention is
    // read once a broker answers.
    const CHECKS: [[(&str, usize); 2]; 2] = [
        [("brokers checked", 2), ("consumer lag could not be measured", 1)],
        [("brokers checked", 2), ("reading the retention of topics failed", 2)],
    ];
    const CHECKED_WITHIN: Duration = Duration::from_mins(4);
    let logged = [workers[0].log()?.len(), 0];
    eventually("each check is made", CHECKED_WITHIN, async || {
        for ((worker, checks), logged) in workers.iter().zip(CHECKS).zip(logged) {
            let log = worker.log()?;
            for (check, times) in checks {
                let count = log[logged..].matches(check).count();
                ensure!(count >= times, "{}: {count} times {check:?}", worker.name());
            }
        }
        Ok(())
    })
    .await
}

/// Checks that a worker has logged an outage of the brokers at warning level, and nothing else at
/// this level or above.
fn expect_one_warning(worker: &Service) -> anyhow::Result<()> {
    let log = worker.log()?;
    let lines = log.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let is_important = |line: &&Value| line["level"] == "WARN" || line["level"] == "ERROR";
    let lines: Vec<&Value> = lines.iter().filter(is_important).collect();
    let texts = ["Kafka client error", "Kafka brokers do not answer"];
    let is_outage =
        |line: &Value| line["level"] == "WARN" && texts.iter().any(|text| line["message"] == *text);
    ensure!(
        lines.len() == 1 && is_outage(lines[0]),
        "{}: expected one warning, got {lines:#?}",
        worker.name()
    );
    Ok(())
}
