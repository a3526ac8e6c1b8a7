use hyper::StatusCode;
use shared::user::UserId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use super::*;
use crate::{
    hub::Subscribed,
    protocol::Frame,
    server::handshake::tests::{get_events, respond, settings, state, token},
};

/// Has a server answer a request for an event stream whose client does not read.
async fn open_unread(server: &Server) -> DuplexStream {
    let (mut client, stream) = tokio::io::duplex(512);
    server.serve(stream, IpAddr::from([127, 0, 0, 1]));
    let request = format!(
        "GET /events HTTP/1.1\r\nHost: gateway.example.org\r\nAuthorization: Bearer {}\r\n\r\n",
        token()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let user = UserId::new("u").unwrap();
    let plan = loop {
        let plan = server.state.hub.plan([user.clone()]);
        if !plan.subscribe.is_empty() {
            break plan;
        }
        tokio::task::yield_now().await;
    };
    let marked = server.state.hub.mark_subscribed(&plan.subscribe[0].subscription);
    assert_eq!(marked, Subscribed::Live);
    client
}

fn server(max_connections: usize) -> Server {
    let max_connections = max_connections.try_into().unwrap();
    let state = state(ServerSettings { max_connections, ..settings() });
    Server { state, certificate: None }
}

/// More than the buffers of the response take.
fn large_frame() -> Frame {
    Frame::published(format!("{{\"id\":\"1-0\",\"data\":\"{}\"}}", "x".repeat(100_000)).into())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_holds_its_permit_until_its_socket_is_closed() {
    let server = server(1);
    let _client = open_unread(&server).await;
    let open = server.state.connection.metrics.active_connections.clone();
    server.state.hub.deliver("u", large_frame());
    while open.get() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let refused = respond(&server.state, get_events()).await.status();
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    server.state.tasks.close();
    let handshake_timeout = server.state.settings.handshake_timeout;
    timeout(handshake_timeout + Duration::from_secs(1), server.state.tasks.wait()).await.unwrap();
    let other = respond(&server.state, get_events()).await.status();
    assert_eq!(other, StatusCode::UNAUTHORIZED, "there is room");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_does_not_hold_up_the_shutdown() {
    let server = server(1);
    let _client = open_unread(&server).await;
    server.state.hub.deliver("u", large_frame());
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.state.shutdown.cancel();
    server.state.tasks.close();
    timeout(Duration::from_secs(5), server.state.tasks.wait())
        .await
        .expect("the sockets are closed");
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_behind_a_refused_one_are_not_answered() {
    for path in ["/events", "/ws"] {
        let server = server(1);
        let (mut client, stream) = tokio::io::duplex(1 << 16);
        server.serve(stream, IpAddr::from([127, 0, 0, 1]));
        let request = format!("GET {path} HTTP/1.1\r\nHost: gateway.example.org\r\n\r\n");
        client.write_all(request.repeat(10).as_bytes()).await.unwrap();
        let mut responses = String::new();
        client.read_to_string(&mut responses).await.unwrap();
        assert_eq!(responses.matches("HTTP/1.1 401").count(), 1, "{path}: {responses}");
        let refused =
            server.state.connection.metrics.connections.of(HandshakeResult::Unauthenticated);
        assert_eq!(refused.get(), 1, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_marks_as_read_from_time_to_time_is_kept_open() {
    let server = server(1);
    let state = std::sync::Arc::clone(&server.state);
    let redis = tokio::spawn(async move {
        let requests = state.hub.read_requests();
        loop {
            requests.due().await;
            for answer in requests.take(1).into_iter().flat_map(|taken| taken.request.answers) {
                // Redis takes its time.
                tokio::time::sleep(Duration::from_secs(4)).await;
                answer.send("{}".into()).unwrap();
            }
        }
    });
    let (mut client, stream) = tokio::io::duplex(1 << 16);
    server.serve(stream, IpAddr::from([127, 0, 0, 1]));
    let request = format!(
        "POST /read HTTP/1.1\r\nHost: gateway.example.org\r\nAuthorization: Bearer {}\r\n\r\n",
        token()
    );
    for number in 0..5 {
        client.write_all(request.as_bytes()).await.unwrap();
        let mut response = [0; 1024];
        let length = client.read(&mut response).await.unwrap();
        assert!(response[..length].starts_with(b"HTTP/1.1 200 "), "request {number}");
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    redis.abort();
}
