//! The rendered manifests conform to the schemas of Kubernetes, KEDA and Gateway API, set every
//! setting of the services, and refer to names that exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use harness::workspace;
use serde_json::Value;
use support::deployment::{
    Overlay, conforms, conforms_to_crd, documents, is_custom, read, settings, tool,
};

use super::{WORKLOADS, list};
use crate::{context::Context, requirements, runner::scenarios};

scenarios![
    manifests_conform_to_the_kubernetes_schemas,
    custom_resources_conform_to_their_types,
    manifests_set_every_setting_and_no_other,
    services_accept_the_settings_of_the_manifests,
    ports_probes_and_accounts_resolve,
];

/// The oldest and the newest supported version of Kubernetes.
const KUBERNETES: [&str; 2] = ["v1.32.0", "v1.37.0"];
const COMPONENTS: [&str; 4] = ["ingress", "ipv6", "traces", "zone-spread"];

/// Both overlays, and the production overlay with each component.
async fn all_overlays() -> anyhow::Result<Vec<Overlay>> {
    let mut overlays = Vec::from(Overlay::both().await?);
    for component in COMPONENTS {
        overlays.push(Overlay::with_component(component).await?);
    }
    Ok(overlays)
}

async fn manifests_conform_to_the_kubernetes_schemas(_: &Context) -> anyhow::Result<()> {
    let mut overlays = all_overlays().await?;
    let name = "tests/containers/cluster.yaml";
    overlays.push(Overlay { name, objects: documents(&read(name)?)? });
    for version in KUBERNETES {
        let folder = format!("kubernetes_validate/kubernetes-json-schema/{version}-local-strict");
        let folder = tool(&folder)?;
        // Most objects are the same in several overlays.
        let mut seen = BTreeSet::new();
        for overlay in &overlays {
            let objects = overlay.objects.iter().filter(|object| !is_custom(object));
            for object in objects.filter(|object| seen.insert(object.to_string())) {
                let name =
                    || format!("{}: {} {}", overlay.name, object["kind"], object["metadata"]);
                conforms(object, &folder.join(schema_name(object)?)).with_context(name)?;
            }
        }
    }
    Ok(())
}

/// The file of an object's schema: `deployment-apps-v1.json` for a Deployment of apps/v1.
fn schema_name(object: &Value) -> anyhow::Result<String> {
    let kind = object["kind"].as_str().context("a kind")?.to_lowercase();
    let version = object["apiVersion"].as_str().context("a version")?;
    let Some((group, version)) = version.split_once('/') else {
        return Ok(format!("{kind}-{version}.json"));
    };
    let group = group.split('.').next().unwrap_or_default();
    Ok(format!("{kind}-{group}-{version}.json"))
}

async fn custom_resources_conform_to_their_types(_: &Context) -> anyhow::Result<()> {
    requirements::crd_types()?;
    let overlay = Overlay::render("production").await?;
    let custom: Vec<&Value> = overlay.objects.iter().filter(|object| is_custom(object)).collect();
    ensure!(custom.len() == 2, "expected a ScaledObject and an HTTPRoute: {custom:?}");
    for resource in custom {
        conforms_to_crd(resource).await?;
        let mut invalid = resource.clone();
        invalid["spec"]["unknownField"] = true.into();
        ensure!(conforms_to_crd(&invalid).await.is_err(), "an unknown field is accepted");
    }
    Ok(())
}

async fn manifests_set_every_setting_and_no_other(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let (set, known) = (overlay.environment(kind, service)?, settings(service)?);
            let unset: Vec<_> = known.iter().filter(|name| !set.contains_key(*name)).collect();
            ensure!(
                unset.is_empty(),
                "{}: settings of {service} that are not set: {unset:?}",
                overlay.name
            );
            let is_known = |name: &str| known.contains(name) || name.starts_with("KAFKA_PROPERTY_");
            let unknown: Vec<_> = set.keys().filter(|name| !is_known(name)).collect();
            ensure!(unknown.is_empty(), "{}: {service} does not know {unknown:?}", overlay.name);
        }
    }
    Ok(())
}

async fn services_accept_the_settings_of_the_manifests(_: &Context) -> anyhow::Result<()> {
    for overlay in all_overlays().await? {
        for (kind, service) in WORKLOADS {
            let mut set = overlay.environment(kind, service)?;
            // An unused port: invalid settings exit with 2 before the port is tried, which exits
            // with 1.
            set.insert("ADMIN_PORT".into(), "1".into());
            let (code, stderr) = healthcheck(service, &set).await?;
            ensure!(
                code == Some(1),
                "{}: {service}: expected exit code 1, got {code:?}: {stderr}",
                overlay.name
            );
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

async fn ports_probes_and_accounts_resolve(_: &Context) -> anyhow::Result<()> {
    for overlay in Overlay::both().await? {
        for (kind, service) in WORKLOADS {
            let (pod, set) = (overlay.pod(kind, service)?, overlay.environment(kind, service)?);
            let account = pod["serviceAccountName"].as_str().context("a service account")?;
            overlay.object("ServiceAccount", account)?;
            let container = &pod["containers"][0];
            let ports: BTreeMap<_, _> = list(&container["ports"])
                .filter_map(|port| {
                    Some((port["name"].as_str()?, port["containerPort"].to_string()))
                })
                .collect();
            for (port, setting) in [("admin", "ADMIN_PORT"), ("http", "WEBSOCKET_PORT")] {
                ensure!(
                    ports.get(port) == set.get(setting),
                    "{service}: {setting} differs from the container port {port}"
                );
            }
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let get = &container[probe]["httpGet"];
                let path = if probe == "readinessProbe" { "/readyz" } else { "/livez" };
                let is_expected = get["path"] == path && get["port"] == "admin";
                ensure!(is_expected, "{service}: {probe}: expected {path} at admin, got {get}");
            }
            let service = overlay.object("Service", service)?;
            for port in list(&service["spec"]["ports"]) {
                let target = port["targetPort"].as_str().context("a port name")?;
                ensure!(
                    ports.contains_key(target),
                    "{service}: the target port {target} does not exist"
                );
            }
        }
    }
    Ok(())
}
