"""Measures transfers over long and lossy lines; called by scripts/bench.sh --lines.

  matrix    one endless stream for --seconds, over lines of 10 and 50 ms one way and 0, 0.1 and 1 % loss
  narrow    a line that loses packets above 1,280 bytes from second 5 to second 15: the speed before, while and after
  share     a QUIC stream and a TCP stream (Cubic) on one line at the same time
  slow      a line of 1 Mbit/s with a queue of 300 kB: the round trips that a ping would have
  request   `quoit request` of --mebibytes over 10 ms one way and 0.1 % loss, beside a TCP copy of as many bytes
  small     `quoit store` of --files files of 10 KiB, with names and as a directory, over 50 ms one way and over hardly any
            delay: three copies, one at the storing peer and two beyond the line

Two network namespaces are joined by two TUN devices and a relay (benches/lines.rs), so that TCP and QUIC meet the same
line: 1,500 bytes a packet, 400 Mbit/s, a queue of one round trip, losses by a seed. That needs root and /dev/net/tun.
Without them the relay carries UDP over loopback: no TCP, and packets of up to 6,500 bytes.

The ways to send: `tcp` is Linux with Cubic; `quoit` has the settings of a peer; `cubic`, `newreno` and `bbr` have the
same with another congestion control of quinn. All of them meet a line in turn.
"""
import argparse, fcntl, json, os, socket, statistics, struct, subprocess, sys, tempfile, time

import measure

WAYS = ["tcp", "quoit", "cubic", "newreno", "bbr"]
HERE, THERE = "10.78.0.1", "10.78.0.2"
RATE_MBIT = 400


