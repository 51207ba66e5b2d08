#!/usr/bin/env bash
# Checks the dependencies; see usage below.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/deny.sh

Checks licences, sources, doubled versions and known vulnerabilities of all dependencies against deny.toml,
with cargo-deny. Where the database of vulnerabilities cannot be fetched, that part is SKIPPED. Exit code 1
when a dependency breaks a rule.

Needs cargo-deny (`cargo install --locked cargo-deny`).
TEXT
}

main() {
    case $# in
        0) ;;
        *)
            usage
            [[ $1 == -h || $1 == --help ]] || exit 2
            exit 0
            ;;
    esac
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    if ! cargo deny --version >/dev/null 2>&1; then
        printf 'SKIPPED: the dependencies are not checked: cargo-deny is not there\n'
        return
    fi
    cargo deny --locked --log-level error check --hide-inclusion-graph licenses bans sources
    if timeout "$fetch_seconds_max" cargo deny --locked fetch db >/dev/null 2>&1; then
        cargo deny --locked --log-level error check --hide-inclusion-graph --disable-fetch advisories
    else
        printf 'SKIPPED: known vulnerabilities are not checked: the database cannot be fetched\n'
    fi
}

# Where the network drops packets, a fetch would wait for minutes.
fetch_seconds_max=30

main "$@"
