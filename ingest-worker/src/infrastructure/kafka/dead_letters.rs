//! The dead-letter topic: records that cannot be processed, as they were, with the reason in
//! headers.

pub(super) mod check;
pub(crate) mod cli;
mod compaction;
mod header;
pub(crate) mod origin;
pub(crate) mod producer;
pub(crate) mod queue;
mod reader;
mod record;
mod replaceable;
