//! Runs one of two hot code paths a number of times, so that Valgrind can count its instructions:
//! `record`, from a record's bytes to the notification's text; `push`, from the text that Redis
//! pushes to the bytes of a WebSocket frame.

use std::{
    future::poll_fn,
    io::Read as _,
    net::Ipv4Addr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::FutureExt as _;
use futures_util::stream;
use ingest_worker::{
    domain::{
        classify::Classifier,
        dispatch::Dispatcher,
        idempotency::IdentityRule,
        ordering::HeldKeys,
        recipients::{OwnedEntity, OwnerAnswers, OwnerDirectory},
        record::Record,
        routes::{NotificationSource, Routes},
    },
    notification::publisher::{
        OutgoingNotification, PublishOutcome, Published, Publisher, StoredWatermark,
        TransientError, Watermark,
    },
};
use load::events::{Kind, Writer};
use shared::{time::Timestamp, user::UserId};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tokio_util::sync::CancellationToken;
use ws_gateway::{
    auth::{Authenticator, Credential, Identity, Key, TokenRules, revocation::Revocations},
    connection::{ClientOptions, Connection, ConnectionSettings, SharedSocket, socket_config},
    hub::{self, Hub, LimitPolicy, ReplayPage, outbox},
    metrics::Metrics,
    protocol::{Filter, Frame, Resume},
};

const USER: &str = "teacher-42";
/// Longest wait for a frame.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// Records per batch.
const BATCH: usize = 16;
/// The largest number of pushes.
const MAX_PUSHES: usize = 4_800;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: instruction-counter record|push TIMES")?;
    let times =
        arguments.next().context("usage: instruction-counter record|push TIMES")?.parse()?;
    match &*path {
        "record" => dispatch_records(times),
        "push" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // A task, so that it takes turns with others without a system call.
            runtime.block_on(async { tokio::spawn(deliver_pushes(times)).await? })
        }
        other => bail!("{other} is neither record nor push"),
    }
}

/// Accepts everything without I/O.
#[derive(Debug)]
struct NullRedis;

impl Publisher for NullRedis {
    async fn publish(
        &self,
        deliveries: &[OutgoingNotification],
        _: &[Watermark],
    ) -> Result<Published, TransientError> {
        let outcomes = vec![PublishOutcome::Published; deliveries.len()];
        Ok(Published { outcomes, watermarks: Vec::new() })
    }

    async fn watermarks(&self, _: &[Arc<str>]) -> Result<Vec<StoredWatermark>, TransientError> {
        Ok(Vec::new())
    }

    async fn time(&self) -> Result<i64, TransientError> {
        Ok(0)
    }
}

impl OwnerDirectory for NullRedis {
    async fn find_and_learn(
        &self,
        _: &[OwnedEntity],
        _: &[(OwnedEntity, UserId)],
    ) -> Result<OwnerAnswers, TransientError> {
        Ok(OwnerAnswers::default())
    }
}

fn dispatch_records(times: usize) -> anyhow::Result<()> {
    let routes = Routes::new(NotificationSource::Domain, |topic| topic.default.to_owned());
    let classifier = Classifier::new(routes, IdentityRule::EventId, None);
    let dispatcher = Dispatcher::new(NullRedis, NullRedis);
    let mut text = String::new();
    Writer::new(Kind::File).write(&mut text, 1, USER, "Uppsats.docx");
    let value = Some(text.as_bytes());
    let record = Record { topic: Kind::File.topic(), value, ..Record::default() };
    for _ in 0..times / BATCH {
        let now = Timestamp::now();
        let classifications: Vec<_> =
            (0..BATCH).map(|_| classifier.classify(&record, now)).collect();
        let held = HeldKeys::default();
        let outcomes = dispatcher.dispatch(&classifications, &held, &[], false).now_or_never();
        let (outcomes, _) =
            outcomes.context("dispatching does not wait")?.context("dispatching does not fail")?;
        anyhow::ensure!(outcomes.len() == BATCH, "an outcome per record");
    }
    Ok(())
}

