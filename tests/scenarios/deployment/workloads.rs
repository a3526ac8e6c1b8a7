//! Images, scheduling, scaling, privileges and shutdown of the workloads in the manifests.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use shared::config::duration;
use support::deployment::Overlay;

use super::{WORKLOADS, list};
use crate::{context::Context, runner::scenarios};

scenarios![
    dev_uses_loaded_images_and_production_digests,
    termination_grace_periods_cover_the_shutdown,
    autoscalers_target_the_workloads,
    keda_counts_a_partition_without_a_commit_as_one_record,
    keda_follows_the_kafka_settings_of_an_overlay,
    rollouts_spread_gateways_without_counting_the_previous_revision,
    pods_are_schedulable_on_nodes_without_zone_labels,
    workers_preempt_gateways_on_full_nodes,
    pods_run_with_least_privileges,
];

async fn dev_uses_loaded_images_and_production_digests(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let container = &overlay.pod(kind, service)?["containers"][0];
            let image = container["image"].as_str().context("an image")?;
            ensure!(container["imagePullPolicy"] == "IfNotPresent", "{image} is always pulled");
            let is_pinned = match overlay.name {
                "dev" => image.ends_with(":dev"),
                _ => image.split_once("@sha256:").is_some_and(|(_, digest)| digest.len() == 64),
            };
            ensure!(
                is_pinned,
                "{}: expected tag dev in the overlay dev, elsewhere a digest, got {image}",
                overlay.name
            );
        }
    }
    Ok(())
}

async fn termination_grace_periods_cover_the_shutdown(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for ((kind, service), setting) in
            WORKLOADS.into_iter().zip(["SHUTDOWN_GRACE", "DRAIN_WINDOW"])
        {
            let (pod, set) = (overlay.pod(kind, service)?, overlay.environment(kind, service)?);
            let seconds = |value: &Value| Duration::from_secs(value.as_u64().unwrap_or_default());
            let pre_stop =
                seconds(&pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]);
            let grace = seconds(&pod["terminationGracePeriodSeconds"]);
            let shutdown = duration(&set[setting]).map_err(anyhow::Error::msg)?;
            // 5 s for the last close frames, 5 s margin.
            let needed = pre_stop + shutdown + Duration::from_secs(10);
            ensure!(
                needed <= grace,
                "{}: shutdown of {service} needs {needed:?}, grace period {grace:?}",
                overlay.name
            );
        }
    }
    Ok(())
}

async fn autoscalers_target_the_workloads(_: &Context) -> anyhow::Result<()> {
    let overlay = Overlay::render("production").await?;
    let scaled = overlay.object("ScaledObject", "ingest-worker")?;
    let gateways = overlay.object("HorizontalPodAutoscaler", "ws-gateway")?;
    for (autoscaler, (kind, name)) in [scaled, gateways].into_iter().zip(WORKLOADS) {
        let target = &autoscaler["spec"]["scaleTargetRef"];
        ensure!(
            target["kind"] == kind && target["name"] == name,
            "expected {kind}/{name}, got {target}"
        );
        let workload = overlay.object(kind, name)?;
        ensure!(workload["spec"]["replicas"].is_null(), "{name}: replicas are set twice");
    }
    let metric = &gateways["spec"]["metrics"][0]["pods"];
    let max: u64 = overlay.environment("Deployment", "ws-gateway")?["MAX_CONNECTIONS"].parse()?;
    let target: u64 = metric["target"]["averageValue"].as_str().context("text")?.parse()?;
    ensure!(target * 2 <= max, "{target} of {max}: no room for the clients of a lost gateway");
    let metrics = include_str!("../../../ws-gateway/src/metrics.rs");
    let name = metric["metric"]["name"].to_string();
    ensure!(metrics.contains(&name), "the gateway does not export {name}");
    Ok(())
}

async fn keda_counts_a_partition_without_a_commit_as_one_record(_: &Context) -> anyhow::Result<()> {
    let overlay = Overlay::render("production").await?;
    let scaled = overlay.object("ScaledObject", "ingest-worker")?;
    let trigger = &scaled["spec"]["triggers"][0]["metadata"];
    // With `earliest` such a partition counts all of its records, expired ones included.
    for (field, expected) in [
        ("offsetResetPolicy", "latest"),
        ("scaleToZeroOnInvalidOffset", "false"),
        ("excludePersistentLag", "true"),
        // Pods without a partition would be started.
        ("allowIdleConsumers", "false"),
    ] {
        ensure!(trigger[field] == expected, "{field}: expected {expected}, got {trigger}");
    }
    ensure!(trigger["version"].is_string(), "without version, KEDA uses protocol version 1.0.0");
    keda_reads_the_group_of_the_workers(&overlay)?;
    ensure!(
        trigger["limitToPartitionsWithLag"].is_null(),
        "limitToPartitionsWithLag needs a topic"
    );
    ensure!(
        scaled["spec"]["minReplicaCount"].as_u64() > Some(0),
        "expected minReplicaCount above 0"
    );
    Ok(())
}

