//! The dead-letter topic.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ingest_worker::{
    notification::publisher::{System, TransientError},
    worker::pipeline::{DeadLetter, DeadLetterSink},
};
use tokio::time::{Instant, sleep};

use crate::simulation::{Sim, trace};

/// A simulated dead-letter topic. Clones share it.
#[derive(Clone)]
pub(crate) struct DeadLetterTopic {
    sim: Sim,
    refuses_until: Arc<Mutex<Option<Instant>>>,
}

impl DeadLetterTopic {
    pub(crate) fn new(sim: &Sim) -> Self {
        Self { sim: sim.clone(), refuses_until: Arc::default() }
    }

    /// Refuses letters until a time; some are written, and their acknowledgement is lost.
    pub(crate) fn refuse_until(&self, until: Option<Instant>) {
        *self.refuses_until.lock().expect("not poisoned") = until;
    }

    fn write_one(&self, letter: &DeadLetter) -> Result<(), TransientError> {
        let refuses = *self.refuses_until.lock().expect("not poisoned");
        let refuses = refuses.is_some_and(|until| until > Instant::now());
        if !refuses || self.sim.chance(30) {
            let (record, reason) = (&letter.record, letter.rejection.reason);
            let partition = (record.topic().to_owned(), record.partition());
            trace!(self.sim, "dead letter {partition:?} {}: {reason:?}", record.offset());
            self.sim.oracle.dead_lettered(&partition, record.offset());
        }
        if refuses {
            self.sim.reach("a dead letter was refused");
            return Err(TransientError { system: System::Kafka, detail: "refused".into() });
        }
        Ok(())
    }
}

impl DeadLetterSink for DeadLetterTopic {
    async fn write(&self, letters: &[DeadLetter]) -> Vec<Result<(), TransientError>> {
        sleep(Duration::from_millis(self.sim.number(1..20))).await;
        letters.iter().map(|letter| self.write_one(letter)).collect()
    }
}
