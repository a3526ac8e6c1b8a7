//! Fetches the key set from the issuer, directly or through a forward proxy. Redirects are followed
//! on the same host only: another host could publish keys of its own.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Response, StatusCode, Uri, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client, Error,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::TokioExecutor,
};
use shared::config::Secret;

/// Largest accepted set, in bytes; a set has a few keys of some hundred bytes.
pub(super) const MAX_SET_SIZE: usize = 256 << 10;

/// Redirects that are followed; an issuer needs one, for a moved path.
const MAX_REDIRECTS: usize = 3;

/// The forward proxy for `https` URLs.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxySettings {
    /// The URL of the proxy, which may hold credentials (`HTTPS_PROXY`).
    pub(crate) https_proxy: Option<Secret>,
    /// Hosts that are reached directly (`NO_PROXY`).
    pub(crate) no_proxy: Option<String>,
}

/// Where the key set is fetched.
#[derive(Debug)]
pub(super) struct Issuer {
    url: Uri,
    client: HttpClient,
}

type Https<C> = Client<HttpsConnector<C>, Empty<Bytes>>;

#[derive(Debug)]
enum HttpClient {
    Direct(Https<HttpConnector>),
    Proxied(Https<Tunnel<HttpConnector>>),
}

impl Issuer {
    /// # Errors
    /// If the system's root certificates cannot be read or the proxy cannot be used.
    pub(super) fn new(url: Uri, proxy: &ProxySettings) -> anyhow::Result<Self> {
        let tls = HttpsConnectorBuilder::new().with_native_roots().context("root certificates")?;
        let tls = tls.https_or_http().enable_http1();
        let executor = TokioExecutor::new;
        let client = match proxy.tunnel(&url)? {
            None => HttpClient::Direct(Client::builder(executor()).build(tls.build())),
            Some(tunnel) => {
                let tls = tls.wrap_connector(tunnel);
                HttpClient::Proxied(Client::builder(executor()).build(tls))
            }
        };
        Ok(Self { url, client })
    }

    /// Returns the body of the key set.
    pub(super) async fn fetch(&self) -> anyhow::Result<Bytes> {
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.client.get(url.clone()).await.context("cannot be reached")?;
            if response.status().is_redirection() {
                url = redirect_target(&url, &response)?;
                continue;
            }
            ensure!(response.status() == StatusCode::OK, "status {}", response.status());
            let body = Limited::new(response.into_body(), MAX_SET_SIZE).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error));
            return Ok(body.context("the key set is truncated or too large")?.to_bytes());
        }
        bail!("more than {MAX_REDIRECTS} redirects")
    }
}

impl HttpClient {
    async fn get(&self, url: Uri) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Direct(client) => client.get(url).await,
            Self::Proxied(client) => client.get(url).await,
        }
    }
}

impl ProxySettings {
    fn tunnel(&self, url: &Uri) -> anyhow::Result<Option<Tunnel<HttpConnector>>> {
        let Some(proxy) = &self.https_proxy else { return Ok(None) };
        let no_proxy = self.no_proxy.clone().unwrap_or_default();
        let proxies = Matcher::builder().https(proxy.expose()).no(no_proxy).build();
        let Some(proxy) = proxies.intercept(url) else { return Ok(None) };
        let is_http = proxy.uri().scheme_str() == Some("http");
        ensure!(is_http, "HTTPS_PROXY: only a proxy with an http:// URL is supported");
        let tunnel = Tunnel::new(proxy.uri().clone(), HttpConnector::new());
        Ok(Some(match proxy.basic_auth() {
            Some(credentials) => tunnel.with_auth(credentials.clone()),
            None => tunnel,
        }))
    }
}

/// Returns the URL that a response redirects to.
///
/// # Errors
/// If the URL is on another host, or is not one.
fn redirect_target<B>(from: &Uri, response: &Response<B>) -> anyhow::Result<Uri> {
    let status = response.status();
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.with_context(|| format!("status {status} without a location"))?;
    let target: Uri = location.parse().with_context(|| format!("redirect to {location:?}"))?;
    let mut parts = target.into_parts();
    let is_same_host = match (&parts.scheme, &parts.authority) {
        (None, None) => location.starts_with('/') && !location.starts_with("//"),
        (scheme, authority) => {
            scheme.as_ref() == from.scheme() && authority.as_ref() == from.authority()
        }
    };
    ensure!(
        is_same_host,
        "redirected to {location:?}, which is not on the same host: set JWT_JWKS_URL to that URL"
    );
    (parts.scheme, parts.authority) = (from.scheme().cloned(), from.authority().cloned());
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(location: &str) -> anyhow::Result<String> {
        let from = "https://issuer.example/keys".parse().unwrap();
        let response = Response::builder().status(302).header(header::LOCATION, location);
        redirect_target(&from, &response.body(()).unwrap()).map(|target| target.to_string())
    }

    #[test]
    fn a_redirect_is_followed_on_the_same_host_only() {
        for location in ["/v2/keys?a=b", "https://issuer.example/v2/keys?a=b"] {
            assert_eq!(target(location).unwrap(), "https://issuer.example/v2/keys?a=b");
        }
        for other in
            ["https://other.example/keys", "http://issuer.example/keys", "//other.example/", "keys"]
        {
            let refused = format!("{:#}", target(other).unwrap_err());
            assert!(refused.contains("JWT_JWKS_URL") || refused.contains("redirect"), "{refused}");
        }
    }

    #[test]
    fn a_proxy_is_used_for_https_unless_no_proxy_names_the_host() {
        let proxy = ProxySettings {
            https_proxy: Some("http://user:secret@proxy.example:3128".into()),
            no_proxy: Some("internal.example".into()),
        };
        let is_proxied =
            |url: &str| proxy.tunnel(&url.parse().unwrap()).map(|tunnel| tunnel.is_some());
        assert!(is_proxied("https://issuer.example/keys").unwrap());
        for direct in ["http://issuer.example/keys", "https://a.internal.example/keys"] {
            assert!(!is_proxied(direct).unwrap(), "{direct}");
        }
        let tls = ProxySettings { https_proxy: Some("https://proxy.example".into()), ..proxy };
        let refused = tls.tunnel(&"https://issuer.example/keys".parse().unwrap());
        assert!(format!("{:#}", refused.unwrap_err()).contains("HTTPS_PROXY"));
    }
}
