//! Read states: the cursor of a user never goes back, and a count that is exact misses nothing.

use super::{
    Oracle,
    state::{State, user_of_history},
};
use crate::redis::{database::ReadState, store::Id};

impl Oracle {
    /// Takes a read state that a script has counted on the master, whose history has these ids.
    pub(crate) fn read_state_counted(&self, stream: &str, counted: &ReadState, history: &[Id]) {
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
        let missing = missing.map(|entry| entry.id).filter(|_| counted.exact);
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

    /// Notes that a script has published notifications of a user whose newest position was refused:
    /// when they have expired, Redis does not know of them, and a count without them is exact as far
    /// as it knows. A real Redis refuses such a position to a user without permission only, which
    /// `ingest-worker check` reports: memory, disk and role do not change while a script runs, and
    /// the script writes its claims first. The simulation refuses any write, to try more orders.
    pub(crate) fn position_refused(&self, stream: &str) {
        let Some(user) = user_of_history(stream) else { return };
        self.state().forget_entries(user);
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
