#!/usr/bin/env bash
# Builds and runs the fuzz targets; see usage below.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/fuzz.sh [--seconds N] [TARGET…]

Builds all targets of fuzz/ with stable Rust, runs each N seconds, two at a time, and ends with a table.
Without TARGETs all are run. What is found stays in fuzz/corpus and goes on from there the next time.
Exit code 1 when an input crashed, hung or took too much memory; the command that shows it again is told.

  --seconds N      how long each target runs [default: 60]

Needs cargo, python3 and a C++ compiler.
TEXT
}

main() {
    read_arguments "$@"
    cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"
    prepare
    logs=$(mktemp -d "${TMPDIR:-/tmp}/quoit-fuzz.XXXXXX")
    trap 'rm -rf -- "$logs"' EXIT
    local target running=0
    for target in "${targets[@]}"; do
        if ((running == at_once)); then
            wait -n || true
            running=$((running - 1))
        fi
        run "$target" &
        running=$((running + 1))
    done
    while ((running > 0)); do
        wait -n || true
        running=$((running - 1))
    done
    report
}

read_arguments() {
    seconds=60 targets=()
    while (($# > 0)); do
        case $1 in
            --seconds)
                (($# > 1)) || misuse "$1 needs a value"
                seconds=$2
                shift
                ;;
            --seconds=*) seconds=${1#*=} ;;
            -h | --help)
                usage
                exit 0
                ;;
            -*) misuse "no option $1" ;;
            *) targets+=("$1") ;;
        esac
        shift
    done
    [[ $seconds =~ ^[1-9][0-9]{0,5}$ ]] || misuse "--seconds $seconds: a whole number from 1 on"
}

# The tools, the targets, their first inputs.
prepare() {
    local tool
    for tool in cargo python3 c++; do
        command -v "$tool" >/dev/null || skip "$tool is not there"
    done
    local all
    mapfile -t all < <(basename -s .rs targets/*.rs)
    if ((${#targets[@]} == 0)); then
        targets=("${all[@]}")
    fi
    for tool in "${targets[@]}"; do
        [[ " ${all[*]} " == *" $tool "* ]] || misuse "no target $tool; there are ${all[*]}"
    done
    triple=$(rustc -vV | sed -n 's/^host: //p')
    build
    python3 seeds.py
}

# As cargo-fuzz does. No sanitizer: the crate has no unsafe code.
build() {
    local flags="--cfg fuzzing -C passes=sancov-module -C llvm-args=-simplifycfg-branch-fold-threshold=0"
    flags+=" ${sancov[*]/#/-C llvm-args=-sanitizer-coverage-}"
    if ((seconds < worth_optimising)); then
        # Only the project's own code is instrumented, so that the tests' build of the dependencies serves here too. One
        # library alone is built, so that it takes both processors only in several units.
        QUOIT_FUZZ_FLAGS=$flags RUSTC_WORKSPACE_WRAPPER=$PWD/instrumented.sh \
            cargo build --locked --profile ci --config profile.ci.package.quoit.opt-level=0 \
            --config profile.ci.package.quoit.codegen-units=4 --bins
        built=ci
    else
        # In one unit everything can be inlined: three times as many executions.
        RUSTFLAGS="$flags -C codegen-units=1" cargo build --locked --profile fuzz --target "$triple" --bins
        built=$triple/fuzz
    fi
    built=$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/$built
}

# Runs one target to the end of its time, or to what it finds.
run() {
    local found=artifacts/$1
    mkdir -p "$found" "corpus/$1"
    touch "$logs/$1.begun"
    "$built/$1" "corpus/$1" -artifact_prefix="$found/" -max_total_time="$seconds" \
        -rss_limit_mb="$memory_max_mb" -timeout="$input_seconds_max" -max_len="$input_bytes_max" \
        -print_final_stats=1 >"$logs/$1.log" 2>&1 || touch "$logs/$1.failed"
    printf '%s: %s executions\n' "$1" "$(stat_of "$1" number_of_executed_units)"
}

report() {
    local target found failed=no
    printf '\n%-16s %14s %12s %10s %8s\n' target executions per-second peak-MiB crashes
    for target in "${targets[@]}"; do
        mapfile -t found < <(findings "$target")
        if [[ -e $logs/$target.failed ]] && ((${#found[@]} == 0)); then
            found=("(no input was kept)")
        fi
        printf '%-16s %14s %12s %10s %8s\n' "$target" "$(stat_of "$target" number_of_executed_units)" \
            "$(stat_of "$target" average_exec_per_sec)" "$(stat_of "$target" peak_rss_mb)" "${#found[@]}"
        if ((${#found[@]} > 0)); then
            failed=yes
        fi
    done
    [[ $failed == yes ]] || return 0
    for target in "${targets[@]}"; do
        [[ -e $logs/$target.failed ]] || continue
        printf '\n%s fails:\n' "$target" >&2
        grep -E -A6 'panicked at|ERROR: libFuzzer|ALARM' "$logs/$target.log" | head -n 20 >&2 || tail -n 20 "$logs/$target.log" >&2
        findings "$target" | sed "s|^|  $built/$target fuzz/|" >&2
    done
    exit 1
}

# The failing inputs that this run wrote down.
findings() {
    find "artifacts/$1" -type f -newer "$logs/$1.begun" \
        \( -name 'crash-*' -o -name 'oom-*' -o -name 'timeout-*' -o -name 'leak-*' \)
}

stat_of() {
    sed -n "s/^stat::$2: *//p" "$logs/$1.log" | tail -n 1
}

misuse() {
    printf 'error: %s\n' "$1" >&2
    usage >&2
    exit 2
}

skip() {
    printf 'SKIPPED: the fuzz targets: %s\n' "$1"
    exit 0
}

at_once=2
# Seconds: for less, building quickly is worth more than running quickly.
worth_optimising=30
# How libFuzzer sees which way an input takes.
sancov=(level=4 inline-8bit-counters pc-table trace-compares)
# Far above what a decoder takes; libFuzzer itself takes about 50.
memory_max_mb=512
input_seconds_max=10
# More than a frame has.
input_bytes_max=70000

main "$@"
