//! Network policies and routes of the manifests, and the components that change them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use shared::config::duration;
use support::deployment::{Overlay, read};

use super::{WORKLOADS, list};
use crate::{context::Context, runner::scenarios};

scenarios![
    traffic_is_denied_by_default,
    pods_resolve_names_on_every_common_distribution,
    pods_connect_to_redis_servers_and_sentinels,
    pods_of_operators_connect_to_kafka_and_serve_no_client,
    clients_connect_through_a_gateway_without_a_request_timeout,
    the_ingress_component_replaces_the_route,
    the_ipv6_component_listens_on_ipv6,
    the_traces_component_exports_traces,
];

/// The namespaces whose pods a policy's first ingress rule admits.
fn admitted_namespace(policy: &Value) -> &Value {
    let from = &policy["spec"]["ingress"][0]["from"][0];
    &from["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
}

async fn traffic_is_denied_by_default(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        let policy = &overlay.object("NetworkPolicy", "default-deny")?["spec"];
        ensure!(
            policy["podSelector"] == json!({}),
            "{}: expected all pods, got {policy}",
            overlay.name
        );
        ensure!(
            policy["policyTypes"] == json!(["Ingress", "Egress"]),
            "{}: expected policy types Ingress and Egress, got {policy}",
            overlay.name
        );
        for (_, service) in WORKLOADS {
            overlay.object("NetworkPolicy", service)?;
        }
    }
    Ok(())
}

async fn pods_resolve_names_on_every_common_distribution(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        let rules = &overlay.object("NetworkPolicy", "both")?["spec"]["egress"];
        let allows = |peer: &str, port: u64| {
            list(rules).any(|rule| {
                let to = list(&rule["to"]).any(|to| to.to_string().contains(peer));
                let ports = list(&rule["ports"]).filter(|p| p["port"] == port).count();
                to && ports == 2
            })
        };
        let peers = [
            ("kube-dns", 53),
            ("node-local-dns", 53),
            ("169.254.20.10/32", 53),
            ("openshift-dns", 5353),
        ];
        for (peer, port) in peers {
            ensure!(allows(peer, port), "{}: no DNS at {peer}, UDP and TCP", overlay.name);
        }
    }
    Ok(())
}

async fn pods_connect_to_redis_servers_and_sentinels(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        let rules = &overlay.object("NetworkPolicy", "both")?["spec"]["egress"];
        let redis = list(rules).find(|rule| rule["to"][0].to_string().contains("redis"));
        let ports = &redis.context("no rule for Redis")?["ports"];
        for expected in [6379_u64, 26379] {
            let is_allowed = list(ports).any(|port| port["port"] == expected);
            ensure!(is_allowed, "{}: port {expected} is denied: {ports}", overlay.name);
        }
    }
    Ok(())
}

async fn pods_of_operators_connect_to_kafka_and_serve_no_client(_: &Context) -> anyhow::Result<()> {
    let (name, part_of) = ("app.kubernetes.io/name", "app.kubernetes.io/part-of");
    let labels = format!("labels={name}=operator,{part_of}=huleedu-notifications\n");
    ensure!(read("k8s/as-operator.sh")?.contains(&labels), "expected {labels}");
    for overlay in Overlay::both().await? {
        let kafka = &overlay.object("NetworkPolicy", "ingest-worker")?["spec"]["podSelector"];
        let names = &kafka["matchExpressions"][0]["values"];
        ensure!(*names == json!(["ingest-worker", "operator"]), "no access to Kafka: {kafka}");
        let all = &overlay.object("NetworkPolicy", "both")?["spec"]["podSelector"]["matchLabels"];
        ensure!(*all == json!({part_of: "huleedu-notifications"}), "no access to Redis: {all}");
        for (_, service) in WORKLOADS {
            let selector = &overlay.object("Service", service)?["spec"]["selector"];
            ensure!(selector[name] == service, "other pods may serve clients: {selector}");
        }
    }
    Ok(())
}

