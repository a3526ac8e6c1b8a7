use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::Algorithm;
use prometheus::Opts;
use serde_json::{Value, json};
use shared::metrics::MetricField as _;
use tokio::net::TcpListener;

use super::{issuer::MAX_SET_SIZE, *};

fn rules() -> TokenRules {
    TokenRules::new(
        &[Algorithm::EdDSA, Algorithm::RS256, Algorithm::HS256],
        None,
        None,
        Duration::ZERO,
    )
}

fn ed25519(kid: &str) -> Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
}

fn usable(keys: &Value) -> usize {
    parse(json!({ "keys": keys }).to_string().as_bytes(), &rules()).map_or(0, |keys| keys.len())
}

#[test]
fn an_unusable_key_does_not_affect_the_others() {
    let keys = json!([null, 7, {"kty": "unheard-of"}, {"kty": "RSA", "n": "!"}, ed25519("a")]);
    assert_eq!(usable(&keys), 1);
}

#[test]
fn only_public_keys_for_signatures_and_accepted_algorithms_are_taken() {
    let with = |field: &str, value: &str| {
        let mut key = ed25519("a");
        key[field] = value.into();
        json!([key])
    };
    assert_eq!(usable(&with("use", "sig")), 1);
    assert_eq!(usable(&with("alg", "EdDSA")), 1);
    assert_eq!(usable(&with("use", "enc")), 0);
    assert_eq!(usable(&with("alg", "ES256")), 0);
    assert_eq!(usable(&json!([{"kty": "oct", "alg": "HS256", "k": "c2VjcmV0"}])), 0);
    assert_eq!(usable(&json!((0..100).map(|n| ed25519(&n.to_string())).collect::<Vec<_>>())), 16);
}

/// Starts an issuer that answers every request with `body`, and counts the requests.
async fn issuer(body: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (body, count) = (body.clone(), Arc::clone(&count));
            let service = service_fn(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                let body = Full::new(Bytes::from(body.clone()));
                async move { Ok::<_, Infallible>(Response::new(body)) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, requests)
}

fn cache(address: SocketAddr) -> JwksCache {
    let url = format!("http://{address}/jwks").parse().unwrap();
    let fetches = Reloads::create(Opts::new("fetches", "Fetches."), ()).unwrap();
    JwksCache::new(url, &ProxySettings::default(), rules(), fetches).unwrap()
}

#[tokio::test]
async fn many_tokens_with_unknown_keys_cause_one_fetch() {
    let (address, requests) = issuer(json!({"keys": [ed25519("a")]}).to_string()).await;
    let cache = cache(address);
    let all = (0..1_000).map(|_| cache.refresh());
    futures_util::future::join_all(all).await;
    assert_eq!(requests.load(Ordering::Relaxed), 1);
    assert_eq!(cache.keys().len(), 1);
}

#[tokio::test]
async fn an_invalid_answer_leaves_the_last_valid_set() {
    for bad in
        ["nonsense".to_owned(), json!({"keys": []}).to_string(), "x".repeat(MAX_SET_SIZE + 1)]
    {
        let (address, _) = issuer(bad).await;
        let cache = cache(address);
        *cache.0.keys.write().unwrap() =
            parse(json!({"keys": [ed25519("a")]}).to_string().as_bytes(), &rules()).unwrap().into();
        assert!(cache.fetch(&mut None).await.is_err());
        assert_eq!(cache.keys().len(), 1);
    }
}
