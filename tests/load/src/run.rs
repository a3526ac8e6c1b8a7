//! Runs a load test: connects all clients, sends the events on schedule, and evaluates the result.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::ensure;
use harness::usage;
use rdkafka::ClientConfig;
use serde::Serialize;
use tokio::time::sleep;

use super::{
    events::Kind,
    messages::Progress,
    plan::ClientPlan,
    processes::ClientProcesses,
    schedule::{Schedule, SendProgress, SendResult},
    stats::{ClientStats, Percentiles},
};

/// Longest wait for outstanding notifications after the last event.
const DRAIN_LIMIT: Duration = Duration::from_mins(1);

/// A load test.
#[derive(Clone, Debug)]
pub struct LoadTest {
    /// The clients.
    pub plan: ClientPlan,
    /// Settings of the Kafka producer.
    pub kafka: ClientConfig,
    /// The type of the events.
    pub kind: Kind,
    /// The topic, if not that of the event type.
    pub topic: Option<String>,
    /// Events per second.
    pub per_second: u64,
    /// How long events are sent.
    pub duration: Duration,
    /// The part of the duration at its beginning whose latencies are not recorded.
    pub warm_up: Duration,
    /// Longest time for all clients to connect.
    pub connect_limit: Duration,
    /// Highest p99 of the send delay; above this the tester is the bottleneck and the run is invalid.
    pub max_send_delay: Duration,
    /// How long no notification may arrive before the missing ones count as lost.
    pub idle_limit: Duration,
    /// Whether to print the progress every second.
    pub print_progress: bool,
}

/// The result of a load test.
#[derive(Clone, Debug, Serialize)]
pub struct LoadResult {
    /// Whether the run is valid and every notification arrived once and in order.
    pub passed: bool,
    /// Whether the tester sent the events on time.
    pub valid: bool,
    /// Why the test did not pass.
    pub problems: Vec<String>,
    /// Number of sockets.
    pub sockets: usize,
    /// Number of users.
    pub users: usize,
    /// Scheduled events per second.
    pub per_second: u64,
    /// Events per second, from the first scheduled event to the last notification.
    pub achieved: f64,
    /// Events sent.
    pub sent: u64,
    /// Events that the broker did not acknowledge.
    pub failed: u64,
    /// Notifications that the sockets should have received.
    pub expected: u64,
    /// Notifications received.
    pub received: u64,
    /// Notifications that a socket has not received.
    pub missing: u64,
    /// Notifications received more than once by a socket.
    pub duplicates: u64,
    /// Notifications that a socket received after later ones.
    pub out_of_order: u64,
    /// Connections that ended without their client disconnecting.
    pub disconnects: u64,
    /// Failed attempts to connect.
    pub refused: u64,
    /// Longest time between two notifications of a socket, in microseconds.
    pub longest_silence_us: u64,
    /// From an event's scheduled time until a socket has read its notification.
    pub latency: Percentiles,
    /// From starting to connect until the subscription is confirmed.
    pub connects: Percentiles,
    /// From losing a connection until the next one has resumed.
    pub reconnects: Percentiles,
    /// From an event's scheduled time until it was handed to the Kafka client.
    pub send_delay: Percentiles,
    /// Processors used by the tester while events were sent.
    pub tester_cpus: f64,
}

impl LoadTest {
    /// `per_second` events for `duration`, the first fifth of it as warm-up.
    #[must_use]
    pub fn new(plan: ClientPlan, kafka: ClientConfig, per_second: u64, duration: Duration) -> Self {
        Self {
            plan,
            kafka,
            kind: Kind::File,
            topic: None,
            per_second,
            duration,
            warm_up: duration / 5,
            connect_limit: Duration::from_mins(2),
            max_send_delay: Duration::from_millis(5),
            idle_limit: Duration::from_secs(5),
            print_progress: false,
        }
    }

    /// Connects the clients and runs the test.
    ///
    /// # Errors
    /// When a client does not connect, the broker does not answer, or a client process ends.
    pub async fn run(&self) -> anyhow::Result<LoadResult> {
        let mut clients = ClientProcesses::start(self.plan.clone()).await?;
        clients.connect(self.connect_limit).await?;
        self.run_with(clients).await
    }

