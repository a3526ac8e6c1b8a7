//! Structure of the source code: import directions, import circles, and the lengths of files and
//! functions. A method call is no import, so an `impl` block that is split over files of one folder
//! may call back and forth.

use std::{collections::BTreeMap, path::Path};

use anyhow::ensure;
use harness::workspace;
use support::source::{self, Graph};

use crate::{context::Context, runner::scenarios};

scenarios![
    imports_point_one_way_and_form_no_circle,
    only_the_infrastructure_uses_the_kafka_and_redis_clients,
    files_and_functions_are_short,
];

const MAX_FILE_LINES: usize = 300;
const MAX_FUNCTION_LINES: usize = 50;

/// Module prefixes of a crate and the prefixes that each may import from, besides itself. The
/// longest matching prefix counts; a module without one may not exist.
type Layers = &'static [(&'static str, &'static [&'static str])];

const SHARED: Layers = &[
    ("backoff", &[]),
    ("due_queue", &[]),
    ("user", &[]),
    ("time", &[]),
    ("config", &[]),
    ("build_info", &[]),
    ("metrics", &["build_info"]),
    ("lifecycle", &[]),
    ("admin", &["backoff", "build_info", "telemetry"]),
    ("healthcheck", &[]),
    ("findings", &[]),
    ("audit", &[]),
    ("telemetry", &["audit"]),
    ("trace", &[]),
    ("envelope", &[]),
    ("keys", &["user"]),
    ("redis", &["config", "findings", "keys", "time", "user"]),
    ("notification", &["time", "user"]),
    ("events", &["envelope", "notification", "time"]),
];

const WORKER: Layers = &[
    ("notification", &[]),
    ("domain", &["notification"]),
    ("metrics", &["domain", "notification"]),
    ("config", &["domain"]),
    ("accounting", &["domain", "notification", "metrics"]),
    ("infrastructure", &["accounting", "domain", "notification", "metrics", "config"]),
    ("worker", &["infrastructure", "accounting", "domain", "notification", "metrics", "config"]),
    ("cli", &["infrastructure", "domain", "notification", "metrics", "config", "worker"]),
    ("main", &["cli", "worker"]),
];

const GATEWAY: Layers = &[
    ("protocol", &[]),
    ("files", &[]),
    ("auth", &["files"]),
    ("metrics", &["auth", "files", "protocol"]),
    ("hub", &["protocol", "auth", "metrics"]),
    ("connection", &["hub", "protocol", "auth", "metrics"]),
    ("redis", &["hub", "protocol", "auth", "metrics"]),
    ("server", &["connection", "redis", "files", "hub", "protocol", "auth", "metrics"]),
    // Parses texts into the types of the modules that use them.
    ("config", &["server", "hub", "auth"]),
    (
        "gateway",
        &["config", "server", "connection", "redis", "files", "hub", "protocol", "auth", "metrics"],
    ),
    ("cli", &["config", "gateway", "redis", "protocol", "auth"]),
    ("main", &["cli", "gateway"]),
];

const CRATES: &[(&str, Layers)] =
    &[("shared", SHARED), ("ingest-worker", WORKER), ("ws-gateway", GATEWAY)];

/// Crates whose imports form no circle, in any direction.
const TEST_CRATES: &[&str] = &[
    "tests/bench",
    "tests/contract",
    "tests/demo",
    "tests/harness",
    "tests/load",
    "tests/properties",
    "tests/simulation",
];

/// Client libraries and the only modules of each service that may use them.
const CLIENT_LIBRARIES: &[&str] = &["rdkafka", "rdkafka_sys", "redis", "deadpool_redis"];
const CLIENT_MODULES: &[(&str, &[&str])] =
    &[("ingest-worker", &["infrastructure", "worker"]), ("ws-gateway", &["redis", "gateway"])];

