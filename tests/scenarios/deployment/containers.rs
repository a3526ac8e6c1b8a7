//! Dockerfile and compose file, checked without a container engine, and the health check command.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use harness::stack::Layout;
use serde_json::{Map, Value};
use support::deployment::{self, conforms, document, read, root, settings, tool};

use crate::{context::Context, runner::scenarios};

scenarios![
    the_dockerfile_defines_all_images,
    the_dockerfile_links_openssl_statically_and_verifies_it,
    the_compose_file_conforms_to_its_schema,
    compose_commands_need_no_environment,
    compose_services_wait_for_healthy_dependencies,
    compose_settings_and_mounts_exist,
    no_image_volume_is_left_anonymous,
    compose_check_runs_beside_a_running_system,
    the_healthcheck_command_reports_readiness,
];

/// The services of the compose file that this repository builds.
const BUILT: [&str; 2] = ["ingest-worker", "ws-gateway"];

async fn the_dockerfile_defines_all_images(_: &Context) -> anyhow::Result<()> {
    deployment::run("hadolint", &["--failure-threshold", "info", "k8s/Dockerfile"]).await?;
    let dockerfile = read("k8s/Dockerfile")?;
    let (_, last) = dockerfile.split_once("AS base").context("a stage named base")?;
    ensure!(last.contains("USER 65532:65532"), "the images have no numeric user");
    for service in BUILT {
        for wanted in [
            format!("FROM base AS {service}\n"),
            format!("title=\"{service}\""),
            format!("CMD [\"/{service}\", \"healthcheck\"]"),
            format!("ENTRYPOINT [\"/{service}\"]"),
        ] {
            ensure!(last.contains(&wanted), "expected {wanted:?} in the final stages");
        }
    }
    ensure!(!last.contains("RUN "), "the final stages have no shell for RUN");
    let makefile = read("Makefile")?;
    let (_, images) = makefile.split_once("IMAGES := ").context("images in the Makefile")?;
    let images: Vec<_> = images.lines().next().unwrap_or_default().split(' ').collect();
    let stages = last.lines().filter_map(|line| line.strip_prefix("FROM base AS "));
    ensure!(stages.eq(images.iter().copied()), "`make images` builds other images: {images:?}");
    let has_commit = makefile.contains("--build-arg REVISION=$(REVISION) ");
    ensure!(has_commit, "the images of `make images` do not state their commit");
    manifests_are_copied(&dockerfile)
}

/// Cargo needs the manifest of every workspace member, so each is copied and not ignored.
fn manifests_are_copied(dockerfile: &str) -> anyhow::Result<()> {
    let manifest = read("Cargo.toml")?;
    let (_, members) = manifest.split_once("members = [").context("members of the workspace")?;
    let members = members.split(']').next().unwrap_or_default();
    let ignored = read(".dockerignore")?;
    for member in members.split('"').skip(1).step_by(2) {
        let copied = format!("COPY {member}/Cargo.toml {member}/");
        ensure!(dockerfile.contains(&copied), "expected {copied:?} in the Dockerfile");
        let [whole, manifest] = [format!("!{member}"), format!("!{member}/Cargo.toml")];
        let kept = ignored.lines().any(|line| line == whole || line == manifest);
        ensure!(kept, ".dockerignore excludes {member}");
    }
    Ok(())
}

async fn the_dockerfile_links_openssl_statically_and_verifies_it(
    _: &Context,
) -> anyhow::Result<()> {
    let dockerfile = read("k8s/Dockerfile")?;
    for (wanted, reason) in [
        ("OPENSSL_STATIC=1", "OpenSSL is linked dynamically"),
        ("OPENSSL_DIR=/opt/openssl", "OPENSSL_STATIC is ignored for a library below /usr"),
        (
            "ldd target/release/ingest-worker target/release/ws-gateway",
            "the result is not verified",
        ),
        ("! grep -E 'libcurl|libssl|libcrypto|libz|not found'", "the result is not verified"),
    ] {
        ensure!(
            dockerfile.contains(wanted),
            "expected {wanted:?} in the Dockerfile; without it, {reason}"
        );
    }
    Ok(())
}

async fn the_compose_file_conforms_to_its_schema(_: &Context) -> anyhow::Result<()> {
    let schema = tool("check_jsonschema/builtin_schemas/vendor/compose-spec.json")?;
    conforms(&document("docker-compose.yml")?, &schema)
}