/// Expects the workers' brokers and consumer group in the trigger of KEDA.
fn keda_reads_the_group_of_the_workers(overlay: &Overlay) -> anyhow::Result<()> {
    let scaled = overlay.object("ScaledObject", "ingest-worker")?;
    let trigger = &scaled["spec"]["triggers"][0]["metadata"];
    let set = overlay.environment("StatefulSet", "ingest-worker")?;
    for (field, setting) in
        [("bootstrapServers", "KAFKA_BOOTSTRAP_SERVERS"), ("consumerGroup", "KAFKA_CONSUMER_GROUP")]
    {
        ensure!(trigger[field] == *set[setting], "{field} differs from {setting}");
    }
    Ok(())
}

async fn keda_follows_the_kafka_settings_of_an_overlay(_: &Context) -> anyhow::Result<()> {
    let settings = "literals: [KAFKA_BOOTSTRAP_SERVERS=other:9092, KAFKA_CONSUMER_GROUP=other, ";
    let overlay = Overlay::edited("literals: [", settings).await?;
    let set = overlay.environment("StatefulSet", "ingest-worker")?;
    ensure!(set["KAFKA_CONSUMER_GROUP"] == "other", "the settings were not changed: {set:?}");
    keda_reads_the_group_of_the_workers(&overlay)
}

async fn rollouts_spread_gateways_without_counting_the_previous_revision(
    _: &Context,
) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        let pod = overlay.pod("Deployment", "ws-gateway")?;
        for constraint in list(&pod["topologySpreadConstraints"]) {
            let keys = &constraint["matchLabelKeys"];
            ensure!(
                *keys == json!(["pod-template-hash"]),
                "{}: expected matchLabelKeys pod-template-hash, got {constraint}",
                overlay.name
            );
        }
    }
    Ok(())
}

async fn pods_are_schedulable_on_nodes_without_zone_labels(_: &Context) -> anyhow::Result<()> {
    let zone = "topology.kubernetes.io/zone";
    let required = |pod: &Value| -> Vec<String> {
        let constraints = list(&pod["topologySpreadConstraints"]);
        let required = constraints.filter(|c| c["whenUnsatisfiable"] == "DoNotSchedule");
        required.map(|c| c["topologyKey"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let with_zones = Overlay::with_component("zone-spread").await?;
    for (kind, service) in WORKLOADS {
        for overlay in Overlay::both().await? {
            let pod = overlay.pod(kind, service)?;
            ensure!(
                list(&pod["topologySpreadConstraints"]).count() == 2,
                "{service} is not spread"
            );
            ensure!(
                required(pod).is_empty(),
                "{}: {service} cannot be scheduled without a zone",
                overlay.name
            );
        }
        let pod = with_zones.pod(kind, service)?;
        let mut zones =
            list(&pod["topologySpreadConstraints"]).filter(|c| c["topologyKey"] == zone);
        ensure!(
            zones.all(|constraint| constraint["nodeTaintsPolicy"] == "Honor"),
            "{service} cannot be scheduled while the nodes of a zone are down"
        );
        let keys = required(pod);
        ensure!(keys == [zone], "components/zone-spread requires {keys:?} of {service}");
    }
    Ok(())
}

async fn workers_preempt_gateways_on_full_nodes(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        let worker = &overlay.pod("StatefulSet", "ingest-worker")?["priorityClassName"];
        let class =
            overlay.object("PriorityClass", worker.as_str().context("a priority class")?)?;
        // The priority of pods without a class, as long as the cluster has no other default.
        ensure!(class["value"].as_i64() > Some(0), "expected a value above 0, got {class}");
        ensure!(class["globalDefault"] != true, "expected no global default, got {class}");
        let gateway = &overlay.pod("Deployment", "ws-gateway")?["priorityClassName"];
        ensure!(gateway.is_null(), "expected no priority class of the gateway, got {gateway}");
    }
    Ok(())
}

async fn pods_run_with_least_privileges(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let pod = overlay.pod(kind, service)?;
            let container = &pod["containers"][0];
            let security = &container["securityContext"];
            for (holds, violation) in [
                (pod["securityContext"]["runAsNonRoot"] == true, "may run as root"),
                (pod["automountServiceAccountToken"] == false, "mounts an API token"),
                (security["readOnlyRootFilesystem"] == true, "has a writable root filesystem"),
                (security["allowPrivilegeEscalation"] == false, "may escalate privileges"),
                (security["capabilities"]["drop"][0] == "ALL", "has capabilities"),
                (!container["resources"]["limits"]["memory"].is_null(), "has no memory limit"),
                (!container["resources"]["requests"]["cpu"].is_null(), "has no CPU request"),
            ] {
                ensure!(holds, "{}: {service} {violation}", overlay.name);
            }
            overlay.object("PodDisruptionBudget", service)?;
        }
    }
    Ok(())
}
