#!/usr/bin/env bash
# Checks licences and sources of all dependencies, and advisories and yanked versions if the
# advisory database can be fetched. If not, prints so and succeeds, unless ADVISORIES=required.
set -euo pipefail

cd "$(dirname "$0")/.."
deny=(target/tools/bin/cargo-deny --locked)

"${deny[@]}" check licenses bans sources
if why=$("${deny[@]}" fetch db 2>&1); then
    "${deny[@]}" check advisories
else
    # The last line has the reason of git.
    echo "advisories NOT CHECKED: the database cannot be fetched ($(tail -n 1 <<<"$why"))"
    [ "${ADVISORIES:-}" != required ]
fi
