#!/usr/bin/env bash
# The compiler of scripts/test.sh: cargo calls it for the packages of this workspace alone, not for dependencies. A
# warning is an error. Clippy lints what it compiles, so that it needs no pass of its own.
set -euo pipefail

main() {
    case " $* " in
        # Clippy switches a part of the optimisation off. It reads the same sources with the tests of the library.
        *' --crate-name quoit '*' --crate-type lib '*) exec "$@" -D warnings ;;
        # Simulations compute, so does the check of the layers, and so do the peers that the tests start.
        *' --crate-name scenarios '* | *' --crate-name layering '* | *' --crate-name quoit '*' --crate-type bin '*)
            lint "$@" -C codegen-units=1
            ;;
        # Cargo asks about the compiler.
        *' -vV '* | *' --crate-name ___ '*) exec "$@" ;;
        # Compiled and run, other tests take less time when they are not optimised.
        *) lint "$@" -C opt-level=0 -C codegen-units=16 ;;
    esac
}

lint() {
    exec clippy-driver "$@" -D warnings
}

main "$@"
