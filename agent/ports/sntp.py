"""The time, in SNTP's packets (RFC 4330): the question, and what its answer says. Pure.

Nobody signs the answer. Who can forge it can make a certificate that has expired look valid, down
to SECONDS_MIN, and no more: what boots and what is accepted asks for no clock.
"""

import struct

PORT = 123
COOKIE_BYTES = 8
SECONDS_MIN = 1_767_225_600  # 2026-01-01: no agent is older
_PACKET_BYTES = 48
_BEFORE_1970_S = 2_208_988_800  # NTP counts from 1900, in eras of 2**32 s
_CLIENT = b"\x23"  # version 4, mode 3
_SERVER_MODE = 4


def question(cookie: bytes) -> bytes:
    """The packet; `cookie`: COOKIE_BYTES at random, in the place of our own time."""
    return _CLIENT + bytes(_PACKET_BYTES - 1 - COOKIE_BYTES) + cookie


def answer(packet: "bytes | bytearray", cookie: bytes) -> "int | None":
    """Seconds since 1970; None for what is no answer to `cookie` or comes from no sound clock."""
    if len(packet) < _PACKET_BYTES or packet[24:32] != cookie:
        return None
    if packet[0] & 7 != _SERVER_MODE or packet[0] >> 6 == 3 or not 0 < packet[1] < 16:
        return None
    seconds = int(struct.unpack(">I", packet[40:44])[0])
    if seconds < 1 << 31:
        seconds += 1 << 32  # the era that begins in 2036
    seconds -= _BEFORE_1970_S
    return seconds if seconds >= SECONDS_MIN else None
