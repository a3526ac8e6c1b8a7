//! The images and the compose file, checked without a container engine.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use harness::stack::Layout;
use serde_json::{Map, Value};
use support::deployment::{self, conforms, document, read, root, settings, tool};

use crate::{context::Context, runner::scenarios};

scenarios![
    the_dockerfile_is_sound,
    the_compose_file_is_sound,
    what_the_compose_file_starts_is_waited_for_by_its_health,
    what_the_compose_file_sets_and_mounts_is_there,
    a_service_tells_an_image_whether_it_is_ready,
];

/// Services of the compose file that are ours.
const OURS: [&str; 2] = ["ingest-worker", "ws-gateway"];

async fn the_dockerfile_is_sound(_: &Context) -> anyhow::Result<()> {
    deployment::run("hadolint", &["--failure-threshold", "info", "k8s/Dockerfile"]).await?;
    let dockerfile = read("k8s/Dockerfile")?;
    let (_, last) = dockerfile.split_once("AS base").context("a stage is called base")?;
    ensure!(last.contains("USER 65532:65532"), "the images do not say who they run as");
    for service in OURS {
        for wanted in [
            format!("FROM base AS {service}\n"),
            format!("title=\"{service}\""),
            format!("CMD [\"/{service}\", \"healthcheck\"]"),
            format!("ENTRYPOINT [\"/{service}\"]"),
        ] {
            ensure!(last.contains(&wanted), "no {wanted:?}");
        }
    }
    ensure!(!last.contains("RUN "), "the final stages have no shell to run anything with");
    manifests_are_copied(&dockerfile)
}

/// The layer of the dependencies needs the manifest of every member of the workspace, and what is
/// copied must not be held back from the build.
fn manifests_are_copied(dockerfile: &str) -> anyhow::Result<()> {
    let manifest = read("Cargo.toml")?;
    let (_, members) = manifest.split_once("members = [").context("members of the workspace")?;
    let members = members.split(']').next().unwrap_or_default();
    let ignored = read(".dockerignore")?;
    for member in members.split('"').skip(1).step_by(2) {
        let copied = format!("COPY {member}/Cargo.toml {member}/");
        ensure!(dockerfile.contains(&copied), "no {copied:?}");
        let [whole, manifest] = [format!("!{member}"), format!("!{member}/Cargo.toml")];
        let kept = ignored.lines().any(|line| line == whole || line == manifest);
        ensure!(kept, "{member} is kept from the build by .dockerignore");
    }
    Ok(())
}

async fn the_compose_file_is_sound(_: &Context) -> anyhow::Result<()> {
    let schema = tool("check_jsonschema/builtin_schemas/vendor/compose-spec.json")?;
    conforms(&document("docker-compose.yml")?, &schema)?;
    // What is taken from the environment has a default, or its lack is told.
    for variable in read("docker-compose.yml")?.split("${").skip(1) {
        let variable = variable.split('}').next().unwrap_or_default();
        ensure!(variable.contains(":-") || variable.contains(":?"), "{variable} may be missing");
    }
    Ok(())
}

fn services(compose: &Value) -> anyhow::Result<&Map<String, Value>> {
    compose["services"].as_object().context("there are services")
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

async fn what_the_compose_file_starts_is_waited_for_by_its_health(
    _: &Context,
) -> anyhow::Result<()> {
    let compose = document("docker-compose.yml")?;
    let services = services(&compose)?;
    for (name, service) in services {
        // The health of ours is in their image.
        ensure!(OURS.contains(&&**name) || service["healthcheck"].is_object(), "{name}: no health");
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            ensure!(how["condition"] == "service_healthy", "{name} does not wait for {needed}");
            let there: BTreeSet<&str> = texts(&services[needed]["profiles"]).collect();
            let mut wanted = texts(&service["profiles"]);
            ensure!(wanted.all(|profile| there.contains(profile)), "{name} needs {needed}");
        }
        for port in texts(&service["ports"]) {
            ensure!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to the network");
        }
    }
    let in_profile = |wanted: &str| {
        let has = |service: &Value| texts(&service["profiles"]).any(|profile| profile == wanted);
        let has = move |(_, service): &(&String, &Value)| has(service);
        services.iter().filter(has).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let mut dev = in_profile("dev");
    dev.sort();
    ensure!(dev == ["kafka", "redis"], "dev: {dev:?}");
    ensure!(in_profile("full").len() == services.len(), "not everything is in the full profile");
    Ok(())
}

async fn what_the_compose_file_sets_and_mounts_is_there(_: &Context) -> anyhow::Result<()> {
    let compose = document("docker-compose.yml")?;
    for (name, service) in services(&compose)? {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            let is_there = if source.starts_with('.') {
                root().join(source).exists()
            } else {
                compose["volumes"].get(source).is_some()
            };
            ensure!(is_there, "{name}: there is no {source}");
        }
        if !OURS.contains(&&**name) {
            continue;
        }
        let known = settings(name)?;
        let set = service["environment"].as_object().context("settings")?;
        let unknown: Vec<_> = set.keys().filter(|name| !known.contains(*name)).collect();
        ensure!(unknown.is_empty(), "{name} does not know {unknown:?}");
        let built = &service["build"];
        ensure!(built["dockerfile"] == "k8s/Dockerfile" && built["target"] == **name, "{name}");
        ensure!(service["read_only"] == true, "{name} may write");
    }
    Ok(())
}

async fn a_service_tells_an_image_whether_it_is_ready(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    for service in [&stack.workers[0], &stack.gateways[0]] {
        service.run_command(&["healthcheck"], "").await?;
        service.kill().await?;
        let answer = service.run_command(&["healthcheck"], "").await;
        let problem = answer.err().context("a service that is gone is said to be ready")?;
        ensure!(format!("{problem:#}").contains("exit status: 1"), "{problem:#}");
    }
    stack.check_logs_and_discard()
}
