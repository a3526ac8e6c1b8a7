//! When a certificate ends, read from its DER: only as much of X.509 as that takes.

use std::time::Duration;

/// The time since 1970 at which a certificate ends; none if it does not say so as it should.
pub(super) fn end(certificate: &[u8]) -> Option<Duration> {
    let (_, whole, _) = element(certificate)?;
    let (_, mut fields, _) = element(whole)?;
    // An optional version, then number, algorithm, issuer, validity.
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, after_start) = element(validity)?;
    let (kind, end, _) = element(after_start)?;
    seconds(kind, std::str::from_utf8(end).ok()?)
}

/// The tags of a version, and of the two forms of a time.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The tag and the content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    // Up to 127 it is the length itself, above the number of bytes that say it.
    let (length, rest) = match usize::from(first) {
        length @ 0..0x80 => (length, rest),
        many => {
            let (length, rest) = rest.split_at_checked(many - 0x80)?;
            if length.len() > size_of::<u32>() {
                return None;
            }
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn seconds(kind: u8, text: &str) -> Option<Duration> {
    let century = match kind {
        // Two digits of a year: 50 and more are of the last century.
        UTC_TIME => {
            if text.get(..2)? < "50" {
                "20"
            } else {
                "19"
            }
        }
        GENERALIZED_TIME => "",
        _ => return None,
    };
    let text = format!("{century}{text}");
    let date = format!("{}-{}-{}", text.get(..4)?, text.get(4..6)?, text.get(6..8)?);
    let time = format!("{}:{}:{}", text.get(8..10)?, text.get(10..12)?, text.get(12..)?);
    let end: jiff::Timestamp = format!("{date}T{time}").parse().ok()?;
    u64::try_from(end.as_second()).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate that ends in this year.
    fn certificate(year: i32) -> Vec<u8> {
        let mut asked = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        asked.not_after = rcgen::date_time_ymd(year, 3, 4);
        let key = rcgen::KeyPair::generate().unwrap();
        asked.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_when_it_ends() {
        for (year, seconds) in [(2030, 1_898_812_800), (2060, 2_845_584_000)] {
            assert_eq!(end(&certificate(year)).map(|end| end.as_secs()), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(2030);
        assert_eq!(end(&[]), None);
        for length in 0..whole.len() {
            assert_eq!(end(&whole[..length]), None, "{length}");
        }
        assert_eq!(end(&[0x30, 0x88, 1, 1, 1, 1, 1, 1, 1, 1]), None);
        assert_eq!(seconds(UTC_TIME, "99"), None);
    }
}
