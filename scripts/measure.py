#!/usr/bin/env python3
"""Measures rings of real processes on loopback; prints what docs/measurements.md quotes.

    scripts/measure.py repair   [--rounds 20] [--deaths 1] [--successors 8]   kill -9 to a repaired ring
    scripts/measure.py join     [--rounds 10] [--files 100]                   join to active, and to complete
    scripts/measure.py transfer [--rounds 5] [--mebibytes 1024]               store and request beside cp and rsync
    scripts/measure.py hostile  [--seconds 60] [--from 127.0.0.1,…]           requests while a member floods the peer
    scripts/measure.py commands [--rounds 3] [--commands 1000]                `quoit request` in a shell loop
    scripts/measure.py local    [--rounds 3] [--mebibytes 1024] [--files 1000]  request of what is there already
    scripts/measure.py small    [--rounds 3] [--files 10000] [--peers 7]      one `quoit store` of many files of 10 KiB

It uses target/release/quoit (or --bin) and a temporary folder (or --root), starts peers on ports from
--base-port on, and ends every process that it started.
"""
import argparse, hashlib, os, random, re, shutil, signal, statistics, subprocess, sys, tempfile, threading, time

BOUND = 120.0


class Peer:
    """One peer; its lines on standard error with the time at which each came."""

    def __init__(self, ring, number, *command):
        self.number, self.lines, self.out = number, [], []
        self.dir = os.path.join(ring.root, str(number))
        arguments = [ring.bin, *command, "--data-dir", self.dir, "--certs-dir", os.path.join(ring.root, "certs"),
                     "--base-port", str(ring.base_port)]
        self.begin = time.monotonic()
        # This measures the repair, not the time for which it waits for a peer to come back.
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "QUOIT_AWAY_LIMIT": "0"})
        for pipe, lines in ((self.process.stderr, self.lines), (self.process.stdout, self.out)):
            threading.Thread(target=self.read, args=(pipe, lines), daemon=True).start()

    @staticmethod
    def read(pipe, lines):
        for line in pipe:
            lines.append((time.monotonic(), line.rstrip("\n")))

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def wait_for(self, pattern, since=0.0, lines=None):
        """The time at which a line matched, and the match."""
        lines = self.lines if lines is None else lines
        end = time.monotonic() + BOUND
        while time.monotonic() < end:
            for at, line in list(lines):
                match = re.search(pattern, line)
                if at >= since and match:
                    return at, match
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        sys.exit(f"peer {self.number}: no line like {pattern!r}; its last lines: {[l for _, l in self.lines[-8:]]}")

    def done(self, command, pattern):
        """Says a command and waits for the line of its result; how long that took."""
        begin = time.monotonic()
        self.say(command)
        at, _ = self.wait_for(pattern, begin, self.out)
        return at - begin

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        at = time.monotonic()
        self.process.wait()
        return at

    def peak_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) / 1024

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024

    def files_open(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Ring:
    def __init__(self, options):
        self.bin = os.path.abspath(options.bin)
        self.root = tempfile.mkdtemp(prefix="quoit-measure-", dir=options.root)
        self.base_port, self.peers = options.base_port, {}

    def found(self, number, *options):
        peer = self.peers[number] = Peer(self, number, "init", str(number), *options)
        peer.wait_for(r" is active")
        return peer

    def join(self, number, known):
        peer = self.peers[number] = Peer(self, number, "join", str(number), str(known))
        peer.wait_for(r" is active")
        return peer

    def run(self, number):
        peer = self.peers[number] = Peer(self, number, "run")
        peer.wait_for(r" is active")
        return peer

    def end(self):
        for peer in self.peers.values():
            if peer.process.poll() is None:
                peer.kill()
        shutil.rmtree(self.root, ignore_errors=True)


def row(name, values, unit, digits=2):
    print(f"{name}: median {statistics.median(values):.{digits}f} {unit}, least {min(values):.{digits}f}, "
          f"worst {max(values):.{digits}f} ({len(values)} rounds)", flush=True)


def repair(ring, options):
    numbers = [36, 73, 109, 146, 182, 219, 255]
    ring.found(numbers[0], "--successors", str(options.successors))
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    chance, took = random.Random(1), []
    for _ in range(options.rounds):
        at = chance.randrange(7)
        dead = [numbers[(at + i) % 7] for i in range(options.deaths)]
        before, before2, after = numbers[at - 1], numbers[at - 2], numbers[(at + options.deaths) % 7]
        time.sleep(chance.random())  # the pings' phase is part of what is measured
        begin = min(ring.peers[number].kill() for number in dead)
        last = max(
            ring.peers[before].wait_for(f"My new first successor is Peer {after}$", begin)[0],
            ring.peers[after].wait_for(f"My new predecessor is Peer {before}$", begin)[0],
            ring.peers[before2].wait_for(f"My new second successor is Peer {after}$", begin)[0],
        )
        took.append(last - begin)
        for number in dead:
            ring.run(number)
        settle(ring)
    row(f"kill -9 of {options.deaths} of 7 peers, r = {options.successors}, to a repaired ring", took, "s")


def settle(ring):
    """Until every peer sees every other alive."""
    alive = sum(peer.process.poll() is None for peer in ring.peers.values())
    for peer in ring.peers.values():
        end = time.monotonic() + BOUND
        while True:
            begin = time.monotonic()
            peer.say("Ring")
            if int(peer.wait_for(r"^(\d+) peers? alive", begin, peer.out)[1].group(1)) == alive:
                break
            if time.monotonic() > end:
                sys.exit(f"peer {peer.number} does not see all {alive} peers")
            time.sleep(0.1)
    time.sleep(2.5)


def join(ring, options):
    first = ring.found(80)
    ring.join(160, 80)
    for i in range(options.files):
        path = os.path.join(ring.root, f"file-{i}")
        with open(path, "wb") as file:
            file.write(random.Random(i).randbytes(10 * 1024))
        first.done(f"Store --wait all {path}", f"^Stored file-{i} ")
    active, complete = [], []
    for round_ in range(options.rounds):
        peer = ring.join(240, 80)
        at, _ = peer.wait_for(r" is active")
        synced, match = peer.wait_for(r"[Tt]ook over (\d+)")
        if int(match.group(1)) != options.files:
            sys.exit(f"took over {match.group(1)} files, not {options.files}")
        active.append(at - peer.begin)
        complete.append(synced - peer.begin)
        peer.say("Quit")
        peer.process.wait()
        shutil.rmtree(peer.dir)
    row("process start to active in the ring", active, "s", 3)
    row(f"process start to all {options.files} files of 10 KiB taken over, durable", complete, "s", 3)


def transfer(ring, options):
    numbers = [36, 73, 109, 146, 182, 219, 255]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    daemon, module = rsync_daemon(ring)
    figures = {name: [] for name in ("cp", "cp and sync", "rsync", "store", "request")}
    for i in range(options.rounds):
        path = os.path.join(ring.root, f"big-{i}")
        with open(path, "wb") as file, open("/dev/urandom", "rb") as noise:
            for _ in range(options.mebibytes):
                file.write(noise.read(1 << 20))
        want = digest(path)
        holders = replicas(want, numbers)
        source = ring.peers[next(n for n in numbers if n not in holders)]
        target = ring.peers[[n for n in numbers if n not in holders][1]]
        copy = os.path.join(ring.root, "copy")
        figures["cp"].append(timed(["cp", path, copy]))
        os.remove(copy)
        figures["cp and sync"].append(timed(["sh", "-c", f"cp {path} {copy} && sync {copy}"]))
        os.remove(copy)
        if daemon:
            figures["rsync"].append(timed(["rsync", "--whole-file", path, module]))
        figures["store"].append(source.done(f"Store --wait all {path}", f"^Stored big-{i} "))
        figures["request"].append(target.done(f"Request big-{i}", f"^Received big-{i} "))
        if digest(os.path.join(target.dir, "received", f"big-{i}")) != want:
            sys.exit("the file that came is another one")
        os.remove(path)
    for name, values in figures.items():
        if values:
            row(f"{name}, {options.mebibytes} MiB", values, "s")
    if figures["rsync"]:
        for name in ("store", "request"):
            ratio = [a / b for a, b in zip(figures[name], figures["rsync"])]
            row(f"{name} / rsync, pair by pair", ratio, "")
    for peer in ring.peers.values():
        print(f"peer {peer.number}: peak resident memory {peer.peak_mib():.0f} MiB")
    if daemon:
        daemon.terminate()
        daemon.wait()


def commands(ring, options):
    """The same command again and again, each a process of its own; and what that leaves in the peer."""
    numbers = [36, 73, 109, 146, 182, 219, 255]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    peer, path = ring.peers[146], os.path.join(ring.root, "page.pdf")
    with open(path, "wb") as file:
        file.write(random.Random(1).randbytes(10 * 1024))
    peer.done(f"Store --wait all {path}", "^Stored page.pdf ")
    certs = os.path.join(ring.root, "certs")
    loop = (f'for i in $(seq {options.commands}); do "$0" request page.pdf --data-dir "$1" --certs-dir "$2" '
            ">/dev/null || exit 1; done")
    rates = []
    for round_ in range(options.rounds + 1):
        if round_ == 0:
            # Memory that the first commands take once is no leak.
            subprocess.run(["sh", "-c", loop.replace(str(options.commands), "100"), ring.bin, peer.dir, certs], check=True)
        else:
            rates.append(options.commands / timed(["sh", "-c", loop, ring.bin, peer.dir, certs]))
            print(f"round {round_}: {rates[-1]:.0f} commands/s")
        # Connections that have ended are forgotten after a moment.
        time.sleep(5)
        print(f"  peer {peer.number}: {peer.resident_mib():.1f} MiB resident, {peer.files_open()} open files", flush=True)
    row(f"{options.commands} times `quoit request` of 10 KiB", rates, "commands/s", 0)
    print(f"load average of the machine: {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")


def local(ring, options):
    """Requests at a peer that holds the file: the first after its start, when nothing is known of the bytes, and
    the next ones; a large file, and many of 10 KiB."""
    numbers = [36, 146, 255]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    noise, big = random.Random(1), os.path.join(ring.root, "big")
    with open(big, "wb") as file, open("/dev/urandom", "rb") as source:
        for _ in range(options.mebibytes):
            file.write(source.read(1 << 20))
    ring.peers[36].done(f"Store --wait all {big}", "^Stored big ")
    small = [os.path.join(ring.root, f"small-{i}") for i in range(options.files)]
    for path in small:
        with open(path, "wb") as file:
            file.write(noise.randbytes(10 * 1024))
        ring.peers[36].done(f"Store --wait all {path}", f"^Stored {os.path.basename(path)} ")
    figures = {"big, first": [], "big, again": [], "small, first": [], "small, again": []}
    for _ in range(options.rounds):
        ring.peers[146].kill()
        ring.peers[146].process.wait()
        ring.run(146)
        settle(ring)
        peer = ring.peers[146]
        for when in ("first", "again"):
            figures[f"big, {when}"].append(peer.done("Request big", "^Received big "))
            begin = time.monotonic()
            for path in small:
                peer.done(f"Request {os.path.basename(path)}", f"^Received {os.path.basename(path)} ")
            figures[f"small, {when}"].append(time.monotonic() - begin)
    row(f"request of {options.mebibytes} MiB that is here, first after the start", figures["big, first"], "s")
    row(f"request of {options.mebibytes} MiB that is here, again", figures["big, again"], "s")
    row(f"{options.files} requests of 10 KiB that are here, first after the start", figures["small, first"], "s")
    row(f"{options.files} requests of 10 KiB that are here, again", figures["small, again"], "s")


def rsync_daemon(ring):
    if not shutil.which("rsync"):
        print("rsync is not installed: not measured", file=sys.stderr)
        return None, None
    folder, port = os.path.join(ring.root, "rsync"), ring.base_port - 1
    os.mkdir(folder)
    config = os.path.join(ring.root, "rsyncd.conf")
    with open(config, "w") as file:
        file.write(f"use chroot = no\naddress = 127.0.0.1\nport = {port}\n[here]\npath = {folder}\nread only = no\n"
                   f"uid = {os.getuid()}\ngid = {os.getgid()}\n")
    daemon = subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={config}"])
    time.sleep(0.5)
    return daemon, f"rsync://127.0.0.1:{port}/here/"


def hostile(ring, options):
    """Requests of 10 KiB at one peer, in peace and while members of its own ring flood it."""
    numbers = [36, 73, 109, 146, 182, 219, 255]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    target, rate = ring.peers[109], 20
    names = prepare(ring, target, numbers, 2 * rate * options.seconds + rate)
    chance, took = random.Random(2), {}
    chance.shuffle(names)
    # Connections are there afterwards, and a file for the commands.
    warm = [names.pop() for _ in range(rate)]
    requests(target, warm, rate)
    before = target.peak_mib()

    def both_kinds(half):
        """At the prompt, and beside that as commands, each a process that comes through the same socket."""
        ended, shell, load = threading.Event(), [], os.getloadavg()[0]
        beside = threading.Thread(target=lambda: shell.extend(shell_requests(ring, target, warm[0], ended)))
        beside.start()
        took[half, "prompt"] = requests(target, [names.pop() for _ in range(rate * options.seconds)], rate)
        ended.set()
        beside.join()
        took[half, "command"] = [ms for ms, code in shell if code == 0]
        print(f"{half}: {sum(code != 0 for _, code in shell)} of {len(shell)} commands failed; "
              f"load average {load:.1f} at the beginning, {os.getloadavg()[0]:.1f} at the end", flush=True)

    both_kinds("peace")
    command = [os.path.join(os.path.dirname(ring.bin), "examples", "hostile"), os.path.join(ring.root, "certs"),
               f"127.0.0.1:{ring.base_port + target.number}", str(options.seconds + 5), options.attack_from]
    attack = subprocess.Popen(["nice", "-n", str(options.nice), *command], stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    both_kinds("attack")
    for line in attack.communicate()[0].splitlines():
        print(f"  attacks, {line}")
    for (half, kind), values in took.items():
        print(f"{half}, {kind}: {len(values)} requests of 10 KiB, p50 {at(values, 50):.1f} ms, "
              f"p99 {at(values, 99):.1f} ms, worst {max(values):.1f} ms")
    for kind in ("prompt", "command"):
        ratios = [at(took["attack", kind], percent) / at(took["peace", kind], percent) for percent in (50, 99)]
        print(f"{kind}: ratio of p50 {ratios[0]:.2f}, of p99 {ratios[1]:.2f}")
    print(f"peak resident memory of the attacked peer: {target.peak_mib():.0f} MiB, before {before:.0f} MiB")
    begin = time.monotonic()
    target.say("Status")
    target.wait_for(r"^  data ", begin, target.out)
    time.sleep(0.2)
    for at_, line in target.out:
        if at_ >= begin and re.match(r"  (misbehaved|turned away|alive|away) ", line):
            print(line)


def prepare(ring, target, numbers, wanted):
    """Stores files of which the target is no replica; their names."""
    chance, files = random.Random(1), []
    while len(files) < wanted:
        content = chance.randbytes(10 * 1024)
        if target.number not in replicas(hashlib.sha256(content).hexdigest(), numbers):
            path = os.path.join(ring.root, f"small-{len(files)}")
            with open(path, "wb") as file:
                file.write(content)
            files.append(path)
    others = [peer for peer in ring.peers.values() if peer is not target]
    for i, path in enumerate(files):
        others[i % len(others)].say(f"Store --wait all {path}")
    for i, peer in enumerate(others):
        last = max((j for j in range(len(files)) if j % len(others) == i), default=None)
        if last is not None:
            peer.wait_for(rf"^Stored small-{last} ", 0.0, peer.out)
    time.sleep(3)
    return [os.path.basename(path) for path in files]


def requests(peer, names, rate):
    """Requests one file after the other, at most so many a second; how long each took, in milliseconds."""
    took, begin = [], time.monotonic()
    for i, name in enumerate(names):
        time.sleep(max(0.0, begin + i / rate - time.monotonic()))
        seen, start = len(peer.out), time.monotonic()
        peer.say(f"Request {name}")
        while True:
            line = next((line for line in peer.out[seen:] if line[1].startswith(f"Received {name} ")), None)
            if line:
                took.append((line[0] - start) * 1000)
                break
            if time.monotonic() - start > BOUND or peer.process.poll() is not None:
                sys.exit(f"{name} did not come; {[l for _, l in peer.lines[-8:]]}")
            time.sleep(0.0005)
    return took


def shell_requests(ring, peer, name, ended):
    """`quoit request` about five times a second until told to end; how long each took, in milliseconds, and its exit code."""
    command = [ring.bin, "request", name, "-o", "-", "--data-dir", peer.dir, "--certs-dir",
               os.path.join(ring.root, "certs")]
    took = []
    while not ended.wait(0.2):
        begin = time.monotonic()
        code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        took.append(((time.monotonic() - begin) * 1000, code))
    return took


def at(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def replicas(content_id, numbers, copies=3):
    first = int(content_id[:2], 16)
    owner = next((i for i, number in enumerate(numbers) if number >= first), 0)
    return [numbers[(owner + i) % len(numbers)] for i in range(copies)]


def timed(command):
    begin = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - begin


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def small(ring, options):
    """One `quoit store` of many small files; the rate, the processor time and the peak memory of the peers."""
    numbers = [(2 * i * 255 + options.peers) // (2 * options.peers) for i in range(1, options.peers + 1)]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    chance, rates, costs = random.Random(), [], []
    asked = ring.peers[numbers[0]]
    command = [ring.bin, "store", "--data-dir", asked.dir, "--certs-dir", os.path.join(ring.root, "certs")]
    for i in range(options.rounds):
        folder = os.path.join(ring.root, f"files-{i}")
        os.mkdir(folder)
        for j in range(options.files):
            with open(os.path.join(folder, f"{i}-{j}"), "wb") as file:
                file.write(chance.randbytes(10 * 1024))
        paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        used, begin = sum(peer.cpu_s() for peer in ring.peers.values()), time.monotonic()
        done = subprocess.run(command + paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        took = time.monotonic() - begin
        stored = done.stdout.count("\nStored ") + done.stdout.startswith("Stored ")
        print(f"  round {i}: {stored} of {options.files} files in {took:.2f} s, exit code {done.returncode}, "
              f"{done.stderr.splitlines()[:3]}")
        rates.append(stored / took)
        costs.append((sum(peer.cpu_s() for peer in ring.peers.values()) - used) * 1000 / options.files)
        shutil.rmtree(folder)
    row(f"store, {options.files} files of 10 KiB, {options.peers} peers", rates, "files/s")
    row("processor time of all peers", costs, "ms a file")
    print(f"peak resident memory of a peer: {max(peer.peak_mib() for peer in ring.peers.values()):.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["repair", "join", "transfer", "hostile", "commands", "local", "small"])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--deaths", type=int, default=1)
    parser.add_argument("--successors", type=int, default=8)
    parser.add_argument("--files", type=int)
    parser.add_argument("--peers", type=int, default=7)
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--from", dest="attack_from", default="127.0.0.1")
    parser.add_argument("--nice", type=int, default=0, help="of the attacker, which shares the processors")
    parser.add_argument("--base-port", type=int, default=21000)
    parser.add_argument("--root")
    parser.add_argument("--bin", default=os.path.join(os.path.dirname(__file__), "..", "target", "release", "quoit"))
    options = parser.parse_args()
    rounds = {"repair": 20, "join": 10, "transfer": 5, "hostile": 1, "commands": 3, "local": 3, "small": 3}
    options.rounds = options.rounds or rounds[options.what]
    options.files = options.files or (10_000 if options.what == "small" else 100)
    measures = {"repair": repair, "join": join, "transfer": transfer, "hostile": hostile, "commands": commands,
                "local": local, "small": small}
    ring = Ring(options)
    try:
        measures[options.what](ring, options)
    finally:
        ring.end()


if __name__ == "__main__":
    main()