class Line:
    """Two ends and the relay between them."""

    def __init__(self, options, delay, loss=0.0, rate=RATE_MBIT, queue_kib=None, seed=1, more=()):
        self.options, self.tuns, self.relay = options, [], None
        queue = queue_kib or max(64, rate * 1e6 / 8 * 2 * delay / 1024)
        self.manner = [*("--delay-ms", delay * 1e3, "--loss", loss, "--rate-mbit", rate, "--queue-kib", queue),
                       *("--seed", seed), *more]
        self.spaces = [f"quoit-line-{os.getpid()}-{end}" for end in "ab"]
        self.port = options.base_port
        self.folder = tempfile.mkdtemp(prefix="quoit-lines-", dir=options.root)

    def __enter__(self):
        try:
            self.lay()
        except BaseException:
            self.__exit__()
            raise
        return self

    def lay(self):
        if self.options.udp:
            self.start("--listen", self.port + 1, "--to", f"127.0.0.1:{self.port}")
            return
        for end, (space, address) in enumerate(zip(self.spaces, (HERE, THERE))):
            run("ip", "netns", "add", space)
            name = f"qline{os.getpid()}{'ab'[end]}"
            self.tuns.append(tun(name))
            run("ip", "link", "set", name, "netns", space)
            for words in (f"link set {name} mtu 1500 txqueuelen 10000", f"addr add {address}/24 dev {name}",
                          f"link set {name} up", "link set lo up"):
                run("ip", "-n", space, *words.split())
            # No memory of earlier connections.
            run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1")
        self.start()

    def start(self, *words):
        one, other = self.tuns or (subprocess.DEVNULL, subprocess.DEVNULL)
        command = [self.options.program, "relay", *words, *self.manner]
        self.relay = subprocess.Popen([str(word) for word in command], stdin=one, stdout=other)

    def __exit__(self, *_):
        if self.relay:
            self.relay.kill()
            self.relay.wait()
        for fd in self.tuns:
            os.close(fd)
        if not self.options.udp:
            for space in self.spaces:
                subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)
        for name in os.listdir(self.folder):
            os.remove(os.path.join(self.folder, name))
        os.rmdir(self.folder)

    def at(self, end):
        return [] if self.options.udp else ["ip", "netns", "exec", self.spaces[end]]

    def begin(self, how, *bound):
        """Starts both ends of one transfer."""
        self.port += 1 if not self.options.udp else 0
        address = f"127.0.0.1:{self.port}" if self.options.udp else f"{HERE}:{self.port}"
        dial = f"127.0.0.1:{self.port + 1}" if self.options.udp else address
        certificate = os.path.join(self.folder, f"{self.port}.der")
        if os.path.exists(certificate):
            os.remove(certificate)
        program = [sys.executable, __file__, "--tcp"] if how == "tcp" else [self.options.program]
        sender = subprocess.Popen([*self.at(0), *program, "send", how, "--listen", address, "--certificate",
                                   certificate], stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + 10
        while not os.path.exists(certificate) or not os.path.getsize(certificate):
            if time.monotonic() > end:
                sys.exit("the sender did not start")
            time.sleep(0.01)
        receiver = subprocess.Popen([*self.at(1), *program, "receive", how, "--from", dial, "--certificate", certificate,
                                     *map(str, bound)], stdout=subprocess.PIPE, text=True)
        return sender, receiver

    def finish(self, pair):
        """The figures of both ends of a transfer."""
        sender, receiver = pair
        came = receiver.communicate()[0]
        if receiver.returncode:
            sender.kill()
            sys.exit("the receiver failed")
        sent, came = json.loads(sender.communicate()[0]), json.loads(came)
        figures = {**sent, **came, "cpu_s": sent["cpu_s"] + came["cpu_s"]}
        figures["rate"] = figures["bytes"] / figures["took_s"] / 1e6
        return figures

    def transfer(self, how, *bound):
        return self.finish(self.begin(how, *bound))


def tcp(side, _, *words):
    """One end of a TCP copy, with Cubic whatever the system's default is; the words are those of benches/lines.rs."""
    options = dict(zip(words[::2], words[1::2]))
    host, port = options["--listen" if side == "send" else "--from"].split(":")
    end = socket.socket()
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    if side == "send":
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind((host, int(port)))
        end.listen()
        with open(options["--certificate"], "w") as ready:
            ready.write("none")
        stream, piece = end.accept()[0], bytes(1 << 20)
        if stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") != b"cubic":
            sys.exit("this stream has no Cubic")
        try:
            while True:
                stream.sendall(piece)
        except ConnectionError:
            print(json.dumps({"cpu_s": time.process_time()}))
        return
    end.connect((host, int(port)))
    begin, came, by_second, buffer = time.monotonic(), 0, [], bytearray(1 << 20)
    seconds, wanted = float(options.get("--seconds", 86_400)), int(options.get("--mebibytes", 1 << 40)) << 20
    while came < wanted and (left := begin + seconds - time.monotonic()) > 0:
        end.settimeout(left)
        try:
            count = end.recv_into(buffer)
        except TimeoutError:
            continue
        by_second += [0] * (int(time.monotonic() - begin) + 1 - len(by_second))
        by_second[-1] += count
        came += count
    print(json.dumps({"bytes": came, "took_s": time.monotonic() - begin, "cpu_s": time.process_time(),
                      "by_second": by_second}))
    # The sender ends at once, with all that is on its way.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    tunsetiff, iff_tun, iff_no_pi = 0x400454CA, 0x0001, 0x1000
    fcntl.ioctl(fd, tunsetiff, struct.pack("16sH22x", name.encode(), iff_tun | iff_no_pi))
    return fd


def run(*command):
    subprocess.run(command, check=True)


def ways(options):
    return [way for way in options.ways if not (way == "tcp" and options.udp)]


def spread(values):
    return f"{statistics.median(values):.2f} | {min(values):.2f} to {max(values):.2f}"


def turned(values, by):
    by %= len(values)
    return values[by:] + values[:by]


def matrix(options):
    figures = {}
    for round_ in range(options.rounds):
        for delay in options.delays:
            for loss in options.losses:
                for how in turned(ways(options), round_):
                    with Line(options, delay, loss, seed=round_ + 1) as line:
                        figures.setdefault((delay, loss, how), []).append(
                            line.transfer(how, "--seconds", options.seconds))
        print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr)
    print("| line | way | MB/s, median | least to most | / TCP, round by round | round trip, median and p99, ms | "
          "black holes |\n|---|---|---|---|---|---|---|")
    for (delay, loss, how), rounds in sorted(figures.items(), key=lambda item: (item[0][:2], WAYS.index(item[0][2]))):
        rates = [round_["rate"] for round_ in rounds]
        tcp = [round_["rate"] for round_ in figures.get((delay, loss, "tcp"), [])]
        ratio = statistics.median(one / other for one, other in zip(rates, tcp)) if tcp else None
        trips = [statistics.median(round_[key] for round_ in rounds) for key in ("rtt_ms", "rtt_p99_ms")
                 if key in rounds[0]]
        print(f"| {delay * 1e3:.0f} ms one way, {loss * 100:g} % | {how} | {spread(rates)} | "
              f"{f'{ratio:.2f}' if tcp else '–'} | "
              f"{', '.join(f'{trip:.0f}' for trip in trips) or '–'} | "
              f"{sum(round_.get('black_holes', 0) for round_ in rounds)} |")
    return {f"{delay} {loss} {how}": rounds for (delay, loss, how), rounds in figures.items()}


