"""The address of a host, in DNS's packets (RFC 1035): one question, what its answer says. Pure.

The chips' own lookup stands still until it ends: for 7 s a server on lwIP, and for ever on some
ports without an address of their own. So the question is asked from here, see udp.py.
"""

import struct

PORT = 53
_NAME_BYTES_MAX = 255
_LABEL_BYTES_MAX = 63
_HEADER_BYTES = 12
_A_IN = b"\x00\x01\x00\x01"  # an IPv4 address, of the internet


def is_address(host: str) -> bool:
    """Four numbers: nothing to ask for."""
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)


def question(host: str, ident: int) -> bytes:
    """The packet that asks for the address of `host`; OSError if that is no host name."""
    packet = struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0)
    for label in host.lower().split("."):
        raw = label.encode()
        if not 0 < len(raw) <= _LABEL_BYTES_MAX:
            raise OSError("no host name: " + host)
        packet += bytes([len(raw)]) + raw
    if len(packet) - _HEADER_BYTES >= _NAME_BYTES_MAX:
        raise OSError("no host name: " + host)
    return packet + b"\x00" + _A_IN


def answer(packet: "bytes | bytearray", asked: bytes) -> "str | None":
    """The address in `packet`; None if it does not answer `asked`. OSError: there is no address."""
    end = len(asked)
    if len(packet) < end or packet[:2] != asked[:2] or not packet[2] & 0x80:
        return None
    if packet[4:6] != asked[4:6] or bytes(packet[_HEADER_BYTES:end]).lower() != asked[12:].lower():
        return None
    if packet[3] & 0x0F:
        raise OSError("the name server says no: code {}".format(packet[3] & 0x0F))
    for _ in range(struct.unpack(">H", packet[6:8])[0]):
        start = _behind_name(packet, end) + 10
        if start > len(packet):
            break
        end = start + struct.unpack(">H", packet[start - 2 : start])[0]
        if packet[start - 10 : start - 6] == _A_IN and end == start + 4 <= len(packet):
            return ".".join([str(byte) for byte in packet[start:end]])
    raise OSError("the name server knows no address")


def _behind_name(packet: "bytes | bytearray", at: int) -> int:
    while at < len(packet):
        size = packet[at]
        if size >= 0xC0:  # the rest of the name stands elsewhere
            return at + 2
        if size == 0:
            return at + 1
        at += size + 1
    return at
