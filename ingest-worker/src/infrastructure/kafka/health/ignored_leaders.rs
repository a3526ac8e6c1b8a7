//! Detects topics that were created again and are not read, because librdkafka ignores their leaders:
//! it keeps the highest leader epoch of each partition, and the epochs of a new topic begin at 0
//! (<https://github.com/confluentinc/librdkafka/issues/4898>).

use std::collections::BTreeMap;

/// Checks in which leaders of a topic were ignored, after which the client will not read it: a
/// broker may report an old leader once, but not the id of the new topic with it.
const MAX_IGNORED: u32 = 2;

/// For how many checks the leaders of each topic were ignored.
#[derive(Debug, Default)]
pub(super) struct IgnoredLeaders(BTreeMap<String, u32>);

impl IgnoredLeaders {
    /// Takes the topics that were created again and whose leaders were ignored since the last check.
    /// Returns one that the client will not read.
    pub(super) fn check(&mut self, ignored: Vec<String>) -> Option<String> {
        self.0.retain(|topic, _| ignored.contains(topic));
        for topic in ignored {
            let checks = self.0.entry(topic).or_default();
            *checks += 1;
        }
        self.0.iter().find(|(_, checks)| **checks >= MAX_IGNORED).map(|(topic, _)| topic.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_not_read_once_its_leaders_were_ignored_in_two_checks_in_a_row() {
        let mut leaders = IgnoredLeaders::default();
        let mut check = |topics: &[&str]| {
            leaders.check(topics.iter().map(|topic| (*topic).to_owned()).collect())
        };
        assert_eq!(check(&["a"]), None);
        assert_eq!(check(&["b"]), None);
        assert_eq!(check(&["a", "b"]), Some("b".to_owned()));
    }
}
