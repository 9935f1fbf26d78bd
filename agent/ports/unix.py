"""The virtual board's hardware for the agent: network, TLS, clock, reset, watchdog, files.

A port is this list of names; the one of another board has the same:
    open_flash(board)        the flash object of bootloader_verify/flash.py
    read_file(name)          settings and TLS files; at most FILE_BYTES_MAX
    now_ms()                 milliseconds since power-on, a number that only grows
    sleep_ms(ms)             awaitable
    random_below(n)          0..n
    reset_cause()            "power", "watchdog", "soft", "hard" or "unknown"
    reset()                  does not return
    Watchdog(timeout_ms)     .feed()
    mount(view, path)        a ROMFS in place
    charger_io()             the charger's hardware, for the application
    show_error(err)          the trace, on the console
    heap()                   (used, free) bytes, after a collection
    tls_context(ca, cert, key)          DER bytes in, what `connect` takes out
    await connect(host, port, tls, server_name)     a stream:
        await readinto(buf) -> n        0: the far end closed; OSError: broken
        await write(buf) -> n           the whole of it
        close()

TLS always checks the server's chain, dates and name: there is no switch to leave that out.
"""

import asyncio
import gc
import os
import socket
import ssl
import sys
import time

from bootloader_verify.ports.unix import NorFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

FILE_BYTES_MAX = 4096  # a certificate or key in DER has about 1,000
_IPPROTO_TCP, _TCP_NODELAY = 6, 1
_EINPROGRESS = (115, 36)  # Linux, macOS
_ON_MICROPYTHON = sys.implementation.name == "micropython"


def _folder() -> str:
    return os.getenv("CHARGEFLASH_FOLDER") or "."


# --- chip -------------------------------------------------------------------------------------
def open_flash(board: "Any") -> NorFile:
    """The board's NOR flash, with the bench's power cuts and memory map where there are any."""
    path = _folder() + "/flash.bin"
    flash = NorFile(path, board.FLASH_SIZE, board.ERASE, board.WRITE, board.ERASED)
    try:
        import virtual_cut  # type: ignore[import-not-found,unused-ignore]
        import virtual_memory  # type: ignore[import-not-found,unused-ignore]

        flash.hook = virtual_cut.hook()
        flash.allot = virtual_memory.outside
    except ImportError:
        pass
    return flash


def read_file(name: str) -> bytes:
    """A file of the board's folder; OSError if it is not there or too long."""
    with open(name if name.startswith("/") else _folder() + "/" + name, "rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise OSError("more than {} bytes: {}".format(FILE_BYTES_MAX, name))
    return data


class _Clock:
    """Counts on where the tick counter of the chip wraps."""

    def __init__(self) -> None:
        self._last = time.ticks_ms()  # type: ignore[attr-defined,unused-ignore]
        self._now_ms = 0

    def now_ms(self) -> int:
        ticks = time.ticks_ms()  # type: ignore[attr-defined,unused-ignore]
        self._now_ms += time.ticks_diff(ticks, self._last)  # type: ignore[attr-defined,unused-ignore]
        self._last = ticks
        return self._now_ms


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000  # type: ignore[attr-defined,unused-ignore]


now_ms: "Any" = _Clock().now_ms if _ON_MICROPYTHON else _monotonic_ms


async def _sleep_cpython(duration_ms: int) -> None:
    await asyncio.sleep(duration_ms / 1000)


sleep_ms: "Any" = getattr(asyncio, "sleep_ms", _sleep_cpython)


def random_below(n: int) -> int:
    """A number of 0..n, from the system's random source."""
    return int.from_bytes(os.urandom(4), "little") % (n + 1)


def reset_cause() -> str:
    """As the supervisor says it."""
    return os.getenv("CHARGEFLASH_RESET_CAUSE") or "unknown"


def reset() -> None:
    """Reset the chip. Does not return."""
    import machine  # the virtual board's, beside the agent

    machine.reset()  # type: ignore[attr-defined,unused-ignore]


class Watchdog:
    """Resets the board unless it is fed every `timeout_ms`; cannot be stopped."""

    def __init__(self, timeout_ms: int) -> None:
        import machine

        self._wdt = machine.WDT(timeout=timeout_ms)  # type: ignore[attr-defined,unused-ignore]

    def feed(self) -> None:
        self._wdt.feed()


def mount(view: memoryview, path: str) -> None:
    """Mount the ROMFS that lies in `view`."""
    import vfs

    vfs.mount(vfs.VfsRom(view), path)  # type: ignore[abstract,unused-ignore]


def charger_io() -> "Any":
    """What an application gets as `services.io`."""
    import virtual_io

    return virtual_io


def show_error(err: Exception) -> None:
    """Print the trace of `err`."""
    show: "Any" = getattr(sys, "print_exception", None)
    if show is not None:
        show(err)
    else:  # CPython
        print("{}: {}".format(type(err).__name__, err))


def heap() -> "tuple[int, int]":
    """(used, free) bytes of the heap after a collection; (0, 0) where there is no such heap."""
    gc.collect()
    if not _ON_MICROPYTHON:
        return 0, 0
    return gc.mem_alloc(), gc.mem_free()  # type: ignore[attr-defined,unused-ignore]


# --- network ----------------------------------------------------------------------------------
def tls_context(ca: bytes, cert: bytes, key: bytes) -> "Any":
    """A client context: the server must be of `ca`, and sees our certificate. All DER.

    MicroPython only: CPython's ssl takes no DER keys. Its contexts begin with CERT_NONE.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED  # type: ignore[attr-defined,unused-ignore]
    context.load_verify_locations(cadata=ca)
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


async def _connect_micropython(host: str, port: int, tls: "Any", server_name: str) -> Stream:
    info: "Any" = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
    sock: "Any" = socket.socket(info[0], info[1], info[2])
    try:
        sock.setblocking(False)
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        try:
            sock.connect(info[-1])
        except OSError as err:
            if err.errno not in _EINPROGRESS:
                raise
        if tls is not None:
            gc.collect()  # TLS needs 16.7 KB in one piece
            sock = tls.wrap_socket(sock, server_hostname=server_name, do_handshake_on_connect=False)
            sock.setblocking(False)
    except Exception:
        sock.close()
        raise
    return Stream(sock)


class _StreamOfCPython:
    """The same stream over CPython's asyncio, where the agent's own tests may run it."""

    def __init__(self, reader: "Any", writer: "Any") -> None:
        self._reader = reader
        self._writer = writer

    async def readinto(self, buf: memoryview) -> int:
        data = await self._reader.read(len(buf))
        buf[: len(data)] = data
        return len(data)

    async def write(self, buf: memoryview) -> int:
        self._writer.write(bytes(buf))
        await self._writer.drain()
        return len(buf)

    def close(self) -> None:
        self._writer.close()


async def _connect_cpython(host: str, port: int, tls: "Any", server_name: str) -> "Any":
    name = server_name if tls is not None else None
    reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name)
    return _StreamOfCPython(reader, writer)


connect = _connect_micropython if _ON_MICROPYTHON else _connect_cpython
