//! What the sockets of one client process share: plan, tokens, and observations.

use std::{
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::ensure;
use harness::usage;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    gateway::Gateway, messages::Progress, now, plan::ClientPlan, sequence::SequenceTracker,
    stats::ClientStats, tag::RunId, websocket::WebSocket,
};

/// Longest time for one attempt to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Identifies the frame that confirms the subscription.
const SUBSCRIBED: &str = "\"state\":\"authenticated\"";

/// The sockets of one client process.
pub(super) struct Clients {
    pub(super) plan: ClientPlan,
    run: RunId,
    gateways: Vec<Gateway>,
    sockets: Range<usize>,
    tokens: Vec<String>,
    handshakes: Semaphore,
    record_from: AtomicU64,
    observations: Mutex<Observations>,
}

#[derive(Default)]
struct Observations {
    progress: Progress,
    /// The progress as of the previous report.
    reported: Progress,
    sequences: Vec<SequenceTracker>,
    /// When each socket received its latest notification; 0: none yet.
    received_at: Vec<u64>,
    stats: ClientStats,
}

impl Clients {
    /// Takes the sockets of process number `process` and signs their tokens, so that signing is not
    /// part of the measurement.
    pub(super) async fn new(plan: ClientPlan, process: usize) -> anyhow::Result<Self> {
        let mut gateways = Vec::with_capacity(plan.gateways.len());
        for url in &plan.gateways {
            gateways.push(Gateway::resolve(url).await?);
        }
        ensure!(!gateways.is_empty(), "the plan has no gateways");
        let sockets = plan.sockets_of(process);
        let token = |socket: usize| {
            let user = socket % plan.user_count();
            plan.tokens.token(user, &plan.user(user), &plan.claims)
        };
        let tokens = sockets.clone().map(token).collect::<anyhow::Result<_>>()?;
        let sequences = vec![SequenceTracker::default(); sockets.len()];
        let received_at = vec![0; sockets.len()];
        let observations = Observations { sequences, received_at, ..Observations::default() };
        Ok(Self {
            run: RunId::new(&plan.run),
            handshakes: Semaphore::new(plan.concurrent_handshakes.max(1)),
            record_from: AtomicU64::new(0),
            observations: Mutex::new(observations),
            plan,
            gateways,
            sockets,
            tokens,
        })
    }

    /// Opens a connection and waits until its subscription is confirmed. `turn` picks the gateway;
    /// `lost_at` is set on a reconnect, which does not wait for other handshakes.
    pub(super) async fn open(
        &self,
        number: usize,
        turn: usize,
        position: &mut Option<String>,
        lost_at: Option<u64>,
    ) -> anyhow::Result<WebSocket> {
        let _permit = match lost_at {
            None => Some(self.handshakes.acquire().await?),
            Some(_) => None,
        };
        let begun = now();
        let gateway = &self.gateways[turn % self.gateways.len()];
        let token = &self.tokens[number - self.sockets.start];
        let source = self.plan.source_of(number);
        let opening = async {
            let mut socket = gateway.open(source, token, position.as_deref()).await?;
            let mut subscribed = false;
            while !subscribed {
                let read = socket.read(|text| subscribed |= self.record(number, text, position));
                ensure!(read.await?, "closed before the subscription was confirmed");
            }
            Ok(socket)
        };
        let socket = timeout(CONNECT_LIMIT, opening).await??;
        self.observations().stats.connects.record(now() - begun);
        Ok(socket)
    }

    /// Reads until the connection ends or the client's session time is over; returns whether the
    /// client disconnects. No client disconnects before the measurement has begun.
    pub(super) async fn receive(
        &self,
        socket: &mut WebSocket,
        number: usize,
        position: &mut Option<String>,
    ) -> bool {
        let reading = async {
            while let Ok(true) = socket.read(|text| _ = self.record(number, text, position)).await {
            }
        };
        let mean = self.plan.session_ms;
        if mean == 0 {
            reading.await;
            return false;
        }
        let session = || Duration::from_millis(rand::random_range(mean / 2..=mean * 3 / 2));
        tokio::pin!(reading);
        while timeout(session(), &mut reading).await.is_err() {
            if self.record_from.load(Relaxed) > 0 {
                return true;
            }
        }
        false
    }

