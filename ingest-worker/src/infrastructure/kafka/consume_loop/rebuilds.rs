//! When a partition without a watermark is rebuilt again. A Redis that evicts may take the watermark
//! in every rebuild, as a rebuild fills its memory: new records are published in between.

use std::{collections::BTreeMap, time::Duration};

use shared::backoff::Backoff;
use tokio::time::Instant;

use crate::{
    infrastructure::kafka::{offsets::Partition, source::RewindTo},
    notification::loss_time::LossTime,
};

/// The delays from the end of a rebuild to the next one of the same partition.
const PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// After this time without a rebuild, the next one begins at once.
const FORGET_AFTER: Duration = Duration::from_mins(5);

/// The partitions that were rebuilt.
#[derive(Debug, Default)]
pub(super) struct Rebuilds(BTreeMap<Partition, Rebuild>);

#[derive(Debug)]
struct Rebuild {
    began: Instant,
    pause: Backoff,
    /// When the next one may begin, if its watermark is missing again and it is rebuilt.
    due: Option<Instant>,
    /// When Redis lost data, if that was noticed since.
    loss: Option<LossTime>,
}

impl Rebuilds {
    /// Returns from where a partition is read again now; none if that has to wait. `is_restoring` is
    /// whether it is still being restored.
    pub(super) fn admit(
        &mut self,
        partition: &Partition,
        to: RewindTo,
        is_restoring: bool,
    ) -> Option<RewindTo> {
        let RewindTo::Age { max, silent_until, loss } = to else { return Some(to) };
        let now = Instant::now();
        self.0.retain(|_, rebuild| rebuild.loss.is_some() || now < rebuild.began + FORGET_AFTER);
        let Some(rebuild) = self.0.get_mut(partition) else {
            let first = Rebuild { began: now, pause: PAUSE, due: None, loss: None };
            self.0.insert(partition.clone(), first);
            return Some(to);
        };
        let loss = rebuild.loss.map_or(loss, |earlier| earlier.min(loss));
        rebuild.loss = Some(loss);
        if is_restoring {
            return None;
        }
        if now < *rebuild.due.get_or_insert_with(|| now + rebuild.pause.next_delay()) {
            return None;
        }
        *rebuild = Rebuild { began: now, due: None, loss: None, ..*rebuild };
        Some(RewindTo::Age { max, silent_until, loss })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn missing(intact_until: i64) -> RewindTo {
        let loss = LossTime::IntactUntil(intact_until);
        RewindTo::Age { max: Duration::from_hours(1), silent_until: None, loss }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_is_rebuilt_again_once_it_is_restored_and_with_growing_pauses() {
        let (mut rebuilds, partition) = (Rebuilds::default(), ("t".to_owned(), 0));
        assert_eq!(rebuilds.admit(&partition, missing(1), false), Some(missing(1)));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            for _ in 0..10 {
                assert_eq!(rebuilds.admit(&partition, missing(2), true), None);
                advance(Duration::from_secs(1)).await;
            }
            let restored = Instant::now();
            while rebuilds.admit(&partition, missing(3), false) != Some(missing(2)) {
                advance(Duration::from_millis(100)).await;
            }
            pauses.push(restored.elapsed());
        }
        assert!(pauses[0] <= Duration::from_millis(1_100), "{pauses:?}");
        assert!(pauses[7] >= Duration::from_secs(30), "{pauses:?}");
        advance(FORGET_AFTER).await;
        assert_eq!(rebuilds.admit(&partition, missing(4), false), Some(missing(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_watermark_names_is_read_again_at_once() {
        let (mut rebuilds, partition) = (Rebuilds::default(), ("t".to_owned(), 0));
        let to = RewindTo::Offset { from: 1, silent_until: 0, loss: LossTime::IntactUntil(1) };
        for _ in 0..3 {
            assert_eq!(rebuilds.admit(&partition, to, true), Some(to));
        }
    }
}
