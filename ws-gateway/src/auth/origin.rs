//! The browser origins that may connect.

use std::{collections::HashSet, str::FromStr};

/// A list of origins. An empty list lets no browser connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(HashSet<String>);

impl Origins {
    /// Whether `origin`, as a browser sends it, is on the list.
    #[must_use]
    pub fn allow(&self, origin: &[u8]) -> bool {
        std::str::from_utf8(origin).is_ok_and(|origin| self.0.contains(origin))
    }
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let listed: Vec<String> = serde_json::from_str(text)
            .map_err(|_| "not a JSON list like [\"https://app.example.org\"]".to_owned())?;
        listed.iter().map(|origin| normalize(origin)).collect::<Result<_, _>>().map(Self)
    }
}

/// Returns the origin as browsers send it: scheme and host in lower case, no slash at the end, and
/// no port that is the default of the scheme.
fn normalize(origin: &str) -> Result<String, String> {
    let origin = origin.trim_end_matches('/').to_ascii_lowercase();
    match origin.split_once("://") {
        Some((scheme, host)) if !host.is_empty() && !host.contains(['/', '*', '@']) => {
            let default_port = match scheme {
                "https" => ":443",
                "http" => ":80",
                _ => "",
            };
            let host = host.strip_suffix(default_port).unwrap_or(host);
            Ok(format!("{scheme}://{host}"))
        }
        _ => Err(format!("{origin:?} is not an origin like https://app.example.org")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_allowed() {
        let origins: Origins =
            r#"["https://App.example.org/","http://localhost:5173"]"#.parse().unwrap();
        assert!(origins.allow(b"https://app.example.org"));
        assert!(origins.allow(b"http://localhost:5173"));
        for other in [&b"null"[..], b"", b"https://example.org", b"http://app.example.org", b"\xff"]
        {
            assert!(!origins.allow(other));
        }
    }

    #[test]
    fn the_default_port_of_a_scheme_is_left_out_as_browsers_do() {
        let origins: Origins =
            r#"["https://a.example:443","http://b.example:80","https://c.example:80"]"#
                .parse()
                .unwrap();
        for allowed in ["https://a.example", "http://b.example", "https://c.example:80"] {
            assert!(origins.allow(allowed.as_bytes()), "{allowed}");
        }
        assert!(!origins.allow(b"https://c.example"));
    }

    #[test]
    fn a_list_of_anything_else_is_refused() {
        for text in ["*", r#"["*"]"#, r#"["null"]"#, "https://a", r#"["https://a/b"]"#, "[1]"] {
            assert!(text.parse::<Origins>().is_err(), "{text}");
        }
    }
}
