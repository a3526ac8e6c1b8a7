//! When a partition without a watermark is rebuilt again: the first time at once, as no new record
//! may be published before a watermark says that the rest is being rebuilt. A Redis that evicts may
//! take the watermark in every rebuild, as a rebuild fills its memory: from the second time on, new
//! records are published in between.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    infrastructure::kafka::{
        offsets::{Offsets, Partition},
        source::RewindTo,
    },
    notification::loss_time::LossTime,
};

/// The maximum time from the end of a repeated rebuild to the next one of the same partition. It is
/// as long as the rebuild took, if that is less.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// The time after which a rebuild counts as ended: the records that are left may be deleted.
const MAX_REBUILD: Duration = Duration::from_mins(2);

/// The partitions that are being rebuilt, or were just now.
#[derive(Debug, Default)]
pub(super) struct Rebuilds(BTreeMap<Partition, Rebuild>);

#[derive(Debug)]
struct Rebuild {
    began: Instant,
    /// Whether another one came just before.
    is_repeated: bool,
    /// When the next one may begin; none before this one has ended.
    next_at: Option<Instant>,
    /// When Redis lost what is rebuilt.
    rebuilt_loss: LossTime,
    /// When Redis lost data, if the watermark was missing again since.
    loss: Option<LossTime>,
}

impl Rebuilds {
    /// Notes which rebuilds have ended.
    pub(super) fn update(&mut self, offsets: &Offsets) {
        let now = Instant::now();
        for ((topic, id), rebuild) in &mut self.0 {
            let has_ended = !offsets.is_restoring(topic, *id) || now >= rebuild.began + MAX_REBUILD;
            if rebuild.next_at.is_none() && has_ended {
                rebuild.next_at = Some(now + (now - rebuild.began).min(MAX_PAUSE));
            }
        }
        self.0.retain(|_, rebuild| {
            rebuild.loss.is_some() || rebuild.next_at.is_none_or(|next_at| now < next_at)
        });
    }

    /// Returns from where a partition is read again now; none if that has to wait.
    pub(super) fn admit(&mut self, partition: &Partition, to: RewindTo) -> Option<RewindTo> {
        let RewindTo::Age { max, silent_until, loss } = to else { return Some(to) };
        let (now, mut first_loss) = (Instant::now(), loss);
        let before = self.0.get_mut(partition);
        let is_repeated = before.is_some();
        if let Some(rebuild) = before {
            // What is not rebuilt yet was lost then, also if it is lost again.
            let unfinished = Some(rebuild.rebuilt_loss).filter(|_| rebuild.next_at.is_none());
            first_loss = rebuild.loss.into_iter().chain(unfinished).fold(loss, LossTime::min);
            rebuild.loss = Some(first_loss);
            if rebuild.is_repeated && rebuild.next_at.is_none_or(|next_at| now < next_at) {
                return None;
            }
        }
        let rebuild = Rebuild {
            began: now,
            is_repeated,
            next_at: None,
            rebuilt_loss: first_loss,
            loss: None,
        };
        self.0.insert(partition.clone(), rebuild);
        Some(RewindTo::Age { max, silent_until, loss: first_loss })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn missing(intact_until: i64) -> RewindTo {
        let loss = LossTime::IntactUntil(intact_until);
        RewindTo::Age { max: Duration::from_hours(1), silent_until: None, loss }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rebuild_that_is_lost_is_repeated_at_once_then_after_as_much_time_for_new_records() {
        let (mut rebuilds, mut offsets) = (Rebuilds::default(), Offsets::default());
        let partition = ("t".to_owned(), 0);
        offsets.assign("t", 0);
        for offset in 0..3 {
            let admitted = offsets.read("t", 0, offset).expect("an assigned partition");
            offsets.finish("t", 0, offset, admitted.id);
        }
        for intact_until in [1, 2] {
            let to = missing(intact_until);
            assert_eq!(rebuilds.admit(&partition, to), Some(missing(1)), "nothing is rebuilt yet");
            offsets.begin_restore("t", 0, 0, None, LossTime::IntactUntil(1));
        }
        for _ in 0..10 {
            advance(SECOND).await;
            rebuilds.update(&offsets);
            assert_eq!(rebuilds.admit(&partition, missing(2)), None);
        }
        for offset in 0..3 {
            let admitted = offsets.read("t", 0, offset).expect("an assigned partition");
            offsets.finish("t", 0, offset, admitted.id);
        }
        for _ in 0..10 {
            rebuilds.update(&offsets);
            assert_eq!(rebuilds.admit(&partition, missing(3)), None);
            advance(SECOND).await;
        }
        rebuilds.update(&offsets);
        assert_eq!(rebuilds.admit(&partition, missing(3)), Some(missing(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn another_loss_and_what_a_watermark_names_are_read_again_at_once() {
        let (mut rebuilds, offsets) = (Rebuilds::default(), Offsets::default());
        let partition = ("t".to_owned(), 0);
        let to = RewindTo::Offset { from: 1, silent_until: 0, loss: LossTime::IntactUntil(1) };
        for intact_until in 1..4 {
            let missing = missing(intact_until);
            assert_eq!(rebuilds.admit(&partition, missing), Some(missing));
            assert_eq!(rebuilds.admit(&partition, to), Some(to));
            advance(SECOND).await;
            rebuilds.update(&offsets);
            advance(SECOND).await;
            rebuilds.update(&offsets);
        }
    }
}
