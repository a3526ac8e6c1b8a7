use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use std::time::Duration;

use super::*;
use crate::auth::{
    claims::{Credential, MAX_TOKEN_ID, unix_seconds as now, unix_time},
    keys::{KeyError, TokenRules},
};

const SECRET: &str = "a-secret-that-is-long-enough-for-tests";

fn sign_with(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn sign(claims: &Value) -> String {
    sign_with(Algorithm::HS256, SECRET, claims)
}

fn with_configured(keys: Vec<Key>) -> Authenticator {
    Authenticator::new(keys.into(), Revocations::default())
}

fn authenticator(audience: Option<&str>, issuer: Option<&str>) -> Authenticator {
    let rules = TokenRules::new(&[Algorithm::HS256], audience, issuer, Duration::ZERO);
    with_configured(vec![Key::from_secret(&SECRET.into(), &rules).unwrap()])
}

fn check(claims: &Value) -> Result<Identity, AuthError> {
    authenticator(None, None).check(Some(&sign(claims)))
}

#[test]
fn a_valid_token_yields_its_user_and_expiry() {
    let exp = now() + 60;
    let claims =
        json!({"sub": "teacher-42", "exp": exp, "iat": now(), "nbf": now(), "typ": "access"});
    let identity = check(&claims).unwrap();
    assert_eq!(identity.user.as_str(), "teacher-42");
    assert_eq!(identity.expires_at, exp);
    assert!(identity.valid_for() <= Duration::from_mins(1));
}

#[test]
fn the_algorithm_is_fixed_by_the_settings() {
    let claims = json!({"sub": "u", "exp": now() + 60});
    let token = sign_with(Algorithm::HS512, SECRET, &claims);
    assert_eq!(authenticator(None, None).check(Some(&token)), Err(AuthError::Invalid));
    let payload = sign(&claims).split('.').nth(1).unwrap().to_owned();
    // {"alg":"none"}, {"alg":"NONE"} and {"alg":"RS256"}
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOT05FIn0", "eyJhbGciOiJSUzI1NiJ9"] {
        let token = format!("{header}.{payload}.");
        let refused = authenticator(None, None).check(Some(&token));
        assert_eq!(refused, Err(AuthError::Invalid));
    }
}

#[test]
fn a_forged_or_missing_signature_is_refused() {
    let claims = json!({"sub": "u", "exp": now() + 60});
    let forged = sign_with(Algorithm::HS256, "another secret", &claims);
    let token = sign(&claims);
    let other = sign(&json!({"sub": "v", "exp": now() + 60}));
    let (head, _) = token.rsplit_once('.').unwrap();
    let spliced = format!("{head}.{}", other.rsplit_once('.').unwrap().1);
    let unsigned = format!("{head}.");
    for token in [forged.as_str(), &spliced, &unsigned, head, "", "a.b.c", "....", "😀"] {
        let refused = authenticator(None, None).check(Some(token));
        assert_eq!(refused, Err(AuthError::Invalid), "{token}");
    }
    assert_eq!(authenticator(None, None).check(None), Err(AuthError::Missing));
}

#[test]
fn a_key_without_an_id_does_not_know_the_key_that_a_token_names() {
    let claims = json!({"sub": "u", "exp": now() + 60});
    let key = EncodingKey::from_secret(b"the secret of a new key");
    for (kid, expected) in
        [(Some("new".to_owned()), AuthError::UnknownKey), (None, AuthError::Invalid)]
    {
        let header = Header { kid, ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims, &key).unwrap();
        assert_eq!(authenticator(None, None).check(Some(&token)), Err(expected));
    }
}

#[test]
fn an_expired_token_and_one_without_exp_are_refused() {
    assert_eq!(check(&json!({"sub": "u", "exp": now() - 1})), Err(AuthError::Expired));
    for exp in [json!(null), json!("never"), json!(-1), json!([1])] {
        assert!(check(&json!({"sub": "u", "exp": exp})).is_err(), "{exp}");
    }
    assert!(check(&json!({"sub": "u"})).is_err());
}

#[test]
fn a_token_from_the_future_is_refused() {
    let (now, exp) = (now(), now() + 600);
    let later = now + 300;
    for claims in [
        json!({"sub": "u", "exp": exp, "nbf": later}),
        json!({"sub": "u", "exp": exp, "iat": later}),
    ] {
        assert_eq!(check(&claims), Err(AuthError::NotYetValid));
        assert!(with_leeway(Duration::from_secs(301)).check(Some(&sign(&claims))).is_ok());
    }
    assert!(check(&json!({"sub": "u", "exp": exp, "nbf": "soon"})).is_err());
    assert!(check(&json!({"sub": "u", "exp": exp, "iat": "soon"})).is_err());
}

