//! The dead-letter topic: records that cannot be used, as they were, with the reason in headers.

pub(crate) mod cli;
pub(crate) mod producer;
pub(crate) mod queue;
