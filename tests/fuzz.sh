#!/usr/bin/env bash
# Runs each fuzz target, or TARGET alone, for SECONDS_EACH seconds (300) and minimises its corpus.
# Fails if an input violates a property; the input is then in tests/fuzz/artifacts.
set -euo pipefail

cd "$(dirname "$0")/fuzz"
fuzz=../../target/tools/bin/cargo-fuzz
# libFuzzer needs unstable compiler options; this enables them on the stable compiler.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$PWD/../../target/fuzz"

for target in ${TARGET:-records texts tokens}; do
    # Without a sanitizer, as the code has no `unsafe`: more inputs in the same time.
    "$fuzz" fuzz run --fuzz-dir . --sanitizer none "$target" -- \
        -max_total_time="${SECONDS_EACH:-300}" -max_len=4096 -timeout=5 -print_final_stats=1
    # One input per branch; one per loop count would triple the corpus.
    "$fuzz" fuzz cmin --fuzz-dir . --sanitizer none "$target" -- -use_counters=0
done
