//! A producer that is replaced: by one without compression where a topic does not support it, and
//! by a new one when it no longer works.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, KafkaResult},
    producer::{FutureProducer, FutureRecord, future_producer::DeliveryFuture},
    types::RDKafkaErrorCode,
};
use tracing::{debug, warn};

use crate::infrastructure::kafka::client_context::QuietContext;

/// The interval at which a replaced producer is checked until it is no longer in use.
const RETIRE_POLL: Duration = Duration::from_millis(50);

/// A producer. Clones share it.
#[derive(Clone)]
pub(super) struct ReplaceableProducer {
    client: ClientConfig,
    active: Arc<Mutex<Arc<Active>>>,
}

/// The producer in use.
pub(super) struct Active {
    pub(super) producer: FutureProducer<QuietContext>,
    pub(super) compresses: bool,
}

impl ReplaceableProducer {
    /// Returns a producer that connects in the background.
    ///
    /// # Errors
    /// When a Kafka property is unknown or has an invalid value.
    pub(super) fn new(client: ClientConfig) -> KafkaResult<Self> {
        let producer = client.create_with_context(QuietContext)?;
        let active = Arc::new(Active { producer, compresses: true });
        Ok(Self { client, active: Arc::new(Mutex::new(active)) })
    }

    pub(super) fn active(&self) -> Arc<Active> {
        // Each change is a single assignment, so a poisoned value is still consistent.
        Arc::clone(&self.active.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a record and waits until it is acknowledged; uncompressed, if its topic does not
    /// support the compression. An error comes with the producer that was in use.
    pub(super) async fn send<'r>(
        &self,
        record: impl Fn() -> FutureRecord<'r, [u8], [u8]>,
    ) -> Result<(), (KafkaError, Arc<Active>)> {
        loop {
            let active = self.active();
            let written = match active.producer.send_result(record()) {
                Ok(delivery) => acknowledged(delivery).await,
                Err((error, _)) => Err(error),
            };
            match written {
                Ok(()) => return Ok(()),
                Err(error) if active.compresses && is_compression_unsupported(&error) => {
                    self.replace_with(&active, false);
                }
                Err(error) => return Err((error, active)),
            }
        }
    }

    /// Replaces the producer, unless that has happened since `failed` was in use.
    pub(super) fn replace(&self, failed: &Arc<Active>) {
        self.replace_with(failed, failed.compresses);
    }

    fn replace_with(&self, failed: &Arc<Active>, compresses: bool) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&active, failed) {
            return;
        }
        let mut client = self.client.clone();
        if !compresses {
            client.set("compression.type", "none");
        }
        match client.create_with_context(QuietContext) {
            Ok(producer) => {
                debug!(compresses, "replacing the dead-letter producer");
                let retired = mem::replace(&mut *active, Arc::new(Active { producer, compresses }));
                // The last reference is dropped on this thread, as that blocks.
                thread::spawn(move || {
                    while Arc::strong_count(&retired) > 1 {
                        thread::sleep(RETIRE_POLL);
                    }
                });
            }
            Err(error) => warn!(%error, "cannot replace the dead-letter producer"),
        }
    }
}

/// Returns whether a topic takes no records with this compression.
fn is_compression_unsupported(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnsupportedCompressionType)
}

/// Waits for the brokers' acknowledgement.
async fn acknowledged(delivery: DeliveryFuture) -> KafkaResult<()> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}
