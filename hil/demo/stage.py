"""What the demo plays on: a broker, a line that can be cut, a board, a watcher, the block server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hil.broker import HOST, Broker
from hil.demo.story import DemoFailedError, Story
from hil.guard import Guarded
from hil.link import Link
from hil.virtual.board import VirtualBoard
from hil.watch import Watch

DEVICE = "CP-0001"
BOARD = "virtual-esp32"
LINE_BYTES_PER_S = 12_000  # about 100 kbit/s: LTE Cat-M1 in an underground car park
# Short, so that the demo is; a charger in the field waits longer and spreads over more seconds.
_BACK_OFF = {"retry_back_off_wait_minimum_s": 1, "retry_back_off_random_range_s": 1}
_SERVER_READY_TIMEOUT_S = 15


@dataclass
class Stage:
    """Everything that runs while the story is told."""

    folder: Path
    broker: Broker
    link: Link
    board: VirtualBoard
    watch: Watch

    @property
    def broker_url(self) -> str:
        return f"mqtt://{HOST}:{self.broker.port}"


@contextmanager
def stage_for(story: Story, folder: Path, keyset: Path, embedded: bool) -> Iterator[Stage]:
    """Broker, line, watcher and a provisioned board without power; all ended in reverse order."""
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(folder / "broker", embedded=embedded))
        story.say(f"broker: {broker.kind} {broker.version}")
        link = stack.enter_context(Link(broker.port, rate_bytes_s=LINE_BYTES_PER_S))
        story.say(f"line between charger and broker: {LINE_BYTES_PER_S / 1000:g} kB/s")
        watch = stack.enter_context(Watch(HOST, broker.port, DEVICE))
        board = stack.enter_context(VirtualBoard(folder / "board", BOARD))
        board.provision(DEVICE, link.port, keyset, keepalive_s=30, back_off=_BACK_OFF)
        story.say(f"board: {BOARD}, trusts the keys of {keyset.name}")
        yield Stage(folder, broker, link, board, watch)


@contextmanager
def serving(story: Story, store: Path, broker_url: str) -> Iterator[None]:
    """`chargeflash serve` as a process for the length of the block."""
    words = ["serve", "--store", str(store), "--broker", broker_url]
    story.show_command(*words)
    path = store.with_name("serve.log")
    with path.open("wb") as log:
        server = Guarded([sys.executable, "-m", "host_tools", *words], log)
    try:
        _wait_ready(server, path)
        yield
    finally:
        server.end()


def _wait_ready(server: Guarded, log: Path) -> None:
    deadline = time.monotonic() + _SERVER_READY_TIMEOUT_S
    while "ready" not in log.read_text():
        if server.exit_code() is not None or time.monotonic() > deadline:
            raise DemoFailedError(f"the block server did not start: {log.read_text().strip()}")
        time.sleep(0.05)
