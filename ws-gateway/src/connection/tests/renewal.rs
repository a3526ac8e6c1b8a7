//! New tokens of a live connection.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tokio::net::TcpListener;

use super::*;
use crate::auth::{
    JwksCache, KeySources,
    jwks::ProxySettings,
    revocation::{Revocation, Revoked},
};

/// Settings with the keys of an issuer, which are fetched for the first token.
fn settings_with_issuer(issuer: &TcpListener) -> Arc<ConnectionSettings> {
    let settings = Arc::into_inner(settings()).unwrap();
    let url = format!("http://{}/keys", issuer.local_addr().unwrap()).parse().unwrap();
    let rules = TokenRules::new(&[Algorithm::RS256], None, None, Duration::ZERO);
    let fetches = settings.metrics.jwks_fetches.clone();
    let jwks = JwksCache::new(url, &ProxySettings::default(), rules, fetches).unwrap();
    let keys = KeySources { jwks: Some(jwks), ..KeySources::default() };
    let authenticator = Authenticator::new(keys, Revocations::default());
    Arc::new(ConnectionSettings { authenticator, ..settings })
}

/// A new token that is signed with a key of the issuer.
fn unknown_key() -> String {
    let header = Header { kid: Some("unknown".into()), ..Header::default() };
    let claims = json!({"sub": "u", "exp": 32_503_680_000_u64});
    let key = EncodingKey::from_secret(b"a secret that no key set has");
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    json!({"type": "auth", "token": token}).to_string()
}

#[tokio::test]
async fn a_slow_issuer_does_not_delay_frames_while_a_token_is_checked() {
    let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut harness = connect_with(settings_with_issuer(&issuer), false, no_history()).await;
    harness.say(unknown_key()).await;
    // The key set is being fetched, and never arrives.
    let _fetch = issuer.accept().await.unwrap();
    harness.hub.deliver("u", frame(1));
    let delivered = time::timeout(Duration::from_secs(2), harness.json()).await;
    assert_eq!(delivered.expect("the frame is not delayed")["id"], "1-0");
}

#[tokio::test]
async fn messages_are_read_while_a_token_is_checked_and_a_second_token_waits() {
    let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut harness = connect_with(settings_with_issuer(&issuer), true, no_history()).await;
    assert_eq!(harness.json().await["data"]["state"], "authenticated");
    harness.say(unknown_key()).await;
    let (fetch, _) = issuer.accept().await.unwrap();
    harness.say(r#"{"type":"ping"}"#).await;
    let answer = time::timeout(Duration::from_secs(2), harness.json()).await;
    assert_eq!(answer.expect("the ping is read"), json!({"type": "pong"}));
    harness.say(r#"{"type":"auth","token":"a.b.c"}"#).await;
    // The fetch of the keys fails.
    drop(fetch);
    for _ in 0..2 {
        let refused = time::timeout(Duration::from_secs(10), harness.json()).await;
        assert_eq!(refused.expect("both are refused")["data"]["state"], "error");
    }
}

#[tokio::test]
async fn a_connection_is_closed_if_its_new_token_was_revoked_after_the_check() {
    let (settings, revocations) = (Arc::into_inner(settings()).unwrap(), Revocations::default());
    let authenticator = Authenticator::new(KeySources::default(), revocations.clone());
    let settings = Arc::new(ConnectionSettings { authenticator, ..settings });
    let credential = |id: &str| Credential { token_id: Some(id.into()), ..Credential::default() };
    let identity = |id| Identity { user: user(), expires_at: u64::MAX, credential: credential(id) };
    let registration = hub().register(&user(), Uuid::nil()).unwrap();
    let outbox = registration.outbox().clone();
    let options = ClientOptions { control_frames: true, filter: Filter::default() };
    let (channel, _chunks) = EventStream::new();
    let mut connection =
        Connection::new(channel, registration, &identity("old"), options, settings);
    connection.replace_token(Ok(identity("new")));
    assert_eq!(outbox.closed().now_or_never(), None);
    revocations.add(Revocation { target: Revoked::Token("new".into()), until: u64::MAX, by: None });
    connection.replace_token(Ok(identity("new")));
    assert_eq!(outbox.closed().now_or_never(), Some(CloseReason::Revoked));
}