def narrow(options):
    seconds, begin, lasts = 45, 5, 10
    figures = {}
    print("| way | MB/s before | while packets above 1,280 bytes are lost | the last 10 s of 45 | 0.8 of before again, "
          "s after the line widened | packet in the end |\n|---|---|---|---|---|---|")
    for how in ways(options):
        with Line(options, 0.010, more=("--narrow", 1280, "--narrow-from", begin, "--narrow-for", lasts)) as line:
            found = line.transfer(how, "--seconds", seconds)
        by_second = [count / 1e6 for count in found["by_second"]] + [0.0] * seconds
        mean = lambda first, last: statistics.mean(by_second[first:last])
        before, end = mean(2, begin), begin + lasts
        back = next((at - end for at in range(end + 1, seconds) if by_second[at] >= 0.8 * before), None)
        print(f"| {how} | {before:.1f} | {mean(begin + 1, end):.1f} | {mean(seconds - 10, seconds):.1f} | "
              f"{'never' if back is None else back} | {found.get('mtu', '–')} |", flush=True)
        figures[how] = found
    return figures


def share(options):
    figures = {}
    print("| way, beside one TCP stream (Cubic) on 100 Mbit/s | its part of all bytes, median | least to most |\n|---|---|---|")
    for how in ways(options):
        parts = []
        for round_ in range(options.rounds):
            with Line(options, 0.010, rate=100, seed=round_ + 1) as line:
                pairs = [line.begin(way, "--seconds", options.seconds) for way in turned(["tcp", how], round_)]
                own, other = turned([line.finish(pair) for pair in pairs], round_ + 1)
            parts.append(own["bytes"] / (own["bytes"] + other["bytes"]))
        print(f"| {how} | {spread(parts)} |", flush=True)
        figures[how] = parts
    return figures


def slow(options):
    figures = {}
    print("| way, on 1 Mbit/s with a queue of 300 kB | kB/s | round trip, median and p99, ms |\n|---|---|---|")
    for how in ways(options):
        with Line(options, 0.001, rate=1, queue_kib=300) as line:
            found = figures[how] = line.transfer(how, "--seconds", options.seconds)
        trips = ", ".join(f"{found[key]:.0f}" for key in ("rtt_ms", "rtt_p99_ms") if key in found)
        print(f"| {how} | {found['rate'] * 1e3:.0f} | {trips or '–'} |", flush=True)
    return figures


def request(options):
    if options.udp:
        sys.exit("a request over a line needs root and /dev/net/tun")
    figures, measure.BOUND = {}, 3600.0
    for round_ in range(options.rounds):
        with Line(options, 0.010, 0.001, seed=round_ + 1) as line:
            ring = measure.Ring(argparse.Namespace(**{**vars(options), "user": None}))
            ring.within = {255: line.at(0), 0: line.at(1)}
            try:
                # With one copy, peer 255 owns all files but those whose address begins with a zero byte.
                holder = ring.found(255, "--replicas", "1", "--listen", f"{HERE}:12300")
                reader = ring.peers[0] = measure.Peer(ring, 0, "join", "0", f"{HERE}:12300", "--listen",
                                                      f"{THERE}:12300")
                reader.wait_for(r" is active")
                name = "big"
                path = os.path.join(ring.root, name)
                measure.noise(path, options.mebibytes)
                holder.done(f"Store {path}", r"^Stored ")
                took = reader.done(f"Request {name}", r"^Received ")
                if measure.digest(os.path.join(reader.dir, "received", name)) != measure.digest(path):
                    sys.exit("the file that came is another one")
                suspected = [text for peer in ring.peers.values() for _, text in peer.lines if "no longer alive" in text]
            finally:
                ring.end()
        rate = options.mebibytes * 1.048576 / took
        figures.setdefault("quoit request", []).append(rate)
        for how in ways(options):
            with Line(options, 0.010, 0.001, seed=round_ + 1) as line:
                found = line.transfer(how, "--mebibytes", options.mebibytes)
            figures.setdefault(how, []).append(found["rate"])
        print(f"round {round_ + 1}: {', '.join(f'{name} {rates[-1]:.2f}' for name, rates in figures.items())} MB/s; "
              f"suspicions: {suspected or 'none'}", file=sys.stderr)
    print(f"| {options.mebibytes} MiB over 10 ms one way, 0.1 % | MB/s, median | least to most | / TCP, round by round |\n"
          "|---|---|---|---|")
    for name, rates in figures.items():
        ratios = [one / other for one, other in zip(rates, figures.get("tcp", []))]
        print(f"| {name} | {spread(rates)} | "
              f"{f'{statistics.median(ratios):.2f}' if ratios else '–'} |")
    return figures


