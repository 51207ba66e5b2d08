#!/usr/bin/env bash
# The compiler for scripts/fuzz.sh: cargo calls it for the packages of this workspace alone, not for dependencies.
set -euo pipefail
read -ra flags <<<"$QUOIT_FUZZ_FLAGS"
exec "$@" "${flags[@]}"
