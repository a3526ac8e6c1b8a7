//! Everything at once: Redis, workers and gateways of our own around a broker, on free ports and
//! in a directory of our own. What is dropped is killed; [`Stack::shut_down_and_check_logs`] stops it in order.

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

/// Longest wait for anything that happens at once on an idle machine.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Longest wait for a worker to join its group and to read what others left in the topics.
const FIRST_EVENT_TIMEOUT: Duration = Duration::from_mins(1);

/// A running system. The servers and services may be stopped and started one by one.
pub struct Stack<R: RedisTopology = Redis> {
    /// The broker; it may be shared with other stacks.
    pub kafka: Arc<Kafka>,
    /// The workers.
    pub workers: Vec<Service>,
    /// The gateways.
    pub gateways: Vec<Service>,
    /// Redis.
    pub redis: R,
    /// The proxies, where the layout asks for them.
    pub redis_proxies: Option<RedisProxies>,
    /// Sends events.
    pub producer: Producer,
    /// The topic for records that cannot be handled, of this stack alone.
    pub dead_letter_topic: String,
    /// The key that signs tokens.
    pub secret: String,
    /// The consumer group of the workers.
    pub group: String,
    worker_settings: Vec<(&'static str, String)>,
    gateway_settings: Vec<(&'static str, String)>,
    folder: Option<TempDir>,
}

impl Stack {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When something does not become ready in time; says why.
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

    /// Waits until the gateways have as many subscriptions of a user's channel.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn wait_for_subscriptions(&self, user: &str, gateways: u64) -> anyhow::Result<()> {
        let channel = format!("ws:{user}");
        eventually("the subscriptions are there", TIMEOUT, async || {
            let count = self.redis.subscribers(&channel).await?;
            anyhow::ensure!(count == gateways, "{count} instead of {gateways}");
            Ok(())
        })
        .await
    }
}

impl<R: RedisTopology> Stack<R> {
    /// Starts everything else around servers that are there, whose data are in `folder`.
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

    /// Waits until an event has come through: a worker that is ready may still be joining its
    /// group.
    async fn wait_for_first_event(&self) -> anyhow::Result<()> {
        let user = events::fresh_user();
        // One that every worker subscribes to, whatever its source.
        let mut cases = events::designed()?.into_iter();
        let case = cases.find(|case| case.name() == "batch_essays_ready");
        let case = case.context("there is such an event")?;
        self.producer.send(&case.fresh(&user)?).await?;
        eventually("a first event comes through", FIRST_EVENT_TIMEOUT, async || {
            anyhow::ensure!(!self.stream(&user).await?.is_empty(), "it does not");
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
            // Few clients come back from here, so they may do so at once.
            ("DRAIN_WINDOW".into(), "500ms".into()),
            ("JWT_SECRET_KEY".into(), self.secret.clone()),
        ]);
        settings.extend(more.iter().map(|(name, value)| ((*name).into(), value.clone())));
        let name = format!("ws-gateway-{}", self.gateways.len() + 1);
        let gateway = Service::start("ws-gateway", name, self.folder()?, settings).await?;
        self.gateways.push(gateway);
        Ok(())
    }

    fn common_settings(&self, way: Option<&Proxy>) -> Settings {
        let redis =
            way.map_or_else(|| self.redis.url(), |way| format!("redis://{}", way.address()));
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
        Ok(self.folder.as_ref().context("the stack runs")?.path())
    }

    /// A token for `user`, valid for an hour.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, user: &str) -> anyhow::Result<String> {
        token::sign(&token::claims(user, 3600), &self.secret)
    }

    /// A connection of `user` to a gateway, to be opened.
    ///
    /// # Errors
    /// When its token cannot be signed.
    pub fn connection(&self, gateway: usize, user: &str) -> anyhow::Result<ConnectOptions> {
        let address = self.gateways.get(gateway).context("there is such a gateway")?.address();
        self.connection_at(address, user)
    }

    /// A connection of `user` to an address that leads to a gateway, to be opened.
    ///
    /// # Errors
    /// When its token cannot be signed.
    pub fn connection_at(&self, address: SocketAddr, user: &str) -> anyhow::Result<ConnectOptions> {
        Ok(ConnectOptions::new(address).token(&self.token(user)?, Transport::Subprotocol))
    }

    /// An open connection of `user` to the first gateway, subscribed.
    ///
    /// # Errors
    /// When it is refused or not subscribed in time.
    pub async fn client(&self, user: &str) -> anyhow::Result<Client> {
        self.client_at(0, user).await
    }

    /// An open connection of `user` to one of the gateways, subscribed.
    ///
    /// # Errors
    /// When it is refused or not subscribed in time.
    pub async fn client_at(&self, gateway: usize, user: &str) -> anyhow::Result<Client> {
        let mut client = self.connection(gateway, user)?.open().await?;
        client.expect_authenticated(TIMEOUT).await?;
        Ok(client)
    }

    /// The texts in a user's stream, each with its stream id, oldest first.
    ///
    /// # Errors
    /// When the server that has it does not answer, or an entry is not a notification.
    pub async fn stream(&self, user: &str) -> anyhow::Result<Vec<(String, String)>> {
        let mut connection = self.redis.connection_for(&store::stream_key(user)).await?;
        store::read_stream(&mut connection, user).await
    }

    /// Publishes a text on a user's channel, as other services do.
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
        // Not stopped in order: something failed, and the logs say what.
        if let Some(folder) = self.folder.take() {
            eprintln!("the logs are kept in {}", folder.keep().display());
        }
    }
}