def small(options):
    if options.udp:
        sys.exit("peers beyond a line need root and /dev/net/tun")
    figures, measure.BOUND = {}, 600.0
    for round_ in range(options.rounds):
        for delay in (0.0005, 0.050):
            with Line(options, delay, queue_kib=4096, seed=round_ + 1) as line:
                ring = measure.Ring(argparse.Namespace(**{**vars(options), "user": None}))
                ring.within = {60: line.at(0), 150: line.at(1), 240: line.at(1)}
                try:
                    first = ring.found(60, "--listen", f"{HERE}:12300")
                    for at, number in enumerate((150, 240)):
                        peer = ring.peers[number] = measure.Peer(ring, number, "join", str(number), f"{HERE}:12300",
                                                                 "--listen", f"{THERE}:{12300 + at}")
                        peer.wait_for(r" is active")
                    measure.settle(ring)
                    for kind, words in (("with names", []), ("as a directory", ["-r"])):
                        folder = os.path.join(ring.root, kind.replace(" ", "-"))
                        os.mkdir(folder)
                        for i in range(options.files):
                            with open(os.path.join(folder, f"{kind[-1]}-{i}"), "wb") as file:
                                file.write(os.urandom(10 * 1024))
                        paths = [folder] if words else sorted(os.path.join(folder, name) for name in os.listdir(folder))
                        places = ["--data-dir", first.dir, "--certs-dir", os.path.join(ring.root, "certs")]
                        begin = time.monotonic()
                        done = subprocess.run([*line.at(0), ring.bin, "store", *words, *places, *paths],
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                        if done.returncode:
                            sys.exit(f"the store failed: {done.stderr[-500:]}")
                        figures.setdefault((kind, delay), []).append(options.files / (time.monotonic() - begin))
                finally:
                    ring.end()
            found = ", ".join(f"{kind} {figures[kind, delay][-1]:.0f}" for kind in ("with names", "as a directory"))
            print(f"round {round_ + 1}, {delay * 1e3:g} ms: {found} files/s", file=sys.stderr)
    print(f"| {options.files} files of 10 KiB | files/s over 50 ms one way, median | least to most | over 0.5 ms | ratio |\n"
          "|---|---|---|---|---|")
    for kind in ("with names", "as a directory"):
        near, far = figures[kind, 0.0005], figures[kind, 0.050]
        print(f"| {kind} | {statistics.median(far):.0f} | {min(far):.0f} to {max(far):.0f} | {statistics.median(near):.0f} | "
              f"{statistics.median(far) / statistics.median(near):.2f} |")
    return {f"{kind}, {delay * 1e3:g} ms": rates for (kind, delay), rates in figures.items()}


def figures_of(unit):
    return lambda text: [float(figure) * unit for figure in text.split(",")]


def main():
    if sys.argv[1:2] == ["--tcp"]:
        return tcp(*sys.argv[2:])
    parts = {"matrix": matrix, "narrow": narrow, "share": share, "slow": slow, "request": request, "small": small}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*parts, []], help="what to measure [default: all]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=15, help="the length of a transfer")
    parser.add_argument("--mebibytes", type=int, default=1024, help="the size of the file of `request`")
    parser.add_argument("--files", type=int, default=10_000, help="the number of files of `small`")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=WAYS)
    parser.add_argument("--delays", type=figures_of(1e-3), default=[0.010, 0.050], help="of `matrix`: 10,50 (ms one way)")
    parser.add_argument("--losses", type=figures_of(1e-2), default=[0.0, 0.001, 0.01], help="of `matrix`: 0,0.1,1 (percent)")
    parser.add_argument("--udp", action="store_true", help="UDP over loopback, as without root")
    parser.add_argument("--base-port", type=int, default=21000)
    parser.add_argument("--root", help="the folder for files and peers [default: the system's]")
    parser.add_argument("--out", default="target/bench")
    parser.add_argument("--bin", default="target/release/quoit")
    parser.add_argument("--program", required=True, help="the program of benches/lines.rs")
    options = parser.parse_args()
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        print("NOT MEASURED: TCP, which needs root and /dev/net/tun; UDP over loopback instead", file=sys.stderr)
        options.udp = True
    os.makedirs(options.out, exist_ok=True)
    for name in options.parts or parts:
        print(f"\n{name}\n", flush=True)
        with open(os.path.join(options.out, f"lines-{name}.json"), "w") as out:
            json.dump(parts[name](options), out, indent=1)


if __name__ == "__main__":
    main()
