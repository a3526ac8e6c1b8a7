//! The manifests of both overlays, rendered and held to the schemas of Kubernetes and KEDA, to the
//! settings of the services, and to each other.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail, ensure};
use harness::workspace;
use serde_json::Value;
use shared::config::duration;
use support::deployment::{Overlay, conforms, conforms_to_keda, settings, tool};

use crate::{context::Context, requirements, runner::scenarios};

scenarios![
    both_overlays_are_what_kubernetes_takes,
    what_scales_the_workers_is_what_keda_takes,
    the_manifests_have_every_setting_and_no_other,
    the_settings_of_the_manifests_are_good_ones,
    what_the_manifests_name_is_there,
    a_pod_has_the_time_it_needs_to_leave,
    the_autoscalers_know_what_they_scale,
    no_pod_may_do_more_than_it_must,
    a_component_turns_traces_on_and_lets_them_out,
];

/// The oldest and the newest version of Kubernetes that the manifests are held to.
const KUBERNETES: [&str; 2] = ["v1.32.0", "v1.37.0"];
/// The services, by the kind of their workloads.
const WORKLOADS: [(&str, &str); 2] =
    [("StatefulSet", "ingest-worker"), ("Deployment", "ws-gateway")];

async fn both_overlays_are_what_kubernetes_takes(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for version in KUBERNETES {
            let folder =
                format!("kubernetes_validate/kubernetes-json-schema/{version}-local-strict");
            let folder = tool(&folder)?;
            let of_kubernetes = |object: &&Value| object["apiVersion"] != "keda.sh/v1alpha1";
            for object in overlay.objects.iter().filter(of_kubernetes) {
                let schema = folder.join(schema_name(object)?);
                let what =
                    || format!("{}: {} {}", overlay.name, object["kind"], object["metadata"]);
                conforms(object, &schema).with_context(what)?;
            }
        }
    }
    Ok(())
}

/// The file of the schema: of a Deployment in apps/v1, deployment-apps-v1.json.
fn schema_name(object: &Value) -> anyhow::Result<String> {
    let kind = object["kind"].as_str().context("a kind")?.to_lowercase();
    let version = object["apiVersion"].as_str().context("a version")?;
    let Some((group, version)) = version.split_once('/') else {
        return Ok(format!("{kind}-{version}.json"));
    };
    let group = group.split('.').next().unwrap_or_default();
    Ok(format!("{kind}-{group}-{version}.json"))
}

async fn what_scales_the_workers_is_what_keda_takes(_: &Context) -> anyhow::Result<()> {
    requirements::keda()?;
    let overlay = Overlay::render("production").await?;
    let scaled = overlay.object("ScaledObject", "ingest-worker")?;
    conforms_to_keda(scaled).await?;
    let mut wrong = scaled.clone();
    wrong["spec"]["scaleTargetRef"]["nme"] = "a slip".into();
    ensure!(conforms_to_keda(&wrong).await.is_err(), "a slip is not noticed");
    Ok(())
}

async fn the_manifests_have_every_setting_and_no_other(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let (set, known) = (overlay.environment(kind, service)?, settings(service)?);
            let unset: Vec<_> = known.iter().filter(|name| !set.contains_key(*name)).collect();
            ensure!(unset.is_empty(), "{}: {service} is not told {unset:?}", overlay.name);
            let is_known = |name: &str| known.contains(name) || name.starts_with("KAFKA_PROPERTY_");
            let unknown: Vec<_> = set.keys().filter(|name| !is_known(name)).collect();
            ensure!(unknown.is_empty(), "{}: {service} does not know {unknown:?}", overlay.name);
        }
    }
    Ok(())
}

async fn the_settings_of_the_manifests_are_good_ones(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let mut set = overlay.environment(kind, service)?;
            // Nobody answers there: settings that are bad are told before anybody is asked.
            set.insert("ADMIN_PORT".into(), "1".into());
            let (code, said) = healthcheck(service, &set).await?;
            ensure!(code == Some(1), "{}: {service}: {code:?}: {said}", overlay.name);
        }
    }
    Ok(())
}

async fn healthcheck(
    service: &str,
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = tokio::process::Command::new(workspace::binary(service)?);
    command.arg("healthcheck").env_clear().envs(settings).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(20), command.output()).await??;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

async fn what_the_manifests_name_is_there(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let (pod, set) = (overlay.pod(kind, service)?, overlay.environment(kind, service)?);
            overlay.object("ServiceAccount", pod["serviceAccountName"].as_str().context("one")?)?;
            let container = &pod["containers"][0];
            let ports: BTreeMap<_, _> = list(&container["ports"])
                .filter_map(|port| {
                    Some((port["name"].as_str()?, port["containerPort"].to_string()))
                })
                .collect();
            for (port, setting) in [("admin", "ADMIN_PORT"), ("http", "WEBSOCKET_PORT")] {
                ensure!(ports.get(port) == set.get(setting), "{service}: {setting} is not {port}");
            }
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let get = &container[probe]["httpGet"];
                let path = if probe == "readinessProbe" { "/readyz" } else { "/livez" };
                ensure!(get["path"] == path && get["port"] == "admin", "{service}: {probe}: {get}");
            }
            let service = overlay.object("Service", service)?;
            for port in list(&service["spec"]["ports"]) {
                let target = port["targetPort"].as_str().context("it is named")?;
                ensure!(ports.contains_key(target), "{service}: no port {target}");
            }
        }
    }
    Ok(())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