async fn clients_connect_through_a_gateway_without_a_request_timeout(
    _: &Context,
) -> anyhow::Result<()> {
    let overlay = Overlay::render("production").await?;
    let route = overlay.object("HTTPRoute", "ws-gateway")?;
    let rule = &route["spec"]["rules"][0];
    // A WebSocket is one request: any timeout would end it.
    ensure!(
        rule["timeouts"] == json!({"request": "0s", "backendRequest": "0s"}),
        "expected timeouts of 0s, got {rule}"
    );
    let matches = rule["matches"].as_array().context("paths")?;
    expect_public_paths(matches.iter().map(|rule| &rule["path"]["value"]))?;
    let backend = &rule["backendRefs"][0];
    let service = overlay.object("Service", backend["name"].as_str().context("a backend")?)?;
    ensure!(service["spec"]["ports"][0]["port"] == backend["port"], "no such port: {backend}");
    let policy = overlay.object("NetworkPolicy", "ws-gateway")?;
    let proxies = &route["spec"]["parentRefs"][0]["namespace"];
    ensure!(admitted_namespace(policy) == proxies, "{proxies} is not admitted: {policy}");
    Ok(())
}

async fn the_ingress_component_replaces_the_route(_: &Context) -> anyhow::Result<()> {
    let overlay = Overlay::with_component("ingress").await?;
    ensure!(overlay.object("HTTPRoute", "ws-gateway").is_err(), "the route is still there");
    let production = Overlay::render("production").await?;
    let route = &production.object("HTTPRoute", "ws-gateway")?["spec"];
    let ingress = &overlay.object("Ingress", "ws-gateway")?["spec"];
    for host in [&ingress["rules"][0]["host"], &ingress["tls"][0]["hosts"][0]] {
        ensure!(*host == route["hostnames"][0], "{host} is not the host of the route");
    }
    let paths = ingress["rules"][0]["http"]["paths"].as_array().context("paths")?;
    expect_public_paths(paths.iter().map(|path| &path["path"]))?;
    let policy = overlay.object("NetworkPolicy", "ws-gateway")?;
    let admitted = admitted_namespace(policy);
    ensure!(admitted == "ingress-nginx", "expected namespace ingress-nginx, got {admitted}");
    let set = overlay.environment("Deployment", "ws-gateway")?;
    let annotations = &overlay.object("Ingress", "ws-gateway")?["metadata"]["annotations"];
    for name in ["proxy-read-timeout", "proxy-send-timeout"] {
        let name = format!("nginx.ingress.kubernetes.io/{name}");
        let timeout = Duration::from_secs(annotations[&name].as_str().context(name)?.parse()?);
        for setting in ["WEBSOCKET_PING_INTERVAL", "WEBSOCKET_IDLE_TIMEOUT"] {
            let interval = duration(&set[setting]).map_err(anyhow::Error::msg)?;
            ensure!(timeout > interval, "{timeout:?} is not above {setting}, {interval:?}");
        }
    }
    Ok(())
}

fn expect_public_paths<'a>(paths: impl Iterator<Item = &'a Value>) -> anyhow::Result<()> {
    let paths: Vec<&Value> = paths.collect();
    ensure!(paths == ["/ws", "/events", "/read"], "expected all public paths, got {paths:?}");
    Ok(())
}

async fn the_ipv6_component_listens_on_ipv6(_: &Context) -> anyhow::Result<()> {
    let overlay = Overlay::with_component("ipv6").await?;
    for (kind, service) in WORKLOADS {
        let address = &overlay.environment(kind, service)?["BIND_ADDRESS"];
        ensure!(address == "::", "{service}: expected BIND_ADDRESS ::, got {address}");
    }
    let proxies = &overlay.environment("Deployment", "ws-gateway")?["TRUSTED_PROXIES"];
    ensure!(proxies.contains("::/"), "no proxy has an IPv6 address: {proxies}");
    Ok(())
}

async fn the_traces_component_exports_traces(_: &Context) -> anyhow::Result<()> {
    let overlay = Overlay::with_component("traces").await?;
    let policy = overlay.object("NetworkPolicy", "traces")?;
    let port = policy["spec"]["egress"][0]["ports"][0]["port"].to_string();
    for (kind, service) in WORKLOADS {
        let set = overlay.environment(kind, service)?;
        let tracing = &set["ENABLE_TRACING"];
        ensure!(tracing == "true", "{service}: expected ENABLE_TRACING true, got {tracing}");
        let collector = &set["OTEL_EXPORTER_OTLP_ENDPOINT"];
        ensure!(
            collector.ends_with(&format!(":{port}")),
            "{service}: expected port {port}, got {collector}"
        );
    }
    Ok(())
}
