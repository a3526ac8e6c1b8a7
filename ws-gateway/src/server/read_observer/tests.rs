//! What the activity of a connection knows of the next request, with hyper as it reads.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep, timeout},
};

use super::*;

/// How long a poll waits at most.
const WAIT: Duration = Duration::from_secs(5);
/// Between two writes of a client.
const PAUSE: Duration = Duration::from_millis(10);

const POLL: &str = "GET /poll HTTP/1.1\r\nHost: h\r\n\r\n";
const OTHER: &str = "GET /other HTTP/1.1\r\nHost: h\r\n\r\n";

/// A client of a server whose polls end with the next request.
fn connect() -> DuplexStream {
    let (client, stream) = tokio::io::duplex(1 << 16);
    let activity = Activity::default();
    let stream = ReadObserver::new(stream, activity.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        activity.serve(!request.body().is_end_stream());
        let next_request = activity.next_request();
        async move {
            let request = request.map(drop);
            if request.uri().path() == "/poll" {
                timeout(WAIT, next_request).await.ok();
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    client
}

/// Sends the parts, one after the other, and returns how long the next response takes.
async fn response_time(client: &mut DuplexStream, parts: &[&str]) -> Duration {
    let start = Instant::now();
    for part in parts {
        client.write_all(part.as_bytes()).await.unwrap();
        sleep(PAUSE).await;
    }
    let mut response = [0; 1024];
    let length = client.read(&mut response).await.unwrap();
    assert!(response[..length].starts_with(b"HTTP/1.1 200 "));
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_poll_ends_when_a_part_of_the_next_request_arrives() {
    for next in [POLL, OTHER, "G"] {
        let time = response_time(&mut connect(), &[&format!("{POLL}{next}")]).await;
        assert!(time <= 2 * PAUSE, "in the same packet: {next:?}, {time:?}");
        let time = response_time(&mut connect(), &[POLL, next]).await;
        assert!(time <= 3 * PAUSE, "in a later packet: {next:?}, {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_however_its_bytes_are_split() {
    for split in 1..POLL.len() {
        let (first, second) = POLL.split_at(split);
        let time = response_time(&mut connect(), &[first, second]).await;
        assert!(time >= WAIT, "split at {split}: {time:?}");
    }
    // hyper reads 8 KiB at first.
    for length in 8_188..8_200 {
        let head = POLL.trim_end();
        let name = "\r\nx: ";
        let padding = "a".repeat(length - head.len() - name.len() - "\r\n\r\n".len());
        let poll = format!("{head}{name}{padding}\r\n\r\n");
        assert_eq!(poll.len(), length);
        let time = response_time(&mut connect(), &[&poll]).await;
        assert!(time >= WAIT, "{length} bytes: {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_lines_before_a_poll_are_ignored() {
    for parts in [&["\r\n\r\n", POLL][..], &[&format!("\r\n\r\n{POLL}")]] {
        let time = response_time(&mut connect(), parts).await;
        assert!(time >= WAIT, "{parts:?}: {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_lines_behind_a_poll_end_it_as_they_hide_that_its_client_has_gone() {
    for parts in [&[&*format!("{POLL}\r\n")][..], &[POLL, "\r\n"], &[POLL, "\r\n\r\n\r\n"]] {
        let time = response_time(&mut connect(), parts).await;
        assert!(time <= 3 * PAUSE, "{parts:?}: {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_behind_another_request_waits_unless_empty_lines_follow() {
    for (between, behind, waits) in
        [("", "", true), ("\r\n\r\n\r\n", "", true), ("\r\n", "\r\n\r\n", false)]
    {
        let (mut client, start) = (connect(), Instant::now());
        let requests = format!("{OTHER}{between}{POLL}{behind}");
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut responses = String::new();
        while responses.matches("HTTP/1.1 200 ").count() < 2 {
            let mut bytes = [0; 1024];
            let length = client.read(&mut bytes).await.unwrap();
            responses.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        let time = start.elapsed();
        assert_eq!(time >= WAIT, waits, "{between:?}, {behind:?}: {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_body_does_not_end_polls() {
    for path in ["/other", "/poll"] {
        for rest in [
            "Content-Length: 0\r\n\r\n",
            "Content-Length: 4\r\n\r\n\r\n\r\n",
            "Content-Length: 6\r\n\r\na\r\n\r\nb",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        ] {
            let mut client = connect();
            let first = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{rest}");
            let time = response_time(&mut client, &[&first]).await;
            assert_eq!(time >= WAIT, path == "/poll", "{first:?}: {time:?}");
            for number in 0..3 {
                let time = response_time(&mut client, &[POLL]).await;
                assert!(time >= WAIT, "poll {number} after {first:?}: {time:?}");
            }
        }
    }
}
