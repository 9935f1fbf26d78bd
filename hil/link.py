"""The line between a board and its broker: slow, late, silent or cut, as a test wants it.

A TCP proxy: the board connects to `link.port` instead of the broker's port. Down is towards the
board, up towards the broker.

    with Link(broker.port, rate_bytes_s=24_000, delay_ms=40) as link:
        link.cut_after(100_000)     # down bytes; then the line is cut
        link.restore()
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self, TypeVar

from hil.errors import BenchError

T = TypeVar("T")
HOST = "127.0.0.1"
_CHUNK_BYTES = 16_384
_PACES_PER_S = 50  # a limited line moves its bytes in steps of 20 ms
_BURST_S = 0.1  # what a line that was idle may catch up with; evens out late wake-ups
_IN_FLIGHT_CHUNKS = 64
_KERNEL_BYTES = 16_384  # what may hide in a socket, so that the counters tell what the board has
_START_TIMEOUT_S = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Way:
    """One direction: `bytes` forwarded so far; `cut_at`: the count at which the line is cut."""

    bytes: int = 0
    cut_at: int | None = None
    free_at_s: float = 0.0  # when a limited line has moved all that it took

    def allowed(self, size: int) -> int:
        return size if self.cut_at is None else min(size, self.cut_at - self.bytes)


@dataclass(eq=False)
class _Pair:
    """One connection of the board and ours to the broker."""

    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def abort(self) -> None:
        for writer in self.writers:
            peer: socket.socket | None = writer.get_extra_info("socket")
            if peer is not None:
                with contextlib.suppress(OSError):
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()


class Link:
    """Runs in a thread of its own from construction to `close`. All calls may come from any thread.

    `rate_bytes_s` limits each direction (None: no limit), `delay_ms` is added each way; both can be
    changed at any time. `up`, `down`: what was forwarded. `connections`: how often the board came.
    """

    def __init__(
        self, target_port: int, rate_bytes_s: int | None = None, delay_ms: int = 0
    ) -> None:
        self.rate_bytes_s = rate_bytes_s
        self.delay_ms = delay_ms
        self.up, self.down = Way(), Way()
        self.connections = 0
        self._target_port = target_port
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._was_cut = threading.Event()
        self._keeper = _bound_socket(0)  # never listens: nobody else gets the port during a cut
        self.port: int = self._keeper.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()
        self._do(self._listen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_cut(self) -> bool:
        return self._listener is None

    def cut(self) -> None:
        """Break the line now: connections are reset, new ones are refused until `restore`."""
        self._do(self._cut)

    def cut_after(self, size_bytes: int, up: bool = False) -> None:
        """Cut after so many more bytes down (or up): exactly these get through."""
        way = self.up if up else self.down
        self._was_cut.clear()
        way.cut_at = way.bytes + size_bytes

    def wait_cut(self, timeout_s: float) -> bool:
        """Wait for a cut that `cut_after` armed; False if it did not come."""
        return self._was_cut.wait(timeout_s)

    def stall(self) -> None:
        """Nothing gets through any more, but no connection breaks: a line that went silent."""
        self._do(self._stall)

    def restore(self) -> None:
        """End a cut or a stall; forget an armed cut."""
        self._do(self._restore)

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._do(self._shut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_TIMEOUT_S)
        self._loop.close()
        self._keeper.close()

    # In the loop's thread.

    def _do(self, action: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_START_TIMEOUT_S)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = _bound_socket(self.port)
            self._listener.setblocking(False)
            self._listener.listen()
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Not asyncio's server: when that is closed, it leaves half-made connections open."""
        if self._listener is None:
            return
        try:
            board, _ = self._listener.accept()
        except OSError:  # it has gone again
            return
        board.setblocking(False)
        task = self._loop.create_task(self._connected(board))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stall(self) -> None:
        self._flowing.clear()

    async def _restore(self) -> None:
        self.up.cut_at = self.down.cut_at = None
        self._flowing.set()
        await self._listen()

    async def _cut(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for pair in list(self._pairs):
            pair.abort()
        self._was_cut.set()

    async def _shut(self) -> None:
        await self._cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, board: socket.socket) -> None:
        board_in, board_out = await asyncio.open_connection(sock=board)
        pair = _Pair([board_out])
        if self.is_cut:  # it was on its way in when the line broke
            pair.abort()
            return
        self.connections += 1
        self._pairs.add(pair)
        try:
            await self._join(pair, board_in, board_out)
        except (OSError, asyncio.CancelledError):
            pass  # either side has gone, or the line is cut: the other side hears it below
        finally:
            pair.abort() if self.is_cut else _finish(pair)
            self._pairs.discard(pair)

    async def _join(
        self, pair: _Pair, board_in: asyncio.StreamReader, board_out: asyncio.StreamWriter
    ) -> None:
        _prepare(board_out)
        broker_in, broker_out = await asyncio.open_connection(HOST, self._target_port)
        pair.writers.append(broker_out)
        _prepare(broker_out)
        pumps = [
            asyncio.create_task(self._carry(broker_in, board_out, self.down)),
            asyncio.create_task(self._carry(board_in, broker_out, self.up)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way
    ) -> None:
        """One direction of one connection, until either end is gone."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT_CHUNKS)
        deliver = asyncio.create_task(self._deliver(late, sink, way))
        try:
            while data := await source.read(self._chunk_bytes()):
                await self._pace(len(data), way)
                await late.put((self._loop.time() + self.delay_ms / 1000, data))
            await late.put((0.0, b""))
            await deliver
        finally:
            deliver.cancel()

    async def _deliver(
        self, late: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter, way: Way
    ) -> None:
        while True:
            due_s, data = await late.get()
            if not data:
                return
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._flowing.wait()
            part = data[: way.allowed(len(data))]
            way.bytes += len(part)  # before the board can have it: it may ask at once
            sink.write(part)
            await sink.drain()
            if way.bytes == way.cut_at:
                way.cut_at = None
                await self._cut()
                return

    def _chunk_bytes(self) -> int:
        if self.rate_bytes_s is None:
            return _CHUNK_BYTES
        return max(1, min(_CHUNK_BYTES, self.rate_bytes_s // _PACES_PER_S))

    async def _pace(self, size_bytes: int, way: Way) -> None:
        """Wait until a line of this rate has moved them; connections share it."""
        if self.rate_bytes_s is None:
            return
        start_s = max(way.free_at_s, self._loop.time() - _BURST_S)
        way.free_at_s = start_s + size_bytes / self.rate_bytes_s
        await asyncio.sleep(way.free_at_s - self._loop.time())


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise BenchError("NO_PORT", f"no port for the link: {error.strerror}") from error
    return bound


def _prepare(writer: asyncio.StreamWriter) -> None:
    """Little hides in this socket; `drain` waits until the kernel has all."""
    peer = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer.transport.set_write_buffer_limits(high=0)


def _finish(pair: _Pair) -> None:
    for writer in pair.writers:
        writer.close()
