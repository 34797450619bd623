#!/usr/bin/env bash
# Builds the fuzz targets and runs each for some seconds: scripts/fuzz.sh [SECONDS] [TARGET...]
#
# Needs neither a nightly compiler nor cargo-fuzz: the targets are safe Rust, so coverage without
# the address sanitizer (which would be unstable) finds what there is to find: panics, overflows,
# broken promises, endless loops and memory without bounds. libFuzzer itself comes with the crate
# libfuzzer-sys and is compiled by the C++ compiler.
#
# A finding makes the run end with an error and lies in fuzz/artifacts/TARGET; give its path to the
# target's program to see it again. The corpus grows in fuzz/corpus; fuzz/seeds is its beginning.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/fuzz

# What `cargo fuzz build --sanitizer none` passes. With --target, build scripts and macros stay
# free of it.
flags=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cllvm-args=-sanitizer-coverage-stack-depth
    -Ccodegen-units=1
    --cfg=fuzzing
)
CARGO_TARGET_DIR=$target_dir RUSTFLAGS="${flags[*]}" \
    cargo build --quiet --manifest-path fuzz/Cargo.toml --release --target "$host" --bins

found=()
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    log=fuzz/artifacts/$target/log
    dictionary=()
    if [ -f "fuzz/seeds/$target.dict" ]; then
        dictionary=(-dict="fuzz/seeds/$target.dict")
    fi
    if ! "$target_dir/$host/release/$target" \
        "fuzz/corpus/$target" "fuzz/seeds/$target" "${dictionary[@]}" \
        -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len=8192 \
        -artifact_prefix="fuzz/artifacts/$target/" -print_final_stats=1 >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "fuzz: $target found something, see fuzz/artifacts/$target" >&2
        found+=("$target")
        continue
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz: $target: $runs runs in $seconds s, nothing found"
done
if [ ${#found[@]} -gt 0 ]; then
    echo "fuzz: findings in: ${found[*]}" >&2
    exit 1
fi
