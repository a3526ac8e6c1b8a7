//! The part of the client's statistics that the worker uses: fetch positions. Unlike the position
//! of the last record that was read, they include transaction markers and compacted offsets.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::offsets::Partition;

#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow, default)]
    topics: HashMap<&'a str, Topic<'a>>,
}

#[derive(Deserialize)]
struct Topic<'a> {
    #[serde(borrow)]
    partitions: HashMap<&'a str, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    /// The offset that is fetched next.
    next_offset: i64,
    /// Records that were fetched and are not read.
    fetchq_cnt: i64,
    /// The end of the log; negative while it is unknown.
    #[serde(default = "unknown")]
    hi_offset: i64,
}

fn unknown() -> i64 {
    -1
}

impl PartitionStatistics {
    /// Returns whether the client knows its position, which is 0 before that.
    fn has_position(&self) -> bool {
        self.next_offset > 0 || self.hi_offset == 0
    }
}

/// Returns where each partition is fetched next, for those whose fetched records were all read.
pub(super) fn fetch_positions(json: &[u8]) -> Option<BTreeMap<Partition, i64>> {
    let statistics: Statistics<'_> = serde_json::from_slice(json).ok()?;
    let positions = statistics.topics.into_iter().flat_map(|(name, topic)| {
        let read = topic.partitions.into_values().filter(|p| p.fetchq_cnt == 0 && p.has_position());
        read.map(move |p| ((name.to_owned(), p.partition), p.next_offset))
    });
    Some(positions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_partitions_without_unread_records() {
        let json = r#"{"name": "n", "topics": {"t": {"topic": "t", "partitions": {
            "0": {"partition": 0, "next_offset": 12, "fetchq_cnt": 0, "lo_offset": 3},
            "1": {"partition": 1, "next_offset": 15, "fetchq_cnt": 2},
            "2": {"partition": 2, "next_offset": 0, "fetchq_cnt": 0, "hi_offset": 0},
            "3": {"partition": 3, "next_offset": 0, "fetchq_cnt": 0, "hi_offset": -1001},
            "-1": {"partition": -1, "next_offset": 0, "fetchq_cnt": 0}}}}}"#;
        let positions = fetch_positions(json.as_bytes()).expect("valid statistics");
        assert_eq!(
            positions,
            BTreeMap::from([(("t".to_owned(), 0), 12), (("t".to_owned(), 2), 0)])
        );
        assert_eq!(fetch_positions(b"{}"), Some(BTreeMap::new()));
        assert_eq!(fetch_positions(b"no JSON"), None);
    }
}
