//! Random operations on the keys of a few users.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{CHANNEL, Command, command};

pub(crate) const PUBLISH_ONCE: &str =
    include_str!("../../../../ingest-worker/src/infrastructure/redis/publish_once.lua");
pub(crate) const REPLACE_WATERMARKS: &str =
    include_str!("../../../../ingest-worker/src/infrastructure/redis/replace_watermarks.lua");
pub(crate) const NOTE_SINCE: &str =
    include_str!("../../../../ingest-worker/src/infrastructure/redis/note_since.lua");
const MARKS: &str = include_str!("../../../../ws-gateway/src/redis/history/marks.lua");
const NEWEST_POSITION: &str = include_str!("../../../../ws-gateway/src/redis/newest_position.lua");
const PAGE: &str = include_str!("../../../../ws-gateway/src/redis/history/page.lua");
const READ_STATE: &str = include_str!("../../../../ws-gateway/src/redis/read_state.lua");

const WATERMARKS: &str = "ws:watermark:0";

/// Lifetimes that differ by more than a seed takes, in milliseconds.
const LIFETIMES: [&str; 3] = ["60000", "120000", "180000"];
/// Draws operations on the keys of a few users.
pub(crate) struct Operations {
    random: StdRng,
    events: u32,
    starts: u32,
}

