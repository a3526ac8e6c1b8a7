//! Tokens that are signed with a key pair, whose public half the issuer publishes.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
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
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{assertions::expect_error_close, context::Context, runner::scenarios};

scenarios![
    keys_change_without_a_restart_and_outlast_their_issuer,
    key_files_are_read_again_when_they_change,
    a_thousand_unknown_key_ids_cause_a_handful_of_fetches,
];

/// A key pair with the id under which it is published.
struct Pair {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Pair {
    /// Both pairs exist for tests only.
    fn both() -> anyhow::Result<[Self; 2]> {
        let ed = include_bytes!("../../ws-gateway/src/auth/test_keys/ed.key.pem");
        let rsa = include_bytes!("../../ws-gateway/src/auth/test_keys/rsa.key.pem");
        let (ed, rsa) = (EncodingKey::from_ed_pem(ed)?, EncodingKey::from_rsa_pem(rsa)?);
        Ok([
            Self { id: "old", algorithm: Algorithm::EdDSA, key: ed },
            Self { id: "new", algorithm: Algorithm::RS256, key: rsa },
        ])
    }

    fn published(&self) -> anyhow::Result<Jwk> {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm)?;
        jwk.common.key_id = Some(self.id.to_owned());
        Ok(jwk)
    }

    fn token(&self, user: &str) -> anyhow::Result<String> {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        Ok(encode(&header, &token::claims(user, 3600), &self.key)?)
    }

    /// Connects with a token of this pair and checks that it is accepted.
    async fn opens(&self, stack: &Stack) -> anyhow::Result<()> {
        opens(stack, &self.token(&fresh_user())?).await
    }
}

/// An issuer that publishes a text; it is away once its tasks are dropped.
async fn issuer(text: &Arc<Mutex<String>>) -> anyhow::Result<(String, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/jwks.json", listener.local_addr()?);
    let (text, mut tasks) = (Arc::clone(text), JoinSet::new());
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let text = Arc::clone(&text);
            let service = service_fn(move |_| {
                let text = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let body = Full::new(Bytes::from(text));
                async move { Ok::<_, Infallible>(Response::new(body)) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move { drop(connection.await) });
        }
    });
    Ok((url, tasks))
}

