"""TCP and TLS over MicroPython's non-blocking sockets, the same on the virtual board and on chips.

TLS always checks the server's chain, dates and name: there is no switch to leave that out.
"""

import asyncio
import errno
import gc
import select
import socket

from agent.ports.runtime import sleep_ms

try:
    # Not `ssl`: that is a file in front of it, which not every base firmware freezes.
    import tls  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # CPython
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IPPROTO_TCP, _TCP_NODELAY = 6, 1
_CONNECT_STEP_MS = 20


def tls_context(ca: bytes, cert: bytes, key: bytes) -> "Any":
    """A client context: the server must be of `ca`, and sees our certificate. All DER."""
    context: "Any" = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    context.load_verify_locations(ca)
    context.load_cert_chain(cert, key)
    return context


class Stream:
    """A socket or TLS socket, read and written at once where it can be, waited for where not."""

    def __init__(self, sock: "Any") -> None:
        self._sock = sock
        self._waiter: "Any" = asyncio.StreamReader(sock)

    async def readinto(self, buf: memoryview) -> int:
        """Fill as much of `buf` as there is, at least one byte; 0 when the far end closed."""
        try:
            n = self._sock.readinto(buf)
            while n is None:  # a TLS record may be there in part
                n = await self._waiter.readinto(buf)
        except ValueError as err:  # what TLS finds wrong with a certificate
            raise OSError(str(err))
        return int(n)

    async def write(self, buf: memoryview) -> int:
        """Write all of `buf`."""
        try:
            done = self._sock.write(buf) or 0
            if done < len(buf):
                self._waiter.write(bytes(buf[done:]))
                await self._waiter.drain()
        except ValueError as err:
            raise OSError(str(err))
        return len(buf)

    def close(self) -> None:
        """Close; a line that is broken already is no error."""
        try:
            self._sock.close()
        except OSError:
            pass


async def open_stream(host: str, port: int, tls: "Any", server_name: str) -> Stream:
    """A connection to `host`: on a chip an address, because looking a name up stops everything."""
    info: "Any" = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
    sock: "Any" = socket.socket(info[0], info[1], info[2])
    stream = None
    try:
        await _connected(sock, info[-1])
        if tls is not None:
            gc.collect()  # TLS needs 16.7 KB in one piece
            sock = tls.wrap_socket(sock, server_hostname=server_name, do_handshake_on_connect=False)
            sock.setblocking(False)
        stream = Stream(sock)
        return stream
    finally:  # also if the task is cancelled: a chip has few sockets
        if stream is None:
            sock.close()


async def _connected(sock: "Any", address: "Any") -> None:
    """Until the connection stands or failed, which the first read or write tells.

    Not before: lwIP refuses what is written while it connects.
    """
    sock.setblocking(False)
    sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
    try:
        sock.connect(address)
    except OSError as err:
        if err.errno != errno.EINPROGRESS:
            raise
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    while not poller.poll(0):
        await sleep_ms(_CONNECT_STEP_MS)