impl Operations {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), events: 0, starts: 0 }
    }

    pub(crate) fn next(&mut self) -> Command {
        let user = self.random.random_range(0..3);
        let [stream, start, position, owner] =
            ["stream", "start", "position", "owner"].map(|kind| format!("ws:{kind}:{{{user}}}"));
        match self.random.random_range(0..150_u32) {
            110.. => self.read_state(user, [&stream, &start, &position]),
            100..103 => command(&["HMGET", WATERMARKS, "a", "b", "since"]),
            103..107 => self.replace_watermarks(),
            107..110 => self.note_since(),
            0..40 => self.publish(user, &[&stream, &start, &position]),
            40..50 => {
                let keys = ["EVAL", NEWEST_POSITION, "2", &stream, &position];
                command(&[&keys[..], &[&self.start(), self.lifetime(), CHANNEL]].concat())
            }
            50..55 => {
                command(&["XRANGE", &stream, &format!("0-{}", self.number()), "+", "COUNT", "7"])
            }
            55..60 => self.page(&stream),
            60..65 => command(&["EVAL", MARKS, "2", &position, &start]),
            65..70 => command(&["MEMORY", "USAGE", &stream, "SAMPLES", "0"]),
            70..75 => command(&["SET", &owner, "teacher", "PX", self.lifetime()]),
            75..80 => command(&["GET", &owner]),
            80..85 => command(&["GET", &stream]),
            85..88 => {
                let [score, member] = [self.number(), self.number()].map(|n| n.to_string());
                command(&["ZADD", "ws:revoked", &score, &member])
            }
            88..90 => command(&[
                "ZREVRANGEBYSCORE",
                "ws:revoked",
                "+inf",
                &format!("({}", self.number()),
                "LIMIT",
                "0",
                "1000",
            ]),
            90..94 => command(&["DEL", &self.any_key(user)]),
            94..96 => command(&["SADD", &self.any_key(user), "member"]),
            96..98 => {
                command(&["XADD", &stream, &format!("99999999999999-{}", self.events), "n", "{}"])
            }
            98 => command(&["FLUSHALL"]),
            99 => command(&[
                "MEMORY",
                if self.random.random_range(0..2) == 0 { "full" } else { "free" },
            ]),
        }
    }

    /// Returns the script that reads a page, whose limits a few entries reach.
    fn page(&mut self, stream: &str) -> Command {
        let after = ["0-0".to_owned(), format!("#{}", self.random.random_range(0..1_000))];
        let after = &after[self.random.random_range(0..2)];
        let [count, max_bytes] = [12, 60].map(|max| self.random.random_range(1..max).to_string());
        let max_text = ["10", "12", "100"][self.random.random_range(0..3)];
        command(&["EVAL", PAGE, "1", stream, "n", after, &count, &max_bytes, max_text])
    }

    fn publish(&mut self, user: u32, keys: &[&str]) -> Command {
        let count = self.random.random_range(1..4);
        let events: Vec<u32> = (0..count).map(|_| self.event()).collect();
        let mut parts = command(&["EVAL", PUBLISH_ONCE, &(keys.len() + events.len()).to_string()]);
        parts.extend(keys.iter().map(|key| (*key).to_owned()));
        parts.extend(events.iter().map(|event| seen(user, *event)));
        let [claim, stream, position] = [(); 3].map(|()| self.lifetime());
        let length = ["3", "1000"][self.random.random_range(0..2)];
        parts.extend(command(&[CHANNEL, claim, stream, length, position]));
        // Published; rebuilt silently; rebuilt where a history has survived, or one with entries.
        let losses =
            ["", "intact-until 1", "intact-until 9000000000000000", "noticed-at 9000000000000000"];
        parts.push(losses[self.random.random_range(0..losses.len())].to_owned());
        parts.extend(events.iter().map(|event| format!("{{\"event\":{event}}}")));
        parts
    }

    /// Returns a command that a read state depends on.
    fn read_state(&mut self, user: u32, [stream, start, position]: [&str; 3]) -> Command {
        let read = format!("ws:read:{{{user}}}");
        let up_to = format!("#{}", self.random.random_range(0..1_000));
        match self.random.random_range(0..10) {
            0 => {
                let length = self.random.random_range(0..4).to_string();
                command(&["XTRIM", stream, "MAXLEN", &length])
            }
            1 => {
                let foreign = ["x y", "x 1 y", "99999999999999999999-0 1 y", "7-"];
                let value = foreign[self.random.random_range(0..foreign.len())];
                command(&["SET", &read, value, "PX", "60000"])
            }
            _ => {
                let positions = ["", "7-7", &up_to, &up_to, &up_to];
                let up_to = positions[self.random.random_range(0..positions.len())];
                let channel = ["", CHANNEL][self.random.random_range(0..2)];
                let script = ["EVAL", READ_STATE, "4", stream, start, position, &read];
                command(&[&script[..], &[channel, up_to, self.lifetime()]].concat())
            }
        }
    }

    fn note_since(&mut self) -> Command {
        let last = self.number().to_string();
        command(&["EVAL", NOTE_SINCE, "1", WATERMARKS, &last])
    }

    fn replace_watermarks(&mut self) -> Command {
        let mut parts = command(&["EVAL", REPLACE_WATERMARKS, "1", WATERMARKS]);
        for field in ["a", "b"] {
            let expected = if self.random.random_range(0..3) == 0 { "" } else { "t.1 5" };
            let number = self.random.random_range(1..3);
            parts.extend(command(&[field, expected, "t.", &format!("t.{number} 5")]));
        }
        parts
    }

    fn lifetime(&mut self) -> &'static str {
        LIFETIMES[self.random.random_range(0..LIFETIMES.len())]
    }

    /// Returns a new event, or one that may have been published.
    fn event(&mut self) -> u32 {
        self.events += 1;
        if self.random.random_range(0..3) == 0 { self.number() } else { self.events }
    }

    fn any_key(&mut self, user: u32) -> String {
        let event = self.number();
        match self.random.random_range(0..8) {
            7 => format!("ws:read:{{{user}}}"),
            6 => WATERMARKS.to_owned(),
            0 => seen(user, event),
            5 => "ws:revoked".into(),
            1 => format!("ws:start:{{{user}}}"),
            2 => format!("ws:position:{{{user}}}"),
            3 => format!("ws:owner:{{{user}}}"),
            _ => format!("ws:stream:{{{user}}}"),
        }
    }

    /// Returns a number of its own: the simulated time passes more slowly.
    fn start(&mut self) -> String {
        self.starts += 1;
        self.starts.to_string()
    }

    fn number(&mut self) -> u32 {
        self.random.random_range(0..=self.events)
    }
}

fn seen(user: u32, event: u32) -> String {
    format!("ws:seen:{{{user}}}:{event}")
}
