#!/usr/bin/env python3
"""Measures rings of real processes on loopback; prints what docs/measurements.md quotes.

    scripts/measure.py repair   [--rounds 20] [--deaths 1] [--successors 8]   kill -9 to a repaired ring
    scripts/measure.py join     [--rounds 10] [--files 100]                   join to active, and to complete
    scripts/measure.py transfer [--rounds 5] [--mebibytes 1024]               store and request beside cp and rsync
    scripts/measure.py hostile  [--seconds 60] [--from 127.0.0.1,…]           requests while a member floods the peer
    scripts/measure.py commands [--rounds 3] [--commands 1000]                `quoit request` in a shell loop
    scripts/measure.py holders  [--rounds 3] [--mebibytes 512]                one file from 1, 2 and 4 holders of 50 MB/s each
    scripts/measure.py resume   [--rounds 3] [--mebibytes 1024]               a request that is killed at 90 %, and again
    scripts/measure.py served   [--rounds 20] [--mebibytes 256]               kill -9 of the peer that serves a read
    scripts/measure.py replace  [--rounds 1] [--files 10000] [--mebibytes 2000]   two of seven killed, two new ones instead;
                                 bytes moved beside the least that could be; needs root or a user namespace
    scripts/measure.py comeback [--rounds 1] [--files 10000] [--mebibytes 2000] [--seconds 600]   one of seven killed, and back
    scripts/measure.py scrub    [--rounds 3] [--files 1000] [--mebibytes 1024]  bit rot found and healed; rate; its effect
    scripts/measure.py local    [--rounds 3] [--mebibytes 1024] [--files 1000]  request of what is there already
    scripts/measure.py small    [--rounds 3] [--files 10000] [--peers 7]      one `quoit store` of many files of 10 KiB
    scripts/measure.py tree     [--rounds 3] [--files 10000] [--peers 3]      one `quoit store -r`, again, and brought back
    scripts/measure.py fairness [--rounds 10] [--mebibytes 1024] [--packet-bytes 1452]
                                 pings on connections that carry bulk, and who is suspected while 10 GiB move
    scripts/measure.py idle     [--seconds 60]                                memory and processor of idle peers with 20 connections
    scripts/measure.py lookup   [--peers 50] [--commands 1000]                the versions of names: a lookup, then a question to their peers
    scripts/measure.py bulk     [--rounds 5] [--mebibytes 1024] [--against BIN] [--user NAME]
                                 time, processor time and memory of one large file, of two builds in turn, beside rsync

It uses target/release/quoit (or --bin) and a temporary folder (or --root), starts peers on ports from
--base-port on, and ends every process that it started.
"""
import argparse, hashlib, json, os, pwd, random, re, shutil, signal, statistics, subprocess, sys, tempfile, threading
import time

BOUND = 120.0


