#!/usr/bin/env bash
# All checks of the project: format, lints, documents, tests. Needs cargo and a C compiler, never root.
#
#   scripts/test.sh          what runs anywhere
#   scripts/test.sh --all    also what needs root, network namespaces, a terminal multiplexer, 1 GiB
#                            files, or a few seconds of each fuzz target; what cannot run here is named with
#                            a line "SKIPPED: …", and counted as skipped, not as passed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    case $# in
        0) ;;
        1)
            [[ $1 == --all ]] || misuse
            export QUOIT_TEST_ALL=1
            ;;
        *) misuse ;;
    esac

    step cargo fmt --check
    if command -v python3 >/dev/null; then
        step scripts/comments.sh check
    else
        printf 'SKIPPED: comments are not read: python3 is not there\n'
    fi
    local script
    for script in scripts/*.sh fuzz/*.sh .ci/run; do
        bash -n "$script"
    done
    if command -v shellcheck >/dev/null; then
        step shellcheck scripts/*.sh fuzz/*.sh .ci/run
    fi
    if [[ ${QUOIT_TEST_ALL:-} == 1 ]]; then
        step scripts/deny.sh
        step cargo fmt --check --manifest-path fuzz/Cargo.toml
        step scripts/fuzz.sh --seconds "${QUOIT_FUZZ_SECONDS:-3}"
    fi
    run_tests
}

# The tests come last, so that their summary is what one reads. Clippy and rustdoc have no pass of their own: the build
# lints what it compiles, and the documentation is made where its examples are run, which nextest does not do.
run_tests() {
    local options packages=(--package quoit)
    if [[ ${QUOIT_TEST_ALL:-} == 1 ]] && command -v c++ >/dev/null; then
        # The package has no tests. With it, cargo turns on what scripts/fuzz.sh has turned on in other dependencies, and
        # does not compile those again.
        packages+=(--package quoit-fuzz)
    fi
    export RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/rustc.sh RUSTDOC=$PWD/scripts/rustdoc.sh
    mapfile -t options < <(scripts/skipped.sh)
    options+=(--include-ignored)
    # All at once, so that every processor has work; and the benchmarks, which are no tests, for their lints.
    step cargo test --locked --profile ci "${packages[@]}" --no-run
    step cargo test --locked --profile ci "${packages[@]}" --no-run --bench '*'
    if cargo nextest --version >/dev/null 2>&1; then
        step cargo test --locked --profile ci "${packages[@]}" --doc
        step cargo nextest run --locked --cargo-profile ci --profile ci "${packages[@]}" \
            --test-threads "$((3 * $(processors)))" --no-fail-fast -- "${options[@]}"
    else
        step cargo test --locked --profile ci "${packages[@]}" --no-fail-fast -- "${options[@]}"
    fi
}

processors() {
    getconf _NPROCESSORS_ONLN
}

step() {
    printf '\n== %s s: %s\n' "$SECONDS" "$*"
    "$@"
}

misuse() {
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

main "$@"