async fn deliver_pushes(times: usize) -> anyhow::Result<()> {
    let (hub, mut client) = connected().await?;
    // As many texts in every run, so that the difference of two runs leaves out writing them.
    let texts: Vec<String> = (0..MAX_PUSHES).map(notification).collect();
    let mut read = [0; 4096];
    for text in texts.into_iter().take(times) {
        hub.deliver(USER, Frame::published(text.into()));
        run_other_tasks().await;
        // Does not wait, and costs little more than the system call.
        anyhow::ensure!(client.read(&mut read)? > 0, "the connection ended");
    }
    Ok(())
}

/// Lets every other task run that is ready. Unlike `yield_now`, it does not look for I/O.
async fn run_other_tasks() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn notification(number: usize) -> String {
    format!(
        r#"{{"id":"{}-0","event":"batch_file_added","category":"file_operations","priority":"standard","timestamp":"2025-08-06T09:15:30.123456Z","user_id":"{USER}","event_id":"0b8f6a51-6a0f-4f3f-9a39-{number:012}","correlation_id":"5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10","data":{{"batch_id":"7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11","filename":"Uppsats.docx"}}}}"#,
        1_700_000_000_000 + number
    )
}

/// Returns a hub with one connection, and the client's end of it.
async fn connected() -> anyhow::Result<(Hub, std::net::TcpStream)> {
    let metrics = Metrics::new(&prometheus::Registry::new());
    let limits = hub::Limits {
        per_user: NonZeroUsize::MIN,
        policy: LimitPolicy::Reject,
        outbox: outbox::Limits {
            capacity: 64,
            max_bytes: 1 << 20,
            max_delay: Duration::from_millis(500),
        },
    };
    let hub = Hub::new(limits, metrics.clone());
    let user = UserId::new(USER)?;
    let registration = hub.register(&user, uuid::Uuid::nil())?;
    let plan = hub.plan([user.clone()]);
    anyhow::ensure!(
        hub.mark_subscribed(&plan.subscribe[0].subscription) == hub::Subscribed::Live,
        "the user is live at once"
    );
    let settings = connection_settings(metrics)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    server.writable().await?;
    let config = Some(socket_config(4096));
    let socket =
        WebSocketStream::from_raw_socket(SharedSocket::new(server), Role::Server, config).await;
    let identity = Identity { user, expires_at: u64::MAX / 4, credential: Credential::default() };
    let options = ClientOptions { control_frames: false, filter: Filter::default() };
    let connection = Connection::new(socket, registration, &identity, options, Arc::new(settings));
    let replay = stream::iter([ReplayPage::without_history(Resume::None)]);
    tokio::spawn(connection.run(Box::pin(replay), CancellationToken::new()));
    let writing = hub.clone();
    tokio::spawn(async move { writing.write_queued().await });
    // The connection's task begins to wait for frames.
    run_other_tasks().await;
    let client = client.into_std()?;
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(READ_LIMIT))?;
    Ok((hub, client))
}

fn connection_settings(metrics: Metrics) -> anyhow::Result<ConnectionSettings> {
    let rules = TokenRules::new(&[jsonwebtoken::Algorithm::HS256], None, None, Duration::ZERO);
    let key = Key::from_secret(&"a-secret-that-is-long-enough-for-this".into(), &rules);
    Ok(ConnectionSettings {
        ping_interval: Duration::from_hours(1),
        epoch: tokio::time::Instant::now(),
        keepalive_timeout: Duration::from_hours(1),
        expiry_grace: Duration::ZERO,
        max_message_size: 4096,
        max_messages_per_second: NonZeroU32::MIN,
        drain_window: Duration::ZERO,
        authenticator: Authenticator::new(
            vec![key.context("the secret is a valid key")?].into(),
            Revocations::default(),
        ),
        metrics,
        tracer: None,
    })
}
