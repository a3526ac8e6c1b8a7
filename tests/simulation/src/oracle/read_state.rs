//! Read states: the cursor of a user never goes back, and a count that is exact misses nothing.

use super::{Oracle, state::State};
use crate::redis::{read_state::ReadState, store::Id};

/// What was lost of the keys that a user's read state is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Some of them: no device may know before the next read state.
    Some,
    /// All of them: every device knows from the next notification on.
    All,
}

/// Returns the user of a key that the read state is counted from.
pub(super) fn user_of_history(key: &str) -> Option<&str> {
    let kinds = ["ws:stream:{", "ws:start:{", "ws:position:{", "ws:read:{"];
    kinds.iter().find_map(|kind| key.strip_prefix(kind)?.strip_suffix('}'))
}

impl Oracle {
    /// Takes a read state that a script has counted on the master, whose history has these ids.
    /// Whether nothing is missing is checked if Redis has the position of every history.
    pub(crate) fn read_state_counted(
        &self,
        stream: &str,
        counted: &ReadState,
        history: &[Id],
        has_positions: bool,
    ) {
        let Some(user) = user_of_history(stream) else { return };
        let mut state = self.state();
        let State { cursors, entries, .. } = &mut *state;
        let cursor = cursors.entry(user.to_owned()).or_default();
        let before = std::mem::replace(cursor, counted.up_to);
        let after_cursor = |id: Id| counted.up_to < id && id <= counted.newest;
        let missing = entries.get(user).into_iter().flatten().find(|entry| {
            let is_kept = !entry.is_lost && !entry.is_deleted;
            is_kept && after_cursor(entry.id) && !history.contains(&entry.id)
        });
        let missing = missing.map(|entry| entry.id).filter(|_| counted.exact && has_positions);
        drop(state);
        self.recorder.trace(format_args!("read state of {user}: {counted}"));
        self.recorder.reach(match (counted.exact, counted.unread) {
            (false, _) => "a count of unread notifications was not exact",
            (true, 0) => "every notification was read",
            (true, _) => "unread notifications were counted",
        });
        if counted.up_to < before {
            let up_to = counted.up_to;
            self.recorder.violate(format!("the cursor of {user} went from {before} to {up_to}"));
        }
        if let Some(id) = missing {
            self.recorder.violate(format!("{counted} of {user} is not exact: {id} is missing"));
        }
    }

    /// Notes that a read state was published to every device of a user.
    pub(super) fn read_state_published(&self, user: &str) {
        self.state().unknown_read_states.remove(user);
    }

    /// Whether devices may not know the read state of a user, as Redis has lost a part of it.
    pub(crate) fn is_read_state_unknown(&self, user: &str) -> bool {
        self.state().unknown_read_states.contains_key(user)
    }
}

impl State {
    /// Notes that a key of a user is lost.
    pub(super) fn lose_read_state(&mut self, user: &str, lost: Lost) {
        self.cursors.remove(user);
        let known = self.unknown_read_states.entry(user.to_owned()).or_insert(lost);
        if lost == Lost::All {
            *known = lost;
        }
        let entries = self.entries.get_mut(user).into_iter().flatten();
        entries.for_each(|entry| entry.is_deleted = true);
    }

    /// Notes that all keys are lost.
    pub(super) fn lose_read_states(&mut self) {
        let users: Vec<String> = self.clients.values().map(|client| client.user.clone()).collect();
        for user in users {
            self.lose_read_state(&user, Lost::All);
        }
    }

    /// Notes that a notification was added to the history of a user.
    pub(super) fn extend_history(&mut self, user: &str) {
        if self.unknown_read_states.get(user) == Some(&Lost::All) {
            self.unknown_read_states.remove(user);
        }
    }
}
