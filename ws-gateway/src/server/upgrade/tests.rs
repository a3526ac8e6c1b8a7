use std::net::Ipv4Addr;

use futures_util::stream;
use shared::user::UserId;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    auth::Credential,
    connection::{Channel, SharedSocket},
    hub::{Hub, outbox::Outbox},
    protocol::Filter,
    server::handshake::tests::{settings, state},
};

/// The memory that a connection may keep, in bytes, without what the allocator rounds up.
const BUDGET: usize = 2_400;

/// The counters in front of a shared value.
const ARC: usize = 16;

/// A user id and a token id of the length of a UUID.
const IDS: usize = 2 * (ARC + 36);

/// What tokio 1.54 and tokio-tungstenite 0.30 allocate: the head of a task, the readiness of a
/// socket (both aligned to 128 bytes), and two pairs of wakers.
const LIBRARIES: usize = 128 + 256 + 2 * (ARC + 48);

#[tokio::test]
async fn an_idle_connection_keeps_no_more_memory_than_its_budget() {
    let state = state(settings());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (_client, accepted) = tokio::join!(client, listener.accept());
    let stream = SharedSocket::new(accepted.unwrap().0);
    let stream = FrameLimiter::new(stream, &[], Arc::clone(&state.connection));
    let config = Some(state.settings.socket);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, config).await;
    let writer = Channel::writer(&socket).expect("the hub can write to a socket without TLS");
    let (id, user) = (Uuid::new_v4(), UserId::new("u").unwrap());
    let registration = state.hub.register(&user, id).unwrap();
    let identity = Identity { user, expires_at: 0, credential: Credential::default() };
    let options = ClientOptions { control_frames: true, filter: Filter::default() };
    let settings = Arc::clone(&state.connection);
    let connection = Connection::new(socket, registration, &identity, options, settings);
    let size = size_of_val(&*connection);
    let run = connection.run(Box::pin(stream::empty()), CancellationToken::new());
    let kept = [
        ("state of the connection", size),
        ("future of its task", size_of_val(&run)),
        ("permit", size_of::<ConnectionPermit>()),
        ("log fields", size_of::<OpenConnection>()),
        ("shared socket", ARC + size_of_val(&*writer)),
        ("read buffer", state.settings.socket.read_buffer_size),
        ("queue", ARC + Outbox::SIZE),
        ("entry in the hub", Hub::SIZE_OF_USER),
        ("ids", IDS),
        ("libraries", LIBRARIES),
    ];
    let sum: usize = kept.iter().map(|(_, bytes)| bytes).sum();
    assert!(sum <= BUDGET, "{sum} bytes: {kept:?}");
}
