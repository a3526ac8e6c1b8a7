//! The result of an operation on Redis, of which one at a time is in progress.

use super::watermark_source::ReadWatermark;
use crate::infrastructure::kafka::{
    batch::{Delivery, WatermarkWrite},
    offsets::Partition,
};

/// An operation on Redis that has completed.
pub(super) enum Completed<R> {
    /// The delivery of a batch has ended.
    Batch(Delivery<R>),
    /// The watermarks of these partitions were read.
    Read(Vec<(Partition, ReadWatermark)>),
    /// Watermarks were written.
    Written(WatermarkWrite),
}
