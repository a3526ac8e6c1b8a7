//! Settings of TLS for clients.

use std::path::PathBuf;

use crate::server::TlsFiles;

/// TLS for clients.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TlsSettings {
    /// PEM file with the certificate chain for clients, read again when it changes; unset: no TLS
    #[arg(long, env = "TLS_CERT_FILE")]
    pub(crate) tls_cert_file: Option<PathBuf>,
    /// PEM file with the private key of the certificate, read again when it changes
    #[arg(long, env = "TLS_KEY_FILE")]
    pub(crate) tls_key_file: Option<PathBuf>,
}

impl TlsSettings {
    /// Returns the files of certificate and key; `None` without TLS.
    #[must_use]
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.tls_cert_file.clone()?, self.tls_key_file.clone()?);
        Some(TlsFiles { certificate, key })
    }

    /// Returns what is wrong with these settings together.
    #[must_use]
    pub(crate) fn problem(&self) -> Option<String> {
        let only_one = self.tls_cert_file.is_some() != self.tls_key_file.is_some();
        only_one.then(|| "TLS_CERT_FILE, TLS_KEY_FILE: set both or none".into())
    }
}
