//! A whole run: everybody connects, events are sent on schedule, and a verdict on what arrived.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::ensure;
use rdkafka::ClientConfig;
use serde::Serialize;
use tokio::time::sleep;

use super::{
    crew::Crew,
    events::Kind,
    plan::{Crowd, Progress},
    source::{Going, Schedule, Sent},
    tally::{Percentiles, Tally},
};
use harness::usage;

/// Later than this, it is the tester that is measured.
const LATE_US: u64 = 5_000;
/// How long nothing may arrive before the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for what is still under way when the last event was sent.
const LAST: Duration = Duration::from_mins(1);

/// What to do.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who listens.
    pub crowd: Crowd,
    /// How to reach the broker.
    pub kafka: ClientConfig,
    /// What is sent.
    pub kind: Kind,
    /// Where to, if not to the kind's own topic.
    pub topic: Option<String>,
    /// Events a second.
    pub per_second: u64,
    /// For how long.
    pub lasting: Duration,
    /// How much of that, at its beginning, is not measured.
    pub warm_up: Duration,
    /// How long everybody may take to connect.
    pub connect_limit: Duration,
    /// Whether to say every second how it goes.
    pub tells: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Whether nothing was lost, nothing came twice or out of order, and the run is valid.
    pub passed: bool,
    /// Whether the tester itself was on time.
    pub valid: bool,
    /// Why not.
    pub problems: Vec<String>,
    /// Sockets.
    pub sockets: usize,
    /// Users.
    pub users: usize,
    /// Events a second, as planned.
    pub per_second: u64,
    /// Events a second, from the first one due to the last text read.
    pub achieved: f64,
    /// Events that were sent.
    pub sent: u64,
    /// Events that the broker did not acknowledge.
    pub failed: u64,
    /// Texts that the sockets should have read.
    pub expected: u64,
    /// Texts that they have read.
    pub received: u64,
    /// Texts that a socket has not got.
    pub missing: u64,
    /// Texts that a socket got again.
    pub duplicates: u64,
    /// Texts that came to a socket after later ones.
    pub out_of_order: u64,
    /// Connections that ended by themselves.
    pub disconnects: u64,
    /// Attempts to connect that failed.
    pub refused: u64,
    /// From when an event was meant to be sent until a socket had read it.
    pub latency: Percentiles,
    /// From the first packet of a connection until its subscription stood.
    pub connects: Percentiles,
    /// From losing a connection until the next one was resumed.
    pub returns: Percentiles,
    /// How long after its time an event was handed to the Kafka client.
    pub lateness: Percentiles,
    /// The tester's own processor time while events were sent, in processors.
    pub own_cpu: f64,
}

