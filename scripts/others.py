"""Other programs that move a large file, for scripts/bench.py. Each function returns, for each name, the seconds, the
processor seconds and the peak memory of a process; nothing where the program is not installed."""
import datetime, hashlib, hmac, http.client, json, os, re, shutil, subprocess, sys, tempfile, threading, time

import measure
from watch import Watch

PROGRAMS = {
    "rsync": "your system's packages",
    "sendme": "cargo install sendme",
    "garage": "cargo install garage, or https://garagehq.deuxfleurs.fr/download/",
    "ipfs": "kubo: go install github.com/ipfs/kubo/cmd/ipfs@latest, or https://dist.ipfs.tech/#kubo",
}


def name_missing():
    for program, how in PROGRAMS.items():
        if not shutil.which(program):
            print(f"NOT MEASURED: {program} is not installed ({how})", file=sys.stderr)


def sendme(options):
    if not shutil.which("sendme"):
        return {}
    # Without a server elsewhere, and over loopback alone.
    direct = ["--relay", "disabled", "--no-progress", "--magic-ipv4-addr"]
    ports = [f"127.0.0.1:{options.base_port + offset}" for offset in (300, 301)]
    with tempfile.TemporaryDirectory(dir=options.root, prefix="quoit-bench-") as root:
        there, here = os.path.join(root, "there"), os.path.join(root, "here")
        os.mkdir(there)
        os.mkdir(here)
        measure.noise(os.path.join(there, "big"), options.mebibytes)
        os.sync()
        sender = subprocess.Popen(["sendme", "send", *direct, ports[0], "--ticket-type", "addresses", "big"], cwd=there,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            ticket = next((m.group(1) for m in (re.search(r"sendme receive (\S+)", line) for line in sender.stdout)
                           if m), None)
            if ticket is None:
                sys.exit("sendme send gave no ticket")
            threading.Thread(target=sender.stdout.read, daemon=True).start()
            with Watch(sender.pid) as watch:
                took, cpu, peak = measure.run_to_end(["sendme", "receive", *direct, ports[1], ticket], cwd=here,
                                                     stderr=subprocess.DEVNULL)
        finally:
            sender.terminate()
            sender.wait()
        if os.path.getsize(os.path.join(here, "big")) != options.mebibytes << 20:
            sys.exit("sendme brought another file")
    return {"sendme receive": (took, cpu + watch.cpu_seconds(), max(peak, watch.peak))}


def garage(options):
    """A PUT of one object to a ring of three nodes with three copies."""
    if not shutil.which("garage"):
        return {}
    nodes, port = [], options.base_port + 310
    with tempfile.TemporaryDirectory(dir=options.root, prefix="quoit-bench-") as root:
        secret = os.urandom(32).hex()
        for number in range(3):
            rpc, s3, admin = (port + 10 * number + offset for offset in range(3))
            config = os.path.join(root, f"{number}.toml")
            with open(config, "w") as file:
                file.write(f'metadata_dir = "{root}/{number}/meta"\ndata_dir = "{root}/{number}/data"\n'
                           'db_engine = "lmdb"\nreplication_factor = 3\nmetadata_fsync = true\ndata_fsync = true\n'
                           f'rpc_bind_addr = "127.0.0.1:{rpc}"\nrpc_public_addr = "127.0.0.1:{rpc}"\n'
                           f'rpc_secret = "{secret}"\n[s3_api]\ns3_region = "garage"\n'
                           f'api_bind_addr = "127.0.0.1:{s3}"\n[admin]\napi_bind_addr = "127.0.0.1:{admin}"\n')
            nodes.append((config, s3))

        def ask(number, *words):
            return subprocess.run(["garage", "-c", nodes[number][0], *words], check=True, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

        servers = [subprocess.Popen(["garage", "-c", config, "server"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL) for config, _ in nodes]
        try:
            ids = [until(lambda number=number: ask(number, "node", "id", "-q").strip()) for number in range(3)]
            for number in (1, 2):
                until(lambda number=number: ask(0, "node", "connect", ids[number]))
            for name in ids:
                until(lambda name=name: ask(0, "layout", "assign", "-z", "here", "-c", "100G", name.split("@")[0]))
            ask(0, "layout", "apply", "--version", "1")
            key = until(lambda: ask(0, "key", "create", "bench"))
            identity = re.search(r"Key ID:\s*(\S+)", key).group(1)
            password = re.search(r"Secret key:\s*(\S+)", key).group(1)
            until(lambda: ask(0, "bucket", "create", "bench"))
            ask(0, "bucket", "allow", "--read", "--write", "bench", "--key", identity)
            path = os.path.join(root, "big")
            measure.noise(path, options.mebibytes)
            os.sync()
            watches = [Watch(server.pid).__enter__() for server in servers]
            begin, own = time.monotonic(), time.process_time()
            put(nodes[0][1], identity, password, path)
            took, own = time.monotonic() - begin, time.process_time() - own
            for watch in watches:
                watch.__exit__()
        finally:
            for server in servers:
                server.terminate()
                server.wait()
    return {"garage PUT, three copies": (took, own + sum(watch.cpu_seconds() for watch in watches),
                                         max(watch.peak for watch in watches))}


def put(port, identity, password, path):
    """One PUT, signed as AWS Signature Version 4 asks, with a body that is not part of the signature."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": f"127.0.0.1:{port}", "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"PUT\n/bench/big\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    scope = f"{day}/garage/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{password}".encode()
    for word in (day, "garage", "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={identity}/{scope}, SignedHeaders={names}, "
                                f"Signature={signature}")
    headers["content-length"] = str(os.path.getsize(path))
    connection = http.client.HTTPConnection("127.0.0.1", port, blocksize=1 << 20)
    with open(path, "rb") as body:
        connection.request("PUT", "/bench/big", body=body, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            sys.exit(f"garage answered {answer.status}: {answer.read()[:500]}")


def kubo(options):
    """`ipfs get` at one node of a file that another one has."""
    if not shutil.which("ipfs"):
        return {}
    with tempfile.TemporaryDirectory(dir=options.root, prefix="quoit-bench-") as root:
        def node(number):
            env = {**os.environ, "IPFS_PATH": os.path.join(root, str(number))}

            def ask(*words, **more):
                return subprocess.run(["ipfs", *words], check=True, text=True, env=env, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, **more).stdout.strip()

            port = options.base_port + 340 + 10 * number
            ask("init", "--profile", "test")
            ask("bootstrap", "rm", "--all")
            for name, value in (("API", f"/ip4/127.0.0.1/tcp/{port}"), ("Gateway", f"/ip4/127.0.0.1/tcp/{port + 1}")):
                ask("config", f"Addresses.{name}", value)
            ask("config", "--json", "Addresses.Swarm", json.dumps([f"/ip4/127.0.0.1/udp/{port + 2}/quic-v1"]))
            daemon = subprocess.Popen(["ipfs", "daemon"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return ask, daemon, env, port

        (there, sender, _, port), (here, receiver, env, _) = nodes = node(0), node(1)
        try:
            name = json.loads(until(lambda: there("id")))["ID"]
            until(lambda: here("id"))
            path = os.path.join(root, "big")
            measure.noise(path, options.mebibytes)
            os.sync()
            content = there("add", "-Q", path)
            here("swarm", "connect", f"/ip4/127.0.0.1/udp/{port + 2}/quic-v1/p2p/{name}")
            with Watch(sender.pid) as one, Watch(receiver.pid) as other:
                took, cpu, peak = measure.run_to_end(["ipfs", "get", "-o", path + ".copy", content], env=env,
                                                     stderr=subprocess.DEVNULL)
            if measure.digest(path) != measure.digest(path + ".copy"):
                sys.exit("kubo brought another file")
        finally:
            for _, daemon, *_ in nodes:
                daemon.terminate()
                daemon.wait()
    return {"kubo get": (took, cpu + one.cpu_seconds() + other.cpu_seconds(), max(peak, one.peak, other.peak))}


def until(step):
    """The result of a step that fails until its server is ready."""
    end = time.monotonic() + 60
    while True:
        try:
            if found := step():
                return found
        except subprocess.CalledProcessError as error:
            if time.monotonic() > end:
                sys.exit(f"{error.cmd} still fails")
        if time.monotonic() > end:
            sys.exit("a server did not become ready")
        time.sleep(0.2)
