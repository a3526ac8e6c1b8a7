//! The rules that the invariants follow from. A protocol without any one of them is expected to
//! fail, which shows that the model can.

use super::State;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// An event whose claim exists is not published again.
    Claim,
    /// An offset is committed only after its record was published.
    CommitAfterPublish,
    /// The gateway reads the stream after it has subscribed.
    RepairAfterSubscribe,
    /// Pushes that arrive before the gap is closed are held.
    HoldUntilRepaired,
    /// A push up to the newest delivered position is dropped.
    DropDelivered,
    /// A repair reports a gap if the stream does not reach back to the position.
    ReportGapOfRepair,
    /// A resume is incomplete if the stream does not reach back to the client's position.
    ReportGapOfResume,
    /// Queued frames that were in the history are not sent again.
    DropReplayed,
}

/// Each rule, and the start of the violation without it.
pub(crate) const RULES: [(Rule, &str); 8] = [
    (Rule::Claim, "an event was published twice"),
    (Rule::CommitAfterPublish, "a record is committed and was never published"),
    (Rule::RepairAfterSubscribe, MISSES),
    (Rule::HoldUntilRepaired, MISSES),
    (Rule::DropDelivered, OUT_OF_ORDER),
    (Rule::ReportGapOfRepair, MISSES),
    (Rule::ReportGapOfResume, MISSES),
    (Rule::DropReplayed, OUT_OF_ORDER),
];

const MISSES: &str = "the client misses a frame";
const OUT_OF_ORDER: &str = "the client received a frame twice or out of order";

impl State {
    /// Whether the protocol follows a rule.
    pub(super) fn follows(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Returns the offset that a worker may commit.
    pub(super) fn committable(&self, worker: usize) -> u8 {
        let worker = &self.workers[worker];
        if self.follows(Rule::CommitAfterPublish) { worker.finished } else { worker.next }
    }
}
