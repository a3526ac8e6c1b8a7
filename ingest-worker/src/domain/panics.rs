//! A panic while one record is processed ends that record, not the worker.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::error;

use super::record::{DeadLetterReason, Rejection};

/// Runs `step` of processing a record; a panic is a dead letter. The step may only change what is
/// dropped with the record.
pub(super) fn catch<T>(name: &str, step: impl FnOnce() -> T) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_| {
        // The panic hook has logged the location.
        error!(step = name, "processing a record panicked");
        DeadLetterReason::Internal.with_detail(format!("panic while {name} the record"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_dead_letter_with_the_reason_internal() {
        assert_eq!(catch("reading", || 1), Ok(1));
        let rejection = catch("reading", || -> u8 { panic!("a defect") }).unwrap_err();
        assert_eq!(rejection.reason, DeadLetterReason::Internal);
        assert_eq!(rejection.detail, "panic while reading the record");
    }
}
