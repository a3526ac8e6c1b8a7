//! Baselines of the gateway's delivery rate: a server that confirms the subscription of every
//! client and writes each line of its standard input to all sockets, through tokio-tungstenite with
//! the gateway's socket settings, or as one prepared frame per `send`.

use std::{io::BufRead as _, net::Ipv4Addr, process::Stdio, thread};

use anyhow::Context as _;
use futures_util::SinkExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, Command},
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
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

/// How a baseline server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// One `send` of a prepared frame per socket.
    Send,
    /// tokio-tungstenite.
    Tungstenite,
}

enum Input {
    Client(std::net::TcpStream),
    Text(String),
}

/// Prints the address and serves until the input ends; `arguments` are those of
/// [`Baseline::start`].
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let writer = match arguments.next().as_deref() {
        Some("Send") => Writer::Send,
        Some("Tungstenite") => Writer::Tungstenite,
        other => anyhow::bail!("{other:?} is not a writer"),
    };
    let threads: usize = arguments.next().context("no number of threads")?.parse()?;
    let writers: Vec<UnboundedSender<Input>> = (0..threads)
        .map(|_| {
            let (sender, inputs) = unbounded_channel();
            thread::spawn(move || {
                block_on(write_inputs(writer, inputs)).expect("no client disconnects");
            });
            sender
        })
        .collect();
    block_on(accept_clients(writers))
}

fn block_on(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(task)
}

/// Distributes clients over the writers, and texts to all of them.
async fn accept_clients(writers: Vec<UnboundedSender<Input>>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    let texts = writers.clone();
    let ended = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            texts.iter().try_for_each(|writer| writer.send(Input::Text(line.clone())))?;
        }
        Ok(())
    });
    let accepting = async {
        for writer in writers.iter().cycle() {
            writer.send(Input::Client(listener.accept().await?.0.into_std()?))?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = ended => ended?,
        accepted = accepting => accepted,
    }
}

async fn write_inputs(writer: Writer, mut inputs: UnboundedReceiver<Input>) -> anyhow::Result<()> {
    let (mut web_sockets, mut streams) = (Vec::new(), Vec::new());
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Client(stream) => {
                let web_socket = accept(TcpStream::from_std(stream)?).await?;
                match writer {
                    Writer::Send => streams.push(web_socket.into_inner()),
                    Writer::Tungstenite => web_sockets.push(web_socket),
                }
            }
            Input::Text(text) => {
                let frame = frame(&text)?;
                for stream in &mut streams {
                    stream.write_all(&frame).await?;
                }
                let text = Utf8Bytes::from(text);
                for web_socket in &mut web_sockets {
                    web_socket.send(Message::Text(text.clone())).await?;
                }
            }
        }
    }
    Ok(())
}

/// Returns the bytes of an unmasked text frame of 126 to 65,535 bytes.
fn frame(text: &str) -> anyhow::Result<Vec<u8>> {
    let length = u16::try_from(text.len()).context("the text is longer than 65,535 bytes")?;
    Ok([&[0x81, 126], &length.to_be_bytes()[..], text.as_bytes()].concat())
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
    input: ChildStdin,
    /// The address for clients.
    pub(crate) url: String,
}

impl Baseline {
    /// Starts a server whose sockets are distributed over `threads` threads.
    pub(crate) async fn start(writer: Writer, threads: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["baseline", &format!("{writer:?}"), &threads.to_string()]);
        command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let input = process.stdin.take().context("standard input is piped")?;
        let output = process.stdout.take().context("standard output is piped")?;
        let address = BufReader::new(output).lines().next_line().await?;
        let address = address.context("the baseline server exited")?;
        Ok(Self { process, input, url: format!("ws://{address}/ws") })
    }

    /// Sends a text to every socket.
    pub(crate) async fn send(&mut self, text: &str) -> anyhow::Result<()> {
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
