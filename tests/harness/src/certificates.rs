//! An authority that nobody else knows, and a certificate of it for `localhost`: for servers that
//! speak TLS, and for clients that are to trust them or not.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The one name in the certificate: whoever calls the server by another does not trust it.
pub const HOST: &str = "localhost";

/// Files in PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Key and certificate in one file, as Java wants them.
    pub together: PathBuf,
}

impl Certificates {
    /// Makes all of them, in `folder`.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "an authority of a test");
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
            together: write("together.pem", &(key.serialize_pem() + &certificate))?,
        })
    }
}
