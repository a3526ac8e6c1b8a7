//! TLS for clients: what a certificate and its key, in PEM, make of a connection.

mod validity;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{config::TlsSettings, files::WatchedFiles, metrics::Metrics};

/// The certificate's files, kept up to date; none if clients are to speak plainly.
///
/// # Errors
/// Names the file that cannot be used.
pub fn files(
    settings: &TlsSettings,
    metrics: &Metrics,
) -> anyhow::Result<Option<WatchedFiles<ServerConfig>>> {
    let Some(paths) = settings.paths() else { return Ok(None) };
    let expiry = metrics.certificate_end.clone();
    let make = Box::new(move |contents: &[Vec<u8>]| {
        let [certificate, key] = contents else { anyhow::bail!("a certificate and a key") };
        let config = server_config(certificate, key)?;
        expiry.set(end(certificate));
        Ok(config)
    });
    WatchedFiles::open("certificate", paths.into(), make, metrics.file_reloads.clone()).map(Some)
}

/// Why these files would not do.
#[must_use]
pub fn problem(paths: &[PathBuf; 2]) -> Option<String> {
    let made = crate::files::read(paths).and_then(|files| server_config(&files[0], &files[1]));
    made.err().map(|problem| format!("TLS_CERT_FILE, TLS_KEY_FILE: {problem:#}"))
}

/// When a certificate ends, in seconds since 1970; 0 if it does not say.
fn end(certificate: &[u8]) -> i64 {
    let end = CertificateDer::from_pem_slice(certificate).ok();
    let end = end.and_then(|certificate| validity::end(&certificate));
    end.and_then(|end| i64::try_from(end.as_secs()).ok()).unwrap_or_default()
}

fn server_config(certificate: &[u8], key: &[u8]) -> anyhow::Result<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .context("the certificate is not PEM")?;
    ensure!(!chain.is_empty(), "there is no certificate in the file");
    let key = PrivateKeyDer::from_pem_slice(key)
        .ok()
        .context("there is no private key in PEM in the file")?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not go together")?;
    // An upgrade to WebSocket is there in HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_with_its_key_is_refused_without_being_shown() {
        let rsa = include_bytes!("../auth/tests/rsa.key.pem");
        for (certificate, key) in [(&b""[..], &rsa[..]), (rsa, rsa), (b"-----BEGIN", rsa)] {
            let problem = format!("{:#}", server_config(certificate, key).unwrap_err());
            assert!(problem.contains("certificate") && !problem.contains("MII"), "{problem}");
        }
        let nowhere = problem(&["/nowhere".into(), "/nowhere".into()]).unwrap();
        assert!(nowhere.starts_with("TLS_CERT_FILE, TLS_KEY_FILE: /nowhere"), "{nowhere}");
    }
}
