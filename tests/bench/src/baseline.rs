//! The baseline of the gateway's delivery rate: a tokio-tungstenite server with the gateway's socket
//! settings. It confirms the subscription of every client, and sends each line of its standard input
//! to all sockets.

use std::{io::BufRead as _, net::Ipv4Addr};

use anyhow::Context as _;
use futures_util::SinkExt as _;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::server::{Request, Response},
    },
};

const SUBSCRIBED: &str =
    r#"{"event":"connection_state","data":{"state":"authenticated","last_event_id":"0-0"}}"#;

/// Prints the address and serves until the input ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        let (sender, mut lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut sockets = Vec::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => sockets.push(accept(accepted?.0).await?),
                line = lines.recv() => match line {
                    None => return Ok(()),
                    Some(line) => send_to_all(&mut sockets, &Utf8Bytes::from(line)).await?,
                },
            }
        }
    })
}

async fn send_to_all(
    sockets: &mut [WebSocketStream<TcpStream>],
    text: &Utf8Bytes,
) -> anyhow::Result<()> {
    for socket in sockets {
        socket.send(Message::Text(text.clone())).await?;
    }
    Ok(())
}

async fn accept(stream: TcpStream) -> anyhow::Result<WebSocketStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let config = Some(ws_gateway::connection::socket_config(4096));
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let select_protocol = |_: &Request, mut response: Response| {
        let protocol = hyper::header::HeaderValue::from_static("huleedu.v1");
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let mut socket = accept_hdr_async_with_config(stream, select_protocol, config).await?;
    socket.send(Message::text(SUBSCRIBED)).await?;
    Ok(socket)
}

/// A running baseline server.
pub(crate) struct Baseline {
    process: Child,
    input: tokio::process::ChildStdin,
    /// The address for clients.
    pub(crate) url: String,
}

impl Baseline {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        use tokio::io::AsyncBufReadExt as _;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("baseline").kill_on_drop(true);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut process = command.spawn()?;
        let input = process.stdin.take().context("standard input is piped")?;
        let output = process.stdout.take().context("standard output is piped")?;
        let mut lines = tokio::io::BufReader::new(output).lines();
        let address = lines.next_line().await?.context("the baseline server exited")?;
        Ok(Self { process, input, url: format!("ws://{address}/ws") })
    }

    /// Sends a text to every socket.
    pub(crate) async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        use tokio::io::AsyncWriteExt as _;
        Ok(self.input.write_all(format!("{text}\n").as_bytes()).await?)
    }

    pub(crate) fn id(&self) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.process.id().context("the baseline server exited")?)?)
    }

    /// Stops the server and waits for its exit.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { mut process, input, .. } = self;
        drop(input);
        process.wait().await?;
        Ok(())
    }
}
