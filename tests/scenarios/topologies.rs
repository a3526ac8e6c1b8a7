//! Redis with sentinels and as a cluster: the same guarantees as with one server, also when a
//! server dies, loses data, or gives its keys to another.

pub(crate) mod cluster;
pub(crate) mod sentinel;
pub(crate) mod slot_migration;
