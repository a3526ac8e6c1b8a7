//! What a seed decides before the simulation starts: sizes, settings, and the kinds of fault.

use std::{collections::BTreeSet, time::Duration};

use ingest_worker::worker::pipeline::MAX_BATCH;
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::kafka::Assignment;

/// Bytes that a send buffer holds unless the seed decides otherwise; that of a real socket holds
/// about as many.
pub(crate) const SEND_BUFFER_BYTES: usize = 64 << 10;

/// The size of the keys and values of parked records beyond which a worker pauses their partitions.
const MAX_PARKED_BYTES: usize = 64 << 20;

/// The size of the largest frame, and of all headers in one write.
const MAX_FRAME: usize = 8 << 10;

/// Faults that may hold up a batch for so long that its worker reads ahead.
const READS_AHEAD: &[Fault] = &[
    Fault::WorkerStall,
    Fault::RedisSilent,
    Fault::RedisRestart,
    Fault::RedisFailover,
    Fault::RedisDemoted,
    Fault::RedisOutOfMemory,
    Fault::RedisRefuses,
    Fault::RedisLosesReplies,
];

/// Faults after which Redis may lack a part of a user's history, or replies too late.
const LOSES_HISTORY: &[Fault] = &[
    Fault::RedisSilent,
    Fault::RedisRestart,
    Fault::RedisFailover,
    Fault::RedisDemoted,
    Fault::RedisFlush,
    Fault::RedisEvicts,
    Fault::RedisOutOfMemory,
    Fault::RedisRefuses,
    Fault::RedisLosesReplies,
    Fault::RedisWrongTypes,
];

/// Faults after which a connection stays open at the gateway only.
pub(crate) const SLOW_CLIENTS: &[Fault] =
    &[Fault::ClientSlow, Fault::ClientSilent, Fault::ClientFlaps];

/// A kind of fault. Each run enables a random subset (swarm testing), so that rare
/// combinations occur and no fault hides another one in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// A worker is killed.
    WorkerCrash,
    /// A worker shuts down gracefully.
    WorkerRestart,
    /// A worker does not run for a while, and may be evicted from its group.
    WorkerStall,
    /// Partitions move between members.
    Rebalance,
    /// Commits fail for a while.
    CommitFailure,
    /// Retention deletes records, finished or not.
    RecordsExpire,
    /// A committed offset is forgotten.
    OffsetsExpire,
    /// The dead-letter topic refuses records, or loses acknowledgements.
    DeadLettersRefused,
    /// A gateway is killed.
    GatewayCrash,
    /// A gateway shuts down gracefully.
    GatewayRestart,
    /// A client loses its connection.
    ClientLost,
    /// The network between a client and its gateway is silent for a while.
    ClientSilent,
    /// A client does not read for a while.
    ClientSlow,
    /// A client connects and leaves within milliseconds, again and again.
    ClientFlaps,
    /// A client sets another filter.
    FilterChange,
    /// The token of a client is revoked.
    TokenRevoked,
    /// Subscribed connections are cut.
    PubsubLost,
    /// Connections to Redis are silent or slow for a while.
    RedisSilent,
    /// Redis is unavailable, then loads.
    RedisRestart,
    /// A replica that lacks the last writes becomes the master.
    RedisFailover,
    /// The same, and the former master stays reachable at its own address, as a replica.
    RedisDemoted,
    /// Every key is deleted.
    RedisFlush,
    /// Random keys are deleted.
    RedisEvicts,
    /// Writes that need memory are refused.
    RedisOutOfMemory,
    /// All writes are refused.
    RedisRefuses,
    /// The loaded scripts are gone.
    RedisForgetsScripts,
    /// The replies to some commands are lost, or torn.
    RedisLosesReplies,
    /// A key is replaced by one of another type.
    RedisWrongTypes,
}

impl Fault {
    /// Returns all kinds.
    #[must_use]
    pub fn all() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }
}

