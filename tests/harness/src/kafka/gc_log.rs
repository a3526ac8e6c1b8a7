//! The pauses of Apache Kafka for garbage collection, from the log of its JVM.

use std::time::Duration;

use super::{Broker, Kafka};

impl Kafka {
    /// Returns how long each garbage collection has paused the broker since its start; none if this
    /// broker has no log of them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn gc_pauses(&self) -> anyhow::Result<Option<Vec<Duration>>> {
        let Broker::Apache(apache) = &self.broker else { return Ok(None) };
        let Some(log) = apache.gc_log() else { return Ok(None) };
        Ok(Some(pauses(&std::fs::read_to_string(log)?)))
    }
}

fn pauses(log: &str) -> Vec<Duration> {
    log.lines().filter_map(pause).collect()
}

/// Parses `[9.876s][info][gc] GC(7) Pause Young (Allocation Failure) 80M->24M(246M) 12.345ms`.
fn pause(line: &str) -> Option<Duration> {
    let (_, pause) = line.split_once(" Pause ")?;
    let millis: f64 = pause.rsplit(' ').next()?.strip_suffix("ms")?.parse().ok()?;
    Duration::try_from_secs_f64(millis / 1_000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_from_the_log_of_the_jvm() {
        let log = "[0.012s][info][gc] Using Parallel\n\
            [1.5s][info][gc] GC(0) Pause Young (Allocation Failure) 48M->7M(248M) 12.250ms\n\
            [2.5s][info][gc] GC(1) Pause Full (Metadata GC Threshold) 9M->7M(248M) 48.500ms\n\
            [3.5s][info][gc] GC(2) Pause Yo";
        assert_eq!(pauses(log), [12_250, 48_500].map(Duration::from_micros));
    }
}
