"""Measures Quoit beside other programs that move a large file over loopback; called by scripts/bench.sh.

Each round makes a new file of random bytes and a new ring of four peers with three copies, and runs each program once,
so that all of them meet the same machine. Writes a table (table.md), a bar chart (speed.svg) and all figures
(rounds.json) to the folder of --out.

  request     a peer without a copy brings the file: encrypted, hashed, on disk and synced
  store       `quoit store --wait all` at a replica that is not the owner: three durable copies
  rsync       from an rsync daemon with --fsync --whole-file: one copy, not encrypted, not hashed
  sendme      `sendme receive` from `sendme send` (iroh): encrypted, hashed, to disk
  garage      a PUT to three nodes with three copies, through the S3 interface: two of three are acknowledged
  kubo        `ipfs get` from another node: encrypted, hashed, to disk
  raw QUIC    one stream from memory to memory, with packets of at most 6,500 and of 1,452 bytes

Speed is that of the one file, whatever the number of copies. Processor time is that of all processes that take part.
Memory is the most that any one of them had resident.
"""
import argparse, json, os, statistics, subprocess, sys

import measure, others
from watch import Watch


def quoit(options):
    """The figures of Quoit and of rsync with the same file."""
    ring = measure.Ring(argparse.Namespace(**{**vars(options), "user": None}))
    try:
        figures = measure.bulk_round(ring, options, with_rsync=True)
    finally:
        ring.end()
    names = {"request": "quoit request", "store": "quoit store, three copies", "rsync": "rsync daemon, fsync"}
    return {name: figures[key] for key, name in names.items() if key in figures}


def raw(options):
    figures = {}
    env = {**os.environ, "QUOIT_BENCH_JSON": "1"}
    child = subprocess.Popen([options.stream], stdout=subprocess.PIPE, text=True, env=env)
    with Watch(child.pid) as watch:
        lines = child.stdout.read().splitlines()
    if child.wait():
        sys.exit("the raw stream failed")
    for line in lines:
        found = json.loads(line)
        share = options.mebibytes * (1 << 20) / found["bytes"]
        name = f"raw QUIC, packets of {found['packet_bytes_max']:,} bytes"
        figures[name] = (found["took_s"] * share, found["cpu_s"] * share, watch.peak)
    return figures


def table(figures, mebibytes):
    gibibytes = mebibytes / 1024
    lines = ["| what | MB/s, median | least to most | CPU s/GiB | peak memory of a process, MiB |",
             "|---|---|---|---|---|"]
    for name, rounds in figures.items():
        rates = [mebibytes * 1.048576 / took for took, _, _ in rounds]
        cpu = statistics.median(cpu for _, cpu, _ in rounds) / gibibytes
        peak = max(peak for _, _, peak in rounds)
        lines.append(f"| {name} | {statistics.median(rates):.0f} | {min(rates):.0f} to {max(rates):.0f} | {cpu:.1f} | "
                     f"{f'{peak:.0f}' if peak else '–'} |")
    return "\n".join(lines) + "\n"


def chart(figures, mebibytes):
    """Bars of the median speeds, with the spread as a line."""
    rows = [(name, [mebibytes * 1.048576 / took for took, _, _ in rounds]) for name, rounds in figures.items()]
    most, left, width, step = max(max(rates) for _, rates in rows), 250, 420, 34
    height = step * len(rows) + 50
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
             'font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="10" y="22" font-size="15">One file of {mebibytes} MiB over loopback, MB/s (median; line: least to '
             'most)</text>']
    for i, (name, rates) in enumerate(rows):
        top, at = 40 + i * step, lambda rate: left + width * rate / most
        colour = "#2a6f97" if name.startswith("quoit") else "#a9b4bd"
        middle = statistics.median(rates)
        parts += [f'<text x="{left - 8}" y="{top + 16}" text-anchor="end">{name}</text>',
                  f'<rect x="{left}" y="{top}" width="{at(middle) - left:.1f}" height="22" fill="{colour}"/>',
                  f'<line x1="{at(min(rates)):.1f}" x2="{at(max(rates)):.1f}" y1="{top + 11}" y2="{top + 11}" '
                  'stroke="black" stroke-width="1.5"/>',
                  f'<text x="{at(max(rates)) + 6:.1f}" y="{top + 16}">{middle:.0f}</text>']
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--base-port", type=int, default=21000)
    parser.add_argument("--packet-bytes", type=int, help=measure.PACKET_HELP)
    parser.add_argument("--root", help="the folder for files and peers [default: the system's]")
    parser.add_argument("--out", default="target/bench")
    parser.add_argument("--bin", default="target/release/quoit")
    parser.add_argument("--stream", required=True, help="the program of benches/stream.rs")
    options = parser.parse_args()
    measure.hold_packets(options.packet_bytes)
    others.name_missing()
    os.makedirs(options.out, exist_ok=True)
    figures = {}
    for round_ in range(options.rounds):
        print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr)
        programs = [quoit, raw, others.sendme, others.garage, others.kubo]
        for program in programs if round_ % 2 == 0 else programs[::-1]:
            for name, figure in program(options).items():
                figures.setdefault(name, []).append(figure)
        order = sorted(figures, key=lambda name: (not name.startswith("quoit"), name))
        figures = {name: figures[name] for name in order}
        for file, text in (("table.md", table(figures, options.mebibytes)),
                           ("speed.svg", chart(figures, options.mebibytes)),
                           ("rounds.json", json.dumps(figures, indent=1) + "\n")):
            with open(os.path.join(options.out, file), "w") as out:
                out.write(text)
    print(table(figures, options.mebibytes), end="")
    print(f"\nA chart and all rounds are in {options.out}.")


if __name__ == "__main__":
    main()
