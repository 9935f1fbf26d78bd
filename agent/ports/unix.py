"""The virtual board's hardware for the agent: network, TLS, clock, reset, watchdog, files.

A port is this list of names; the one of another board has the same:
    open_flash(board)        the flash object of bootloader_verify/flash.py
    read_file(name)          settings and TLS files; bounded, see runtime.py
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
    await attach(network)    what device.json says under `network` is up; OSError
    await connect(host, port, tls, server_name)     a stream:
        await readinto(buf) -> n        0: the far end closed; OSError: broken
        await write(buf) -> n           the whole of it
        close()
"""

import asyncio
import os

from agent.ports import runtime, stream
from agent.ports.runtime import (  # noqa: F401 (handed on)
    heap,
    mount,
    now_ms,
    random_below,
    show_error,
    sleep_ms,
)
from agent.ports.stream import tls_context  # noqa: F401
from bootloader_verify.ports.unix import NorFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
    return runtime.read_bounded(name if name.startswith("/") else _folder() + "/" + name)


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


def charger_io() -> "Any":
    """What an application gets as `services.io`."""
    import virtual_io

    return virtual_io


# --- network ----------------------------------------------------------------------------------
async def attach(_network: "Any") -> None:
    """The desktop's network is up, or is not: nothing to do."""


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


connect: "Any" = stream.open_stream if runtime.ON_MICROPYTHON else _connect_cpython