fn with_leeway(leeway: Duration) -> Authenticator {
    let rules = TokenRules::new(&[Algorithm::HS256], None, None, leeway);
    with_configured(vec![Key::from_secret(&SECRET.into(), &rules).unwrap()])
}

#[test]
fn the_leeway_is_exact_and_does_not_extend_the_expiry() {
    let whole = unix_time().as_secs_f64();
    let issued = |ahead: f64| sign(&json!({"sub": "u", "exp": now() + 60, "iat": whole + ahead}));
    let lenient = with_leeway(Duration::from_millis(900));
    assert!(lenient.check(Some(&issued(0.8))).is_ok());
    assert_eq!(lenient.check(Some(&issued(30.0))), Err(AuthError::NotYetValid));
    let expired = sign(&json!({"sub": "u", "exp": now() - 1}));
    let lenient = with_leeway(Duration::from_mins(1));
    assert_eq!(lenient.check(Some(&expired)), Err(AuthError::Expired));
    let exp = now() + 60;
    let identity = lenient.check(Some(&sign(&json!({"sub": "u", "exp": exp})))).unwrap();
    assert_eq!(identity.expires_at, exp);
}

#[test]
fn a_refresh_token_is_refused() {
    for kind in ["refresh", "Refresh"] {
        let claims = json!({"sub": "u", "exp": now() + 60, "typ": kind});
        assert_eq!(check(&claims), Err(AuthError::WrongKind));
    }
}

#[test]
fn a_subject_that_is_not_a_user_id_is_refused() {
    for sub in [json!(""), json!(7), json!(null), json!("a\r\nb"), json!("x".repeat(300))] {
        assert!(check(&json!({"sub": sub, "exp": now() + 60})).is_err(), "{sub}");
    }
    assert_eq!(check(&json!({"sub": "", "exp": now() + 60})), Err(AuthError::NoUser));
}

#[test]
fn audience_and_issuer_are_checked_exactly_when_they_are_set() {
    let both = json!({"sub": "u", "exp": now() + 60, "aud": ["x", "us"], "iss": "they"});
    assert!(check(&both).is_ok());
    assert!(authenticator(Some("us"), Some("they")).check(Some(&sign(&both))).is_ok());
    let neither = json!({"sub": "u", "exp": now() + 60});
    let odd = json!({"sub": "u", "exp": now() + 60, "aud": 7, "iss": {}});
    for checked in [authenticator(Some("we"), None), authenticator(None, Some("we"))] {
        for claims in [&both, &neither, &odd] {
            let refused = checked.check(Some(&sign(claims)));
            assert_eq!(refused, Err(AuthError::WrongAudience), "{claims}");
        }
    }
}

#[test]
fn a_token_with_a_critical_header_is_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".into()]);
    let claims = json!({"sub": "u", "exp": now() + 60});
    let token = encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert_eq!(authenticator(None, None).check(Some(&token)), Err(AuthError::Invalid));
}

#[tokio::test]
async fn a_live_connection_is_renewed_by_its_own_user_only() {
    let token = sign(&json!({"sub": "u", "exp": now() + 60}));
    let user = UserId::new("u").unwrap();
    let other = UserId::new("v").unwrap();
    assert!(authenticator(None, None).renew(&user, &token).await.is_ok());
    assert_eq!(authenticator(None, None).renew(&other, &token).await, Err(AuthError::OtherUser));
}

/// The public keys of pairs that exist for these tests only, and tokens signed with the others.
const RSA: &str = include_str!("../test_keys/rsa.pub.pem");
const EC: &str = include_str!("../test_keys/ec.pub.pem");
const EC384: &str = include_str!("../test_keys/ec384.pub.pem");
const ED: &str = include_str!("../test_keys/ed.pub.pem");

fn sign_with_pair(algorithm: Algorithm) -> String {
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(include_bytes!("../test_keys/ec.key.pem")),
        Algorithm::ES384 => EncodingKey::from_ec_pem(include_bytes!("../test_keys/ec384.key.pem")),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(include_bytes!("../test_keys/ed.key.pem")),
        _ => EncodingKey::from_rsa_pem(include_bytes!("../test_keys/rsa.key.pem")),
    };
    let claims = json!({"sub": "u", "exp": now() + 60});
    encode(&Header::new(algorithm), &claims, &key.unwrap()).unwrap()
}

