#!/usr/bin/env python3
"""Writes the first inputs of each target to fuzz/corpus/TARGET/, out of the golden bytes of the wire
(tests/golden/wire.txt) and the texts in fuzz/seeds. It keeps inputs that a fuzzer has found there."""

import base64
import hashlib
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "tests" / "golden" / "wire.txt"
CLIENT = HERE.parent / "tests" / "golden" / "client.txt"


def main():
    golden = [line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    golden = [(name, bytes.fromhex(text)) for name, text in golden]

    def of(kind):
        return [data for name, data in golden if name.split("::")[0] == kind]

    write("requests", of("Request"))
    write("replies", of("Reply"))
    client = [line.split() for line in CLIENT.read_text().splitlines() if not line.startswith("#")]
    for name, text in client:
        which = b"\0" if name.startswith("ClientRequest") else b"\1"
        write("commands", [which + bytes.fromhex(text)])
    members = varint(3) + b"".join(member(number, state) for number, state in ((10, 0), (20, 1), (30, 2)))
    write("datagrams", [b"\0" + data for data in of("Datagram")])
    write("datagrams", [b"\1" + data for data in of("Hello")] + [b"\2" + members])
    write("datagrams", [b"\3" + len(data).to_bytes(4, "big") + data for data in of("Hello")])
    record = bytes.fromhex((HERE / "seeds" / "record.hex").read_text())
    write("records", [b"\0" + data for data in of("NameRecord")])
    write("records", [b"\1" + data for data in [*of("SignedRecord"), record]])
    write("histories", [b"\0\0\0", b"\0\1" + record + b"\0", b"\0\1" + record + b"\1" + record + b"\1"])
    write("histories", [b"\1" + sized(record) + sized(record)])
    write("histories", [b"\2" + bytes([1, 1, 255, 1, 2, 1, 0, 2, 3, 2, 1, 0, 2, 7, 0, 9, 2, 7, 255, 5])])
    outboards()
    write("trees", [bytes([cut]) + text.encode() for cut in (0, 6, 255) for text in TREES])
    write("peer_file", [text.encode() for text in PEER_FILES])
    certificates()
    write("names", [bytes([kind]) + text.encode() for kind, texts in NAMES.items() for text in texts])
    write("command_lines", [b"\0" + text.encode() for text in PROMPT])
    write("command_lines", [b"\1" + text.encode().replace(b" ", b"\0") for text in ARGUMENTS])
    ring(golden)


TREES = [
    "quoit tree 1 755 0.000000000\n",
    "quoit tree 1 755 1700000000.123456789\nd 700 -1.000000000 a\n"
    f"f 644 0.000000000 5 {'0' * 64} a/b%20c\nl 0.000000000 a/d ../%FF\n"
    f"f 755 0.000000000 1048577 {'1' * 64} {'2' * 64} é\n",
]


def outboards():
    def file(midstates):
        length = (midstates + 1) << 20
        return b"QUOITM1\n" + length.to_bytes(8, "big") + (1 << 20).to_bytes(4, "big") + bytes(32 * midstates)

    write("outboards", [b"\0" + file(count) for count in (0, 1, 3)])
    page = bytes(range(32))
    for count in (1, 2, 1025):
        length = ((count + 1) << 20).to_bytes(8, "big")
        pages = [page * min(1024, count - at) for at in range(0, count, 1024)]
        write("outboards", [b"\1" + b"".join(length + b"\0" + sized(data) for data in pages)])
    write("outboards", [b"\2" + sized(b"abc") + sized(bytes(64)) + sized(bytes(200))])


def certificates():
    folder = HERE / "seeds" / "certs"
    for path in (folder / "ca" / "ca.pem", folder / "peers" / "7.pem"):
        text = path.read_text()
        body = "".join(line for line in text.splitlines() if not line.startswith("-"))
        write("certificates", [b"\0" + base64.b64decode(body), b"\1" + text.encode()])
    key = bytes.fromhex("302e020100300506032b657004220420") + bytes(range(32))
    text = base64.b64encode(key).decode()
    write("certificates", [f"\2-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n".encode()])
    write("certificates", [b"\3\0\5\1", b"\3\1\0\0\1\1\7"])


def ring(golden):
    """A way into a ring of each kind, then one step of each golden message."""
    found_small, found_large, join = b"\0\1", b"\0\0", b"\2\0"
    alive = [10, 20, 30, 40, 50, 60]
    news = varint(5) + b"".join(member(number, 0) for number in alive[:5])
    pings = b"".join(b"\2" + bytes([who]) + sized(b"\0" + varint(7) + news) for who in range(3))
    passing = b"\5\x40"
    joined = b"".join(
        b"\0" + bytes([who]) + sized(message("Request::Membership::Join", golden, 1)) + passing for who in range(6)
    )
    for start in (found_small, found_large, join):
        for before in (b"", pings, joined):
            begun = start + before + passing
            steps = []
            for name, data in golden:
                if name.startswith("Request::Membership::"):
                    steps.append(b"\0\1" + sized(data[1:]))
                elif name.startswith("Reply::Membership::"):
                    steps.append(b"\3\0\0" + sized(data[1:]))
                elif name.startswith("Datagram::"):
                    steps.append(b"\2\2" + sized(data))
            write("ring", [begun + step + passing for step in steps])
            write("ring", [begun + b"".join(steps[:12]) + passing, begun + b"".join(steps[12:]) + passing])
    entries = b"".join(entry(number) for number in (20, 30, 40, 50))
    owner = b"\x08" + entry(20) + b"\0" + varint(0)
    closer = b"\x05" + varint(4) + entries
    write("ring", [found_large + pings + b"\7\7\x48" + sized(closer) + sized(owner), join + b"\3\0\0" + sized(closer)])
    resume = b"\4\0" + sized(varint(2) + member(10, 0) + member(20, 2))
    write("ring", [resume + passing * 4 + b"\4\0\4\0" + passing * 8 + b"\6"])


def message(name, golden, which=0):
    return [data[1:] for found, data in golden if found == name][which]


def entry(number):
    address = f"127.0.0.1:{12000 + number}".encode()
    position = bytes([number]) + b"\xff" * 31
    return position + varint(1000 + number) + bytes([number]) * 32 + varint(len(address)) + address


def member(number, state):
    return entry(number) + bytes([state])


def varint(value):
    return bytes([value]) if value < 251 else b"\xfb" + value.to_bytes(2, "little")


def sized(data):
    return len(data).to_bytes(2, "big") + data


def write(target, inputs):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


PEER_FILES = [
    """# The identity of this peer.
position = "04ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
number = 4
ring = "0a1b2c3d"
listen = "127.0.0.1:12004"
certificate = "4"
incarnation = 7
""",
    """position = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
name = "café \\"4\\"\\n"
ring = "0a1b2c3d"
listen = "[::1]:12300"
advertise = "quoit.example:12300"
certificate = "0011223344556677"
incarnation = 9223372036854775807
process_id = 1234
interval_ms = 250
replicas = 3
successors = 8
left = true
""",
]
NAMES = {
    0: ["4012.pdf", "a b", "-rf", "…", "CON", "two\nlines", "..", "../x", "nul\0", "x" * 256],
    1: ["ab" * 32, "AB" * 32, "ab"],
    2: ["77" * 32, "a" * 52],
    3: ["127.0.0.1:12004", "[::1]:1", "host.example:65535", "host:0", "a:b:1"],
    4: ["sha256:" + "cd" * 32, "sha256:abcd", "sha256:x", "report.pdf"],
    5: ["0.25", "1", "NaN", "1e9", "-1", "3600", "inf"],
}
PROMPT = [
    "Store --as 'a name' --wait=all --timeout 1.5 -- file",
    "request sha256:" + "cd" * 32,
    "Files --ring",
    "Whereis report.pdf",
    "stroe x",
    "quit # now",
    "'open",
]
ARGUMENTS = [
    "init 2 4 10.0.0.1:99 0.5 --base-port 20000 --verbose",
    "join 8 host.example:12004 2 --listen 127.0.0.1:99",
    "run --data-dir here --advertise example.org:4000",
    "init 4 --replicas 4 --successors 2",
    "--help",
    "init 256",
    "simulate --peers 100 --fail-fraction 0.5 --session-median 60 --latency 0.5 --plot ring.svg",
]

if __name__ == "__main__":
    main()
