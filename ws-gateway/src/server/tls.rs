//! TLS for clients: a certificate chain and its key from files that are read again when they
//! change.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, ensure};
use prometheus::IntGauge;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files::{Reloads, WatchedFiles};

/// The files of a certificate chain and of its private key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    /// The certificate of the gateway, then the intermediate certificates.
    pub(crate) certificate: PathBuf,
    /// The private key of the certificate.
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Reads the files. `not_after` is kept at the end of the certificate's validity, in Unix
    /// seconds.
    ///
    /// # Errors
    /// Names the settings and the file that cannot be used.
    pub(crate) fn open(
        self,
        reloads: Reloads,
        not_after: IntGauge,
    ) -> anyhow::Result<WatchedFiles<ServerConfig>> {
        let parse = move |contents: &[Vec<u8>]| {
            let [certificate, key] = contents else { unreachable!("two files are read") };
            let config = server_config(certificate, key)?;
            not_after.set(end_of_validity(certificate).context("the certificate is not X.509")?);
            Ok(config)
        };
        WatchedFiles::open(
            "certificate",
            vec![self.certificate, self.key],
            Box::new(parse),
            reloads,
        )
        .context("TLS_CERT_FILE, TLS_KEY_FILE")
    }
}

/// Returns the `notAfter` of the first certificate, in Unix seconds.
fn end_of_validity(certificate: &[u8]) -> Option<i64> {
    let certificate = CertificateDer::from_pem_slice(certificate).ok()?;
    let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
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
        .context("the private key is not that of the certificate")?;
    // The WebSocket upgrade used here exists in HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;
    use shared::metrics::MetricField as _;

    use super::*;

    #[test]
    fn the_end_of_validity_of_a_certificate_is_read() {
        for (year, seconds) in [(2030, 1_898_812_800), (2060, 2_845_584_000)] {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 3, 4);
            let key = rcgen::KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            assert_eq!(end_of_validity(pem.as_bytes()), Some(seconds));
        }
        assert_eq!(end_of_validity(b""), None);
    }

    #[test]
    fn an_unusable_certificate_or_key_is_refused_without_showing_it() {
        let rsa = include_bytes!("../auth/test_keys/rsa.key.pem");
        for (certificate, key) in [(&b""[..], &rsa[..]), (rsa, rsa), (b"-----BEGIN", rsa)] {
            let problem = format!("{:#}", server_config(certificate, key).unwrap_err());
            assert!(problem.contains("certificate") && !problem.contains("MII"), "{problem}");
        }
        let files = TlsFiles { certificate: "/nowhere".into(), key: "/nowhere".into() };
        let reloads = Reloads::create(Opts::new("reloads", "Reloads."), ()).unwrap();
        let not_after = IntGauge::new("not_after", "End.").unwrap();
        let problem = format!("{:#}", files.open(reloads, not_after).unwrap_err());
        assert!(problem.starts_with("TLS_CERT_FILE, TLS_KEY_FILE: /nowhere"), "{problem}");
    }
}