    /// Records a text; returns whether it confirms the subscription.
    fn record(&self, number: usize, text: &[u8], position: &mut Option<String>) -> bool {
        let resumes = self.plan.reconnect || self.plan.session_ms > 0;
        let Some(tag) = self.run.find(text) else {
            let subscribed = std::str::from_utf8(text).is_ok_and(|text| text.contains(SUBSCRIBED));
            if subscribed && resumes && position.is_none() {
                *position = value_of(text, "\"last_event_id\":\"");
            }
            return subscribed;
        };
        if resumes {
            *position = value_of(&text[..text.len().min(64)], "{\"id\":\"");
        }
        let (received_at, index) = (now(), number - self.sockets.start);
        let latency = received_at.saturating_sub(tag.due);
        let mut seen = self.observations();
        seen.sequences[index].record(tag.number);
        seen.record_silence(index, received_at);
        seen.progress.received += 1;
        seen.progress.worst_us = seen.progress.worst_us.max(latency / 1_000);
        if tag.due >= self.record_from.load(Relaxed) {
            seen.stats.latency.record(latency);
        }
        false
    }

    /// Records a connection; `lost_at` is when the client lost the previous one.
    pub(super) fn record_connect(&self, lost_at: Option<u64>) {
        let mut seen = self.observations();
        seen.progress.connected += 1;
        if let Some(lost_at) = lost_at {
            seen.stats.reconnects.record(now() - lost_at);
        }
    }

    /// Records the end of a connection.
    pub(super) fn record_disconnect(&self, by_client: bool) {
        let mut seen = self.observations();
        seen.progress.connected -= 1;
        seen.stats.disconnects += u64::from(!by_client);
    }

    /// Records a failed attempt to connect.
    pub(super) fn record_refused(&self) {
        self.observations().progress.refused += 1;
    }

    /// Returns the numbers of the sockets.
    pub(super) fn sockets(&self) -> Range<usize> {
        self.sockets.clone()
    }

    /// Records latencies of events scheduled from this time on.
    pub(super) fn record_from(&self, from: u64) {
        self.record_from.store(from, Relaxed);
    }

    /// Returns the progress if it has changed since the previous call.
    pub(super) fn changed_progress(&self) -> Option<Progress> {
        let mut seen = self.observations();
        let progress = seen.progress;
        seen.progress.worst_us = 0;
        if progress == seen.reported {
            return None;
        }
        seen.reported = seen.progress;
        Some(progress)
    }

    /// Returns the statistics after `events` events in all.
    pub(super) fn stats(&self, events: u64) -> anyhow::Result<ClientStats> {
        let seen = self.observations();
        let mut stats = seen.stats.clone();
        stats.received = seen.progress.received;
        stats.refused = seen.progress.refused;
        for (number, sequence) in self.sockets.clone().zip(&seen.sequences) {
            if !self.plan.is_stalled(number) {
                stats.missing += sequence.missing(self.plan.expected_by(number, events));
                stats.duplicates += sequence.duplicates;
                stats.out_of_order += sequence.out_of_order;
            }
        }
        stats.cpu = usage::of_this_process()?.cpu;
        Ok(stats)
    }

    fn observations(&self) -> MutexGuard<'_, Observations> {
        self.observations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observations {
    /// Records the time since the previous notification of a socket.
    fn record_silence(&mut self, index: usize, received_at: u64) {
        let previous = std::mem::replace(&mut self.received_at[index], received_at);
        if previous > 0 {
            let silence_us = received_at.saturating_sub(previous) / 1_000;
            self.stats.longest_silence_us = self.stats.longest_silence_us.max(silence_us);
        }
    }
}

/// Returns the text between `prefix` and the next quote.
fn value_of(text: &[u8], prefix: &str) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let rest = &text[text.find(prefix)? + prefix.len()..];
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_the_longest_time_between_two_notifications_of_one_socket() {
        let mut seen = Observations { received_at: vec![0; 2], ..Observations::default() };
        for (index, received_at) in [(0, 1_000_000), (1, 9_000_000), (0, 4_000_000), (0, 5_000_000)]
        {
            seen.record_silence(index, received_at);
        }
        assert_eq!(seen.stats.longest_silence_us, 3_000);
    }

    #[test]
    fn a_position_is_found_in_a_frame() {
        let text = br#"{"id":"12-3","event":"e"}"#;
        assert_eq!(value_of(text, "{\"id\":\"").as_deref(), Some("12-3"));
        assert_eq!(value_of(br#"{"id":"12"#, "{\"id\":\""), None);
    }
}
