//! TLS for clients.

use std::path::PathBuf;

/// TLS for clients.
#[derive(Clone, Debug, clap::Args)]
pub struct TlsSettings {
    /// File with the certificate for clients and its chain, in PEM; read again when it changes. Unset: no TLS
    #[arg(long, env = "TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// File with its private key, in PEM; read again when it changes
    #[arg(long, env = "TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
}

impl TlsSettings {
    /// The files of certificate and key; none if clients are to speak plainly.
    #[must_use]
    pub fn paths(&self) -> Option<[PathBuf; 2]> {
        Some([self.tls_cert_file.clone()?, self.tls_key_file.clone()?])
    }

    /// What is wrong with these settings together.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.tls_cert_file.is_some() != self.tls_key_file.is_some() {
            return Some("TLS_CERT_FILE and TLS_KEY_FILE: one is not enough".into());
        }
        crate::server::tls::problem(&self.paths()?)
    }
}
