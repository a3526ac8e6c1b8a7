//! Redis with sentinels, as a cluster, and one server that becomes a replica: the same guarantees,
//! also when a server dies, loses data, or gives its keys to another.

pub(crate) mod cluster;
pub(crate) mod sentinel;
pub(crate) mod slot_migration;
pub(crate) mod standalone;
