//! What each step does.

use super::{Entry, Id, Rule, Session, State, Worker};

impl State {
    /// The owner's record in flight is still published, and no longer committed.
    pub(super) fn rebalance(&mut self) {
        self.faults += 1;
        let owner = usize::from(self.workers[1].owns);
        self.workers[owner].owns = false;
        self.assign(1 - owner);
    }

    pub(super) fn assign(&mut self, worker: usize) {
        let in_flight = self.workers[worker].in_flight;
        let (next, finished) = (self.committed, self.committed);
        self.workers[worker] = Worker { owns: true, next, in_flight, finished };
    }

    pub(super) fn publish(&mut self, worker: usize, is_answered: bool) {
        let Some(event) = self.workers[worker].in_flight else { return };
        let is_claimed = self.stream.iter().any(|entry| entry.event == event);
        if !is_claimed || !self.follows(Rule::Claim) {
            let survives = |entry: &&Entry| !self.lost.contains(&entry.id);
            self.duplicate |= self.published.iter().filter(survives).any(|e| e.event == event);
            self.last_id += 1;
            let entry = Entry { id: self.last_id, event };
            self.stream.push(entry);
            self.published.push(entry);
            if matches!(self.session, Session::Subscribed | Session::Live) {
                self.pushes.push(entry.id);
            }
        }
        if is_answered {
            let worker = &mut self.workers[worker];
            worker.in_flight = None;
            if worker.owns && event < worker.next {
                worker.finished = worker.finished.max(event + 1);
            }
        } else {
            // The worker tries again.
            self.faults += 1;
        }
    }

    pub(super) fn fail_over(&mut self) {
        self.faults += 1;
        let lost = self.stream.split_off(self.replicated);
        self.trimmed = self.trimmed.min(self.stream.len());
        self.lost.extend(lost.iter().map(|entry| entry.id));
        self.end_session();
    }

    pub(super) fn end_session(&mut self) {
        self.session = Session::Lost;
        self.pushes.clear();
        self.held.clear();
    }

    /// Whether the stream has everything after a position.
    fn reaches_back(&self, position: Id) -> bool {
        let is_start = position == 0 && self.trimmed == 0;
        is_start || self.history().iter().any(|entry| entry.id == position)
    }

    /// Returns the entries that the stream has.
    fn history(&self) -> &[Entry] {
        &self.stream[self.trimmed..]
    }

    pub(super) fn repair(&mut self) {
        let position = self.position.unwrap_or(0);
        if !self.reaches_back(position) {
            if self.client.is_open && self.follows(Rule::ReportGapOfRepair) {
                self.report_gap();
            }
            // The stream may end before the position.
            let end = self.stream.last().map_or(0, |entry| entry.id);
            self.position = Some(position.min(end));
        }
        self.session = Session::Live;
        let reads = self.follows(Rule::RepairAfterSubscribe);
        let stream = self.history().iter().filter(|_| reads);
        let missed: Vec<Id> = stream.map(|entry| entry.id).collect();
        for id in missed.into_iter().chain(std::mem::take(&mut self.held)) {
            self.forward(id);
        }
    }

    /// Queues a frame for the client, unless it was delivered before.
    pub(super) fn forward(&mut self, id: Id) {
        let was_delivered = self.position.is_some_and(|newest| id <= newest);
        if was_delivered && self.follows(Rule::DropDelivered) {
            return;
        }
        self.position = Some(id);
        if self.client.is_open {
            if id > self.client.replayed_to || !self.follows(Rule::DropReplayed) {
                self.send(id);
            }
        } else if self.client.is_connected {
            self.client.queue.push(id);
        }
    }

    pub(super) fn resume(&mut self) {
        let position = self.client.position;
        if !self.reaches_back(position) && self.follows(Rule::ReportGapOfResume) {
            self.report_gap();
        }
        self.client.is_open = true;
        let history: Vec<Id> = self.history().iter().map(|entry| entry.id).collect();
        let newest = history.last().copied().unwrap_or(position);
        history.into_iter().filter(|id| *id > position).for_each(|id| self.send(id));
        self.client.replayed_to = newest;
        let queue = std::mem::take(&mut self.client.queue);
        let sends_all = !self.follows(Rule::DropReplayed);
        queue.into_iter().filter(|id| *id > newest || sends_all).for_each(|id| self.send(id));
    }

    fn report_gap(&mut self) {
        let all = self.published.iter().map(|entry| entry.id);
        self.client.waived.extend(all.collect::<Vec<_>>());
        self.client.waived.sort_unstable();
        self.client.waived.dedup();
    }

    fn send(&mut self, id: Id) {
        self.disorder |= self.client.newest >= id;
        (self.client.newest, self.client.position) = (id, id);
        if !self.client.received.contains(&id) {
            self.client.received.push(id);
            self.client.received.sort_unstable();
        }
    }
}
