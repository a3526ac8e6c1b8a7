//! What a seed decides before the simulation starts: sizes, settings, and the kinds of fault.

use std::{collections::BTreeSet, time::Duration};

use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::kafka::Assignment;

/// Bytes that a send buffer holds unless the seed decides otherwise; that of a real socket holds
/// about as many.
pub(crate) const SEND_BUFFER_BYTES: usize = 64 << 10;

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
    /// Connections to Redis are silent for a while.
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
    /// The replies to some writes are lost, or torn.
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
    pub(crate) page_bytes: u64,
    /// The size of a gateway's send buffers to clients.
    pub(crate) send_buffer: usize,
    pub(crate) token_lifetime: Duration,
    /// Whether clients renew their tokens before they expire.
    pub(crate) renews_tokens: bool,
    /// Percentages of the records.
    pub(crate) duplicates: u32,
    pub(crate) poison: u32,
    pub(crate) without_user: u32,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
        let percent = random.random_range(5..60);
        let faults = Fault::all().iter().copied();
        let faults = faults.filter(|_| random.random_range(0..100) < percent).collect();
        let records = random.random_range(20..120);
        Self {
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
        }
    }

    /// Returns the kinds of fault that happen.
    #[must_use]
    pub fn enabled(&self) -> Vec<Fault> {
        self.faults.difference(&self.without).copied().collect()
    }
}

fn one_of<T: Copy>(random: &mut impl Rng, values: &[T]) -> T {
    values[random.random_range(0..values.len())]
}
