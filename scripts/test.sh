#!/usr/bin/env bash
# All checks of the project: format, lints, documents, tests. Needs cargo and a C compiler, never root.
#
#   scripts/test.sh          what runs anywhere
#   scripts/test.sh --all    also what needs root, network namespaces, a terminal multiplexer, 1 GiB
#                            files, or ten seconds of each fuzz target; what cannot run here is named with
#                            a line "SKIPPED: …"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case $# in
    0) ;;
    1)
        [[ $1 == --all ]] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
        export QUOIT_TEST_ALL=1
        ;;
    *)
        sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

step cargo fmt --check
step cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS='-D warnings' step cargo doc --locked --no-deps
for script in scripts/*.sh .ci/run; do
    bash -n "$script"
done
if command -v shellcheck >/dev/null; then
    step shellcheck scripts/*.sh .ci/run
fi
if [[ ${QUOIT_TEST_ALL:-} == 1 ]]; then
    step cargo fmt --check --manifest-path fuzz/Cargo.toml
    step scripts/fuzz.sh --seconds "${QUOIT_FUZZ_SECONDS:-10}"
fi

# The tests come last, so that their summary is what one reads. Documentation tests are not
# nextest's, so they run before it.
if cargo nextest --version >/dev/null 2>&1; then
    step cargo test --locked --doc
    step cargo nextest run --locked --no-fail-fast
else
    step cargo test --locked --no-fail-fast
fi
