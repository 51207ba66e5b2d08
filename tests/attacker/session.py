"""One QUIC connection of the attacker, and all that came back on it."""

import asyncio
import ssl

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

import wire

# Far beyond what a peer on this machine takes for anything that is waited for here.
PATIENCE = 25.0


class Session(QuicConnectionProtocol):
    """Keeps what happened: the handshake, the end of the connection, each stream's bytes and end."""

    def __init__(self, quic):
        super().__init__(quic)
        self.handshaken = False
        self.closed = None
        self.received = {}
        self.finished = set()
        self.resets = {}
        self.datagrams = 0
        self.changed = asyncio.Condition()

    def quic_event_received(self, event):
        if isinstance(event, events.HandshakeCompleted):
            self.handshaken = True
        elif isinstance(event, events.ConnectionTerminated):
            self.closed = close_of(event)
        elif isinstance(event, events.StreamDataReceived):
            self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.end_stream:
                self.finished.add(event.stream_id)
        elif isinstance(event, events.StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, events.DatagramFrameReceived):
            self.datagrams += 1
        asyncio.ensure_future(self._tell())

    async def _tell(self):
        async with self.changed:
            self.changed.notify_all()

    async def until(self, holds, within=PATIENCE):
        """Waits for a condition, or for the end of the connection; says whether the condition holds."""

        async def wait():
            async with self.changed:
                await self.changed.wait_for(lambda: holds() or self.closed)

        try:
            await asyncio.wait_for(wait(), within)
        except asyncio.TimeoutError:
            pass
        return bool(holds())

    def open(self, data, end=False):
        """A new stream with these bytes; its number."""
        stream = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(stream, data, end)
        self.transmit()
        return stream

    def send(self, stream, data, end=False):
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    def reset(self, stream, code=0):
        self._quic.reset_stream(stream, code)
        self.transmit()

    def stop(self, stream, code=0):
        self._quic.stop_stream(stream, code)
        self.transmit()

    def datagram(self, data):
        self._quic.send_datagram_frame(data)
        self.transmit()

    def lift_limits(self):
        """Forgets what the other side allows, as nobody honest does."""
        self._quic._remote_max_streams_bidi = 1 << 20
        self._quic._remote_max_streams_uni = 1 << 20

    def drop(self):
        """Ends this side without another word to the peer."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()
        self.transmit = lambda: None

    def over(self, stream):
        return stream in self.finished or stream in self.resets

    def replies(self, stream):
        return [wire.name_of(message) for message in wire.frames(bytes(self.received.get(stream, b"")))[0]]

    async def hello(self):
        """The greeting of an honest peer; whether it is returned."""
        stream = self.open(wire.HELLO, end=True)
        return await self.until(lambda: len(wire.frames(bytes(self.received.get(stream, b"")))[0]) == 1)

    async def ask(self, message):
        """An honest request; the kinds of the replies to it."""
        stream = self.open(wire.framed(message), end=True)
        await self.until(lambda: self.over(stream))
        return self.replies(stream)

    async def lives(self):
        """Whether the connection still serves an honest request."""
        return await self.ask(wire.find_owner(0)) == ["Membership::Owner"]


def close_of(event):
    """The end of a connection, in words that a test can compare."""
    if event.frame_type is None:
        kind, code = "application", event.error_code
    elif 0x100 <= event.error_code < 0x200:
        kind, code = "tls", event.error_code - 0x100
    else:
        kind, code = "transport", event.error_code
    return {"kind": kind, "code": code, "reason": event.reason_phrase}


async def connect(address, source, cafile, identity, alpn="quoit/1"):
    """A connection, its handshake over as far as this side can tell, or ended."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[alpn],
        cafile=cafile,
        server_name="peer.quoit",
        verify_mode=ssl.CERT_REQUIRED,
        max_datagram_frame_size=65536,
        idle_timeout=60.0,
    )
    if identity:
        configuration.private_key, configuration.certificate = identity
    loop = asyncio.get_running_loop()
    _, session = await loop.create_datagram_endpoint(
        lambda: Session(QuicConnection(configuration=configuration)), local_addr=(source, 0)
    )
    session.connect(address)
    await session.until(lambda: session.handshaken, within=PATIENCE)
    return session
