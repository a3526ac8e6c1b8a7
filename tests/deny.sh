#!/usr/bin/env bash
# What is built in from elsewhere: licences and sources always; known vulnerabilities and yanked
# versions where the advisory database can be fetched. Where it cannot, the run says so and goes
# on, as that is no finding; ADVISORIES=required makes it one.
set -euo pipefail

cd "$(dirname "$0")/.."
deny=(target/tools/bin/cargo-deny --locked)

"${deny[@]}" check licenses bans sources
if why=$("${deny[@]}" fetch db 2>&1); then
    "${deny[@]}" check advisories
else
    # The last line is git's own reason.
    echo "advisories NOT CHECKED: the database cannot be fetched ($(tail -n 1 <<<"$why"))"
    [ "${ADVISORIES:-}" != required ]
fi
