"""One question and its answer over UDP, while everything else runs on."""

import errno
import socket

from agent.ports.runtime import now_ms, sleep_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

ANSWER_BYTES_MAX = 512  # DNS without extensions
WAITS_MS = (1_000, 2_000)
_STEP_MS = 20


async def ask(address: str, port: int, packet: bytes, take: "Callable[[bytearray], Any]") -> "Any":
    """What `take(answer)` gives, None being no answer; OSError if there is none in time.

    address: four numbers, because a name would be looked up. `take` may raise OSError.
    """
    sock: "Any" = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(socket.getaddrinfo(address, port)[0][-1])  # takes packets from there only
        for wait_ms in WAITS_MS:
            sock.send(packet)
            found = await _answer(sock, take, wait_ms)
            if found is not None:
                return found
    finally:
        sock.close()
    raise OSError("no answer from {} port {}".format(address, port))


async def _answer(sock: "Any", take: "Callable[[bytearray], Any]", wait_ms: int) -> "Any":
    """A pause behind every packet: a flood of junk does not keep the others from running."""
    buf = bytearray(ANSWER_BYTES_MAX)
    began_ms = now_ms()
    while now_ms() - began_ms < wait_ms:
        size = _received(sock, buf)
        found = take(buf[:size]) if size else None
        if found is not None:
            return found
        await sleep_ms(_STEP_MS)
    return None


def _received(sock: "Any", buf: bytearray) -> int:
    try:
        return int(sock.readinto(buf) or 0)
    except OSError as err:
        if err.errno != errno.EAGAIN:
            raise
        return 0
