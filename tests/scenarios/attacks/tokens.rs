//! Invalid tokens, among them those that try to choose how they are verified (RFC 8725).

use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use harness::{
    client::{ConnectOptions, Transport},
    events::fresh_user,
    stack::{Stack, TIMEOUT},
    token,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};

use crate::{assertions::expect_error_close, context::Context, runner::scenarios};

scenarios![
    tokens_with_invalid_claims_are_rejected,
    tokens_with_invalid_signatures_are_rejected,
    tokens_cannot_choose_their_own_key,
];

/// Checks that each token is rejected, however it is sent, with a close code that a browser can
/// read.
async fn expect_rejected(stack: &Stack, tokens: &[(String, String)]) -> anyhow::Result<()> {
    for (name, token) in tokens {
        for transport in Transport::ALL {
            let connection = ConnectOptions::new(stack.gateways[0].address());
            let mut client = connection.token(token, transport).open().await?;
            let rejected = expect_error_close(&mut client, 1008, "AUTHENTICATION_ERROR").await;
            rejected.with_context(|| format!("{name} as {transport:?}"))?;
        }
    }
    Ok(())
}

async fn tokens_with_invalid_claims_are_rejected(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut without_token = ConnectOptions::new(stack.gateways[0].address()).open().await?;
    expect_error_close(&mut without_token, 1008, "AUTHENTICATION_ERROR").await?;

    let valid = token::claims(&user, 3600);
    let with = |name: &str, value: Value| {
        let mut claims = valid.clone();
        claims[name] = value;
        (format!("{name}: {}", claims[name]), claims)
    };
    let without = |name: &str| {
        let mut claims = valid.clone();
        claims.as_object_mut().map(|claims| claims.remove(name));
        (format!("no {name}"), claims)
    };
    let claims = [
        ("expired".to_owned(), token::claims(&user, -5)),
        with("typ", "refresh".into()),
        with("nbf", valid["exp"].clone()),
        with("sub", Value::Null),
        with("sub", "".into()),
        with("sub", 42.into()),
        with("exp", "tomorrow".into()),
        without("sub"),
        without("exp"),
    ];
    let sign = |(name, claims)| anyhow::Ok((name, token::sign(&claims, &stack.secret)?));
    let tokens = claims.into_iter().map(sign).collect::<anyhow::Result<Vec<_>>>()?;
    expect_rejected(stack, &tokens).await
}

async fn tokens_with_invalid_signatures_are_rejected(context: &Context) -> anyhow::Result<()> {
    let (stack, claims) = (context.stack().await?, token::claims(&fresh_user(), 3600));
    let signed = token::sign(&claims, &stack.secret)?;
    let (head, rest) = signed.split_once('.').context("a token has three parts")?;
    let (body, signature) = rest.split_once('.').context("a token has three parts")?;
    let encode_part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let other_body = encode_part(&token::claims(&fresh_user(), 3600));
    let mut tokens = vec![
        ("another secret".to_owned(), token::sign(&claims, &token::fresh_secret())?),
        ("HS384".to_owned(), token::sign_with(Algorithm::HS384, &claims, &stack.secret)?),
        ("another body".to_owned(), format!("{head}.{other_body}.{signature}")),
        ("no signature".to_owned(), format!("{head}.{body}.")),
        ("three letters".to_owned(), "a.b.c".to_owned()),
        ("4000 letters".to_owned(), "x".repeat(4_000)),
    ];
    for algorithm in ["none", "None", "NONE", "nOnE", "none ", "", "HS256\0", "hs256"] {
        let head = encode_part(&json!({"alg": algorithm, "typ": "JWT"}));
        for signature in ["", signature] {
            let token = format!("{head}.{body}.{signature}");
            tokens.push((format!("algorithm {algorithm:?}, signature {signature:?}"), token));
        }
    }
    for secret in ["", "secret", "your-256-bit-secret", "changeme"] {
        tokens.push((format!("well-known secret {secret:?}"), token::sign(&claims, secret)?));
    }
    // The content of the file at such a path.
    let empty = EncodingKey::from_secret(b"");
    for id in ["/dev/null", "../../../../dev/null", "' OR 1=1 --", "ws:*", "\r\nSET a b"] {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        tokens.push((format!("key id {id:?}"), encode(&header, &claims, &empty)?));
    }
    expect_rejected(stack, &tokens).await
}

async fn tokens_cannot_choose_their_own_key(context: &Context) -> anyhow::Result<()> {
    let (stack, claims) = (context.stack().await?, token::claims(&fresh_user(), 3600));
    let attacker = TcpListener::bind("127.0.0.1:0").await?;
    let url = Some(format!("http://{}/keys", attacker.local_addr()?));
    let own_key =
        EncodingKey::from_secret(b"a secret of the attacker, long enough for all of this");
    let hs256 = || Header::new(Algorithm::HS256);
    let jwk = Some(Jwk::from_encoding_key(&own_key, Algorithm::HS256)?);
    let with_url = Header { jku: url.clone(), x5u: url.clone(), kid: url, ..hs256() };
    let tokens = [
        ("own key".to_owned(), encode(&Header { jwk, ..hs256() }, &claims, &own_key)?),
        ("URL of a key".to_owned(), encode(&with_url, &claims, &own_key)?),
    ];
    expect_rejected(stack, &tokens).await?;
    // With a valid signature the token is accepted, and the URL is not requested either.
    let key = EncodingKey::from_secret(stack.secret.as_bytes());
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let connection = connection.token(&encode(&with_url, &claims, &key)?, Transport::Subprotocol);
    connection.open().await?.expect_authenticated(TIMEOUT).await?;
    let requested = timeout(Duration::ZERO, attacker.accept()).await;
    ensure!(requested.is_err(), "the gateway requested a key from the URL in a token");
    Ok(())
}
