//! A gateway: the real service over the simulated network, restarted when it ends.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use clap::Parser as _;
use jsonwebtoken::Algorithm;
use prometheus::Registry;
use shared::admin::Readiness;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use ws_gateway::{
    auth::{Key, KeySources, TokenRules},
    config::Config,
    connection::SharedSocket,
    gateway::Service,
    metrics::Metrics,
};

use crate::{
    network::{self, End, Link},
    process::Process,
    redis::server::{Host, Server},
    simulation::{Sim, trace},
};

/// The secret that tokens are signed with.
pub(crate) const SECRET: &str = "a-secret-of-the-simulation-32-bytes";

/// A gateway that is started again whenever it ends. Clones share it.
#[derive(Clone)]
pub(crate) struct Gateway {
    number: usize,
    sim: Sim,
    redis: Server,
    present: Arc<Mutex<Present>>,
}

/// The process that runs now.
struct Present {
    process: Process,
    shutdown: CancellationToken,
    /// Absent while the gateway is down, and once it has begun to shut down.
    service: Option<Arc<Service>>,
    clients: Vec<Link>,
    registry: Registry,
}

impl Gateway {
    pub(crate) fn start(number: usize, sim: &Sim, redis: &Server) -> Self {
        let present = Present {
            process: Process::new(),
            shutdown: CancellationToken::new(),
            service: None,
            clients: Vec::new(),
            registry: Registry::new(),
        };
        let present = Arc::new(Mutex::new(present));
        let gateway = Self { number, sim: sim.clone(), redis: redis.clone(), present };
        tokio::spawn(gateway.clone().run());
        gateway
    }

    /// Opens a connection to the gateway, if it accepts any.
    pub(crate) fn connect(&self) -> Option<(End, Link)> {
        let mut present = self.present();
        let service = present.service.clone()?;
        let (sim, capacity) = (&self.sim, self.sim.plan.send_buffer);
        let (client, server, link) = network::connect(sim, sim.millis(0..5), capacity);
        present.clients.retain(Link::is_open);
        present.clients.push(link.clone());
        service.serve(SharedSocket::new(server), IpAddr::V4(Ipv4Addr::LOCALHOST));
        Some((client, link))
    }

    /// Whether the gateway accepts connections.
    pub(crate) fn is_open(&self) -> bool {
        self.present().service.is_some()
    }

    /// Kills the process. What it still does afterwards reaches nothing: its connections are cut.
    pub(crate) fn crash(&self) {
        trace!(self.sim, "gateway {} crashes", self.number);
        self.sim.reach("a gateway crashed");
        let mut present = self.present();
        present.service = None;
        present.clients.drain(..).for_each(|link| link.cut(self.sim.chance(50)));
        present.process.end();
        present.shutdown.cancel();
        self.redis.cut_host(Host::Gateway(self.number));
    }

    /// Shuts the process down gracefully.
    pub(crate) fn restart(&self) {
        trace!(self.sim, "gateway {} is restarted", self.number);
        self.sim.reach("a gateway was restarted");
        let mut present = self.present();
        present.service = None;
        present.shutdown.cancel();
    }

    async fn run(self) {
        let config = config(&self.sim);
        loop {
            let (process, shutdown) = (Process::new(), CancellationToken::new());
            trace!(self.sim, "gateway {} starts", self.number);
            let registry = Registry::new();
            let (service, subscriber) = self.service(&config, &registry, shutdown.clone());
            *self.present() = Present {
                process: process.clone(),
                shutdown: shutdown.clone(),
                service: Some(Arc::new(service)),
                clients: Vec::new(),
                registry,
            };
            let stop = CancellationToken::new();
            let drain = async {
                shutdown.cancelled().await;
                // The session lasts until the last connection is closed.
                sleep(DRAIN_WINDOW + Duration::from_secs(5)).await;
                stop.cancel();
            };
            let session = async { tokio::join!(subscriber.run(stop.clone()), drain) };
            process.run(Box::pin(session)).await;
            self.check_queues();
            self.redis.cut_host(Host::Gateway(self.number));
            sleep(self.sim.millis(1..4000)).await;
        }
    }

    /// Checks that no queue of a connection has ever held more frames than it may.
    pub(crate) fn check_queues(&self) {
        let families = self.present().registry.gather();
        let depths = families.iter().find(|family| family.name() == "gateway_outbox_frames");
        let Some(depths) = depths.and_then(|family| family.get_metric().first()) else { return };
        let (depths, capacity) = (depths.get_histogram(), self.sim.plan.outbox_capacity);
        #[expect(clippy::cast_precision_loss, reason = "the capacity is a small number")]
        let limit = depths.get_bucket().iter().find(|b| b.upper_bound() >= capacity as f64);
        let within = limit.map_or(0, prometheus::proto::Bucket::cumulative_count);
        if within < depths.get_sample_count() {
            self.sim.violate(format!("a queue held more than {capacity} frames"));
        }
    }

    fn service(
        &self,
        config: &Config,
        registry: &Registry,
        shutdown: CancellationToken,
    ) -> (Service, ws_gateway::gateway::Subscriber) {
        let redis = self.redis.client(Host::Gateway(self.number));
        let rules = TokenRules::new(&[Algorithm::HS256], None, None, Duration::ZERO);
        let key = Key::from_secret(&SECRET.into(), &rules).expect("a key for HS256");
        let checks = (Readiness::default(), Metrics::new(registry));
        Service::new(config, redis, KeySources::from(vec![key]), None, checks, shutdown)
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().expect("no code panics while it holds this lock")
    }
}

const DRAIN_WINDOW: Duration = Duration::from_secs(2);

fn config(sim: &Sim) -> Config {
    let plan = &sim.plan;
    let arguments = [
        ("drain-window", format!("{}s", DRAIN_WINDOW.as_secs())),
        ("outbox-capacity", plan.outbox_capacity.to_string()),
        ("outbox-max-bytes", plan.outbox_bytes.to_string()),
        ("resume-page-bytes", plan.page_bytes.to_string()),
        ("jwt-secret-key", SECRET.into()),
        ("jwt-expiry-grace", "0s".into()),
        // Its messages would only take steps from what is simulated.
        ("rebalance-rate", "0".into()),
    ];
    let arguments = arguments.into_iter().map(|(name, value)| format!("--{name}={value}"));
    Config::parse_from(std::iter::once("ws-gateway".to_owned()).chain(arguments))
}
