//! A running system: workers, gateways and Redis around a broker, on free ports and in a directory
//! of its own. Dropping a stack kills it; [`Stack::shut_down_and_check_logs`] shuts it down
//! gracefully.

mod end;
mod layout;
mod scale;

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tempfile::TempDir;

use crate::{
    client::{Client, ConnectOptions, Transport},
    events, eventually,
    kafka::Kafka,
    producer::Producer,
    proxy::Proxy,
    redis::{self as store, Redis, RedisTopology},
    service::{Service, Settings},
    token, workspace,
};

pub use layout::{Layout, RedisProxies};

/// Longest wait for what takes milliseconds on an idle machine.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Longest wait for the first event: the worker joins its group and reads what is in the topics.
const FIRST_EVENT_TIMEOUT: Duration = Duration::from_mins(1);

/// A running system. Scenarios may stop and start its servers and services one by one.
pub struct Stack<R: RedisTopology = Redis> {
    /// The broker; it may be shared with other stacks.
    pub kafka: Arc<Kafka>,
    /// The workers.
    pub workers: Vec<Service>,
    /// The gateways.
    pub gateways: Vec<Service>,
    /// Redis in any topology.
    pub redis: R,
    /// Proxies between the services and Redis, if the layout has them.
    pub redis_proxies: Option<RedisProxies>,
    /// Sends events.
    pub producer: Producer,
    /// The dead-letter topic, used by this stack only.
    pub dead_letter_topic: String,
    /// The secret that signs tokens.
    pub secret: String,
    /// The consumer group of the workers.
    pub group: String,
    worker_settings: Vec<(&'static str, String)>,
    gateway_settings: Vec<(&'static str, String)>,
    folder: Option<TempDir>,
}

impl Stack {
    /// Starts Redis and the services and waits until an event passes through.
    ///
    /// # Errors
    /// When a server or service does not become ready in time.
    pub async fn start(kafka: Arc<Kafka>, layout: &Layout) -> anyhow::Result<Self> {
        let folder = workspace::temporary("stack-")?;
        let redis = Redis::start(folder.path()).await?;
        let redis_proxies = if layout.proxied {
            let [worker, gateway] = [Proxy::start(redis.address()), Proxy::start(redis.address())];
            Some(RedisProxies { worker: worker.await?, gateway: gateway.await? })
        } else {
            None
        };
        Self::assemble(kafka, layout, folder, (redis, redis_proxies)).await
    }

    /// Waits until a user's channel has this number of subscribers.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_for_subscriptions(&self, user: &str, gateways: u64) -> anyhow::Result<()> {
        let channel = format!("ws:{user}");
        eventually("the gateways subscribe", TIMEOUT, async || {
            let count = self.redis.subscribers(&channel).await?;
            anyhow::ensure!(count == gateways, "{channel} has {count} subscribers, not {gateways}");
            Ok(())
        })
        .await
    }
}

impl<R: RedisTopology> Stack<R> {
    /// Starts the services on a running Redis whose data are in `folder`.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub async fn start_with_redis(
        kafka: Arc<Kafka>,
        layout: &Layout,
        folder: TempDir,
        redis: R,
    ) -> anyhow::Result<Self> {
        Self::assemble(kafka, layout, folder, (redis, None)).await
    }

    async fn assemble(
        kafka: Arc<Kafka>,
        layout: &Layout,
        folder: TempDir,
        (redis, redis_proxies): (R, Option<RedisProxies>),
    ) -> anyhow::Result<Self> {
        let id = uuid::Uuid::new_v4().simple();
        let mut stack = Self {
            producer: Producer::new(&kafka)?,
            kafka,
            workers: Vec::new(),
            gateways: Vec::new(),
            redis,
            redis_proxies,
            dead_letter_topic: format!("dead-letters-{id}"),
            secret: token::fresh_secret(),
            group: format!("workers-{id}"),
            worker_settings: layout.worker_settings.clone(),
            gateway_settings: layout.gateway_settings.clone(),
            folder: Some(folder),
        };
        stack.kafka.create_topics(std::slice::from_ref(&stack.dead_letter_topic)).await?;
        let group = stack.group.clone();
        stack.kafka.start_group_at_end(&group).await?;
        for _ in 0..layout.workers {
            stack.add_worker(&group, &layout.worker_settings).await?;
        }
        for _ in 0..layout.gateways {
            stack.add_gateway(&layout.gateway_settings).await?;
        }
        try_join_all(stack.services().map(Service::wait_until_ready)).await?;
        if layout.workers > 0 {
            stack.wait_for_first_event().await?;
        }
        Ok(stack)
    }

    /// Waits until an event has passed through: a ready worker may still be joining its group.
    async fn wait_for_first_event(&self) -> anyhow::Result<()> {
        let user = events::fresh_user();
        // An event that workers consume with every `NOTIFICATION_SOURCE`.
        let mut cases = events::designed()?.into_iter();
        let case = cases.find(|case| case.name() == "batch_essays_ready");
        let case = case.context("the fixtures have batch_essays_ready")?;
        self.producer.send(&case.fresh(&user)?).await?;
        eventually("the first event is published", FIRST_EVENT_TIMEOUT, async || {
            anyhow::ensure!(!self.stream(&user).await?.is_empty(), "the user's stream is empty");
            Ok(())
        })
        .await
    }

