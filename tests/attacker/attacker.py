#!/usr/bin/env python3
"""A peer that wants no good, written from docs/protocol.md with another QUIC library.

usage: attacker.py --peer HOST:PORT --certs CERTS_DIR --number N --member LABEL [ATTACK…]

Does each ATTACK, or all, to the peer N that listens at HOST:PORT, and prints one line of JSON for each: what
the peer did. CERTS_DIR is that of the ring, with the key of its CA; LABEL is a peer whose own key is used.
Needs aioquic and cryptography (requirements.txt).
"""

import argparse
import asyncio
import hashlib
import json
import random
import socket
import sys
import time

import identities
import wire
from session import connect


class Attacker:
    def __init__(self, options):
        host, port = options.peer.rsplit(":", 1)
        self.address, self.certs = (host, int(port)), options.certs
        self.number, self.label = options.number, options.member
        self.authority = identities.Authority.of_ring(options.certs)
        self.cafile = f"{options.certs}/ca/ca.pem"
        self.count = 0

    def member(self):
        """A good identity, each time of another position: what one attack costs does not touch the next."""
        return self.authority.member(200 + self.count % 50)

    async def connect(self, identity, **how):
        # Each attack comes from another address as well.
        return await connect(self.address, f"127.0.1.{1 + self.count % 250}", self.cafile, identity, **how)

    async def run(self, name):
        self.count += 1
        random.seed(name)
        begun = time.monotonic()
        told = await ATTACKS[name](self)
        return {"attack": name, **told, "seconds": round(time.monotonic() - begun, 1)}

    # The handshake: certificates that do not belong to this ring's peers.

    async def handshake(self, identity, **how):
        session = await self.connect(identity, **how)
        if session.closed is None:
            # Under TLS 1.3 the refusal of a client may come after its side of the handshake.
            greeted = await session.hello()
        else:
            greeted = False
        told = {"greeted": greeted, "closed": session.closed}
        session.drop()
        return told

    async def no_certificate(self):
        return await self.handshake(None)

    async def certificate_of_another_ca(self):
        return await self.handshake(identities.Authority.unknown().member(200))

    async def expired_certificate(self):
        names = [identities.PARENT, identities.position_name(201)]
        return await self.handshake(self.authority.issue(names, days=(-10, -1)))

    async def certificate_of_tomorrow(self):
        names = [identities.PARENT, identities.position_name(201)]
        return await self.handshake(self.authority.issue(names, days=(1, 10)))

    async def wrong_alpn(self):
        return await self.handshake(self.member(), alpn="h3")

    async def two_positions(self):
        names = [identities.PARENT, identities.position_name(201), identities.position_name(202)]
        return await self.handshake(self.authority.issue(names))

    async def uncanonical_position(self):
        return await self.handshake(self.authority.issue([identities.PARENT, identities.stray_bits_name(201)]))

    async def no_position(self):
        return await self.handshake(self.authority.issue([identities.PARENT, "nas.example"]))

    async def another_kind_of_key(self):
        names = [identities.PARENT, identities.position_name(201)]
        return await self.handshake(self.authority.issue(names, key=identities.elliptic_key()))

    async def its_own_position(self):
        return await self.handshake(self.authority.member(self.number))

    async def no_quic(self):
        """Bytes that are no packets, and handshakes that begin and never go on."""
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((f"127.0.1.{1 + self.count % 250}", 0))
        for length in [0, 1, 20, 1200, 1400] * 100:
            sender.sendto(random.randbytes(length), self.address)
            # A long header of version 1, as the first packet of a connection has.
            sender.sendto(b"\xc3\0\0\0\1\x08" + random.randbytes(1194), self.address)
        sender.close()
        self.count += 1  # the address of all that may be closed out for a while
        session = await self.connect(self.member())
        told = {"greeted": await session.hello(), "lives": await session.lives()}
        session.drop()
        return told

    # The hello: none, late, or something else.

    async def unwelcome(self, data, end=True):
        session = await self.connect(self.member())
        stream = session.open(data, end) if data is not None else None
        await session.until(lambda: False)
        told = {"closed": session.closed, "replies": session.replies(stream)}
        session.drop()
        return told

    async def no_hello(self):
        return await self.unwelcome(None)

    async def late_hello(self):
        session = await self.connect(self.member())
        stream = session.open(wire.HELLO[:3])
        await asyncio.sleep(4)  # later than a handshake may take
        session.send(stream, wire.HELLO[3:], end=True)
        await session.until(lambda: False)
        told = {"closed": session.closed, "replies": session.replies(stream)}
        session.drop()
        return told

    async def garbage_hello(self):
        return await self.unwelcome(wire.framed(random.randbytes(50)))

    async def oversized_hello(self):
        return await self.unwelcome(b"\xff\xff\xff\xff" + bytes(100))

    async def truncated_hello(self):
        return await self.unwelcome(wire.HELLO[:-1])

    async def hello_with_more(self):
        return await self.unwelcome(wire.framed(wire.HELLO[4:] + b"\0"))

    # Streams and datagrams of a member, its certificate good.

    async def greeted(self):
        session = await self.connect(self.member())
        if not await session.hello():
            raise RuntimeError(f"an honest hello is not returned: {session.closed}")
        return session

    async def malformed(self, streams):
        """These bytes on a stream each; what comes back on it; whether the connection serves on."""
        session = await self.greeted()
        opened = [session.open(data, end) for data, end in streams]
        await session.until(lambda: all(session.over(stream) for stream in opened))
        replies = [session.replies(stream) for stream in opened]
        told = {"streams": len(opened), "replies": tally(replies), "lives": await session.lives()}
        told["closed"] = session.closed
        session.drop()
        return told

    async def own_certificate(self):
        """The key and certificate that the ring made for a peer, and an honest question."""
        session = await self.connect(identities.from_files(self.certs, self.label))
        told = {"greeted": await session.hello(), "replies": await session.ask(wire.find_owner(0))}
        session.drop()
        return told

    async def truncated_frames(self):
        return await self.malformed([(b"", True), (b"\0\0", True), (b"\0\0\0\x64" + bytes(10), True)])

    async def oversized_frames(self):
        headers = [b"\xff\xff\xff\xff", b"\x00\x01\x00\x01", b"\x80\0\0\0"]
        return await self.malformed([(header + bytes(100), False) for header in headers])

    async def unknown_tags(self):
        messages = [b"\x09", b"\0\x4d", b"\1\x4d", b"\0\0\x09", b"\xfb\xff\xff", b""]
        return await self.malformed([(wire.framed(message), True) for message in messages])

    async def trailing_bytes(self):
        return await self.malformed([(wire.framed(wire.PROBE + more), True) for more in (b"\0", bytes(1000))])

    async def two_encodings(self):
        return await self.malformed([(wire.framed(b"\xfb\0\0\0\0"), True), (wire.framed(b"\0\0\xfc\0\0\0\0"), True)])

    async def claimed_lengths(self):
        """Lists and texts that claim more than anybody has memory for."""
        huge = b"\xfd" + (1 << 62).to_bytes(8, "little")
        messages = [b"\0\0\1" + huge, b"\1\5" + huge, b"\1\7" + huge, b"\1\6" + huge, b"\1\7\xfc\xff\xff\xff\x7f"]
        return await self.malformed([(wire.framed(message), True) for message in messages])

    async def random_streams(self):
        """Many, so that a peer may lose its patience."""
        streams = [(random.randbytes(random.randrange(200)), True) for _ in range(100)]
        streams += [(wire.framed(random.randbytes(random.randrange(200))), True) for _ in range(100)]
        return await self.malformed(streams)

    async def streams_left_open(self):
        session = await self.greeted()
        opened = [session.open(b"\0\0") for _ in range(200)]
        # The peer answers requests meanwhile.
        meanwhile = await session.lives()
        await session.until(lambda: all(session.over(stream) for stream in opened))
        told = {"streams": len(opened), "ended": sum(session.over(stream) for stream in opened)}
        told |= {"meanwhile": meanwhile, "lives": await session.lives(), "closed": session.closed}
        session.drop()
        return told

    async def reset_streams(self):
        session = await self.greeted()
        for i in range(300):
            stream = session.open(wire.framed(wire.PROBE)[: i % 7 + 1])
            session.reset(stream)
            session.stop(stream)
            await asyncio.sleep(0)
        told = {"lives": await session.lives(), "closed": session.closed}
        session.drop()
        return told

    async def random_datagrams(self):
        session = await self.greeted()
        for _ in range(500):
            session.datagram(random.randbytes(random.randrange(1, 1100)))
            await asyncio.sleep(0)
        told = {"lives": await session.lives(), "closed": session.closed}
        session.drop()
        return told

    async def flood_of_pings(self):
        session = await self.greeted()
        for sequence in range(5000):
            session.datagram(wire.ping(sequence))
            if sequence % 50 == 0:
                await asyncio.sleep(0.001)
        told = {"pongs": session.datagrams > 0, "lives": await session.lives(), "closed": session.closed}
        session.drop()
        return told

    async def unidirectional_streams(self):
        session = await self.greeted()
        session.lift_limits()
        stream = session._quic.get_next_available_stream_id(is_unidirectional=True)
        session.send(stream, b"hello", True)
        await session.until(lambda: False)
        session.drop()
        return {"closed": session.closed}

    async def too_many_streams(self):
        session = await self.greeted()
        session.lift_limits()
        for _ in range(400):
            session.open(b"\0")
        await session.until(lambda: False)
        session.drop()
        return {"closed": session.closed}

    # Exchanges that are not what they say.

    async def store(self, sent, claimed, end=True, content=None):
        """Stores these bytes as others; what the peer says of it."""
        session = await self.greeted()
        content = content or hashlib.sha256(claimed).digest()
        asked = wire.store_object(content, len(claimed), wire.outboard_digest(len(claimed)))
        stream = session.open(wire.framed(asked))
        proceeds = await session.until(lambda: session.replies(stream) or session.over(stream))
        if proceeds:
            session.send(stream, sent, end)
        await session.until(lambda: session.over(stream))
        told = {"content": content.hex(), "replies": session.replies(stream), "reset": session.resets.get(stream)}
        told |= {"over": session.over(stream), "lives": await session.lives(), "closed": session.closed}
        told["kept"] = (await session.ask(wire.fetch_object(content)))[:1] == ["Storage::Object"]
        session.drop()
        return told

    async def wrong_bytes(self):
        return await self.store(b"x" * 50_000, b"y" * 50_000)

    async def too_few_bytes(self):
        return await self.store(b"few" * 1000, b"few" * 10_000)

    async def too_many_bytes(self):
        return await self.store(b"many" * 10_000, b"many" * 1000)

    async def silent_upload(self):
        return await self.store(b"a beginning", b"a beginning, and the rest" * 1000, end=False)

    async def impossible_length(self):
        session, replies = await self.greeted(), []
        for length in (1 << 61, (1 << 64) - 1):
            asked = wire.store_object(bytes(32), length, wire.outboard_digest(0))
            stream = session.open(wire.framed(asked) + b"x" * 1000, end=True)
            await session.until(lambda: session.over(stream))
            replies.append(session.replies(stream))
        told = {"replies": replies, "lives": await session.lives(), "closed": session.closed}
        session.drop()
        return told

    async def close_mid_exchange(self):
        """Half a file, then nothing of the whole connection; and the same again from the beginning."""
        told = {}
        claimed = random.randbytes(500_000)
        content = hashlib.sha256(claimed).digest()
        for how in ("closed", "vanished"):
            session = await self.greeted()
            asked = wire.store_object(content, len(claimed), wire.outboard_digest(len(claimed)))
            stream = session.open(wire.framed(asked))
            told[how] = await session.until(lambda: session.replies(stream) == ["Storage::Proceed"])
            session.send(stream, claimed[:250_000])
            await asyncio.sleep(0.2)
            if how == "closed":
                session.close(error_code=0x4D, reason_phrase="gone")
            session.drop()
        session = await self.greeted()
        told["kept"] = (await session.ask(wire.fetch_object(content)))[:1] == ["Storage::Object"]
        told |= {"content": content.hex(), "lives": await session.lives()}
        session.drop()
        return told

    async def fetch_beyond_the_end(self):
        session = await self.greeted()
        replies = [await session.ask(wire.fetch_object(bytes(32), offset)) for offset in (0, 1 << 63, (1 << 64) - 1)]
        told = {"replies": replies, "lives": await session.lives(), "closed": session.closed}
        session.drop()
        return told


def tally(replies):
    """How often each list of replies came, as `a + b`."""
    counts = {}
    for one in replies:
        name = " + ".join(one) or "nothing"
        counts[name] = counts.get(name, 0) + 1
    return counts


ATTACKS = {
    name: attack
    for name, attack in vars(Attacker).items()
    if asyncio.iscoroutinefunction(attack)
    and name not in ("connect", "run", "handshake", "unwelcome", "greeted", "malformed", "store")
}


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--certs", required=True)
    parser.add_argument("--number", required=True, type=int)
    parser.add_argument("--member", required=True)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK")
    options = parser.parse_args()
    unknown = [name for name in options.attacks if name not in ATTACKS]
    if unknown:
        parser.error(f"no attack {unknown[0]}; there are {', '.join(ATTACKS)}")
    attacker = Attacker(options)
    for name in options.attacks or ATTACKS:
        print(json.dumps(await attacker.run(name)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
