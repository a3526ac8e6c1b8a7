#!/usr/bin/env bash
# Builds both services of an earlier version into target/earlier, for the scenario that replaces one
# version by the other: of the last release before this commit, or, as long as there is none, of the
# last commit before Redis also held watermarks, read states and starts of histories.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=${CARGO_TARGET_DIR:-target}/earlier
commit=$(git describe --tags --match 'v*' --abbrev=0 'HEAD^' 2>/dev/null ||
    echo c2d61f35167019b93d2e67fcaf4d58cb37b0427d)
if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
    echo "upgrade: $commit is not in this clone, so the scenario is skipped" >&2
    exit 0
fi
if [ "$(cat "$folder/commit" 2>/dev/null)" = "$commit" ]; then exit 0; fi
echo "upgrade: building the services of $commit, once"
rm -rf "$folder/source"
mkdir -p "$folder/source"
git archive "$commit" | tar --extract --directory "$folder/source"
build=$(cd "$folder" && pwd)/build
(cd "$folder/source" &&
    CARGO_TARGET_DIR=$build cargo build --locked --bins \
        --package ingest-worker --package ws-gateway)
echo "$commit" >"$folder/commit"
