#!/usr/bin/env bash
# Measures Quoit beside other programs that move files, in turn, in the same minutes; see scripts/bench.py --help.
#
#   scripts/bench.sh [--rounds 5] [--mebibytes 1024] [--packet-bytes N] [--out target/bench]
#   scripts/bench.sh --lines [matrix|narrow|share|slow|request|small …] [--rounds 3] [--seconds 15]
#
# Builds what it needs. Beside Quoit it measures one raw QUIC stream of benches/stream.rs, and each of these programs
# that is installed; one that is missing is named with the way to install it: rsync, sendme, garage, kubo.
#
# With --lines: long and lossy lines, TCP beside the congestion controls of quinn; see scripts/bench.sh --lines --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v python3 >/dev/null || {
    printf 'scripts/bench.sh needs python3\n' >&2
    exit 2
}

# Builds a benchmark, and prints the path of its program.
benchmark() {
    cargo bench --locked --bench "$1" --no-run --message-format json |
        python3 -c 'import json, sys
for line in sys.stdin:
    found = json.loads(line)
    if found.get("executable") and found["target"]["name"] == sys.argv[1]:
        print(found["executable"])' "$1"
}

cargo build --locked --release --bin quoit
if [[ ${1-} == --lines ]]; then
    shift
    program=$(benchmark lines)
    exec python3 scripts/lines.py --program "$program" "$@"
fi
program=$(benchmark stream)
exec python3 scripts/bench.py --stream "$program" "$@"
