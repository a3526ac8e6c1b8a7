//! Documents and workflows: links resolve, the root README stays short, and the files of `.github`
//! conform to their schemas.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, ensure};
use support::deployment::{conforms, document, read, root, tool};

use crate::{context::Context, runner::scenarios};

scenarios![
    every_link_of_the_documents_resolves,
    documents_have_lines_of_100_columns_and_the_root_readme_has_150,
    the_files_of_github_conform_to_their_schemas,
    one_version_of_rust_is_used_everywhere,
    the_tests_that_the_threat_model_names_exist,
];

/// Every document, from the root of the repository.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "ingest-worker/README.md",
    "ws-gateway/README.md",
    "ws-gateway/client/README.md",
    "shared/README.md",
    "tests/README.md",
    "tests/simulation/README.md",
    "k8s/README.md",
    "k8s/RUNBOOK.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    ".github/CHANGELOG.md",
];

async fn every_link_of_the_documents_resolves(_: &Context) -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for path in DOCUMENTS {
        let text = read(path)?;
        for link in links(&text) {
            if !resolves(path, link)? {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    ensure!(broken.is_empty(), "broken links: {broken:#?}");
    Ok(())
}

/// The targets of the links of a Markdown text that lead to a file or a heading of this repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.starts_with("http"))
}

fn resolves(from: &str, link: &str) -> anyhow::Result<bool> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, a)| (file, Some(a)));
    let folder = Path::new(from).parent().context("a document is in a folder")?;
    let target = if file.is_empty() { Path::new(from).to_owned() } else { folder.join(file) };
    if !root().join(&target).exists() {
        return Ok(false);
    }
    let Some(anchor) = anchor else { return Ok(true) };
    let text = read(target.to_str().context("the path is UTF-8")?)?;
    Ok(anchors(&text).contains(anchor))
}

/// The anchors of the headings of a Markdown text, as GitHub forms them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        title.chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

async fn documents_have_lines_of_100_columns_and_the_root_readme_has_150(
    _: &Context,
) -> anyhow::Result<()> {
    let lines = read("README.md")?.lines().count();
    ensure!(lines <= 150, "README.md: expected at most 150 lines, got {lines}");
    for path in DOCUMENTS {
        let text = read(path)?;
        // Code, tables and links cannot be wrapped.
        let mut prose = text.split("```").step_by(2).flat_map(str::lines);
        let is_wide = |line: &&str| {
            line.chars().count() > 100 && !line.starts_with('|') && !line.contains("http")
        };
        let wide = prose.find(is_wide);
        ensure!(wide.is_none(), "{path}: expected at most 100 columns, got {wide:?}");
    }
    Ok(())
}

async fn the_files_of_github_conform_to_their_schemas(_: &Context) -> anyhow::Result<()> {
    for (path, schema) in [
        (".github/workflows/ci.yml", "github-workflows"),
        (".github/workflows/release.yml", "github-workflows"),
        (".github/dependabot.yml", "dependabot"),
        (".github/ISSUE_TEMPLATE/config.yml", "github-issue-config"),
        (".github/ISSUE_TEMPLATE/bug_report.yml", "github-issue-forms"),
        (".github/ISSUE_TEMPLATE/feature_request.yml", "github-issue-forms"),
    ] {
        let schema = tool(&format!("check_jsonschema/builtin_schemas/vendor/{schema}.json"))?;
        conforms(&document(path)?, &schema).with_context(|| path.to_owned())?;
    }
    Ok(())
}

async fn one_version_of_rust_is_used_everywhere(_: &Context) -> anyhow::Result<()> {
    let manifest = read("Cargo.toml")?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.context("the workspace states its version of Rust")?.trim_matches('"');
    for (path, wanted) in [
        ("k8s/Dockerfile", format!("FROM rust:{version}-slim")),
        (".github/workflows/ci.yml", format!("RUST_VERSION: \"{version}\"")),
        (".github/workflows/release.yml", format!("RUST_VERSION: \"{version}\"")),
        (".github/CONTRIBUTING.md", format!("Rust {version} ")),
    ] {
        ensure!(read(path)?.contains(&wanted), "{path}: expected {wanted:?}");
    }
    Ok(())
}

async fn the_tests_that_the_threat_model_names_exist(_: &Context) -> anyhow::Result<()> {
    let text = read(".github/SECURITY.md")?;
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let names: BTreeSet<&str> = quoted.filter(is_name).collect();
    ensure!(names.len() > 8, "too few names: {names:?}");
    for name in names {
        let files = [format!("tests/scenarios/{name}.rs"), format!("tests/{name}")];
        ensure!(
            files.iter().any(|file| root().join(file).exists()),
            "SECURITY.md names {name}, but there is no such test"
        );
    }
    Ok(())
}