/// `docker compose ps`, `logs` and `down` read the whole file too.
async fn compose_commands_need_no_environment(_: &Context) -> anyhow::Result<()> {
    for variable in read("docker-compose.yml")?.split("${").skip(1) {
        let variable = variable.split('}').next().unwrap_or_default();
        ensure!(variable.contains(":-"), "{variable} has no default");
    }
    let makefile = read("Makefile")?;
    ensure!(makefile.contains("$${JWT_SECRET_KEY:?"), "`make up` starts a gateway without a key");
    Ok(())
}

/// Paths that an image declares as volumes: Compose creates an anonymous one at each start for
/// those that nothing is mounted at, and `down` keeps it.
const IMAGE_VOLUMES: [(&str, &[&str]); 3] = [
    ("kafka", &["/etc/kafka/secrets", "/mnt/shared/config", "/var/lib/kafka/data"]),
    ("redis", &["/data"]),
    ("prometheus", &["/prometheus"]),
];

async fn no_image_volume_is_left_anonymous(_: &Context) -> anyhow::Result<()> {
    let compose = document("docker-compose.yml")?;
    for (name, paths) in IMAGE_VOLUMES {
        let service = &services(&compose)?[name];
        let mounted = texts(&service["volumes"]).filter_map(|volume| volume.split(':').nth(1));
        let mounted: BTreeSet<&str> = mounted.chain(texts(&service["tmpfs"])).collect();
        for path in paths {
            ensure!(mounted.contains(path), "{name}: {path} is an anonymous volume");
        }
    }
    Ok(())
}

fn services(compose: &Value) -> anyhow::Result<&Map<String, Value>> {
    compose["services"].as_object().context("services")
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

async fn compose_services_wait_for_healthy_dependencies(_: &Context) -> anyhow::Result<()> {
    let compose = document("docker-compose.yml")?;
    let services = services(&compose)?;
    for (name, service) in services {
        // The images of both services define their health check.
        ensure!(
            BUILT.contains(&&**name) || service["healthcheck"].is_object(),
            "{name}: no health check"
        );
        for (dependency, options) in service["depends_on"].as_object().into_iter().flatten() {
            ensure!(
                options["condition"] == "service_healthy",
                "{name} does not wait for {dependency}"
            );
            let available: BTreeSet<&str> = texts(&services[dependency]["profiles"]).collect();
            let mut profiles = texts(&service["profiles"]);
            let starts = profiles.all(|profile| available.contains(profile));
            ensure!(starts, "{name} starts without {dependency}");
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
    ensure!(
        dev == ["kafka", "redis"],
        "expected kafka and redis in the profile `dev`, got {dev:?}"
    );
    ensure!(in_profile("full").len() == services.len(), "the profile `full` lacks services");
    Ok(())
}

async fn compose_settings_and_mounts_exist(_: &Context) -> anyhow::Result<()> {
    let compose = document("docker-compose.yml")?;
    for (name, service) in services(&compose)? {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            let exists = if source.starts_with('.') {
                root().join(source).exists()
            } else {
                compose["volumes"].get(source).is_some()
            };
            ensure!(exists, "{name}: the mounted {source} does not exist");
        }
        if !BUILT.contains(&&**name) {
            continue;
        }
        let known = settings(name)?;
        let set = service["environment"].as_object().context("settings")?;
        let unknown: Vec<_> = set.keys().filter(|name| !known.contains(*name)).collect();
        ensure!(unknown.is_empty(), "{name} does not know {unknown:?}");
        let built = &service["build"];
        let is_built = built["dockerfile"] == "k8s/Dockerfile" && built["target"] == **name;
        ensure!(is_built, "{name}: expected its target of k8s/Dockerfile, got {built}");
        let has_commit = built["args"]["REVISION"].is_string();
        ensure!(has_commit, "{name}: the image does not state its commit: {built}");
        ensure!(service["read_only"] == true, "{name} has a writable root filesystem");
    }
    Ok(())
}

async fn compose_check_runs_beside_a_running_system(_: &Context) -> anyhow::Result<()> {
    let (compose, check) = (document("docker-compose.yml")?, read("tests/containers/compose.yml")?);
    for (name, service) in services(&compose)? {
        let closed = check.contains(&format!("  {name}: {{ports: !reset []}}\n"));
        ensure!(closed || service["ports"].is_null(), "{name} would use ports of `make up`");
    }
    Ok(())
}

async fn the_healthcheck_command_reports_readiness(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    for service in [&stack.workers[0], &stack.gateways[0]] {
        service.run_command(&["healthcheck"], "").await?;
        service.kill().await?;
        let answer = service.run_command(&["healthcheck"], "").await;
        let problem = answer.err().context("a killed service is reported as ready")?;
        let problem = format!("{problem:#}");
        ensure!(problem.contains("exit status: 1"), "expected exit status 1, got {problem}");
    }
    stack.check_logs_and_discard()
}