async fn imports_point_one_way_and_form_no_circle(_: &Context) -> anyhow::Result<()> {
    let (mut violations, mut files, mut imports) = (Vec::new(), 0, 0);
    for (name, layers) in CRATES {
        let graph = graph(name)?;
        files += graph.modules().count();
        imports += graph.imports().count();
        violations.extend(circles(name, &graph));
        violations.extend(graph.modules().filter_map(|module| {
            let is_known = module.is_empty() || layer(layers, module).is_some();
            (!is_known).then(|| format!("{name}: {} belongs to no layer", module.join("::")))
        }));
        for import in graph.imports() {
            let (Some(from), Some(to)) = (layer(layers, &import.from), layer(layers, &import.to))
            else {
                continue;
            };
            if from.0 != to.0 && !from.1.contains(&to.0) {
                let (file, to) = (import.from.join("/"), import.to.join("::"));
                let line = import.line;
                violations.push(format!("{name}/src/{file}.rs:{line}: upward import of {to}"));
            }
        }
    }
    for name in TEST_CRATES {
        violations.extend(circles(name, &graph(name)?));
    }
    ensure!(violations.is_empty(), "import rules broken:\n{}", violations.join("\n"));
    println!("import rules: 0 circles, 0 upward imports in {files} files, {imports} imports");
    Ok(())
}

fn circles(name: &str, graph: &Graph) -> Vec<String> {
    let describe = |circle: Vec<&[String]>| {
        let circle: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
        format!("{name}: circle {} -> {}", circle.join(" -> "), circle[0])
    };
    graph.circles().into_iter().map(describe).collect()
}

/// Returns the layer of a module: the entry with the longest matching prefix.
fn layer(layers: Layers, module: &[String]) -> Option<(&'static str, &'static [&'static str])> {
    let matches = |prefix: &str| {
        let prefix: Vec<&str> = prefix.split("::").collect();
        module.len() >= prefix.len() && module.iter().zip(&prefix).all(|(a, b)| a == b)
    };
    layers.iter().copied().filter(|(prefix, _)| matches(prefix)).max_by_key(|entry| entry.0.len())
}

async fn only_the_infrastructure_uses_the_kafka_and_redis_clients(
    _: &Context,
) -> anyhow::Result<()> {
    let mut violations = Vec::new();
    for (name, allowed) in CLIENT_MODULES {
        let graph = graph(name)?;
        for module in graph.modules() {
            if module.first().is_some_and(|first| allowed.contains(&first.as_str())) {
                continue;
            }
            let file = module.join("/");
            let used = graph.libraries(module).into_iter();
            let used = used.filter(|(library, _)| CLIENT_LIBRARIES.contains(library));
            violations.extend(
                used.map(|(library, line)| format!("{name}/src/{file}.rs:{line} uses {library}")),
            );
        }
    }
    ensure!(violations.is_empty(), "clients used elsewhere:\n{}", violations.join("\n"));
    Ok(())
}

async fn files_and_functions_are_short(_: &Context) -> anyhow::Result<()> {
    let root = workspace::root();
    let paths = source::rust_files(&root)?;
    let (mut violations, mut functions) = (Vec::new(), 0);
    for path in &paths {
        let file = source::read(path)?;
        let name = path.strip_prefix(&root)?.display();
        if file.lines > MAX_FILE_LINES {
            violations.push(format!("{name}: {} lines (limit: {MAX_FILE_LINES})", file.lines));
        }
        functions += file.functions.len();
        let long = file.functions.iter().filter(|function| function.lines > MAX_FUNCTION_LINES);
        violations.extend(long.map(|function| {
            let (line, lines) = (function.line, function.lines);
            format!(
                "{name}:{line}: {} has {lines} lines (limit: {MAX_FUNCTION_LINES})",
                function.name
            )
        }));
    }
    ensure!(violations.is_empty(), "too long:\n{}", violations.join("\n"));
    println!("lengths: {} files and {functions} functions within the limits", paths.len());
    Ok(())
}

/// Reads the import graph of a crate of this repository.
fn graph(name: &str) -> anyhow::Result<Graph> {
    let sources = workspace::root().join(name).join("src");
    let mut files = BTreeMap::new();
    for path in source::rust_files(&sources)? {
        let module = source::module_path(Path::new(path.strip_prefix(&sources)?));
        files.insert(module, source::read(&path)?);
    }
    ensure!(!files.is_empty(), "{name} has no sources");
    let name = name.rsplit('/').next().unwrap_or(name);
    Ok(Graph::new(&name.replace('-', "_"), files))
}
