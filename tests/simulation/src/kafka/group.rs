//! The coordinator of the consumer group: which member owns which partition, and which one should.

use std::collections::{BTreeMap, BTreeSet};

use ingest_worker::worker::pipeline::Partition;

pub(crate) type MemberId = u64;

/// How partitions move between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assignment {
    /// Eager: all partitions of all members are revoked before any is assigned.
    Eager,
    /// Cooperative: only partitions that move are revoked.
    Cooperative,
}

/// A consumer group. Partitions of a member are revoked and assigned only while it polls.
pub(super) struct Group {
    assignment: Assignment,
    partitions: Vec<Partition>,
    members: BTreeMap<MemberId, Member>,
    owners: BTreeMap<Partition, MemberId>,
    targets: BTreeMap<Partition, MemberId>,
    next_member: MemberId,
    /// Rotates the assignment, so that a rebalance without a change of members moves partitions.
    rotation: usize,
}

#[derive(Default)]
struct Member {
    /// The name of a static member.
    instance: Option<String>,
    /// Whether all its partitions were revoked since the last rebalance began.
    has_joined: bool,
}

/// What a member has to do in a poll.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) revoked: Vec<Partition>,
    pub(super) assigned: Vec<Partition>,
}

impl Group {
    pub(super) fn new(assignment: Assignment, partitions: Vec<Partition>) -> Self {
        Self {
            assignment,
            partitions,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            targets: BTreeMap::new(),
            next_member: 0,
            rotation: 0,
        }
    }

    /// Adds a member. A static member that comes back takes its partitions over, without a
    /// rebalance; its former incarnation is evicted.
    pub(super) fn join(&mut self, instance: Option<String>) -> (MemberId, bool) {
        self.next_member += 1;
        let id = self.next_member;
        let known =
            |(_, member): &(&MemberId, &Member)| instance.is_some() && member.instance == instance;
        let former = self.members.iter().find(known).map(|(id, _)| *id);
        let Some(former) = former else {
            self.members.insert(id, Member { instance, has_joined: true });
            self.begin_rebalance();
            return (id, false);
        };
        self.members.remove(&former);
        self.members.insert(id, Member { instance, has_joined: true });
        self.owners.retain(|_, owner| *owner != former);
        self.targets
            .values_mut()
            .filter(|target| **target == former)
            .for_each(|target| *target = id);
        (id, true)
    }

    /// Removes a member that has left or was silent for too long.
    pub(super) fn remove(&mut self, id: MemberId) {
        if self.members.remove(&id).is_some() {
            self.owners.retain(|_, owner| *owner != id);
            self.begin_rebalance();
        }
    }

    pub(super) fn has(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn is_owned(&self, partition: &Partition) -> bool {
        self.owners.contains_key(partition)
    }

    pub(super) fn shuffle(&mut self, rotation: usize) {
        self.rotation = rotation;
        self.begin_rebalance();
    }

    fn begin_rebalance(&mut self) {
        let members: Vec<MemberId> = self.members.keys().copied().collect();
        self.targets.clear();
        if members.is_empty() {
            return;
        }
        for (index, partition) in self.partitions.iter().enumerate() {
            let member = members[(index + self.rotation) % members.len()];
            self.targets.insert(partition.clone(), member);
        }
        if self.assignment == Assignment::Eager {
            let owners: BTreeSet<MemberId> = self.owners.values().copied().collect();
            for (id, member) in &mut self.members {
                member.has_joined = !owners.contains(id);
            }
        }
    }

    /// Applies what concerns a member that polls now; `None` if it is not in the group any more.
    pub(super) fn poll(&mut self, id: MemberId) -> Option<Changes> {
        let member = self.members.get_mut(&id)?;
        let mut changes = Changes::default();
        let must_rejoin = self.assignment == Assignment::Eager && !member.has_joined;
        member.has_joined = true;
        self.owners.retain(|partition, owner| {
            let gives_up =
                *owner == id && (must_rejoin || self.targets.get(partition) != Some(&id));
            if gives_up {
                changes.revoked.push(partition.clone());
            }
            !gives_up
        });
        // An eager assignment follows once every member has joined.
        let may_assign = self.assignment == Assignment::Cooperative
            || self.members.values().all(|member| member.has_joined);
        if may_assign {
            for (partition, target) in &self.targets {
                if *target == id && !self.owners.contains_key(partition) {
                    self.owners.insert(partition.clone(), id);
                    changes.assigned.push(partition.clone());
                }
            }
        }
        Some(changes)
    }
}
