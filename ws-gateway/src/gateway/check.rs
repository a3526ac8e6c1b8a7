//! What the command `check` finds out about keys and certificates.

use std::time::{Duration, SystemTime};

use prometheus::Registry;
use shared::findings::Findings;

use super::key_material::KeyMaterial;
use crate::{config::Config, metrics::Metrics};

/// A certificate that ends within this time should have been renewed.
const RENEWAL: Duration = Duration::from_hours(14 * 24);

/// Opens every key and certificate file as the gateway does at start, and fetches the key set of
/// the issuer.
pub(crate) async fn check(config: &Config) -> Findings {
    let (mut findings, metrics) = (Findings::default(), Metrics::new(&Registry::new()));
    let opened = KeyMaterial::open(config, &metrics);
    let opened = opened.and_then(|key_material| {
        key_material.keys(config)?;
        Ok(key_material)
    });
    let key_material = match opened {
        Ok(key_material) => key_material,
        Err(error) => {
            let cure = "write a valid file that the gateway may read, or correct the setting";
            findings.failed("keys", format!("{error:#}"), cure);
            return findings;
        }
    };
    findings.ok("keys", "all key and certificate files are valid");
    match key_material.fetch_key_set().await {
        None => {}
        Some(Ok(keys)) => findings.ok("keys", format!("JWT_JWKS_URL has {keys} usable keys")),
        Some(Err(error)) => {
            let cure = "check JWT_JWKS_URL, HTTPS_PROXY, the issuer and the network";
            findings.failed("keys", format!("JWT_JWKS_URL: {error:#}"), cure);
        }
    }
    if config.tls.files().is_some() {
        check_certificate(metrics.certificate_end.get(), &mut findings);
    }
    findings
}

/// Adds whether the certificate is still valid; `end` is in Unix seconds.
fn check_certificate(end: i64, findings: &mut Findings) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(u64::try_from(end).unwrap_or_default()).checked_sub(now);
    let cure = "renew the certificate; the gateway reloads the file";
    match left {
        None => findings.failed("certificate", "it has expired", cure),
        Some(left) if left < RENEWAL => {
            findings.note(
                "certificate",
                format!("it expires in {} h", left.as_secs() / 3_600),
                cure,
            );
        }
        Some(left) => {
            let days = left.as_secs() / (24 * 3_600);
            findings.ok("certificate", format!("it expires in {days} days"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_certificate_fails_the_check_and_one_that_expires_soon_does_not() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let at = |days: i64| now.as_secs().cast_signed() + days * 24 * 3_600;
        for (days, expected) in [(-1, "FAILED"), (3, "note"), (90, "ok")] {
            let mut findings = Findings::default();
            check_certificate(at(days), &mut findings);
            assert!(findings.to_string().starts_with(expected), "{findings}");
        }
    }
}
