#!/usr/bin/env bash
# Measures Quoit beside other programs that move files, in turn, in the same minutes; see scripts/bench.py --help.
#
#   scripts/bench.sh [--rounds 5] [--mebibytes 1024] [--out target/bench]
#
# Builds what it needs. Beside Quoit it measures one raw QUIC stream of benches/stream.rs, an rsync daemon with fsync if
# `rsync` is installed, and sendme if `sendme` is (cargo install sendme). A program that is missing is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v python3 >/dev/null || {
    printf 'scripts/bench.sh needs python3\n' >&2
    exit 2
}
cargo build --locked --release --bin quoit
stream=$(cargo bench --locked --bench stream --no-run --message-format json |
    python3 -c 'import json, sys
for line in sys.stdin:
    found = json.loads(line)
    if found.get("executable") and found["target"]["name"] == "stream":
        print(found["executable"])')
exec python3 scripts/bench.py --stream "$stream" "$@"
