//! The broker's files: the first log segment of a partition, a sequence of record batches.

use std::path::Path;

use anyhow::Context as _;

/// Bytes of a batch (version 2) before its records.
const BATCH_HEADER: usize = 61;
/// Bytes of a batch before those that its length counts: offset and length.
const UNCOUNTED: usize = 8 + 4;

/// Flips the bits of the first byte of the records in the batch that begins at `offset`.
pub(super) fn damage(partition: &Path, offset: i64) -> anyhow::Result<()> {
    let path = partition.join("00000000000000000000.log");
    let mut segment = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let at = records_at(&segment, offset).with_context(|| format!("no batch at {offset}"))?;
    segment[at] ^= 0xff;
    Ok(std::fs::write(&path, segment)?)
}

/// Returns the position of the records of the batch that begins at `offset`.
fn records_at(segment: &[u8], offset: i64) -> Option<usize> {
    let mut position = 0;
    loop {
        let batch = segment.get(position..)?;
        let (first, rest) = batch.split_first_chunk::<8>()?;
        let (length, _) = rest.split_first_chunk::<4>()?;
        if i64::from_be_bytes(*first) == offset {
            return Some(position + BATCH_HEADER).filter(|at| *at < segment.len());
        }
        position += UNCOUNTED + usize::try_from(i32::from_be_bytes(*length)).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(offset: i64, records: &[u8]) -> Vec<u8> {
        let length = i32::try_from(BATCH_HEADER - UNCOUNTED + records.len()).unwrap();
        let header = vec![0; BATCH_HEADER - UNCOUNTED];
        [&offset.to_be_bytes()[..], &length.to_be_bytes(), &header, records].concat()
    }

    #[test]
    fn records_of_a_batch_are_found_by_its_first_offset() {
        let segment = [batch(0, b"abc"), batch(3, b"de")].concat();
        assert_eq!(segment[records_at(&segment, 3).unwrap()], b'd');
        assert_eq!(segment[records_at(&segment, 0).unwrap()], b'a');
        assert_eq!(records_at(&segment, 1), None);
    }
}