    async fn add_worker(&mut self, group: &str, more: &[(&str, String)]) -> anyhow::Result<()> {
        let mut settings = self.common_settings(
            self.redis_proxies.as_ref().map(|redis_proxies| &redis_proxies.worker),
        );
        let broker = self.kafka.worker_settings();
        settings.extend(broker.into_iter().map(|(name, value)| (name.into(), value.into())));
        settings.extend([
            ("KAFKA_BOOTSTRAP_SERVERS".into(), self.kafka.bootstrap_servers().into()),
            ("KAFKA_CONSUMER_GROUP".into(), group.into()),
            ("DEAD_LETTER_TOPIC".into(), self.dead_letter_topic.clone()),
            // The topics have the events of all scenarios, of which an empty Redis lacks those
            // before a partition's first watermark.
            ("REWIND_LIMIT".into(), "0s".into()),
        ]);
        let name = format!("ingest-worker-{}", self.workers.len() + 1);
        let own = |value: &String| value.replace(layout::WORKER, &name);
        settings.extend(more.iter().map(|(name, value)| ((*name).into(), own(value))));
        let worker = Service::start("ingest-worker", name, self.folder()?, settings).await?;
        self.workers.push(worker);
        Ok(())
    }

    async fn add_gateway(&mut self, more: &[(&str, String)]) -> anyhow::Result<()> {
        let mut settings = self.common_settings(
            self.redis_proxies.as_ref().map(|redis_proxies| &redis_proxies.gateway),
        );
        settings.extend([
            ("WEBSOCKET_PORT".into(), "0".into()),
            // Few clients reconnect here, so a short window suffices.
            ("DRAIN_WINDOW".into(), "500ms".into()),
            ("JWT_SECRET_KEY".into(), self.secret.clone()),
        ]);
        settings.extend(more.iter().map(|(name, value)| ((*name).into(), value.clone())));
        let name = format!("ws-gateway-{}", self.gateways.len() + 1);
        let gateway = Service::start("ws-gateway", name, self.folder()?, settings).await?;
        self.gateways.push(gateway);
        Ok(())
    }

    fn common_settings(&self, redis_proxy: Option<&Proxy>) -> Settings {
        let redis = redis_proxy
            .map_or_else(|| self.redis.url(), |proxy| format!("redis://{}", proxy.address()));
        [
            ("BIND_ADDRESS", "127.0.0.1"),
            ("ADMIN_PORT", "0"),
            ("REDIS_URL", &redis),
            ("LOG_FORMAT", "json"),
            ("LOG_LEVEL", "INFO"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn folder(&self) -> anyhow::Result<&Path> {
        Ok(self.folder.as_ref().context("the stack is running")?.path())
    }

    /// Signs a token for `user` that is valid for an hour.
    ///
    /// # Errors
    /// When signing fails.
    pub fn token(&self, user: &str) -> anyhow::Result<String> {
        token::sign(&token::claims(user, 3600), &self.secret)
    }

    /// Returns options to connect `user` to a gateway.
    ///
    /// # Errors
    /// When there is no such gateway.
    pub fn connection(&self, gateway: usize, user: &str) -> anyhow::Result<ConnectOptions> {
        let address = self
            .gateways
            .get(gateway)
            .with_context(|| format!("there is no gateway {gateway}"))?
            .address();
        self.connection_at(address, user)
    }

    /// Returns options to connect `user` through another address of a gateway.
    ///
    /// # Errors
    /// When signing the token fails.
    pub fn connection_at(&self, address: SocketAddr, user: &str) -> anyhow::Result<ConnectOptions> {
        Ok(ConnectOptions::new(address).token(&self.token(user)?, Transport::Subprotocol))
    }

    /// Connects `user` to the first gateway and waits for the subscription.
    ///
    /// # Errors
    /// When the connection is refused or not subscribed in time.
    pub async fn client(&self, user: &str) -> anyhow::Result<Client> {
        self.client_at(0, user).await
    }

    /// Connects `user` to one of the gateways and waits for the subscription.
    ///
    /// # Errors
    /// When the connection is refused or not subscribed in time.
    pub async fn client_at(&self, gateway: usize, user: &str) -> anyhow::Result<Client> {
        let mut client = self.connection(gateway, user)?.open().await?;
        client.expect_authenticated(TIMEOUT).await?;
        Ok(client)
    }

    /// Returns the entries of a user's stream, oldest first, as id and text.
    ///
    /// # Errors
    /// When Redis does not answer, or an entry is not a notification.
    pub async fn stream(&self, user: &str) -> anyhow::Result<Vec<(String, String)>> {
        let mut connection = self.redis.connection_for(&store::stream_key(user)).await?;
        store::read_stream(&mut connection, user).await
    }

    /// Publishes a text on a user's channel like other services do.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn publish(&self, user: &str, text: &str) -> anyhow::Result<u64> {
        let mut connection = self.redis.connection_for("").await?;
        let channel = format!("ws:{user}");
        Ok(redis::cmd("PUBLISH").arg(channel).arg(text).query_async(&mut connection).await?)
    }
}

impl<R: RedisTopology> fmt::Debug for Stack<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl<R: RedisTopology> Drop for Stack<R> {
    fn drop(&mut self) {
        // Still there after a failure: the logs help to find the cause.
        if let Some(folder) = self.folder.take() {
            eprintln!("logs are kept in {}", folder.keep().display());
        }
    }
}
