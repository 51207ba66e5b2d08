"""As much of the wire as an attacker needs, written from docs/protocol.md alone."""

import hashlib

from identities import position


def varint(value):
    if value < 251:
        return bytes([value])
    for mark, size in ((251, 2), (252, 4), (253, 8)):
        if value < 1 << 8 * size:
            return bytes([mark]) + value.to_bytes(size, "little")
    raise ValueError(value)


def framed(message):
    return len(message).to_bytes(4, "big") + message


HELLO = framed(varint(1) + b"\0")  # incarnation 1, no address of its own
PROBE = b"\0\0\0"


def find_owner(number):
    return b"\0\3" + position(number)


def fetch_object(content, offset=0):
    return b"\1\1" + content + varint(offset)


def list_files():
    return b"\1\x09\0"


def store_object(content, length, outboard):
    """As a replica at the end of its chain, under no name."""
    return b"\1\0" + content + varint(length) + outboard + varint(0) + b"\1" + varint(0)


def ping(sequence):
    return b"\0" + varint(sequence) + varint(0)


def outboard_digest(length):
    """Of a file of one chunk: its header alone."""
    header = b"QUOITM1\n" + length.to_bytes(8, "big") + (1 << 20).to_bytes(4, "big")
    return hashlib.sha256(header).digest()


def frames(data):
    """The messages in what came on a stream, and how many bytes are left over."""
    messages = []
    while len(data) >= 4:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            break
        messages.append(data[4 : 4 + length])
        data = data[4 + length :]
    return messages, len(data)


STORAGE_REPLIES = [
    "Proceed", "AlreadyHere", "Durable", "Missing", "Finished", "NotOwner", "Refused", "Object", "NotHere",
    "Outboard", "Holders", "Noted", "Record", "Put", "Conflict", "Wanted", "Synced", "Files",
]
MEMBERSHIP_REPLIES = [
    "Neighbour", "Relayed", "Busy", "Noted", "Welcome", "Closer", "Forming", "Refused", "Owner", "Inactive",
    "Gone", "Proceed", "Wait",
]


def name_of(reply):
    """The kind of this reply."""
    try:
        if reply[0] == 0:
            return "Membership::" + MEMBERSHIP_REPLIES[reply[1]]
        if reply[0] == 1:
            return "Storage::" + STORAGE_REPLIES[reply[1]]
        if reply[0] == 2:
            return "ProtocolError"
    except IndexError:
        pass
    return f"unknown {reply[:2].hex()}"
