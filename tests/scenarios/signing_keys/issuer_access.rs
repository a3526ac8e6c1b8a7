//! How the gateway reaches the issuer: through a forward proxy, directly, and through redirects.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use harness::{
    certificates::Certificates,
    events::fresh_user,
    eventually,
    stack::{Stack, TIMEOUT},
    workspace,
};
use http_body_util::Full;
use hyper::{Response, StatusCode, header};
use serde_json::json;
use support::issuer::{ForwardProxy, Issuer};

use super::{KeyPair, gateway_with};
use crate::{context::Context, runner::scenarios};

scenarios![
    keys_are_fetched_through_the_forward_proxy_unless_no_proxy_names_the_issuer,
    a_redirect_of_the_issuer_to_another_host_is_refused_and_logged,
];

fn redirect(location: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::FOUND;
    let location = location.parse().expect("the location is a header value");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

async fn gateway_of_issuer(
    context: &Context,
    url: String,
    more: Vec<(&'static str, String)>,
) -> anyhow::Result<Stack> {
    let mut settings = vec![("JWT_JWKS_URL", url), ("JWT_ALGORITHM", "HS256,EdDSA".to_owned())];
    settings.extend(more);
    gateway_with(context, settings).await
}

async fn keys_are_fetched_through_the_forward_proxy_unless_no_proxy_names_the_issuer(
    context: &Context,
) -> anyhow::Result<()> {
    let [pair, _] = KeyPair::old_and_new()?;
    let folder = workspace::temporary("issuer-")?;
    let certificates = Certificates::create(folder.path())?;
    let set = json!({"keys": [pair.jwk()?]}).to_string();
    // The issuer has moved its keys to another path.
    let respond = move |path: &str| match path {
        "/keys" => Response::new(Full::from(set.clone())),
        _ => redirect("/keys"),
    };
    let issuer = Issuer::start(Some(&certificates), Duration::ZERO, respond).await?;
    let proxy = ForwardProxy::start().await?;
    for (no_proxy, is_proxied) in [("localhost", false), ("other.example", true)] {
        let settings = vec![
            ("HTTPS_PROXY", format!("http://{}", proxy.address)),
            ("NO_PROXY", no_proxy.to_owned()),
            ("SSL_CERT_FILE", certificates.authority.display().to_string()),
        ];
        let stack = gateway_of_issuer(context, issuer.url("/old"), settings).await?;
        let accepted = async || pair.expect_accepted(&stack).await;
        eventually("the published key is known", TIMEOUT, accepted).await?;
        let tunnels = proxy.tunnels();
        ensure!((tunnels > 0) == is_proxied, "NO_PROXY={no_proxy}: {tunnels} tunnels");
        stack.shut_down_and_check_logs().await?;
    }
    Ok(())
}

async fn a_redirect_of_the_issuer_to_another_host_is_refused_and_logged(
    context: &Context,
) -> anyhow::Result<()> {
    let issuer =
        Issuer::start(None, Duration::ZERO, |_| redirect("http://other.example/keys")).await?;
    let stack = gateway_of_issuer(context, issuer.url("/keys"), Vec::new()).await?;
    eventually("the redirect is logged", TIMEOUT, async || {
        let log = stack.gateways[0].log()?;
        let sentence = "which is not on the same host: set JWT_JWKS_URL to that URL";
        ensure!(log.contains(sentence), "{log}");
        Ok(())
    })
    .await?;
    // The secret stays in use.
    stack.client(&fresh_user()).await?;
    stack.shut_down_and_check_logs().await
}
