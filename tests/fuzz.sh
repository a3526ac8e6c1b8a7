#!/usr/bin/env bash
# Runs each fuzz target for SECONDS_EACH seconds (300), or the one in TARGET, and keeps in the
# corpus the fewest inputs that reach everything reached so far. Fails if a property is broken;
# the input is then under tests/fuzz/artifacts.
set -euo pipefail

cd "$(dirname "$0")/fuzz"
fuzz=../../target/tools/bin/cargo-fuzz
# libFuzzer needs options that the stable compiler has but does not offer.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$PWD/../../target/fuzz"

for target in ${TARGET:-records texts tokens}; do
    # Rust checks what the sanitizer would; without it more inputs are tried in the same time.
    "$fuzz" fuzz run --fuzz-dir . --sanitizer none "$target" -- \
        -max_total_time="${SECONDS_EACH:-300}" -max_len=4096 -timeout=5 -print_final_stats=1
    # One input for each branch; to keep one for each count of loops would be three times as many.
    "$fuzz" fuzz cmin --fuzz-dir . --sanitizer none "$target" -- -use_counters=0
done
