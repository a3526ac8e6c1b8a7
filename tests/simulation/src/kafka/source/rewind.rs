//! Partitions that are read again because Redis has lost data.

use ingest_worker::worker::pipeline::{Partition, RecordSource as _, RewindTo};

use super::Source;
use crate::simulation::trace;

impl Source {
    pub(super) fn rewind_partition(&self, partition: &Partition, to: RewindTo) -> Option<i64> {
        let (begin, committed) = {
            let state = self.cluster.state();
            (state.logs[partition].begin, state.committed.get(partition).copied())
        };
        let (topic, id) = (&partition.0, partition.1);
        let from = self.offsets().rewind_start(topic, id, to, Some(begin), committed)?;
        let sim = &self.cluster.sim;
        trace!(sim, "kafka member {}: {partition:?} is rewound: {to:?}", self.member.id());
        sim.reach(match to {
            RewindTo::Offset { .. } => "a partition was rewound to its watermark",
            RewindTo::Age { .. } => "a partition was rewound without a watermark",
        });
        self.positions().insert(partition.clone(), from);
        let (silent, loss) = (to.silent_until(), to.loss());
        let intact_ms_ago = sim.now_ms().saturating_sub(loss.millis().unsigned_abs());
        sim.oracle.rewound(partition, to, intact_ms_ago);
        self.offsets().begin_restore(&partition.0, partition.1, from, silent, loss);
        Some(from)
    }
}
