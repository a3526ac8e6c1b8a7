//! The dead-letter topic: records that cannot be used, as they were, with the reason in headers.

pub mod cli;
pub mod producer;
