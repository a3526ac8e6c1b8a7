//! From a request on `/ws` to a WebSocket, or to the answer that says why not.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Server;
use super::health_endpoints::{refusal, with};
use super::upgrade::{ConnectionPermit, From, Handshake};
use crate::{
    auth::{self, TokenResult},
    connection::ClientOptions,
    metrics::HandshakeResult,
    protocol::{Filter, SUBPROTOCOL},
};

impl Server {
    /// The order of the checks: what costs least, then what a browser could not see anyway. A
    /// bad token is no reason to refuse the handshake: only a close code reaches a browser.
    pub(super) async fn handshake<S>(
        &self,
        request: Request<()>,
        peer: IpAddr,
    ) -> Response<Full<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if request.method() != Method::GET {
            let refusal = refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET is possible here");
            return with(refusal, header::ALLOW, "GET");
        }
        if !self.is_origin_allowed(request.headers()) {
            self.count(HandshakeResult::ForbiddenOrigin);
            return refusal(StatusCode::FORBIDDEN, "this origin may not connect");
        }
        if !self.0.handshakes.try_acquire() {
            self.count(HandshakeResult::RateLimited);
            let refusal = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many handshakes");
            return with(refusal, header::RETRY_AFTER, "1");
        }
        if !asks_for_websocket(request.headers()) {
            return self.not_an_upgrade(&request).await;
        }
        let accept = match accept_key(request.headers()) {
            Ok(accept) => accept,
            Err(refusal) => {
                self.count(HandshakeResult::Malformed);
                return *refusal;
            }
        };
        let permit = match self.permit(peer, request.headers()) {
            Ok(permit) => permit,
            Err(refusal) => return *refusal,
        };
        let handshake = self.read_handshake(&request).await;
        let mut response = switching_protocols(accept);
        if handshake.options.control_frames {
            response = with(response, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        }
        let server = self.clone();
        self.0.tasks.spawn(server.serve::<S>(hyper::upgrade::on(request), handshake, permit));
        response
    }

    /// Takes one of the connections that there may be, in all and of this client.
    fn permit(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<ConnectionPermit, Box<Response<Full<Bytes>>>> {
        let Some(address) = self.0.per_address.enter(peer, headers) else {
            self.count(HandshakeResult::AddressFull);
            let refusal = refusal(StatusCode::TOO_MANY_REQUESTS, "too many from one address");
            return Err(Box::new(with(refusal, header::RETRY_AFTER, "5")));
        };
        if let Ok(permit) = Arc::clone(&self.0.sockets).try_acquire_owned() {
            return Ok(ConnectionPermit { _permit: permit, _address: address });
        }
        self.count(HandshakeResult::Full);
        let refusal = refusal(StatusCode::SERVICE_UNAVAILABLE, "no connection is free");
        Err(Box::new(with(refusal, header::RETRY_AFTER, "5")))
    }

    fn is_origin_allowed(&self, headers: &HeaderMap) -> bool {
        let (Some(allowed), Some(origin)) = (&self.0.origins, headers.get(header::ORIGIN)) else {
            return true;
        };
        allowed.allow(origin.as_bytes())
    }

    async fn not_an_upgrade(&self, request: &Request<()>) -> Response<Full<Bytes>> {
        if let Err(error) = self.read_handshake(request).await.identity {
            self.count(HandshakeResult::Unauthenticated);
            let refusal = refusal(StatusCode::UNAUTHORIZED, error.message());
            return with(refusal, header::WWW_AUTHENTICATE, "Bearer");
        }
        self.count(HandshakeResult::Malformed);
        let refusal = refusal(StatusCode::UPGRADE_REQUIRED, "this is for WebSockets");
        with(with(refusal, header::UPGRADE, "websocket"), header::CONNECTION, "Upgrade")
    }

    async fn read_handshake(&self, request: &Request<()>) -> Handshake {
        let query = request.uri().query().unwrap_or_default();
        let token = auth::token(request.headers(), query);
        let identity = self.0.settings.authenticator.authenticate(token.as_deref()).await;
        self.0.settings.metrics.jwt_validations.of(TokenResult::from(&identity)).inc();
        let control_frames = offers_subprotocol(request.headers());
        let (mut from, mut filter) = (From::Now, Filter::default());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "last_event_id" if !value.is_empty() => {
                    from = value.parse().map_or(From::Unknown, From::Position);
                }
                "categories" => filter = Filter::new(value.split(',')),
                _ => {}
            }
        }
        Handshake { identity, from, options: ClientOptions { control_frames, filter } }
    }
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    lists(headers, &header::CONNECTION, "upgrade") && lists(headers, &header::UPGRADE, "websocket")
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    offered.any(|entry| entry.trim() == SUBPROTOCOL)
}

/// Whether a header lists `wanted`, in any case.
fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(wanted))
}

/// The answer to the client's key.
fn accept_key(headers: &HeaderMap) -> Result<String, Box<Response<Full<Bytes>>>> {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let refusal =
            refusal(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13 is possible");
        return Err(Box::new(with(refusal, header::SEC_WEBSOCKET_VERSION, "13")));
    }
    // 16 bytes in base64.
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    match key {
        Some(key) if key.len() == 24 && key.ends_with(b"==") => Ok(derive_accept_key(key)),
        _ => Err(Box::new(refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is not a key"))),
    }
}

fn switching_protocols(accept: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(accept).expect("base64 is a valid header value");
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    with(with(response, header::UPGRADE, "websocket"), header::CONNECTION, "Upgrade")
}
