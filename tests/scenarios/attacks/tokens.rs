//! Tokens that want to choose how they are checked (RFC 8725).

use std::time::Duration;

use anyhow::ensure;
use harness::{
    client::{ConnectOptions, Transport},
    events::fresh_user,
    stack::Stack,
    token,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::json;
use tokio::{net::TcpListener, time::timeout};

use crate::{assertions::expect_error_close, context::Context, runner::scenarios};

scenarios![
    a_token_without_signature_in_any_spelling,
    a_token_that_brings_its_own_key,
    a_token_that_names_where_its_key_is,
    a_key_id_that_is_a_path_or_a_query,
    a_secret_that_everybody_knows,
];

async fn refused(stack: &Stack, token: &str) -> anyhow::Result<()> {
    let connection =
        ConnectOptions::new(stack.gateways[0].address()).token(token, Transport::Header);
    expect_error_close(&mut connection.open().await?, 1008, "AUTHENTICATION_ERROR").await
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |bytes: &[u8]| {
        let bits = bytes.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - bytes.len()));
        (0..=bytes.len()).map(move |at| DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char)
    };
    bytes.chunks(3).flat_map(group).collect()
}

async fn a_token_without_signature_in_any_spelling(context: &Context) -> anyhow::Result<()> {
    let (stack, claims) = (context.stack().await?, token::claims(&fresh_user(), 3600));
    let signed = token::sign(&claims, &stack.secret)?;
    let signature = signed.rsplit('.').next().unwrap_or_default();
    for algorithm in ["none", "None", "NONE", "nOnE", "none ", "", "HS256\0", "hs256"] {
        let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
        for signature in ["", signature] {
            let head = base64url(header.as_bytes());
            let body = base64url(claims.to_string().as_bytes());
            refused(stack, &format!("{head}.{body}.{signature}")).await?;
        }
    }
    Ok(())
}

async fn a_token_that_brings_its_own_key(context: &Context) -> anyhow::Result<()> {
    let (stack, claims) = (context.stack().await?, token::claims(&fresh_user(), 3600));
    let own = EncodingKey::from_secret(b"a secret of the attacker, long enough for all of this");
    let mut header = Header::new(Algorithm::HS256);
    header.jwk = Some(Jwk::from_encoding_key(&own, Algorithm::HS256)?);
    refused(stack, &encode(&header, &claims, &own)?).await
}

async fn a_token_that_names_where_its_key_is(context: &Context) -> anyhow::Result<()> {
    let (stack, claims) = (context.stack().await?, token::claims(&fresh_user(), 3600));
    let attacker = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/keys", attacker.local_addr()?);
    let own = EncodingKey::from_secret(b"a secret of the attacker, long enough for all of this");
    let mut header = Header::new(Algorithm::HS256);
    (header.jku, header.x5u) = (Some(url.clone()), Some(url.clone()));
    header.kid = Some(url);
    refused(stack, &encode(&header, &claims, &own)?).await?;
    // Also when the signature is right, nobody is asked.
    let secret = EncodingKey::from_secret(stack.secret.as_bytes());
    let token = encode(&header, &claims, &secret)?;
    let connection =
        ConnectOptions::new(stack.gateways[0].address()).token(&token, Transport::Subprotocol);
    connection.open().await?.expect_authenticated(harness::stack::TIMEOUT).await?;
    let asked = timeout(Duration::ZERO, attacker.accept()).await;
    ensure!(asked.is_err(), "the attacker was asked for a key");
    Ok(())
}

async fn a_key_id_that_is_a_path_or_a_query(context: &Context) -> anyhow::Result<()> {
    let (stack, claims) = (context.stack().await?, token::claims(&fresh_user(), 3600));
    // The content of the file that such an id would lead to.
    let empty = EncodingKey::from_secret(b"");
    for id in ["/dev/null", "../../../../dev/null", "' OR 1=1 --", "ws:*", "\r\nSET a b"] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(id.to_owned());
        refused(stack, &encode(&header, &claims, &empty)?).await?;
    }
    Ok(())
}

async fn a_secret_that_everybody_knows(context: &Context) -> anyhow::Result<()> {
    let (stack, claims) = (context.stack().await?, token::claims(&fresh_user(), 3600));
    for secret in ["", "secret", "your-256-bit-secret", "changeme"] {
        refused(stack, &token::sign(&claims, secret)?).await?;
    }
    Ok(())
}