async fn a_pod_has_the_time_it_needs_to_leave(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for ((kind, service), setting) in
            WORKLOADS.into_iter().zip(["SHUTDOWN_GRACE", "DRAIN_WINDOW"])
        {
            let (pod, set) = (overlay.pod(kind, service)?, overlay.environment(kind, service)?);
            let seconds = |value: &Value| Duration::from_secs(value.as_u64().unwrap_or_default());
            let before = seconds(&pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]);
            let there = seconds(&pod["terminationGracePeriodSeconds"]);
            let leaving = duration(&set[setting]).map_err(anyhow::Error::msg)?;
            // 5 s for the last close frames, and as much to spare.
            let needed = before + leaving + Duration::from_secs(10);
            ensure!(needed <= there, "{}: {service}: {needed:?} in {there:?}", overlay.name);
        }
        let set = overlay.environment("Deployment", "ws-gateway")?;
        let ingress = overlay.object("Ingress", "ws-gateway")?;
        for name in ["proxy-read-timeout", "proxy-send-timeout"] {
            let name = format!("nginx.ingress.kubernetes.io/{name}");
            let value = ingress["metadata"]["annotations"][&name].as_str().context(name)?;
            let limit = Duration::from_secs(value.parse()?);
            for setting in ["WEBSOCKET_PING_INTERVAL", "WEBSOCKET_IDLE_TIMEOUT"] {
                let silence = duration(&set[setting]).map_err(anyhow::Error::msg)?;
                ensure!(limit > silence, "the ingress hangs up after {limit:?}, {setting} is more");
            }
        }
    }
    Ok(())
}

async fn the_autoscalers_know_what_they_scale(_: &Context) -> anyhow::Result<()> {
    let overlay = Overlay::render("production").await?;
    let scaled = overlay.object("ScaledObject", "ingest-worker")?;
    let set = overlay.environment("StatefulSet", "ingest-worker")?;
    let trigger = &scaled["spec"]["triggers"][0]["metadata"];
    for (field, setting) in [
        ("bootstrapServers", "KAFKA_BOOTSTRAP_SERVERS"),
        ("consumerGroup", "KAFKA_CONSUMER_GROUP"),
        ("offsetResetPolicy", "KAFKA_AUTO_OFFSET_RESET"),
    ] {
        ensure!(trigger[field] == *set[setting], "{field} is not {setting}");
    }
    ensure!(trigger["allowIdleConsumers"] == "false", "pods without a partition");
    ensure!(trigger["limitToPartitionsWithLag"].is_null(), "that needs a topic");
    ensure!(scaled["spec"]["minReplicaCount"].as_u64() > Some(0), "nobody would start again");
    let gateways = overlay.object("HorizontalPodAutoscaler", "ws-gateway")?;
    for (autoscaler, (kind, name)) in [scaled, gateways].into_iter().zip(WORKLOADS) {
        let target = &autoscaler["spec"]["scaleTargetRef"];
        ensure!(target["kind"] == kind && target["name"] == name, "{name}: {target}");
        let workload = overlay.object(kind, name)?;
        ensure!(workload["spec"]["replicas"].is_null(), "{name}: two say how many there are");
    }
    let metric = &gateways["spec"]["metrics"][0]["pods"];
    let most: u64 = overlay.environment("Deployment", "ws-gateway")?["MAX_CONNECTIONS"].parse()?;
    let wanted: u64 = metric["target"]["averageValue"].as_str().context("text")?.parse()?;
    ensure!(wanted * 2 <= most, "{wanted} of {most}: no room for those of a lost gateway");
    let metrics = include_str!("../../../ws-gateway/src/metrics.rs");
    let name = metric["metric"]["name"].to_string();
    ensure!(metrics.contains(&name), "the gateway does not export {name}");
    Ok(())
}

async fn no_pod_may_do_more_than_it_must(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let pod = overlay.pod(kind, service)?;
            let container = &pod["containers"][0];
            let security = &container["securityContext"];
            for (holds, what) in [
                (pod["securityContext"]["runAsNonRoot"] == true, "may be root"),
                (pod["automountServiceAccountToken"] == false, "has a token"),
                (security["readOnlyRootFilesystem"] == true, "may write"),
                (security["allowPrivilegeEscalation"] == false, "may gain rights"),
                (security["capabilities"]["drop"][0] == "ALL", "has capabilities"),
                (!container["resources"]["limits"]["memory"].is_null(), "may take all memory"),
                (!container["resources"]["requests"]["cpu"].is_null(), "asks for nothing"),
                (list(&pod["topologySpreadConstraints"]).count() == 2, "is not spread"),
            ] {
                ensure!(holds, "{}: {service} {what}", overlay.name);
            }
            overlay.object("PodDisruptionBudget", service)?;
            overlay.object("NetworkPolicy", service)?;
        }
        let all = overlay.object("NetworkPolicy", "default-deny")?;
        if all["spec"]["podSelector"] != serde_json::json!({}) {
            bail!("{}: not everything is forbidden at first", overlay.name);
        }
    }
    Ok(())
}

async fn a_component_turns_traces_on_and_lets_them_out(_: &Context) -> anyhow::Result<()> {
    let overlay = Overlay::with_component("production", "traces").await?;
    let let_out = overlay.object("NetworkPolicy", "traces")?;
    let port = let_out["spec"]["egress"][0]["ports"][0]["port"].to_string();
    for (kind, service) in WORKLOADS {
        let set = overlay.environment(kind, service)?;
        ensure!(set["ENABLE_TRACING"] == "true", "{service}: {}", set["ENABLE_TRACING"]);
        let collector = &set["OTEL_EXPORTER_OTLP_ENDPOINT"];
        ensure!(collector.ends_with(&format!(":{port}")), "{service}: {collector} is not {port}");
    }
    Ok(())
}
