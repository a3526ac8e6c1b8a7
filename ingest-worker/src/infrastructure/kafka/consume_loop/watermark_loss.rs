//! What the values of a partition's watermark say about a loss of Redis.

use std::time::Duration;

use super::watermark_value::Position;
use crate::{
    infrastructure::kafka::source::RewindTo,
    notification::{loss_time::LossTime, publisher::StoredWatermark},
};

/// Returns the offset below which a former owner was restoring a partition to the histories, if it
/// was.
pub(super) fn begun_until(values: &[Option<String>]) -> Option<i64> {
    let begun = |value: &Option<String>| Position::of(value.as_deref()?)?.silent_until;
    values.iter().filter_map(begun).map(|(until, _)| until).max()
}

/// Returns from where a partition has to be read again, if one of the values is below `needed` or
/// missing: then nothing older than `limit`, and nothing at all if that is zero. `loss` is when
/// Redis lost data.
pub(super) fn rewind_to<'v>(
    values: impl Iterator<Item = &'v Option<String>>,
    needed: i64,
    limit: Duration,
    loss: LossTime,
) -> Option<RewindTo> {
    let (mut is_missing, mut oldest) = (false, None::<(i64, i64)>);
    let mut begun = None::<LossTime>;
    for value in values {
        match value.as_deref().and_then(Position::of) {
            Some(Position { next, silent_until, .. }) if next < needed => {
                let (silent, loss) = silent_until.unzip();
                let silent = silent.unwrap_or(0);
                begun = begun.into_iter().chain(loss).min();
                let (from, silent_until) = oldest.get_or_insert((next, silent));
                (*from, *silent_until) = (next.min(*from), silent.min(*silent_until));
            }
            Some(_) => {}
            None => is_missing = true,
        }
    }
    // A restore that was interrupted knows it better.
    let loss = begun.unwrap_or(loss);
    match oldest {
        _ if is_missing && !limit.is_zero() => {
            let silent_until = oldest.map(|(from, silent_until)| from.max(silent_until));
            Some(RewindTo::Age { max: limit, silent_until, loss })
        }
        Some((from, silent_until)) => Some(RewindTo::Offset { from, silent_until, loss }),
        None => None,
    }
}

/// Returns what is known of when servers have lost data: each had them when it stored its value;
/// without one, what was known when it was read.
pub(super) fn loss_time(stored: &StoredWatermark, at_read: LossTime) -> LossTime {
    let stored_at = |value: &Option<String>| Position::of(value.as_deref()?)?.stored_at;
    let times =
        stored.values().map(|value| stored_at(value).map_or(at_read, LossTime::IntactUntil));
    times.min().unwrap_or(at_read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const LOSS: LossTime = LossTime::IntactUntil(100);

    fn rewind(values: &[&str], limit: Duration) -> Option<RewindTo> {
        let value = |value: &&str| Some((*value).to_owned()).filter(|value| !value.is_empty());
        let values: Vec<_> = values.iter().map(value).collect();
        rewind_to(values.iter(), 9, limit, LOSS)
    }

    #[test]
    fn the_lowest_position_counts_and_a_missing_one_goes_back_further() {
        let behind = Some(RewindTo::Offset { from: 4, silent_until: 0, loss: LOSS });
        let missing = |silent_until| Some(RewindTo::Age { max: HOUR, silent_until, loss: LOSS });
        assert_eq!(rewind(&["a.1 9 at 5", "a.1 10 at 5"], HOUR), None);
        assert_eq!(rewind(&["a.1 7 at 5", "a.1 4 at 5", "a.1 9 at 5"], HOUR), behind);
        assert_eq!(rewind(&["", "a.1 9 at 5"], HOUR), missing(None));
        assert_eq!(rewind(&["", "a.1 4 at 5"], HOUR), missing(Some(4)));
        assert_eq!(rewind(&["", "a.1 4 at 5"], Duration::ZERO), behind);
        assert_eq!(rewind(&["", "a.1 9 at 5"], Duration::ZERO), None);
    }

    #[test]
    fn a_restore_that_was_interrupted_is_completed_as_it_began() {
        for (number, loss) in [("3", LossTime::IntactUntil(3)), ("-3", LossTime::NoticedAt(3))] {
            let begun = RewindTo::Offset { from: 4, silent_until: 6, loss };
            let stored = format!("a.1 4 history-until 6 {number} at 5");
            assert_eq!(rewind(&[&stored], HOUR), Some(begun));
        }
    }

    #[test]
    fn a_server_had_its_data_when_it_stored_its_watermark_or_else_when_it_was_read() {
        let stored = |values: &[&str]| {
            let keyed = |(number, value): (usize, &&str)| {
                let value = Some((*value).to_owned()).filter(|value| !value.is_empty());
                (number.to_string().into(), value)
            };
            values.iter().enumerate().map(keyed).collect()
        };
        for at_read in [LossTime::IntactUntil(9), LossTime::NoticedAt(9)] {
            for (values, expected) in [
                (&["a.1 4 at 7", "a.1 4 at 5"][..], LossTime::IntactUntil(5)),
                (&["", "a.1 4 at 11"], at_read),
                (&["a.1 4"], at_read),
                (&[], at_read),
            ] {
                assert_eq!(loss_time(&stored(values), at_read), expected, "{values:?}");
            }
        }
    }
}
