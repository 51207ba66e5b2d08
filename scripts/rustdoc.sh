#!/usr/bin/env bash
# The rustdoc of scripts/test.sh: before `cargo test` runs the examples of the documentation, the documentation itself is
# made, against the libraries that the tests use. `cargo doc` would check all dependencies for it.
set -euo pipefail

main() {
    local options=() word
    if [[ " $* " == *' --test '* ]]; then
        for word in "$@"; do
            [[ $word == --test ]] || options+=("$word")
        done
        rustdoc "${options[@]}" -D warnings --out-dir "${CARGO_TARGET_DIR:-target}/doc"
    fi
    exec rustdoc "$@"
}

main "$@"
