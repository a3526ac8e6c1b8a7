//! Keys that verify tokens: published by an issuer (JWKS) or read from files, and replaced without
//! a restart.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::{
    client::{ConnectOptions, Transport},
    events::fresh_user,
    eventually, http,
    stack::{Layout, Stack, TIMEOUT},
    token, workspace,
};
use http_body_util::Full;
use hyper::{Method, Response};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::json;
use support::issuer::Issuer;
use tokio::time::Instant;

use crate::{assertions::expect_error_close, context::Context, runner::scenarios};

pub(crate) mod issuer_access;

scenarios![
    published_keys_are_replaced_without_a_restart_and_outlast_their_issuer,
    a_published_key_without_an_id_is_replaced_when_a_token_needs_the_new_one,
    key_files_are_reloaded_and_an_invalid_file_changes_nothing,
    a_thousand_unknown_key_ids_cause_few_requests_to_the_issuer,
];

/// A key pair with the id under which its public key is published.
pub(crate) struct KeyPair {
    pub(crate) id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl KeyPair {
    /// Two pairs that exist for tests only.
    pub(crate) fn old_and_new() -> anyhow::Result<[Self; 2]> {
        let ed = include_bytes!("../../ws-gateway/src/auth/test_keys/ed.key.pem");
        let rsa = include_bytes!("../../ws-gateway/src/auth/test_keys/rsa.key.pem");
        let (ed, rsa) = (EncodingKey::from_ed_pem(ed)?, EncodingKey::from_rsa_pem(rsa)?);
        Ok([
            Self { id: "old", algorithm: Algorithm::EdDSA, key: ed },
            Self { id: "new", algorithm: Algorithm::RS256, key: rsa },
        ])
    }

    pub(crate) fn jwk(&self) -> anyhow::Result<Jwk> {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm)?;
        jwk.common.key_id = Some(self.id.to_owned());
        Ok(jwk)
    }

    pub(crate) fn token(&self, key_id: &str) -> anyhow::Result<String> {
        self.token_for(&fresh_user(), key_id)
    }

    pub(crate) fn token_for(&self, user: &str, key_id: &str) -> anyhow::Result<String> {
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(self.algorithm) };
        Ok(encode(&header, &token::claims(user, 3600), &self.key)?)
    }

    /// The key set of an issuer that gives its only key no id.
    fn set_without_id(&self) -> anyhow::Result<String> {
        let key = Jwk::from_encoding_key(&self.key, self.algorithm)?;
        Ok(json!({"keys": [key]}).to_string())
    }

    fn token_without_id(&self) -> anyhow::Result<String> {
        let claims = token::claims(&fresh_user(), 3600);
        Ok(encode(&Header::new(self.algorithm), &claims, &self.key)?)
    }

    pub(crate) async fn expect_accepted(&self, stack: &Stack) -> anyhow::Result<()> {
        expect_accepted(stack, &self.token(self.id)?).await
    }
}

async fn expect_accepted(stack: &Stack, token: &str) -> anyhow::Result<()> {
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.token(token, Transport::Subprotocol).open().await?;
    client.expect_authenticated(TIMEOUT).await.map(drop)
}

async fn expect_rejected(stack: &Stack, token: &str) -> anyhow::Result<()> {
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.token(token, Transport::Header).open().await?;
    expect_error_close(&mut client, 1008, "AUTHENTICATION_ERROR").await
}

/// Publishes a text under `/jwks.json` until the issuer is dropped.
pub(crate) async fn start_issuer(text: &Arc<Mutex<String>>) -> anyhow::Result<Issuer> {
    let text = Arc::clone(text);
    let respond = move |_: &str| {
        let text = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Response::new(Full::new(Bytes::from(text)))
    };
    Issuer::start(None, Duration::ZERO, respond).await
}