/// The parameters of one simulation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// The kinds of fault of the seed.
    pub faults: BTreeSet<Fault>,
    /// Those of them that are left out.
    pub without: BTreeSet<Fault>,
    /// How many records the seed produces.
    pub records: usize,
    /// How many of them are produced.
    pub max_records: usize,
    pub(crate) workers: usize,
    pub(crate) gateways: usize,
    pub(crate) users: usize,
    pub(crate) clients_per_user: usize,
    pub(crate) partitions: i32,
    pub(crate) assignment: Assignment,
    pub(crate) static_members: bool,
    /// How long records are produced and faults happen.
    pub(crate) duration: Duration,
    pub(crate) owner_wait: Duration,
    pub(crate) max_parked: u64,
    pub(crate) history_length: u64,
    pub(crate) history_ttl: Duration,
    pub(crate) trim_slack: usize,
    pub(crate) outbox_capacity: u64,
    pub(crate) outbox_bytes: usize,
    pub(crate) page_bytes: usize,
    /// The size of a gateway's send buffers to clients.
    pub(crate) send_buffer: usize,
    pub(crate) token_lifetime: Duration,
    /// Whether clients renew their tokens before they expire.
    pub(crate) renews_tokens: bool,
    /// Percentages of the records.
    pub(crate) duplicates: u32,
    pub(crate) poison: u32,
    pub(crate) without_user: u32,
    /// The length of a text that half of the notifications about classes have twice.
    pub(crate) long_text: usize,
    /// How many records a worker reads at once.
    pub(crate) batch: usize,
    /// The size of the records' keys.
    pub(crate) key_bytes: usize,
    /// Whether owners are stated late.
    pub(crate) owners_are_late: bool,
    /// The mean pause between two WebSocket pings of a client, in milliseconds.
    pub(crate) client_ping_ms: Option<u64>,
    /// The mean pause between two times at which a client marks notifications as read.
    pub(crate) client_read_ms: Option<u64>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
        let faults = draw_faults(random);
        let records = random.random_range(20..120);
        let mut plan = Self {
            seed,
            faults,
            without: BTreeSet::new(),
            records,
            max_records: records,
            workers: random.random_range(1..4),
            gateways: random.random_range(1..3),
            users: random.random_range(1..5),
            clients_per_user: random.random_range(1..3),
            partitions: random.random_range(1..4),
            assignment: one_of(random, &[Assignment::Eager, Assignment::Cooperative]),
            static_members: random.random_range(0..3) == 0,
            duration: Duration::from_secs(random.random_range(8..40)),
            owner_wait: Duration::from_secs(random.random_range(3..20)),
            max_parked: one_of(random, &[2, 10, 5000]),
            history_length: one_of(random, &[4, 20, 256]),
            history_ttl: Duration::from_secs(one_of(random, &[10, 86_400, 86_400])),
            trim_slack: random.random_range(0..8),
            outbox_capacity: one_of(random, &[2, 16, 1024]),
            page_bytes: one_of(random, &[1, 4096, 262_144]),
            send_buffer: one_of(random, &[100, 1000, SEND_BUFFER_BYTES]),
            token_lifetime: Duration::from_secs(one_of(random, &[10, 30, 86_400])),
            renews_tokens: random.random_range(0..3) > 0,
            duplicates: random.random_range(0..30),
            poison: random.random_range(0..15),
            without_user: random.random_range(0..60),
            outbox_bytes: one_of(random, &[2000, 1 << 20]),
            long_text: one_of(random, &[0, 0, 3000]),
            batch: one_of(random, &[1, 4, MAX_BATCH]),
            key_bytes: 0,
            owners_are_late: false,
            client_ping_ms: one_of(random, &[None, None, Some(50), Some(1000)]),
            client_read_ms: None,
        };
        if random.random_range(0..20) == 0 {
            plan.park_many_records(random);
        }
        plan.client_read_ms = one_of(random, &[None, Some(300), Some(3000)]);
        plan
    }

    /// Makes one worker wait for the owners of more records, or bytes, than it may park.
    fn park_many_records(&mut self, random: &mut impl Rng) {
        (self.key_bytes, self.max_parked) = one_of(random, &[(1 << 20, 5000), (0, 10)]);
        (self.records, self.max_records) = (200, 200);
        (self.workers, self.partitions, self.batch) = (1, 1, 4);
        (self.owners_are_late, self.owner_wait) = (true, Duration::from_secs(20));
        self.without_user = 95;
        if random.random_range(0..2) == 0 {
            self.faults.retain(|fault| !READS_AHEAD.contains(fault));
        }
    }

    /// Returns how many records of `partitions` a worker has in memory at most: those that are
    /// parked, a batch in progress, and the next one, of each partition that is not paused. None
    /// if it may read ahead of Redis.
    pub(crate) fn max_unfinished(&self, partitions: usize) -> Option<usize> {
        if self.enables_any(READS_AHEAD) {
            return None;
        }
        let parked = usize::try_from(self.max_parked).unwrap_or(usize::MAX);
        let fitting = MAX_PARKED_BYTES.checked_div(self.key_bytes).unwrap_or(usize::MAX);
        Some(parked.min(fitting) + 2 * self.batch * (partitions + 1))
    }

    /// Returns how long records may wait for owners that stay unknown, if all of them do: as many
    /// at a time as a partition's share of those that may be parked.
    pub(crate) fn owner_waits(&self) -> Duration {
        let partitions = u64::try_from(self.partitions).unwrap_or(1);
        let share = (self.max_parked / partitions).max(1);
        let waits = (self.max_records as u64).div_ceil(share);
        self.owner_wait * u32::try_from(waits).unwrap_or(u32::MAX)
    }

    /// Whether Redis may lack a part of a user's history, or may not be read in time.
    pub(crate) fn may_lose_history(&self) -> bool {
        let expires = self.history_ttl < Duration::from_hours(1);
        expires || self.history_length < 256 || self.enables_any(LOSES_HISTORY)
    }

    /// Whether a queue may become full, or a client or Redis be silent.
    pub(crate) fn may_close_slow(&self) -> bool {
        let is_small = self.outbox_capacity < 256 || self.outbox_bytes < 1 << 20;
        is_small
            || self.long_text > 0
            || self.enables_any(READS_AHEAD)
            || self.enables_any(SLOW_CLIENTS)
    }

    pub(crate) fn enables_any(&self, faults: &[Fault]) -> bool {
        self.enabled().iter().any(|fault| faults.contains(fault))
    }

    /// Returns how many bytes a connection writes at once at most: a page and its queue.
    pub(crate) fn max_write(&self) -> usize {
        self.page_bytes.max(MAX_FRAME) + self.outbox_bytes.max(MAX_FRAME) + MAX_FRAME
    }

    /// Returns the kinds of fault that happen.
    #[must_use]
    pub fn enabled(&self) -> Vec<Fault> {
        self.faults.difference(&self.without).copied().collect()
    }
}

fn draw_faults(random: &mut impl Rng) -> BTreeSet<Fault> {
    let percent = random.random_range(5..60);
    let faults = Fault::all().iter().copied();
    faults.filter(|_| random.random_range(0..100) < percent).collect()
}

fn one_of<T: Copy>(random: &mut impl Rng, values: &[T]) -> T {
    values[random.random_range(0..values.len())]
}
