//! Scenarios: both services as processes against real Kafka and Redis servers. A scenario is an
//! async function whose name states a guarantee; arguments filter by name, as in any test binary.

use std::process::ExitCode;

mod assertions;
mod attacks;
mod auth;
mod benchmarks;
mod browser_client;
mod conformance;
mod context;
mod degraded_users;
mod delivery;
mod demo_page;
mod deployment;
mod faults;
mod http_feed;
mod idempotency;
mod isolation;
mod large_histories;
mod layers;
mod limits;
mod load_tester;
mod metrics;
mod offsets;
mod operator_commands;
mod parked_records;
mod producers;
mod read_state;
mod rebalance;
mod record_isolation;
mod record_outcomes;
mod recovery;
mod requirements;
mod resume;
mod revocation;
mod run_profile;
mod runner;
mod server_access;
mod settings;
mod shutdown;
mod signing_keys;
mod slow_clients;
mod tls;
mod topologies;
mod traces;
mod under_load;

use runner::Scenario;

/// The scenarios of each module, in the order in which they are started.
const MODULES: &[fn() -> Vec<Scenario>] = &[
    layers::scenarios,
    settings::scenarios,
    deployment::containers::scenarios,
    deployment::documents::scenarios,
    deployment::manifests::scenarios,
    deployment::workloads::scenarios,
    deployment::network::scenarios,
    deployment::monitoring::scenarios,
    deployment::prometheus::scenarios,
    deployment::autoscaling::scenarios,
    delivery::scenarios,
    degraded_users::scenarios,
    isolation::scenarios,
    idempotency::scenarios,
    record_outcomes::scenarios,
    read_state::scenarios,
    read_state::stored::scenarios,
    record_isolation::scenarios,
    record_isolation::unreadable_batch::scenarios,
    server_access::scenarios,
    server_access::kafka_acl::scenarios,
    server_access::publish_script::scenarios,
    server_access::redis_acl::scenarios,
    auth::scenarios,
    signing_keys::scenarios,
    signing_keys::issuer_access::scenarios,
    revocation::scenarios,
    operator_commands::scenarios,
    operator_commands::access::scenarios,
    operator_commands::admin_port::scenarios,
    operator_commands::check::scenarios,
    rebalance::scenarios,
    tls::scenarios,
    limits::scenarios,
    load_tester::scenarios,
    benchmarks::scenarios,
    conformance::scenarios,
    attacks::tokens::scenarios,
    attacks::frames::scenarios,
    attacks::requests::scenarios,
    attacks::user_ids::scenarios,
    attacks::flood::scenarios,
    shutdown::scenarios,
    recovery::scenarios,
    resume::scenarios,
    http_feed::scenarios,
    http_feed::http2::scenarios,
    producers::scenarios,
    metrics::scenarios,
    offsets::scenarios,
    parked_records::scenarios,
    // In their long form, the first of these take longest.
    faults::restoring::scenarios,
    faults::random::scenarios,
    faults::broker_outages::scenarios,
    faults::upgrade::scenarios,
    faults::kafka::scenarios,
    faults::network::scenarios,
    faults::consumer_group::scenarios,
    faults::redis::scenarios,
    faults::silent_subscription::scenarios,
    faults::gateways::scenarios,
    slow_clients::scenarios,
    large_histories::scenarios,
    topologies::sentinel::scenarios,
    topologies::cluster::scenarios,
    topologies::slot_migration::scenarios,
    topologies::standalone::scenarios,
    traces::scenarios,
    browser_client::scenarios,
    demo_page::scenarios,
    demo_page::reconnect::scenarios,
    demo_page::own_page::scenarios,
    demo_page::networks::scenarios,
    demo_page::refusals::scenarios,
    demo_page::shared_connection::scenarios,
    demo_page::appearance::scenarios,
    demo_page::controls::scenarios,
];

fn main() -> ExitCode {
    runner::run(MODULES.iter().flat_map(|scenarios| scenarios()).collect())
}
