//! The `Accept` header: which media types a client takes (RFC 9110, 12.5.1).

use hyper::{HeaderMap, header};

/// How precisely a header names a media type; later ones take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// By `*/*`, or the header is missing.
    Any,
    /// By a range like `text/*`.
    Range,
    /// By its name.
    Exact,
}

/// Returns how a client takes a media type; `None` if it does not. The most precise entry decides;
/// a quality of zero excludes, other qualities do not matter.
pub(super) fn match_of(headers: &HeaderMap, media_type: &str) -> Option<Match> {
    if !headers.contains_key(header::ACCEPT) {
        return Some(Match::Any);
    }
    let values = headers.get_all(header::ACCEPT).into_iter().filter_map(|v| v.to_str().ok());
    let entries = values.flat_map(|value| value.split(','));
    let matching = entries.filter_map(|entry| {
        let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let precision = precision(name.trim(), media_type)?;
        Some((precision, !parameters.split(';').any(is_zero_quality)))
    });
    matching.max().and_then(|(precision, is_accepted)| is_accepted.then_some(precision))
}

fn precision(name: &str, media_type: &str) -> Option<Match> {
    let (kind, _) = media_type.split_once('/')?;
    if name == "*/*" {
        Some(Match::Any)
    } else if name.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind)) {
        Some(Match::Range)
    } else {
        name.eq_ignore_ascii_case(media_type).then_some(Match::Exact)
    }
}

fn is_zero_quality(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>() == Ok(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> [Option<Match>; 2] {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        ["text/event-stream", "application/json"].map(|kind| match_of(&headers, kind))
    }

    #[test]
    fn names_are_case_insensitive_and_ranges_count() {
        assert_eq!(of("Text/Event-Stream"), [Some(Match::Exact), None]);
        assert_eq!(of("text/*"), [Some(Match::Range), None]);
        assert_eq!(of("image/png, Application/* ;q=0.5"), [None, Some(Match::Range)]);
        assert_eq!(of("*/*, application/json"), [Some(Match::Any), Some(Match::Exact)]);
        assert_eq!(of("image/*"), [None; 2]);
        assert_eq!(match_of(&HeaderMap::new(), "a/b"), Some(Match::Any));
    }

    #[test]
    fn a_quality_of_zero_excludes_unless_a_more_precise_entry_accepts() {
        assert_eq!(of("text/event-stream; Q=0.0, */*"), [None, Some(Match::Any)]);
        assert_eq!(of("*/*;q=0, application/json;q=0.1"), [None, Some(Match::Exact)]);
        assert_eq!(of("*/*;q=0"), [None; 2]);
    }
}