async fn keys_change_without_a_restart_and_outlast_their_issuer(
    context: &Context,
) -> anyhow::Result<()> {
    let [old, new] = Pair::both()?;
    let text = Arc::new(Mutex::new(json!({"keys": [old.published()?]}).to_string()));
    let (url, tasks) = issuer(&text).await?;
    let gateway_settings =
        vec![("JWT_JWKS_URL", url), ("JWT_ALGORITHM", "HS256,RS256,EdDSA".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    eventually("the published key is known", TIMEOUT, async || old.opens(&stack).await).await?;
    // Beside the secret.
    stack.client(&fresh_user()).await?;

    let token = new.token(&fresh_user())?;
    let connection =
        ConnectOptions::new(stack.gateways[0].address()).token(&token, Transport::Header);
    expect_error_close(&mut connection.open().await?, 1008, "AUTHENTICATION_ERROR").await?;
    let both = json!({"keys": ["broken", old.published()?, new.published()?]}).to_string();
    *text.lock().unwrap_or_else(PoisonError::into_inner) = both;
    eventually("the new key is known", TIMEOUT, async || new.opens(&stack).await).await?;

    drop(tasks);
    for pair in [&old, &new] {
        pair.opens(&stack).await.with_context(|| format!("{} without issuer", pair.id))?;
    }
    let page = stack.gateways[0].metrics().await?;
    ensure!(page.contains("jwt_validation_total{result=\"unknown_key\"}"), "{page}");
    stack.shut_down_and_check_logs().await
}

async fn key_files_are_read_again_when_they_change(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("keys-")?;
    let secret_file = folder.path().join("secret");
    let public_file = folder.path().join("public.pem");
    let [old_secret, new_secret] = [token::fresh_secret(), token::fresh_secret()];
    std::fs::write(&secret_file, format!("{old_secret}\n"))?;
    let folder_of_pairs = workspace::root().join("ws-gateway/src/auth/test_keys");
    std::fs::copy(folder_of_pairs.join("ed.pub.pem"), &public_file)?;
    let gateway_settings = vec![
        ("JWT_SECRET_KEY_FILE", secret_file.display().to_string()),
        ("JWT_PUBLIC_KEY_PATH", public_file.display().to_string()),
        ("JWT_ALGORITHM", "HS256,RS256,EdDSA".to_owned()),
        // So that RS256 has a key at start.
        ("JWT_PUBLIC_KEY", std::fs::read_to_string(folder_of_pairs.join("rsa.pub.pem"))?),
    ];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let [ed, _] = Pair::both()?;
    ed.opens(&stack).await?;
    let claims = token::claims(&fresh_user(), 3600);
    let opens = async |secret: &str| opens(&stack, &token::sign(&claims, secret)?).await;
    opens(&old_secret).await?;

    // What is half written is no key: the old ones stay.
    std::fs::write(&public_file, "-----BEGIN PUBLIC KEY-----\nMCow")?;
    let noticed = eventually("the bad file is noticed", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        ensure!(page.contains("gateway_file_reloads_total{result=\"failed\"} 1"));
        Ok(())
    });
    noticed.await?;
    ed.opens(&stack).await?;
    opens(&old_secret).await?;

    std::fs::copy(folder_of_pairs.join("ed.pub.pem"), &public_file)?;
    std::fs::write(&secret_file, &new_secret)?;
    eventually("the new secret is known", TIMEOUT, async || opens(&new_secret).await).await?;
    let token = token::sign(&claims, &old_secret)?;
    let connection =
        ConnectOptions::new(stack.gateways[0].address()).token(&token, Transport::Header);
    expect_error_close(&mut connection.open().await?, 1008, "AUTHENTICATION_ERROR").await?;
    stack.shut_down_and_check_logs().await
}

async fn opens(stack: &Stack, token: &str) -> anyhow::Result<()> {
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.token(token, Transport::Subprotocol).open().await?;
    client.expect_authenticated(TIMEOUT).await.map(drop)
}

async fn a_thousand_unknown_key_ids_cause_a_handful_of_fetches(
    context: &Context,
) -> anyhow::Result<()> {
    let [pair, _] = Pair::both()?;
    let (url, tasks) =
        issuer(&Arc::new(Mutex::new(json!({"keys": [pair.published()?]}).to_string()))).await?;
    let gateway_settings = vec![("JWT_JWKS_URL", url), ("JWT_ALGORITHM", "HS256,EdDSA".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let address = stack.gateways[0].address();
    let claims: Value = token::claims(&fresh_user(), 3600);
    let attempts = (0..1_000).map(|number| {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(format!("unknown-{number}"));
        let token = encode(&header, &claims, &pair.key);
        async move {
            let token = format!("Bearer {}", token?);
            let answer = http::request(address, "/ws", &[("authorization", &token)]).await?;
            ensure!([401, 503].contains(&answer.status().as_u16()), "{answer:?}");
            Ok(())
        }
    });
    let begun = std::time::Instant::now();
    stream::iter(attempts).buffer_unordered(32).try_collect::<()>().await?;
    let page = stack.gateways[0].metrics().await?;
    let fetches = http::metric(&page, "gateway_jwks_fetches_total{result=\"ok\"}");
    let fetches = fetches.unwrap_or_default();
    // One at start, and one each time that the cool-down of 5 s is over.
    let allowed = 3.0 + begun.elapsed().as_secs_f64() / 5.0;
    println!("1000 unknown key ids caused {fetches} fetches in {:?}", begun.elapsed());
    ensure!(fetches <= allowed, "{fetches} fetches in {:?}", begun.elapsed());
    drop(tasks);
    stack.shut_down_and_check_logs().await
}
