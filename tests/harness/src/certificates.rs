//! A test certificate authority and a certificate that it has signed for `localhost`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The only host name in the certificate; verification fails for any other.
pub const HOST: &str = "localhost";

/// Paths of PEM files.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Key and certificate in one file, for Java.
    pub key_and_certificate: PathBuf,
}

impl Certificates {
    /// Generates the certificates in `folder`.
    ///
    /// # Errors
    /// When they cannot be generated or written.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "test authority");
        let authority_key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(vec![HOST.to_owned()])?;
        let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?.pem();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(Self {
            authority: write("authority.pem", &authority_pem)?,
            certificate: write("certificate.pem", &certificate)?,
            key: write("key.pem", &key.serialize_pem())?,
            key_and_certificate: write(
                "key_and_certificate.pem",
                &(key.serialize_pem() + &certificate),
            )?,
        })
    }
}
