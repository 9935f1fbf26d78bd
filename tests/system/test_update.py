"""The whole way with real parts: server process, mosquitto, MicroPython board; line and power cut.

The image fills most of its slot, so that a window (32 blocks of 4 KiB) is half of it.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hil.broker import HOST, Broker, find_mosquitto
from hil.guard import Guarded
from hil.link import Link
from hil.virtual.board import VirtualBoard
from hil.watch import Watch
from host_tools import artifact, container, manifest, romfs
from host_tools.boards import load
from host_tools.build import make
from host_tools.manifest import Policy
from host_tools.mqtt import Address, Connection
from host_tools.offer import sealed
from host_tools.store import Store
from tests.power.rig import RELEASE, ROLLOUT
from tests.system.bench import ROOT
from tests.system.signed import keyset_in

pytestmark = [
    pytest.mark.skipif(not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"),
    pytest.mark.usefixtures("micropython"),
]
DEVICE = "CP-0001"
BOARD = load("virtual-esp32")
RATE_BYTES_S = 120_000
BLOCK_BYTES, WINDOW_BLOCKS = 4096, 32
FILL_BYTES = 240_000
_NO_WAIT = {"retry_back_off_wait_minimum_s": 0, "retry_back_off_random_range_s": 0}
_DONE_S = 60


def app_image(folder: Path, version: str) -> bytes:
    """A signed image of the small application, filled up with bytes that do not deflate."""
    app = folder / f"app-{version}"
    shutil.copytree(ROOT / "tests/system/small_app", app)
    (app / "fill.bin").write_bytes(random.Random(version).randbytes(FILL_BYTES))
    return container.add_signature(make(romfs.build(app), BOARD, version), RELEASE)


@dataclass
class Bench:
    """A charger that runs 1.0.0, and everything that it needs for 1.1.0."""

    board: VirtualBoard
    link: Link
    watch: Watch
    broker: Broker
    store: Store
    data: bytes
    artifact: artifact.Artifact

    def offer(self) -> None:
        facts = manifest.read_image(self.data)
        payload = manifest.build(
            1, 101, DEVICE, facts, [self.artifact.entry()], Policy(confirm_s=60)
        )
        with Connection(Address(HOST, self.broker.port)) as broker:
            broker.publish(f"ota/v1/{DEVICE}/offer", sealed(payload, 1, ROLLOUT), retain=True)

    def installed(self) -> None:
        status = self.watch.wait_status("Installed", _DONE_S, request_id=101)
        assert (status["version"], status["slot"], status["mode"]) == ("1.1.0+0", "b", "confirmed")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    old, new = app_image(tmp_path, "1.0.0"), app_image(tmp_path, "1.1.0")
    made = artifact.make(new, "raw")
    store = Store(tmp_path / "store", create=True)
    store.add(manifest.read_image(new).digest, new, [made])
    with (
        Broker(tmp_path / "broker") as broker,
        Link(broker.port, rate_bytes_s=RATE_BYTES_S) as link,
        Watch(HOST, broker.port, DEVICE) as watch,
        VirtualBoard(tmp_path / "board") as board,
        (tmp_path / "serve.log").open("wb") as log,
    ):
        words = ["serve", "--store", str(store.folder), "--broker", f"mqtt://{HOST}:{broker.port}"]
        server = Guarded([sys.executable, "-m", "host_tools", *words], log)
        board.provision(DEVICE, link.port, keyset_in(tmp_path), keepalive_s=30, back_off=_NO_WAIT)
        board.factory_flash(old)
        board.power_on()
        watch.wait(lambda m: m.get("version") == "1.0.0+0", 20, "the charger at 1.0.0")
        yield Bench(board, link, watch, broker, store, new, made)
        server.end()


def wait_blocks(bench: Bench, count: int) -> None:
    bench.watch.wait(lambda m: m.get("blocks_done", 0) >= count, 30, f"{count} blocks in flash")


def seeds() -> list[int]:
    """Three random places; CHARGEFLASH_SEEDS=n for more."""
    return list(range(int(os.environ.get("CHARGEFLASH_SEEDS", "3"))))


@pytest.mark.parametrize("seed", seeds())
def test_a_power_cut_at_a_random_point_costs_at_most_one_window(bench: Bench, seed: int) -> None:
    cut_at = random.Random(seed).randrange(8_000, bench.artifact.bytes)
    begun = bench.link.down.bytes
    bench.offer()
    deadline = time.monotonic() + 30
    while bench.link.down.bytes - begun < cut_at:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    bench.board.power_off()
    bench.board.power_on()
    bench.installed()
    # What the server sent, the lost part of the window included.
    again = sum(one.size for one in bench.watch.sent if one.block) - bench.artifact.bytes
    print(f"artifact {bench.artifact.bytes}, cut at {cut_at}, sent again {again}")
    assert again <= WINDOW_BLOCKS * BLOCK_BYTES, f"cut at {cut_at}: {again} bytes again"
    # What reached the charger in its second life is only what flash did not hold.
    second = bench.watch.statuses[-1]["bytes_fetched"]
    assert second <= bench.artifact.bytes - cut_at + 9_000 + len(bench.artifact.index) + BLOCK_BYTES


def test_a_line_that_breaks_again_and_again_loses_no_block_that_arrived(bench: Bench) -> None:
    bench.offer()
    for _ in range(4):
        bench.link.cut_after(40_000)
        assert bench.link.wait_cut(30)
        bench.link.restore()
    bench.installed()
    fetched = max(s["bytes_fetched"] for s in bench.watch.statuses if s["request_id"] == 101)
    assert fetched <= bench.artifact.bytes + len(bench.artifact.index) + 4 * BLOCK_BYTES


def test_a_silent_line_is_noticed_and_made_anew(bench: Bench) -> None:
    bench.offer()
    wait_blocks(bench, 5)
    connections = bench.link.connections
    bench.link.stall()
    deadline = time.monotonic() + 30
    while bench.link.connections == connections:
        assert time.monotonic() < deadline, "the charger still waits for a dead line"
        time.sleep(0.05)
    bench.link.restore()
    bench.installed()


def test_a_broker_that_restarts_costs_nothing_but_time(bench: Bench) -> None:
    bench.offer()
    wait_blocks(bench, 10)
    bench.broker.restart(0.5)
    bench.installed()