impl Load {
    /// So many events a second to a crowd, for some seconds of which a fifth warms up.
    #[must_use]
    pub fn new(crowd: Crowd, kafka: ClientConfig, per_second: u64, lasting: Duration) -> Self {
        Self {
            crowd,
            kafka,
            kind: Kind::File,
            topic: None,
            per_second,
            lasting,
            warm_up: lasting / 5,
            connect_limit: Duration::from_mins(2),
            tells: false,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When not everybody connects, the broker does not answer, or a process of ours ends.
    pub async fn run(&self) -> anyhow::Result<Outcome> {
        let mut crew = Crew::gather(self.crowd.clone()).await?;
        crew.connect(self.connect_limit).await?;
        self.run_with(crew).await
    }

    /// Does it with a crew that is connected.
    ///
    /// # Errors
    /// As [`Load::run`].
    pub async fn run_with(&self, mut crew: Crew) -> anyhow::Result<Outcome> {
        ensure!(self.per_second > 0, "an open loop needs a rate");
        let events = u64::try_from(self.lasting.as_nanos() * u128::from(self.per_second))
            .unwrap_or(u64::MAX)
            / 1_000_000_000;
        let mut schedule = Schedule::of(&crew.crowd, self.kind, self.per_second, events);
        if let Some(topic) = &self.topic {
            schedule.topic.clone_from(topic);
        }
        let warm_up = u64::try_from(self.warm_up.as_nanos()).unwrap_or_default();
        crew.record(schedule.start + warm_up).await?;
        let (begun, cpu) = (Instant::now(), usage::of_this_process()?.cpu);
        let (kafka, going) = (self.kafka.clone(), Going::default());
        let shared = going.clone();
        let mut sending = tokio::task::spawn_blocking(move || schedule.send(&kafka, &shared));
        let sent = loop {
            tokio::select! {
                sent = &mut sending => break sent??,
                () = self.watch(&crew, &going) => {}
            }
        };
        let expected = crew.crowd.expected(sent.events);
        self.await_the_last(&crew, expected).await;
        let took = begun.elapsed();
        let cpu = usage::of_this_process()?.cpu.saturating_sub(cpu);
        let crowd = crew.crowd.clone();
        let tally = crew.finish(sent.events).await?;
        Ok(self.judge(&crowd, &sent, &tally, (took, cpu)))
    }

    /// A second of looking on, with a line about it.
    async fn watch(&self, crew: &Crew, going: &Going) {
        let mut worst = 0;
        for _ in 0..20 {
            sleep(Duration::from_millis(50)).await;
            worst = worst.max(crew.progress().worst_us);
        }
        if self.tells {
            let Progress { connected, received, refused, .. } = crew.progress();
            let sent = going.sent.load(Relaxed);
            eprintln!(
                "{connected} connected, {refused} refused, {sent} sent, {received} received, \
                 latest by {:.1} ms",
                ms(worst)
            );
        }
    }

    async fn await_the_last(&self, crew: &Crew, expected: u64) {
        let begun = Instant::now();
        let (mut last, mut since) = (0, Instant::now());
        while begun.elapsed() < LAST && since.elapsed() < PATIENCE {
            let received = crew.progress().received;
            if received >= expected {
                return;
            }
            if received > last {
                (last, since) = (received, Instant::now());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn judge(
        &self,
        crowd: &Crowd,
        sent: &Sent,
        tally: &Tally,
        (took, cpu): (Duration, Duration),
    ) -> Outcome {
        let lateness = sent.lateness.percentiles();
        let mut problems = Vec::new();
        let mut check = |count: u64, what: &str| {
            if count > 0 {
                problems.push(format!("{count} {what}"));
            }
        };
        check(sent.failed, "events were not acknowledged by the broker");
        check(tally.missing, "texts are missing");
        check(tally.duplicates, "texts came twice");
        check(tally.out_of_order, "texts came out of order");
        let valid = lateness.p99_us <= LATE_US;
        if !valid {
            let late = ms(lateness.p99_us);
            problems.push(format!("invalid: the tester itself was late, p99 {late:.1} ms"));
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs few digits")]
        let achieved = sent.events as f64 / took.as_secs_f64();
        Outcome {
            passed: problems.is_empty(),
            valid,
            problems,
            sockets: crowd.sockets,
            users: crowd.user_count(),
            per_second: self.per_second,
            achieved,
            sent: sent.events,
            failed: sent.failed,
            expected: crowd.expected(sent.events),
            received: tally.received,
            missing: tally.missing,
            duplicates: tally.duplicates,
            out_of_order: tally.out_of_order,
            disconnects: tally.disconnects,
            refused: tally.refused,
            latency: tally.latency.percentiles(),
            connects: tally.connects.percentiles(),
            returns: tally.returns.percentiles(),
            lateness,
            own_cpu: (cpu + tally.cpu).as_secs_f64() / took.as_secs_f64(),
        }
    }
}

/// Microseconds in milliseconds.
#[must_use]
pub fn ms(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tally::Times, tokens::Tokens};

    fn judged(tally: &Tally, late_by: u64) -> Outcome {
        let crowd = Crowd::of(2, Vec::new(), Tokens::Secret(String::new()));
        let load = Load::new(crowd.clone(), ClientConfig::new(), 10, Duration::from_secs(1));
        let mut lateness = Times::default();
        lateness.record(late_by);
        let sent = Sent { events: 10, failed: 0, lateness };
        load.judge(&crowd, &sent, tally, (Duration::from_secs(1), Duration::ZERO))
    }

    #[test]
    fn a_run_with_a_loss_fails_and_one_by_a_late_tester_is_invalid() {
        let good = judged(&Tally { received: 10, ..Tally::default() }, 1_000_000);
        assert!(good.passed && good.valid, "{:?}", good.problems);
        let lost = judged(&Tally { received: 9, missing: 1, ..Tally::default() }, 0);
        assert!(!lost.passed && lost.valid, "{:?}", lost.problems);
        let late = judged(&Tally { received: 10, ..Tally::default() }, 6_000_000);
        assert!(!late.passed && !late.valid, "{:?}", late.problems);
    }
}
