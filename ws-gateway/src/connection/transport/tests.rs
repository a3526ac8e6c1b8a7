use std::net::Ipv4Addr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpSocket;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::*;
use crate::connection::wire;

/// The two ends of a connection with small buffers.
async fn connect() -> (SharedSocket<TcpStream>, WebSocketStream<TcpStream>) {
    let listener = TcpSocket::new_v4().unwrap();
    // Inherited by the sockets that it accepts.
    listener.set_send_buffer_size(4096).unwrap();
    listener.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = listener.listen(1).unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    let connecting = client.connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connecting, listener.accept());
    let (server, _) = accepted.unwrap();
    let client = WebSocketStream::from_raw_socket(client.unwrap(), Role::Client, None).await;
    server.writable().await.unwrap();
    (SharedSocket::new(server), client)
}

#[tokio::test]
async fn frames_of_every_size_are_written_in_one_call() {
    let (server, mut client) = connect().await;
    let texts = [0, 1, 125, 126, 127].map(|length| "å".repeat(length));
    let slices: Vec<&str> = texts.iter().map(String::as_str).collect();
    let written = server.writer().unwrap().try_write(&slices);
    assert_eq!(written, Written { frames: texts.len(), is_partial: false });
    for text in texts {
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text(text));
    }
}

#[tokio::test]
async fn frames_of_hub_and_task_are_never_mixed_when_the_client_reads_slowly() {
    const FRAMES: usize = 2_000;
    let (server, mut client) = connect().await;
    let writer = server.writer().unwrap();
    let mut socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
    let text = |number: usize| format!("{number} {}", "x".repeat(number * 37 % 8000));
    let reading = tokio::spawn(async move {
        let mut numbers = [Vec::new(), Vec::new()];
        while let Some(Ok(Message::Text(read))) = client.next().await {
            let number: usize = read.split_once(' ').unwrap().0.parse().unwrap();
            assert_eq!(read.as_str(), text(number));
            numbers[number % 2].push(number);
            tokio::task::yield_now().await;
        }
        numbers
    });
    let (mut next, mut partial) = (0, 0);
    while next < FRAMES {
        // The hub has even numbers, the task has odd ones.
        let even = [next, next + 2].map(text);
        let written = writer.try_write(&[&even[0], &even[1]]);
        partial += usize::from(written.is_partial);
        for number in [next, next + 2].into_iter().skip(written.frames) {
            socket.feed(Message::text(text(number))).await.unwrap();
        }
        let odd = [next + 1, next + 3].map(|number| text(number).into());
        wire::write(&mut socket, odd.into(), &mut false).await.unwrap();
        next += 4;
    }
    assert!(partial > 0, "no frame was written in part");
    socket.close(None).await.unwrap();
    let all: Vec<usize> = (0..FRAMES).collect();
    for (half, read) in reading.await.unwrap().into_iter().enumerate() {
        let sent: Vec<usize> = all.iter().copied().filter(|number| number % 2 == half).collect();
        assert_eq!(read, sent);
    }
}
