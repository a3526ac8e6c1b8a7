//! What the query of a request asks for, the same for every transport.

use std::time::Duration;

use crate::{
    hub::ResumeFrom,
    protocol::{Filter, InvalidPosition, Position},
};

/// What a query asks for; anything else in it is ignored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// `last_event_id`, or `after` as polls call it.
    pub(super) resume_from: ResumeFrom,
    /// `categories`: the names, separated by commas.
    pub(super) filter: Filter,
    /// `wait`: how long a poll may take, in seconds.
    pub(super) wait: Option<Duration>,
    /// `up_to`: the position up to which the user has read.
    pub(super) up_to: Option<Result<Position, InvalidPosition>>,
    /// `read_up_to`: what the client of a poll takes for that position; any other text, that it
    /// knows none.
    pub(super) read_up_to: Option<Result<Position, InvalidPosition>>,
}

impl Query {
    /// Reads the query of a URI.
    pub(super) fn read(query: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "last_event_id" | "after" => read.resume_from = ResumeFrom::read(&value),
                "categories" => read.filter = Filter::new(value.split(',')),
                "wait" => read.wait = value.parse().ok().map(Duration::from_secs),
                "up_to" => read.up_to = Some(value.parse()),
                "read_up_to" => read.read_up_to = Some(value.parse()),
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_a_filter_and_a_time_are_read_in_any_order() {
        let position = ResumeFrom::Position("7-1".parse().unwrap());
        let expected = |wait| Query {
            resume_from: position,
            filter: Filter::new(["a", "b"]),
            wait,
            ..Query::default()
        };
        assert_eq!(Query::read("categories=a%2C+b&x=y&last_event_id=7-1"), expected(None));
        let wait = Some(Duration::from_secs(5));
        assert_eq!(Query::read("wait=5&after=7-1&categories=a,b"), expected(wait));
    }

    #[test]
    fn what_is_unreadable_is_an_invalid_position_and_no_time() {
        let read = Query::read("last_event_id=soon&wait=-1");
        assert_eq!((read.resume_from, read.wait), (ResumeFrom::Invalid, None));
        assert_eq!(Query::read("last_event_id=&categories=,"), Query::default());
        assert_eq!(Query::read("up_to=7").up_to, Some(Err(InvalidPosition)));
        assert_eq!(Query::read("read_up_to=").read_up_to, Some(Err(InvalidPosition)));
    }
}