class Peer:
    """One peer; its lines on standard error with the time at which each came."""

    def __init__(self, ring, number, *command):
        self.number, self.lines, self.out = number, [], []
        self.dir = os.path.join(ring.root, str(number))
        arguments = [*ring.within.get(number, []), ring.bin, *command, "--data-dir", self.dir, "--certs-dir", os.path.join(ring.root, "certs"),
                     "--base-port", str(ring.base_port)]
        self.begin = time.monotonic()
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "QUOIT_AWAY_LIMIT": ring.away_limit}, **ring.as_user)
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

    def forget_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as refs:
            refs.write("5")

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)[0]

    def resident_mib(self, what="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(what + r":\s+(\d+)", status.read()).group(1)) / 1024

    def files_open(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Ring:
    def __init__(self, options):
        self.bin = os.path.abspath(options.bin)
        self.root = tempfile.mkdtemp(prefix="quoit-measure-", dir=options.root)
        self.base_port, self.peers, self.as_user = options.base_port, {}, {}
        # The command before that of a peer, such as one that enters a network namespace.
        self.within = {}
        # Most of this measures repair, not the time for which repair waits for a peer to come back.
        self.away_limit = "0"
        if options.user:
            entry = pwd.getpwnam(options.user)
            os.chown(self.root, entry.pw_uid, entry.pw_gid)
            self.as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def found(self, number, *options):
        peer = self.peers[number] = Peer(self, number, "init", str(number), *options)
        peer.wait_for(r" is active")
        return peer

    def join(self, number, known, *options):
        peer = self.peers[number] = Peer(self, number, "join", str(number), str(known), *options)
        peer.wait_for(r" is active")
        return peer

    def run(self, number, *options):
        peer = self.peers[number] = Peer(self, number, "run", *options)
        peer.wait_for(r" is active")
        return peer

    def command(self, peer, *words):
        """Runs `quoit WORDS` for a peer to its end; see run_to_end."""
        places = ["--data-dir", peer.dir, "--certs-dir", os.path.join(self.root, "certs")]
        return run_to_end([self.bin, *words, *places], **self.as_user)

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
        want = noise(path, options.mebibytes)
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


def noise(path, mebibytes):
    with open(path, "wb") as file, open("/dev/urandom", "rb") as source:
        for _ in range(mebibytes):
            file.write(source.read(1 << 20))
    return digest(path)


def holders(ring, options):
    """One file from n holders, each of which uploads at most so much."""
    limit, root, base_port = 50_000_000, ring.root, ring.base_port
    for count in (1, 2, 4):
        ring.end()
        os.makedirs(root, exist_ok=True)
        ring.peers, ring.base_port = {}, base_port + 300 * count
        numbers = [40, 90, 140, 190, 240][: count + 1]
        ring.found(numbers[0], "--replicas", str(count))
        for number in numbers[1:]:
            ring.join(number, numbers[0])
        settle(ring)
        wanted = []
        for i in range(options.rounds):
            path = os.path.join(root, f"big-{i}")
            content = noise(path, options.mebibytes)
            first = ring.peers[replicas(content, numbers, count)[0]]
            first.done(f"Store --wait all {path}", f"^Stored big-{i} ")
            reader = next(n for n in numbers if n not in replicas(content, numbers, count))
            wanted.append((f"big-{i}", content, reader))
            os.remove(path)
        for number in numbers:
            ring.peers[number].kill()
        # Peers that come back wait for each other.
        for number in numbers:
            ring.peers[number] = Peer(ring, number, "run", "--upload-rate", str(limit))
        for peer in ring.peers.values():
            peer.wait_for(r" is active")
        settle(ring)
        ratios, rates = [], []
        for name, content, reader in wanted:
            took = ring.peers[reader].done(f"Request {name}", f"^Received {name} ")
            if digest(os.path.join(ring.peers[reader].dir, "received", name)) != content:
                sys.exit("the file that came is another one")
            rates.append(options.mebibytes * (1 << 20) / took / 1e6)
            ratios.append(rates[-1] / (count * limit / 1e6))
        row(f"{count} holders of 50 MB/s, {options.mebibytes} MiB", rates, "MB/s", 1)
        row("  of what they upload together", ratios, "", 3)
        print(f"  peak resident memory of a reader: {max(ring.peers[r].peak_mib() for _, _, r in wanted):.0f} MiB")


def resume(ring, options):
    """A request that is killed (kill -9) when nine tenths are there, and the same request after a restart."""
    numbers = [60, 180]
    ring.found(numbers[0], "--replicas", "1")
    ring.join(numbers[1], numbers[0])
    settle(ring)
    wholes, rests, ratios = [], [], []
    for i in range(options.rounds):
        names = []
        for kind in ("whole", "cut"):
            path = os.path.join(ring.root, f"{kind}-{i}")
            content = noise(path, options.mebibytes)
            holder = replicas(content, numbers, 1)[0]
            ring.peers[holder].done(f"Store --wait all {path}", f"^Stored {kind}-{i} ")
            names.append((f"{kind}-{i}", content, next(n for n in numbers if n != holder)))
            os.remove(path)
        name, content, reader = names[0]
        wholes.append(ring.peers[reader].done(f"Request {name}", f"^Received {name} "))
        name, content, reader = names[1]
        part = os.path.join(ring.peers[reader].dir, "incoming", f"{content}.part")
        ring.peers[reader].say(f"Request {name}")
        while not (os.path.exists(part) and os.stat(part).st_blocks * 512 >= 0.9 * options.mebibytes * (1 << 20)):
            pass
        ring.peers[reader].kill()
        ring.run(reader)
        settle(ring)
        rests.append(ring.peers[reader].done(f"Request {name}", f"^Received {name} "))
        if digest(os.path.join(ring.peers[reader].dir, "received", name)) != content:
            sys.exit("the file that came is another one")
        ratios.append(rests[-1] / wholes[-1])
    row(f"request of {options.mebibytes} MiB", wholes, "s")
    row("the same, killed at 90 %, after the restart", rests, "s")
    row("the rest / the whole, pair by pair", ratios, "", 3)


def bulk(_, options):
    """One large file in a ring of four with three copies, by commands of the shell: stored at a replica, requested at
    the fourth peer, and written from there to a file of the person. Each build has a new ring in each round."""
    builds = [options.bin] + ([options.against] if options.against else [])
    figures = {}
    for round_ in range(options.rounds):
        turn = builds if round_ % 2 == 0 else builds[::-1]
        for build in turn:
            ring = Ring(argparse.Namespace(**{**vars(options), "bin": build}))
            try:
                for what, figure in bulk_round(ring, options, with_rsync=build == turn[-1]).items():
                    figures.setdefault((what, os.path.basename(build) if what != "rsync" else ""), []).append(figure)
            finally:
                ring.end()
    print(f"{options.mebibytes} MiB, user {options.user or 'as this script'}, {options.rounds} rounds; medians, and least to worst")
    for (what, build), values in sorted(figures.items()):
        if what == "pings":
            trips = [trip for round_ in values for trip in round_]
            print(f"{what:14} {build:20} to the holders during a request: p50 {at(trips, 50):.2f} ms, "
                  f"p99 {at(trips, 99):.2f} ms, worst {max(trips):.2f} ms ({len(trips)} pings)")
            continue
        took, cpu, peak = zip(*values)
        peak = f", peak of a peer {max(peak):.0f} MiB" if max(peak) else ""
        print(f"{what:14} {build:20} {statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f}), "
              f"{statistics.median(cpu):.2f} CPU s ({min(cpu):.2f} to {max(cpu):.2f}){peak}", flush=True)
    for (what, build), values in sorted(figures.items()):
        if what == "request":
            ratios = [rsync[0] / own[0] for own, rsync in zip(values, figures.get(("rsync", ""), []))]
            if ratios:
                row(f"request of {build}: times the speed of rsync", ratios, "")


def bulk_round(ring, options, with_rsync):
    numbers = [36, 109, 182, 255]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    folder = os.path.join(ring.root, "files")
    os.mkdir(folder)
    os.chown(folder, ring.as_user.get("user", -1), ring.as_user.get("group", -1))
    path = os.path.join(folder, "big")
    want = noise(path, options.mebibytes)
    os.sync()
    holders = replicas(want, numbers)
    target = next(ring.peers[number] for number in numbers if number not in holders)

    def measured(peer, *command):
        for each in ring.peers.values():
            each.forget_peak()
        before = sum(each.cpu_seconds() for each in ring.peers.values())
        took, cpu, _ = ring.command(peer, *command)
        cpu += sum(each.cpu_seconds() for each in ring.peers.values()) - before
        return took, cpu, max(each.peak_mib() for each in ring.peers.values())

    def same(copy):
        if digest(copy) != want:
            sys.exit("the file that came is another one")

    figures = {"store": measured(ring.peers[holders[1]], "store", "--wait", "all", path)}
    os.sync()
    ended, pings = threading.Event(), []
    beside = threading.Thread(target=lambda: pings.extend(pings_until(target, holders, ended)))
    beside.start()
    figures["request"] = measured(target, "request", "big")
    ended.set()
    beside.join()
    figures["pings"] = pings
    same(os.path.join(target.dir, "received", "big"))
    copy = os.path.join(folder, "copy")
    figures["request -o"] = measured(target, "request", "big", "-o", copy)
    same(copy)
    os.remove(copy)
    if with_rsync and (daemon := rsync_daemon(ring)[0]):
        os.sync()
        os.rename(path, os.path.join(ring.root, "rsync", "big"))
        before = sum(cpu_seconds(daemon.pid))
        took, cpu, _ = run_to_end(["rsync", "--fsync", "--whole-file",
                                   f"rsync://127.0.0.1:{ring.base_port - 1}/here/big", copy])
        time.sleep(0.3)  # the daemon collects its child
        figures["rsync"] = (took, cpu + sum(cpu_seconds(daemon.pid)) - before, 0)
        daemon.terminate()
        daemon.wait()
    return figures


def idle(ring, options):
    """Twenty-one peers that all know each other, and nothing to do."""
    numbers = list(range(5, 255, 12))
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    time.sleep(10)
    before, begin = [peer.cpu_seconds() for peer in ring.peers.values()], time.monotonic()
    time.sleep(options.seconds)
    took = time.monotonic() - begin
    shares = [(peer.cpu_seconds() - cpu) / took * 100 for peer, cpu in zip(ring.peers.values(), before)]
    row(f"resident memory of an idle peer among {len(numbers)}", [peer.resident_mib() for peer in ring.peers.values()], "MiB", 1)
    own = [peer.resident_mib("RssAnon") for peer in ring.peers.values()]
    row("of it not the program's file, which all of them share", own, "MiB", 1)
    row(f"its share of a core in {options.seconds} s", shares, "%", 3)


def lookup(ring, options):
    """The versions of names, in a ring of many: a lookup, and then the word of the peers that keep the name."""
    numbers = [5 * i + 3 for i in range(options.peers)]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    asked, chance, took = ring.peers[numbers[len(numbers) // 2]], random.Random(1), []
    names = [f"file-{i:03}" for i in range(options.files)]
    for name in names:
        with open(os.path.join(ring.root, name), "w") as file:
            file.write(name)
    ring.command(asked, "store", *[os.path.join(ring.root, name) for name in names])
    time.sleep(10)
    for _ in range(options.commands):
        name = chance.choice(names)
        asked.out.clear()
        took.append(asked.done(f"History {name}", f"of {name}$") * 1000)
    print(f"the versions of a name among {options.peers} peers: median {at(took, 50):.2f} ms, p90 {at(took, 90):.2f}, "
          f"p99 {at(took, 99):.2f}, most {max(took):.2f} ({len(took)})")


def fairness(ring, options):
    """One file moves again and again; its reader and its holders ping each other meanwhile."""
    numbers = [36, 109, 182, 255]
    ring.found(numbers[0], "--verbose")
    for number in numbers[1:]:
        ring.join(number, numbers[0], "--verbose")
    settle(ring)
    path = os.path.join(ring.root, "big")
    content = noise(path, options.mebibytes)
    holders = replicas(content, numbers)
    reader = next(ring.peers[number] for number in numbers if number not in holders)
    holder = ring.peers[holders[0]]
    calm = measured_pings(reader, holder, lambda: time.sleep(5))
    ring.command(holder, "store", "--wait", "all", path)
    moved, took = {key: [] for key in calm}, []
    for round_ in range(options.rounds):
        if round_:
            ring.command(reader, "drop", "big")
            os.remove(os.path.join(reader.dir, "received", "big"))
        for key, trips in measured_pings(reader, holder, lambda: took.append(ring.command(reader, "request", "big")[0])).items():
            moved[key] += trips
        if digest(os.path.join(reader.dir, "received", "big")) != content:
            sys.exit("the file that came is another one")
    row(f"a request of {options.mebibytes} MiB", took, "s")
    for key in moved:
        for what, trips in (("at rest", calm[key]), ("beside the bytes", moved[key])):
            print(f"pings {key}, {what}: median {at(trips, 50):.2f} ms, p99 {at(trips, 99):.2f} ms, "
                  f"most {max(trips):.2f} ms ({len(trips)})")
    sent, missed, doubted = unanswered(ring)
    dead = sum("is no longer alive" in line for peer in ring.peers.values() for _, line in peer.lines)
    print(f"pings of the failure detectors: {sent}, without an answer: {missed}, twice in a row (a suspicion): {doubted}; "
          f"peers declared dead: {dead}")


def measured_pings(reader, holder, work):
    """The round trips, in milliseconds, of pings that the reader and the holder send each other during some work."""
    ended, trips = threading.Event(), {"to the holder": [], "to the reader": []}
    ways = (("to the holder", reader, holder), ("to the reader", holder, reader))
    threads = [threading.Thread(target=lambda key=key, by=by, to=to: trips[key].extend(pings_until(by, [to.number], ended)))
               for key, by, to in ways]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    return trips


def unanswered(ring):
    """How many pings the peers sent, how many had no answer within half an interval of a second, and how often that was
    so twice in a row."""
    sent = missed = doubted = 0
    for peer in ring.peers.values():
        waits, misses = {}, {}

        def judge(other, in_time):
            nonlocal missed, doubted
            misses[other] = 0 if in_time else misses.get(other, 0) + 1
            missed += not in_time
            doubted += misses[other] == 2

        for came, line in list(peer.lines):
            if match := re.match(r"Ping requests? sent to Peers? (.*)", line):
                for other in re.findall(r"\d+", match.group(1)):
                    sent += 1
                    if other in waits:
                        judge(other, False)
                    waits[other] = came
            elif (match := re.match(r"Ping response received from Peer (\d+)", line)) and match.group(1) in waits:
                judge(match.group(1), came - waits.pop(match.group(1)) <= 0.5)
    return sent, missed, doubted


def pings_until(peer, numbers, ended):
    """Pings these peers in turn until told to end; the round trips in milliseconds."""
    trips, turn = [], 0
    while not ended.is_set():
        number, turn, begin = numbers[turn % len(numbers)], turn + 1, time.monotonic()
        peer.say(f"Ping {number}")
        peer.wait_for(r"^  4  ", begin, peer.out)
        lines = [re.match(r"  \d  ([\d.]+) ms", line) for at_, line in list(peer.out) if at_ >= begin]
        trips += [float(line.group(1)) for line in lines if line]
        peer.out.clear()
    return trips


def run_to_end(command, **options):
    """Runs a program: the seconds that it took, its processor seconds, and its peak resident memory in MiB."""
    begin = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    _, status, usage = os.wait4(child.pid, 0)
    took, child.returncode = time.monotonic() - begin, os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command} failed")
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def cpu_seconds(pid):
    """The processor time of a process, and of its children that have ended."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, (int(fields[13]) + int(fields[14])) / ticks


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
    chance, big = random.Random(1), os.path.join(ring.root, "big")
    noise(big, options.mebibytes)
    ring.peers[36].done(f"Store --wait all {big}", "^Stored big ")
    small = [os.path.join(ring.root, f"small-{i}") for i in range(options.files)]
    for path in small:
        with open(path, "wb") as file:
            file.write(chance.randbytes(10 * 1024))
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


def served(ring, options):
    """A peer is killed while it serves the bytes of a long read: how long the read stands still, and how long a new read
    takes of a file that the dead peer owned."""
    numbers = [36, 73, 109, 146, 182, 219, 255]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    chance, small, still, fresh, given = random.Random(3), {number: [] for number in numbers}, [], [], []
    prepared = 0
    while min(len(names) for names in small.values()) < options.rounds:
        content = chance.randbytes(10 * 1024)
        owner = replicas(hashlib.sha256(content).hexdigest(), numbers)[0]
        if len(small[owner]) < options.rounds:
            path = os.path.join(ring.root, f"small-{prepared}")
            with open(path, "wb") as file:
                file.write(content)
            small[owner].append(os.path.basename(path))
            prepared += 1
            ring.peers[numbers[0]].done(f"Store --wait all {path}", f"^Stored {os.path.basename(path)} ")
    for i in range(options.rounds):
        path = os.path.join(ring.root, f"long-{i}")
        with open(path, "wb") as file:
            for _ in range(options.mebibytes):
                file.write(chance.randbytes(1 << 20))
        want = digest(path)
        holders = replicas(want, numbers)
        ring.peers[numbers[0]].done(f"Store --wait all {path}", f"^Stored long-{i} ")
        os.remove(path)
        # One of the two before the holders reads: it has no copy, nor of a file that one of them owns.
        first = numbers.index(holders[0])
        reader = next(number for number in (numbers[first - 1], numbers[first - 2]) if number != numbers[0])
        before = {number: read_bytes(ring.peers[number]) for number in holders}
        command = [ring.bin, "cat", f"long-{i}", "--data-dir", ring.peers[reader].dir, "--certs-dir",
                   os.path.join(ring.root, "certs")]
        cat = subprocess.Popen(command, stdout=subprocess.PIPE)
        hashed, moments = hashlib.sha256(), []

        def read():
            while piece := cat.stdout.read1(1 << 20):
                moments.append(time.monotonic())
                hashed.update(piece)

        reading = threading.Thread(target=read)
        reading.start()
        share = 0
        while share < 0.2:
            server = max(holders, key=lambda number: read_bytes(ring.peers[number]) - before[number])
            share = (read_bytes(ring.peers[server]) - before[server]) / (options.mebibytes << 20)
        given.append(share)
        killed = ring.peers[server].kill()
        # At the same moment another read begins, of a file that the dead peer owned.
        name = small[server].pop()
        fresh.append(ring.peers[reader].done(f"Request {name}", f"^Received {name} "))
        reading.join()
        if cat.wait() != 0 or hashed.hexdigest() != want:
            sys.exit(f"round {i}: the read failed, or brought other bytes")
        after = [moment for moment in moments if moment >= killed]
        still.append(max(b - a for a, b in zip([killed] + after, after)))
        ring.run(server)
        settle(ring)
    print(f"the dead peer had read {min(given):.0%} to {max(given):.0%} of the long file")
    row("kill -9 of the peer that serves a long read: the longest standstill", still, "s", 3)
    row("kill -9 of a file's owner, a read begun at that moment: all of 10 KiB", fresh, "s", 3)


def read_bytes(peer):
    """The number of bytes that the process has read so far, from files and sockets."""
    with open(f"/proc/{peer.process.pid}/io") as io:
        return int(re.search(r"rchar: (\d+)", io.read()).group(1))


def ring_with_files(ring, options):
    """Seven peers with small files and files of 100 MiB, all with three copies. The length of each by its content id."""
    options.peers = 7
    asked = spread(ring, options)
    chance, folder = random.Random(), os.path.join(ring.root, "files")
    os.mkdir(folder)
    for i in range(options.files):
        with open(os.path.join(folder, f"small-{i}"), "wb") as file:
            file.write(chance.randbytes(10 * 1024))
    for i in range(options.mebibytes // 100):
        noise(os.path.join(folder, f"large-{i}"), 100)
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    ring.command(asked, "store", "--wait", "all", *paths)
    lengths = {digest(path): os.path.getsize(path) for path in paths}
    shutil.rmtree(folder)
    until_replicated(ring, lengths)
    return lengths


def objects_of(peer):
    """The content ids of the objects in a peer's place for them."""
    return {name for _, _, names in os.walk(os.path.join(peer.dir, "objects")) for name in names}


def until_replicated(ring, lengths):
    """Waits until each object is at all its replicas among the peers that run; how long that took."""
    begin = time.monotonic()
    numbers = sorted(number for number, peer in ring.peers.items() if peer.process.poll() is None)
    while True:
        here = {number: objects_of(ring.peers[number]) for number in numbers}
        if all(content in here[number] for content in lengths for number in replicas(content, numbers)):
            return time.monotonic() - begin
        if time.monotonic() - begin > 20 * BOUND:
            sys.exit("the copies are not there")
        time.sleep(0.5)


def bytes_on_loopback():
    with open("/proc/net/dev") as counters:
        return next(int(line.split()[1]) for line in counters if line.split()[0] == "lo:")


def replace(ring, options):
    """Two of seven are killed and two new ones join; until every file is at all its replicas again."""
    lengths = ring_with_files(ring, options)
    times, ratios = [], []
    for i in range(options.rounds):
        numbers = sorted(ring.peers)
        killed = random.sample(numbers, 2)
        before, begin = bytes_on_loopback(), time.monotonic()
        for number in killed:
            ring.peers.pop(number).kill()
        left = sorted(ring.peers)
        here = {number: objects_of(ring.peers[number]) for number in left}
        lost = [content for content in lengths if not any(content in here[number] for number in left)]
        new = [number - 3 - i for number in killed]
        after = sorted(left + new)
        least = sum(length for content, length in lengths.items() for number in replicas(content, after)
                    if content not in here.get(number, ()))
        for number in new:
            ring.join(number, left[0])
        until_replicated(ring, {content: length for content, length in lengths.items() if content not in lost})
        took, moved = time.monotonic() - begin, bytes_on_loopback() - before
        print(f"  round {i}: killed {killed}, {took:.1f} s, {moved >> 20} MiB moved, at least {least >> 20} MiB, "
              f"{len(lost)} files lost")
        times.append(took)
        ratios.append(moved / least)
    row("two of seven killed, two new ones, to all copies", times, "s", 1)
    row("bytes on the network / bytes of the missing copies", ratios, "")


def comeback(ring, options):
    """One of seven is killed and comes back with its disk, after less than the time for which it is waited for."""
    ring.away_limit = "15m"
    lengths = ring_with_files(ring, options)
    shares = []
    for i in range(options.rounds):
        number = random.choice(sorted(ring.peers))
        held = sum(lengths[content] for content in objects_of(ring.peers[number]))
        before = bytes_on_loopback()
        ring.peers[number].kill()
        time.sleep(options.seconds)
        away = bytes_on_loopback() - before
        before = bytes_on_loopback()
        ring.run(number)
        settle(ring)
        time.sleep(60)
        idle = bytes_on_loopback()
        back = idle - before
        time.sleep(60)
        idle = bytes_on_loopback() - idle
        print(f"  round {i}: {number} holds {held >> 20} MiB; moved while away {away >> 10} KiB, in the minute of the "
              f"return {back >> 10} KiB, in the minute after it {idle >> 10} KiB")
        shares.append(max(0, back - idle) / held * 100)
    row("moved for a peer that comes back, beyond a minute at rest, of its bytes", shares, "%", 3)


def scrub(ring, options):
    """Bit rot in a tenth of the objects of one of three peers; the rate of a scrub, and what it costs beside it."""
    numbers = [36, 146, 255]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    chance, paths = random.Random(1), []
    for i in range(options.files):
        paths.append(os.path.join(ring.root, f"small-{i}"))
        with open(paths[-1], "wb") as file:
            file.write(chance.randbytes(10 * 1024))
    certs = os.path.join(ring.root, "certs")

    def command(*words):
        return subprocess.run([ring.bin, *words, "--data-dir", ring.peers[146].dir, "--certs-dir", certs],
                              stdout=subprocess.PIPE, text=True, check=True).stdout

    for i in range(0, len(paths), 100):
        command("store", "--wait", "all", *paths[i:i + 100])
    healed, quarantined = [], set()
    journal = os.path.join(ring.peers[146].dir, "journal")
    for _ in range(options.rounds):
        # A killed peer puts the objects of its journal into their places again, over the rot.
        while os.listdir(journal):
            time.sleep(0.1)
        ring.peers[146].kill()
        rotten = chance.sample(paths, options.files // 10)
        for path in rotten:
            content = digest(path)
            flip(os.path.join(ring.peers[146].dir, "objects", content[:2], content), chance)
        # The schedule would find some of them first.
        ring.run(146, "--scrub-every", "0")
        settle(ring)
        begin = time.monotonic()
        report = json.loads(command("scrub", "--json"))
        healed.append(time.monotonic() - begin)
        # A round of repair, which the first bad copies set off, may find one before the scrub does.
        quarantined.update(digest(path) for path in rotten)
        found = {name for name in os.listdir(os.path.join(ring.peers[146].dir, "quarantine")) if "." not in name}
        if report["files"] != options.files or report["not_fetched_again"] or found != quarantined:
            sys.exit(f"{len(quarantined - found)} bad copies were not found: {report}")
        for path in rotten:
            content = digest(path)
            if digest(os.path.join(ring.peers[146].dir, "objects", content[:2], content)) != content:
                sys.exit(f"{path} is not healed")
    row(f"scrub of {options.files} files of 10 KiB, {options.files // 10} of them rotten, all healed", healed, "s")
    big = os.path.join(ring.root, "big")
    noise(big, options.mebibytes)
    command("store", "--wait", "all", big)
    rates = []
    for _ in range(options.rounds):
        report = json.loads(command("scrub", "--json"))
        rates.append(report["bytes"] / (1 << 20) / (report["took_ms"] / 1000))
    row(f"scrub of {options.mebibytes} MiB and {options.files} small files", rates, "MiB/s", 0)
    names = [os.path.basename(path) for path in paths]
    for what in ("at rest", "during a scrub without a bound", "during a scrub at 50 MB/s"):
        ended, words = threading.Event(), ["--rate", "50M"] if "50" in what else []

        def again():
            while not ended.is_set():
                beside = subprocess.Popen([ring.bin, "scrub", *words, "--data-dir", ring.peers[146].dir, "--certs-dir",
                                           certs], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while beside.poll() is None:
                    if ended.wait(0.05):
                        beside.send_signal(signal.SIGINT)
                        break
                beside.wait()

        beside = threading.Thread(target=again) if "scrub" in what else None
        if beside:
            beside.start()
        chance.shuffle(names)
        took = requests(ring.peers[146], names[:300], 30)
        ended.set()
        if beside:
            beside.join()
        print(f"300 requests of 10 KiB that are here, {what}: p50 {at(took, 50):.1f} ms, p99 {at(took, 99):.1f} ms, "
              f"worst {max(took):.1f} ms", flush=True)


def flip(path, chance):
    """Flips a bit of a file, whatever its mode; its length stays."""
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        at_ = chance.randrange(os.path.getsize(path))
        file.seek(at_)
        byte = file.read(1)[0]
        file.seek(at_)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


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


def spread(ring, options):
    """A ring of so many peers, spread evenly; the first of them."""
    numbers = [(2 * i * 255 + options.peers) // (2 * options.peers) for i in range(1, options.peers + 1)]
    ring.found(numbers[0])
    for number in numbers[1:]:
        ring.join(number, numbers[0])
    settle(ring)
    return ring.peers[numbers[0]]


def small(ring, options):
    """One `quoit store` of many small files; the rate, the processor time and the peak memory of the peers.

    The files of a round stay until the end: ext4 looks for a while at each inode that was freed before it takes one, so
    that new files cost several times as much within five minutes of the removal of many.
    """
    asked = spread(ring, options)
    chance, rates, costs = random.Random(), [], []
    command = [ring.bin, "store", "--data-dir", asked.dir, "--certs-dir", os.path.join(ring.root, "certs")]
    for i in range(options.rounds):
        folder = os.path.join(ring.root, f"files-{i}")
        os.mkdir(folder)
        for j in range(options.files):
            with open(os.path.join(folder, f"{i}-{j}"), "wb") as file:
                file.write(chance.randbytes(10 * 1024))
        paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        used, begin = sum(peer.cpu_seconds() for peer in ring.peers.values()), time.monotonic()
        done = subprocess.run(command + paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        took = time.monotonic() - begin
        stored = done.stdout.count("\nStored ") + done.stdout.startswith("Stored ")
        print(f"  round {i}: {stored} of {options.files} files in {took:.2f} s, exit code {done.returncode}, "
              f"{done.stderr.splitlines()[:3]}")
        rates.append(stored / took)
        costs.append((sum(peer.cpu_seconds() for peer in ring.peers.values()) - used) * 1000 / options.files)
    row(f"store, {options.files} files of 10 KiB, {options.peers} peers", rates, "files/s")
    row("processor time of all peers", costs, "ms a file")
    print(f"peak resident memory of a peer: {max(peer.peak_mib() for peer in ring.peers.values()):.0f} MiB")


def tree(ring, options):
    """One `quoit store -r` of a directory of small files, again, and a request of it into a new folder."""
    asked = spread(ring, options)
    chance, first, again, back, costs = random.Random(), [], [], [], []
    last = list(ring.peers.values())[-1]
    for i in range(options.rounds):
        folder = os.path.join(ring.root, f"tree-{i}")
        for j in range(options.files):
            below = os.path.join(folder, str(j // 100))
            os.makedirs(below, exist_ok=True)
            with open(os.path.join(below, str(j)), "wb") as file:
                file.write(chance.randbytes(10 * 1024))
        # A hash is remembered of a file that has not changed for two seconds.
        time.sleep(2.5)
        used = sum(peer.cpu_seconds() for peer in ring.peers.values())
        first.append(options.files / ring.command(asked, "store", "-r", folder)[0])
        costs.append((sum(peer.cpu_seconds() for peer in ring.peers.values()) - used) * 1000 / options.files)
        again.append(ring.command(asked, "store", "-r", folder)[0])
        back.append(options.files / ring.command(last, "request", f"tree-{i}", "-o", os.path.join(ring.root, f"back-{i}"))[0])
    row(f"store -r, {options.files} files of 10 KiB, {options.peers} peers", first, "files/s")
    row("processor time of all peers", costs, "ms a file")
    row("store -r again", again, "s")
    row("request of the tree", back, "files/s")
    print(f"peak resident memory of a peer: {max(peer.peak_mib() for peer in ring.peers.values()):.0f} MiB")


PACKET_HELP = "the largest UDP packet, by the MTU of a network namespace that the measurement moves into"


# With its headers, as long as packets on loopback are.
PACKET_BYTES_MAX = 65536 - 28


def isolate(packet_bytes):
    """Starts this program again where loopback is its own and takes UDP packets of at most so many bytes."""
    mark = "QUOIT_MEASURE_PACKET_BYTES"
    if not packet_bytes or os.environ.get(mark) == str(packet_bytes):
        return
    space = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    headers = 20 + 8  # of IPv4 and UDP
    script = f'ip link set lo up mtu {packet_bytes + headers} && exec "$@"'
    os.execvpe(space[0], [*space, "sh", "-c", script, "sh", sys.executable, *sys.argv],
               {**os.environ, mark: str(packet_bytes)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measures = {measure.__name__: measure for measure in (
        repair, join, transfer, hostile, commands, local, bulk, idle, lookup, served, scrub, holders, resume, small, tree,
        fairness, replace, comeback)}
    parser.add_argument("what", choices=measures)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--deaths", type=int, default=1)
    parser.add_argument("--successors", type=int, default=8)
    parser.add_argument("--files", type=int)
    parser.add_argument("--peers", type=int)
    parser.add_argument("--commands", type=int, default=1000)
    parser.add_argument("--mebibytes", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--from", dest="attack_from", default="127.0.0.1")
    parser.add_argument("--nice", type=int, default=0, help="of the attacker, which shares the processors")
    parser.add_argument("--base-port", type=int, default=21000)
    parser.add_argument("--packet-bytes", type=int, help=PACKET_HELP)
    parser.add_argument("--root")
    parser.add_argument("--against", help="another build, measured in turn with the first")
    parser.add_argument("--user", help="the user as which all programs but rsync run")
    parser.add_argument("--bin", default=os.path.join(os.path.dirname(__file__), "..", "target", "release", "quoit"))
    options = parser.parse_args()
    # Where bytes on the network are counted, nobody else's may be among them.
    isolate(options.packet_bytes or (PACKET_BYTES_MAX if options.what in ("replace", "comeback") else None))
    rounds = {"repair": 20, "join": 10, "transfer": 5, "hostile": 1, "bulk": 5, "idle": 1, "lookup": 1, "served": 20,
              "fairness": 10, "replace": 1, "comeback": 1}
    options.rounds = options.rounds or rounds.get(options.what, 3)
    options.seconds = options.seconds or {"comeback": 600}.get(options.what, 60)
    options.peers = options.peers or {"tree": 3, "lookup": 50}.get(options.what, 7)
    options.mebibytes = options.mebibytes or {"served": 256, "replace": 2000, "comeback": 2000}.get(options.what, 1024)
    options.files = options.files or {"scrub": 1000, "small": 10_000, "tree": 10_000, "replace": 10_000, "comeback": 10_000}.get(options.what, 100)
    ring = Ring(options)
    try:
        measures[options.what](ring, options)
    finally:
        ring.end()


if __name__ == "__main__":
    main()