    /// Runs the test with clients that are connected.
    ///
    /// # Errors
    /// As [`LoadTest::run`].
    pub async fn run_with(&self, mut clients: ClientProcesses) -> anyhow::Result<LoadResult> {
        ensure!(self.per_second > 0, "an open loop needs a rate");
        let events = u64::try_from(self.duration.as_nanos() * u128::from(self.per_second))
            .unwrap_or(u64::MAX)
            / 1_000_000_000;
        let mut schedule = Schedule::new(&clients.plan, self.kind, self.per_second, events);
        if let Some(topic) = &self.topic {
            schedule.topic.clone_from(topic);
        }
        let warm_up = u64::try_from(self.warm_up.as_nanos()).unwrap_or_default();
        clients.record_from(schedule.start + warm_up).await?;
        let (begun, cpu) = (Instant::now(), usage::of_this_process()?.cpu);
        let (kafka, progress) = (self.kafka.clone(), SendProgress::default());
        let shared = progress.clone();
        let mut sending = tokio::task::spawn_blocking(move || schedule.send(&kafka, &shared));
        let sent = loop {
            tokio::select! {
                sent = &mut sending => break sent??,
                () = self.watch(&clients, &progress) => {}
            }
        };
        self.wait_for_outstanding(&clients, clients.plan.expected(sent.events)).await;
        let elapsed = begun.elapsed();
        let cpu = usage::of_this_process()?.cpu.saturating_sub(cpu);
        let plan = clients.plan.clone();
        let stats = clients.finish(sent.events).await?;
        Ok(self.evaluate(&plan, &sent, &stats, (elapsed, cpu)))
    }

    /// Watches the progress for a second and prints it if asked to.
    async fn watch(&self, clients: &ClientProcesses, progress: &SendProgress) {
        let mut worst = 0;
        for _ in 0..20 {
            sleep(Duration::from_millis(50)).await;
            worst = worst.max(clients.progress().worst_us);
        }
        if self.print_progress {
            let Progress { connected, received, refused, .. } = clients.progress();
            let sent = progress.sent.load(Relaxed);
            eprintln!(
                "{connected} connected, {refused} refused, {sent} sent, {received} received, \
                 highest latency {:.1} ms",
                ms(worst)
            );
        }
    }

    fn evaluate(
        &self,
        plan: &ClientPlan,
        sent: &SendResult,
        stats: &ClientStats,
        (elapsed, cpu): (Duration, Duration),
    ) -> LoadResult {
        let send_delay = sent.delay.percentiles();
        let mut problems = Vec::new();
        let mut check = |count: u64, what: &str| {
            if count > 0 {
                problems.push(format!("{count} {what}"));
            }
        };
        check(sent.failed, "events were not acknowledged by the broker");
        check(stats.missing, "notifications are missing");
        check(stats.duplicates, "notifications were duplicated");
        check(stats.out_of_order, "notifications were out of order");
        let valid = Duration::from_micros(send_delay.p99_us) <= self.max_send_delay;
        if !valid {
            let delay = ms(send_delay.p99_us);
            problems.push(format!("invalid: the tester sent late, p99 {delay:.1} ms"));
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs few digits")]
        let achieved = sent.events as f64 / elapsed.as_secs_f64();
        LoadResult {
            passed: problems.is_empty(),
            valid,
            problems,
            sockets: plan.sockets,
            users: plan.user_count(),
            per_second: self.per_second,
            achieved,
            sent: sent.events,
            failed: sent.failed,
            expected: plan.expected(sent.events),
            received: stats.received,
            missing: stats.missing,
            duplicates: stats.duplicates,
            out_of_order: stats.out_of_order,
            disconnects: stats.disconnects,
            refused: stats.refused,
            longest_silence_us: stats.longest_silence_us,
            latency: stats.latency.percentiles(),
            connects: stats.connects.percentiles(),
            reconnects: stats.reconnects.percentiles(),
            send_delay,
            tester_cpus: (cpu + stats.cpu).as_secs_f64() / elapsed.as_secs_f64(),
        }
    }

    /// Waits until `expected` notifications have arrived, or no more arrive.
    async fn wait_for_outstanding(&self, clients: &ClientProcesses, expected: u64) {
        let begun = Instant::now();
        let (mut last, mut since) = (0, Instant::now());
        while begun.elapsed() < DRAIN_LIMIT && since.elapsed() < self.idle_limit {
            let received = clients.progress().received;
            if received >= expected {
                return;
            }
            if received > last {
                (last, since) = (received, Instant::now());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Converts microseconds to milliseconds.
#[must_use]
pub fn ms(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stats::Histogram, tokens::Tokens};

    fn evaluate(stats: &ClientStats, send_delay: u64) -> LoadResult {
        let plan = ClientPlan::new(2, Vec::new(), Tokens::Secret(String::new()));
        let test = LoadTest::new(plan.clone(), ClientConfig::new(), 10, Duration::from_secs(1));
        let mut delay = Histogram::default();
        delay.record(send_delay);
        let sent = SendResult { events: 10, failed: 0, delay };
        test.evaluate(&plan, &sent, stats, (Duration::from_secs(1), Duration::ZERO))
    }

    #[test]
    fn a_loss_fails_the_test_and_a_late_tester_makes_it_invalid() {
        let good = evaluate(&ClientStats { received: 10, ..ClientStats::default() }, 1_000_000);
        assert!(good.passed && good.valid, "{:?}", good.problems);
        let lost = evaluate(&ClientStats { received: 9, missing: 1, ..ClientStats::default() }, 0);
        assert!(!lost.passed && lost.valid, "{:?}", lost.problems);
        let late = evaluate(&ClientStats { received: 10, ..ClientStats::default() }, 6_000_000);
        assert!(!late.passed && !late.valid, "{:?}", late.problems);
    }
}
