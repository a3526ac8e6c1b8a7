//! The files of a site, and the user of its pages.

use std::{collections::HashMap, net::SocketAddr, path::Path};

use bytes::Bytes;

/// Default lifetime of tokens in seconds.
const TOKEN_LIFETIME_S: i64 = 3600;

/// The content of a site and the user of its pages.
#[derive(Debug)]
pub struct SiteContent {
    pub(crate) user: String,
    pub(crate) token_lifetime_s: i64,
    pub(crate) gateway: Option<SocketAddr>,
    pub(crate) files: HashMap<String, (&'static str, Bytes)>,
}

impl SiteContent {
    /// The demo's page for `user`.
    #[must_use]
    pub fn demo(user: &str) -> Self {
        let built = [
            ("/", "html", include_str!("../index.html")),
            ("/demo.css", "css", include_str!("../demo.css")),
            ("/demo.js", "js", include_str!("../built.js")),
        ];
        let files = built.map(|(path, kind, text)| {
            (path.to_owned(), (media_type(kind), Bytes::from_static(text.as_bytes())))
        });
        Self {
            user: user.to_owned(),
            token_lifetime_s: TOKEN_LIFETIME_S,
            gateway: None,
            files: files.into(),
        }
    }

    /// Sets the lifetime of tokens.
    #[must_use]
    pub fn token_lifetime(mut self, seconds: i64) -> Self {
        self.token_lifetime_s = seconds;
        self
    }

    /// Connects the pages to this address in place of the first gateway.
    #[must_use]
    pub fn gateway(mut self, address: SocketAddr) -> Self {
        self.gateway = Some(address);
        self
    }

    /// All files of a folder, for `user`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn folder(user: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut site = Self { files: HashMap::new(), ..Self::demo(user) };
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let kind = media_type(&path.extension().unwrap_or_default().to_string_lossy());
                let name = format!("/{}", path.strip_prefix(folder)?.display());
                site.files.insert(name, (kind, std::fs::read(&path)?.into()));
            }
        }
        Ok(site)
    }
}

fn media_type(extension: &str) -> &'static str {
    match extension {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        _ => "application/octet-stream",
    }
}