fn with_keys(algorithms: &[Algorithm], pems: &[&str]) -> Authenticator {
    let rules = TokenRules::new(algorithms, None, None, Duration::ZERO);
    with_configured(pems.iter().map(|pem| Key::from_pem(pem, &rules).unwrap()).collect())
}

#[test]
fn a_public_key_of_each_kind_verifies_its_own_signatures() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let accepted = [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA];
    let all = with_keys(&accepted, &[RSA, EC, EC384, ED]);
    for algorithm in accepted {
        let token = sign_with_pair(algorithm);
        assert!(all.check(Some(&token)).is_ok(), "{algorithm:?}");
    }
    let refused = with_keys(&[RS256], &[RSA]).check(Some(&sign_with_pair(RS384)));
    assert_eq!(refused, Err(AuthError::Invalid), "it was not on the list");
}

#[test]
fn a_secret_verifies_each_accepted_size_of_its_hash() {
    let sizes = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    let rules = TokenRules::new(&sizes, None, None, Duration::ZERO);
    let all = with_configured(vec![Key::from_secret(&SECRET.into(), &rules).unwrap()]);
    let claims = json!({"sub": "u", "exp": now() + 60});
    for size in sizes {
        assert!(all.check(Some(&sign_with(size, SECRET, &claims))).is_ok(), "{size:?}");
    }
}

#[test]
fn the_id_of_a_token_is_kept_and_bounded() {
    let claims = json!({"sub": "u", "exp": now() + 60, "jti": "t", "iat": 7});
    let credential = Credential { token_id: Some("t".into()), issued_at: 7 };
    assert_eq!(check(&claims).unwrap().credential, credential);
    // Any revocation of the user concerns a token that does not say when it was issued.
    let undated = check(&json!({"sub": "u", "exp": now() + 60})).unwrap();
    assert_eq!(undated.credential, Credential::default());
    for jti in [json!(7), json!("x".repeat(MAX_TOKEN_ID + 1))] {
        let refused = check(&json!({"sub": "u", "exp": now() + 60, "jti": jti}));
        assert_eq!(refused, Err(AuthError::Invalid));
    }
}

#[test]
fn a_public_key_is_never_used_as_a_secret() {
    let both = [Algorithm::RS256, Algorithm::HS256];
    let rules = TokenRules::new(&both, None, None, Duration::ZERO);
    let keys = vec![
        Key::from_pem(RSA, &rules).unwrap(),
        Key::from_secret(&SECRET.into(), &rules).unwrap(),
    ];
    let authenticator = with_configured(keys);
    let claims = json!({"sub": "u", "exp": now() + 60});
    let confused = sign_with(Algorithm::HS256, RSA, &claims);
    assert_eq!(authenticator.check(Some(&confused)), Err(AuthError::Invalid));
    assert!(authenticator.check(Some(&sign(&claims))).is_ok());
}

#[test]
fn a_previous_secret_is_accepted_in_addition_to_the_new_one() {
    let rules = TokenRules::new(&[Algorithm::HS256], None, None, Duration::ZERO);
    let secrets = ["the-new-secret-of-more-than-32-bytes", SECRET];
    let keys = secrets.map(|secret| Key::from_secret(&secret.into(), &rules).unwrap());
    let authenticator = with_configured(keys.into());
    for secret in secrets {
        let token = sign_with(Algorithm::HS256, secret, &json!({"sub": "u", "exp": now() + 60}));
        assert!(authenticator.check(Some(&token)).is_ok());
    }
    let expired = sign(&json!({"sub": "u", "exp": now() - 60}));
    assert_eq!(authenticator.check(Some(&expired)), Err(AuthError::Expired));
}

#[test]
fn a_key_without_an_algorithm_and_a_text_that_is_not_a_key_are_errors() {
    let rules = TokenRules::new(&[Algorithm::RS256], None, None, Duration::ZERO);
    assert_eq!(Key::from_pem(EC, &rules).unwrap_err(), KeyError::NoAlgorithm);
    assert_eq!(Key::from_secret(&SECRET.into(), &rules).unwrap_err(), KeyError::NoAlgorithm);
    for text in ["", "secret", &RSA[..200]] {
        assert_eq!(Key::from_pem(text, &rules).unwrap_err(), KeyError::NotPem);
    }
}
