//! Bugs that the simulation has to find. Each replaces a text that occurs once in a source file, in
//! a copy of the repository.

/// A bug.
#[derive(Debug)]
pub struct Bug {
    /// What is wrong, for the table in `tests/README.md`.
    pub description: &'static str,
    /// The file, in the root of the repository.
    pub file: &'static str,
    /// The text that is replaced.
    pub correct: &'static str,
    /// The text with the bug.
    pub wrong: &'static str,
}

macro_rules! bugs {
    ($($file:literal: $description:literal, $correct:literal => $wrong:literal;)*) => {
        /// All bugs.
        pub const BUGS: &[Bug] = &[$(
            Bug { description: $description, file: $file, correct: $correct, wrong: $wrong },
        )*];
    };
}

bugs! {
    "ingest-worker/src/infrastructure/redis/publish.rs":
        "a refusal in the middle of a pipeline counts as published",
        "self.refuse(call, sent, code, progress);
                        return Ok(());" =>
        "let _ = code; progress.outcomes[position] = PublishOutcome::Published; continue;";
    "ingest-worker/src/infrastructure/redis/publish.rs":
        "a claim expires at once",
        ".arg(millis(self.retention.seen))" => ".arg(1_u64)";
    "ingest-worker/src/infrastructure/redis/error.rs":
        "forgotten scripts are not loaded again",
        "!OF_ONE_COMMAND.contains(&code)" =>
        r#"!OF_ONE_COMMAND.contains(&code) && code != "NOSCRIPT""#;
    "ingest-worker/src/infrastructure/redis/owners.rs":
        "owners are looked up in another order than they are answered",
        "requested.iter().map(|owned| Cmd::get" => "requested.iter().rev().map(|owned| Cmd::get";
    "ingest-worker/src/infrastructure/redis/owners.rs":
        "a stored owner expires at once",
        r#".arg("PX").arg(lifetime)"# => r#".arg("PX").arg(lifetime.min(1))"#;
    "ingest-worker/src/domain/recipients.rs":
        "the owner that a record states is not stored",
        "learned.extend(owned.map(" => "learned.extend(owned.take(0).map(";
    "ingest-worker/src/domain/dispatch.rs":
        "records behind a parked one of the same user are published",
        "if holds.blocks(&keys, self.order) {" => "if holds.blocks(&keys, self.order) && false {";
    "ingest-worker/src/infrastructure/kafka/offsets.rs":
        "a record counts in a later assignment of its partition",
        "self.get_mut(topic, partition).filter(|assigned| assigned.epoch == id.epoch)" =>
        "self.get_mut(topic, partition).filter(|_| id.epoch > 0)";
    "ingest-worker/src/infrastructure/kafka/offsets.rs":
        "offsets behind a parked record are committed",
        "in_flight.into_iter().chain(parked).min().or(self.next)" =>
        "in_flight.into_iter().chain(parked.filter(|_| false)).min().or(self.next)";
    "ingest-worker/src/infrastructure/kafka/consume_loop/outcomes.rs":
        "a dead letter that was refused counts as written",
        "if let Err(error) = result {" => "if let Err(error) = result.or(Ok(())) {";
    "ingest-worker/src/infrastructure/kafka/consume_loop/outcomes.rs":
        "queued records of a revoked partition are published",
        "self.queue.iter_mut().map(|batch| batch.drop_revoked(&offsets)).sum();" =>
        "self.queue.iter_mut().take(0).map(|batch| batch.drop_revoked(&offsets)).sum();";
    "ingest-worker/src/infrastructure/kafka/consume_loop/outcomes.rs":
        "parked records of a revoked partition are not counted",
        "self.accounting.revoked(queued + parked.len() + dead_letters.len());" =>
        "self.accounting.revoked(queued + dead_letters.len());";
    "ingest-worker/src/infrastructure/kafka/parked.rs":
        "an unknown owner is given up before its time",
        "waited >= self.owner_wait.saturating_add(outage)" =>
        "waited >= self.owner_wait.saturating_add(outage) / 2";
    "ingest-worker/src/infrastructure/kafka/batch.rs":
        "parked records count as published when Redis is unavailable",
        "batch.records.iter_mut().map(parked_again).collect()" =>
        "batch.records.iter_mut().map(parked_again).map(|_| Outcome::Published).collect()";
    "ingest-worker/src/infrastructure/kafka/batch.rs":
        "a batch that waited for Redis is published before what Redis has lost",
        "if (is_repeated || batch.is_retry) && !watermarks.is_empty() {" =>
        "if false && !watermarks.is_empty() {";
    "ingest-worker/src/infrastructure/kafka/rewind_to.rs":
        "what another worker has finished is published again after a flush",
        "Some(silent_until.max(from))" => "Some(silent_until)";
    "ingest-worker/src/infrastructure/kafka/consume_loop/pauses.rs":
        "the number of parked records has no limit",
        "share * count >= self.max_parked || " => "";
    "ingest-worker/src/infrastructure/kafka/consume_loop/pauses.rs":
        "the size of parked records has no limit",
        "share * bytes >= MAX_PARKED_BYTES;" => "share * bytes >= usize::MAX;";
    "ingest-worker/src/infrastructure/kafka/parked.rs":
        "records behind a parked one are not tried again",
        "if !self.held.blocks(keys, next) {" => "if !self.held.blocks(keys, next) && false {";
    "ingest-worker/src/infrastructure/kafka/offsets/restore.rs":
        "a watermark covers records that are not finished",
        "self.unfinished(i64::MIN).or(self.start)" => "self.next.or(self.start)";
    "ingest-worker/src/infrastructure/kafka/offsets/restore.rs":
        "offsets are committed before Redis holds their watermark",
        "confirmed.map_or(offset, |limit| offset.min(limit))" =>
        "confirmed.map_or(offset, |_| offset)";
    "ingest-worker/src/infrastructure/kafka/offsets/restore.rs":
        "a restore begins one record too late",
        "(from < assigned.position()?).then_some(from)" =>
        "(from < assigned.position()?).then_some(from + 1)";
    "ingest-worker/src/infrastructure/kafka/offsets/restore.rs":
        "what was finished behind an unfinished record is published again after a flush",
        "_ if self.never_finished.contains(&offset) =>" => "_ if offset >= self.restored_until =>";
    "ingest-worker/src/infrastructure/kafka/consume_loop/watermarks.rs":
        "the watermark of another partition is believed",
        "WatermarkSource::new(&self.group, topic, *id, offsets.topic_id(topic))" =>
        "WatermarkSource::new(&self.group, topic, *id / 8, offsets.topic_id(topic))";
    "ingest-worker/src/infrastructure/kafka/consume_loop/watermarks.rs":
        "a history that was made after a loss counts as survived",
        "LossTime::NoticedAt(read.lost_before())" => "LossTime::NoticedAt(read.at)";
    "ingest-worker/src/infrastructure/kafka/consume_loop/watermarks.rs":
        "what Redis lost before it held a watermark is not restored",
        "if is_written && tracked.is_unproven {" =>
        "if is_written && tracked.is_unproven && false {";
    "ingest-worker/src/infrastructure/kafka/consume_loop/watermarks.rs":
        "a server that went back in time counts as up to date",
        "!is_new(value) && written.stored.get(*key) != Some(value)" =>
        "!is_new(value) && value.is_none()";
    "ingest-worker/src/domain/dispatch.rs":
        "what is restored to the histories only is published",
        "Some(Restore::HistoryOnly(loss)) => Some(loss)," =>
        "Some(Restore::HistoryOnly(_)) => None,";
    "ws-gateway/src/hub/outbox.rs":
        "a connection is sent restored notifications that it has received",
        "if !state.recent.insert(frame)) {" => "if !state.recent.insert(frame) && false) {";
    "ws-gateway/src/hub.rs":
        "a reply for an earlier entry of a user is applied to a later one",
        ".filter(|entry| entry.generation == *generation)?" => ".filter(|_| *generation > 0)?";
    "ws-gateway/src/hub/changes.rs":
        "users are not subscribed again after a lost session",
        "entry.hold();\n            changed" => "let _ = &entry;\n            changed";
    "ws-gateway/src/hub/user.rs":
        "frames that arrive during a repair are dropped",
        "pending.held.push(frame);" => "drop(frame);";
    "ws-gateway/src/hub/user.rs":
        "a frame that was delivered before is delivered again",
        "position <= newest)" => "position < newest)";
    "ws-gateway/src/hub/outbox/replaying.rs":
        "frames that a full queue drops during a replay are not read from the stream",
        "let continues = state.replaying.replace(false) != Some(true);" =>
        "let continues = state.replaying.replace(false) != Some(true) || true;";
    "ws-gateway/src/hub/outbox.rs":
        "a queue of frames has no limit",
        "self.queue.len() < limits.capacity" => "self.queue.len() < usize::MAX";
    "ws-gateway/src/hub/outbox.rs":
        "a queue holds a single frame",
        "self.queue.len() < limits.capacity" => "self.queue.is_empty()";
    "ws-gateway/src/connection/select_loop.rs":
        "a connection ends without a close code",
        "channel.close(end, reconnect).await;" => "drop((channel, end, reconnect));";
    "ws-gateway/src/hub/outbox.rs":
        "the size of a queue has no limit",
        "self.bytes + item.bytes() <= limits.max_bytes" =>
        "self.bytes + item.bytes() <= usize::MAX";
    "ws-gateway/src/redis/history.rs":
        "the size of a page of a resume has no limit",
        "page.truncate(self.request.max_bytes);" => "page.truncate(usize::MAX);";
    "ws-gateway/src/hub/outbox.rs":
        "a full queue drops a frame and stays open",
        "state.close(CloseReason::TooSlow);" => "";
    "ws-gateway/src/redis/history/page.rs":
        "a resume counts as complete although the stream does not reach back",
        "let reaches_back = first == Some(after)" =>
        "let reaches_back = true || first == Some(after)";
    "ws-gateway/src/redis/history/page.rs":
        "a resume counts as incomplete although the stream reaches back",
        "let reaches_back = first == Some(after)" =>
        "let reaches_back = first == Some(after) && false";
    "ws-gateway/src/redis/session/repair.rs":
        "a gap that cannot be closed is not reported",
        "self.hub.report_gap(&gap.subscription, Resync::Continue);" => "";
    "ws-gateway/src/redis/session.rs":
        "a new user is live before the stream is read",
        "gaps.push(Gap::new(subscription.clone(), position, false));" =>
        "let _ = self.hub.mark_subscribed(subscription);";
    "ws-gateway/src/redis/probe.rs":
        "a silent subscription is never given up",
        "while lost < 2 {" => "while lost < u64::MAX {";
    "ws-gateway/src/redis/history.rs":
        "a history that cannot be read counts as complete",
        "..ReplayPage::without_history(Resume::Incomplete)" =>
        "..ReplayPage::without_history(Resume::Complete)";
    "ws-gateway/src/connection/writer.rs":
        "queued frames that the history contained are sent again",
        "        position <= replayed_to\n    }" =>
        "        position < replayed_to && false\n    }";
    "ws-gateway/src/connection/select_loop.rs":
        "a gateway that shuts down keeps its connections",
        "self.timers.schedule_drain(self.settings.drain_window);" => "";
    "ws-gateway/src/redis/session.rs":
        "a user who comes back is not subscribed again",
        "in &users {\n            self.subscribed.remove(user);" =>
        "in &users {\n            let _ = user;";
    "ws-gateway/src/redis/session.rs":
        "users who connect during a repair are forgotten",
        "for user in self.hub.take_changed().into_iter().rev() {" =>
        "for user in self.hub.take_changed().into_iter().filter(|_| self.gaps.is_empty()) {";
    "ws-gateway/src/redis/push_handler.rs":
        "a revocation that is published has no effect",
        "self.revocations.receive(&text);" => "let _ = &text;";
    "ws-gateway/src/connection/timers.rs":
        "a connection outlives its token",
        "expires_at: now + token_valid_for.min(MAX_TOKEN_LIFETIME)" =>
        "expires_at: now + token_valid_for.max(MAX_TOKEN_LIFETIME)";
    "ws-gateway/src/connection/timers.rs":
        "a renewed token does not extend its connection",
        "self.expires_at = Instant::now() + valid_for" =>
        "let _ = Instant::now() + valid_for";
    "ws-gateway/src/connection/reader.rs":
        "a filter that is set on an open connection has no effect",
        "Filter::new(categories.iter().map(String::as_str))" =>
        "Filter::new(categories.iter().take(0).map(String::as_str))";
    "ws-gateway/src/connection/select_loop.rs":
        "what the hub writes to a socket is not filtered",
        "self.options.filter.passes_all() && self.replayed_to.is_none()" =>
        "self.replayed_to.is_none()";
    "ws-gateway/src/connection/select_loop.rs":
        "the hub writes frames that are newer than a position to be sent",
        "&& self.filtered.is_none()" => "";
    "ws-gateway/src/connection/writer.rs":
        "a position that is reported is older than the frames before it",
        "                self.filtered = None;\n" => "";
    "ws-gateway/src/connection/transport.rs":
        "the rest of a frame that the hub has written in part is dropped",
        "writes.rest = Bytes::from(frame).slice(written..);" => "drop(frame);";
    "ws-gateway/src/hub/outbox/flush.rs":
        "the rest of a frame that the hub has written in part waits for the next frame",
        "if is_partial || !state.queue.is_empty() {" => "if !state.queue.is_empty() {";
    "ws-gateway/src/redis/push_handler.rs":
        "devices keep their counts when a history is restored or lost",
        "self.hub.history_changed(user);" => "";
    "ingest-worker/src/infrastructure/redis/watermarks.rs":
        "a loss in the middle of a pipeline counts as one before it",
        ".arg(last.of(key))" => r#".arg("")"#;
    "ingest-worker/src/infrastructure/kafka/consume_loop/watermarks.rs":
        "a missing watermark is written with a batch",
        "if matches!(rewind, Some(RewindTo::Age { .. })) {" =>
        "if matches!(rewind, Some(RewindTo::Offset { .. })) {";
}