pub(crate) async fn gateway_with(
    context: &Context,
    gateway_settings: Vec<(&'static str, String)>,
) -> anyhow::Result<Stack> {
    context.own_stack(&Layout { workers: 0, gateway_settings, ..Layout::default() }).await
}

async fn published_keys_are_replaced_without_a_restart_and_outlast_their_issuer(
    context: &Context,
) -> anyhow::Result<()> {
    let [old, new] = KeyPair::old_and_new()?;
    let text = Arc::new(Mutex::new(json!({"keys": [old.jwk()?]}).to_string()));
    let issuer = start_issuer(&text).await?;
    let algorithms = "HS256,RS256,EdDSA".to_owned();
    let settings = vec![("JWT_JWKS_URL", issuer.url("/jwks.json")), ("JWT_ALGORITHM", algorithms)];
    let stack = gateway_with(context, settings).await?;
    let accepted = async || old.expect_accepted(&stack).await;
    eventually("the published key is known", TIMEOUT, accepted).await?;
    // The secret remains valid as well.
    stack.client(&fresh_user()).await?;

    expect_rejected(&stack, &new.token(new.id)?).await?;
    let both = json!({"keys": ["broken", old.jwk()?, new.jwk()?]}).to_string();
    *text.lock().unwrap_or_else(PoisonError::into_inner) = both;
    let accepted = async || new.expect_accepted(&stack).await;
    eventually("the new key is known", TIMEOUT, accepted).await?;

    drop(issuer);
    for pair in [&old, &new] {
        pair.expect_accepted(&stack).await.with_context(|| format!("{}, no issuer", pair.id))?;
    }
    let page = stack.gateways[0].metrics().await?;
    let series = "jwt_validation_total{result=\"unknown_key\"}";
    ensure!(page.contains(series), "expected {series} in {page}");
    stack.shut_down_and_check_logs().await
}

async fn a_published_key_without_an_id_is_replaced_when_a_token_needs_the_new_one(
    context: &Context,
) -> anyhow::Result<()> {
    let [old, new] = KeyPair::old_and_new()?;
    let text = Arc::new(Mutex::new(old.set_without_id()?));
    let issuer = start_issuer(&text).await?;
    let algorithms = "HS256,RS256,EdDSA".to_owned();
    let settings = vec![("JWT_JWKS_URL", issuer.url("/jwks.json")), ("JWT_ALGORITHM", algorithms)];
    let stack = gateway_with(context, settings).await?;
    let accepted = async || expect_accepted(&stack, &old.token_without_id()?).await;
    eventually("the published key is known", TIMEOUT, accepted).await?;
    *text.lock().unwrap_or_else(PoisonError::into_inner) = new.set_without_id()?;
    let accepted = async || expect_accepted(&stack, &new.token_without_id()?).await;
    eventually("the new key is known", TIMEOUT, accepted).await?;
    stack.shut_down_and_check_logs().await
}

async fn key_files_are_reloaded_and_an_invalid_file_changes_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("keys-")?;
    let [secret_file, public_file] = ["secret", "public.pem"].map(|name| folder.path().join(name));
    let [old_secret, new_secret] = [token::fresh_secret(), token::fresh_secret()];
    std::fs::write(&secret_file, format!("{old_secret}\n"))?;
    let test_keys = workspace::root().join("ws-gateway/src/auth/test_keys");
    std::fs::copy(test_keys.join("ed.pub.pem"), &public_file)?;
    let settings = vec![
        ("JWT_SECRET_KEY_FILE", secret_file.display().to_string()),
        ("JWT_PUBLIC_KEY_PATH", public_file.display().to_string()),
        ("JWT_ALGORITHM", "HS256,RS256,EdDSA".to_owned()),
        // Each algorithm needs a key at start.
        ("JWT_PUBLIC_KEY", std::fs::read_to_string(test_keys.join("rsa.pub.pem"))?),
    ];
    let stack = gateway_with(context, settings).await?;
    let [pair, _] = KeyPair::old_and_new()?;
    let claims = token::claims(&fresh_user(), 3600);
    let [old, new] = [token::sign(&claims, &old_secret)?, token::sign(&claims, &new_secret)?];
    pair.expect_accepted(&stack).await?;
    expect_accepted(&stack, &old).await?;

    std::fs::write(&public_file, "-----BEGIN PUBLIC KEY-----\nMCow")?;
    eventually("the failed reload is counted", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        let series = "gateway_file_reloads_total{result=\"failed\"} 1";
        ensure!(page.contains(series), "expected {series:?} in the metrics");
        Ok(())
    })
    .await?;
    pair.expect_accepted(&stack).await?;
    expect_accepted(&stack, &old).await?;

    std::fs::copy(test_keys.join("ed.pub.pem"), &public_file)?;
    std::fs::write(&secret_file, &new_secret)?;
    let accepted = async || expect_accepted(&stack, &new).await;
    eventually("the new secret is known", TIMEOUT, accepted).await?;
    expect_rejected(&stack, &old).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_thousand_unknown_key_ids_cause_few_requests_to_the_issuer(
    context: &Context,
) -> anyhow::Result<()> {
    let [pair, _] = KeyPair::old_and_new()?;
    let text = Arc::new(Mutex::new(json!({"keys": [pair.jwk()?]}).to_string()));
    let issuer = start_issuer(&text).await?;
    let settings = vec![
        ("JWT_JWKS_URL", issuer.url("/jwks.json")),
        ("JWT_ALGORITHM", "HS256,EdDSA".to_owned()),
        ("MAX_HANDSHAKES_PER_SECOND", "100000".to_owned()),
    ];
    let stack = gateway_with(context, settings).await?;
    let address = stack.gateways[0].address();
    let attempts = (0..1_000).map(|number| {
        let token = pair.token(&format!("unknown-{number}"));
        async move {
            let token = format!("Bearer {}", token?);
            let answer =
                http::request(Method::GET, address, "/ws", &[("authorization", &token)]).await?;
            let is_rejected = [401, 503].contains(&answer.status().as_u16());
            ensure!(is_rejected, "expected status 401 or 503, got {answer:?}");
            Ok(())
        }
    });
    let started = Instant::now();
    stream::iter(attempts).buffer_unordered(32).try_collect::<()>().await?;
    let page = stack.gateways[0].metrics().await?;
    let requests = http::metric(&page, "gateway_jwks_fetches_total{result=\"ok\"}");
    let (requests, elapsed) = (requests.unwrap_or_default(), started.elapsed());
    // One at start, one for the first unknown id, and one after each cool-down of 5 s.
    let allowed = 3.0 + elapsed.as_secs_f64() / 5.0;
    println!("1000 unknown key ids: {requests} requests to the issuer in {elapsed:?}");
    ensure!(requests <= allowed, "expected at most {allowed:.0} requests, got {requests}");
    stack.shut_down_and_check_logs().await
}
