"""The charger application as a whole: its releases on simulated hardware, and on MicroPython."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mpremote.romfs import make_romfs

from examples.charger_app import assemble as assembly
from examples.charger_app.drawing import DrawingError, render
from tests.host.charger_io import Bench, MemoryStore, Services, SimIo, release

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD = ("1.0.0", "1.1.0")
CARD = "04A1B2C3"


def start(module: Any, hardware: SimIo | None = None, store: MemoryStore | None = None) -> Bench:
    return Bench(module, Services(hardware or SimIo(), store or MemoryStore()))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with release("1.0.0", tmp_path) as module:
        yield start(module)


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Bench]:
    with release("1.1.0", tmp_path) as module:
        yield start(module)


def begin_session(bench: Bench, connector: int = 0) -> None:
    bench.io.car[connector] = "C"
    bench.io.card[connector] = CARD
    bench.run_ms(500)
    assert bench.io.coil[connector]


# Self-test.


@pytest.mark.parametrize("version", GOOD)
def test_good_releases_pass_their_self_test(version: str, tmp_path: Path) -> None:
    with release(version, tmp_path) as module:
        bench = start(module)
        bench.run_ms(200)
        ok, detail = bench.app.self_test()
        assert ok, detail
        assert detail == "; ".join(f"connector {n}: pilot and contactor ok" for n in (1, 2))
        assert bench.io.coil_moves == [2, 2], "each coil went on and off"
        bench.run_ms(200)
        assert bench.app.connectors() == ["Available", "Available"]


def test_1_2_0_runs_but_fails_its_charge_path_and_says_why(tmp_path: Path) -> None:
    with release("1.2.0", tmp_path) as module:
        bench = start(module)
        bench.run_ms(200)
        ok, detail = bench.app.self_test()
        assert not ok
        assert detail.startswith("connector 1: contactor reads closed with its coil off")
        assert len(detail) <= 120, "fits a status message"
        assert bench.app.connectors() == ["Faulted", "Faulted"]


def faults() -> dict[str, Any]:
    return {
        "contactor reads open with its coil on": lambda io: io.stuck.__setitem__(0, True),
        "contactor reads closed with its coil off": lambda io: io.welded.__setitem__(0, True),
        "pilot reads 12000 mV, not -12000": lambda io: io.pilot_broken.__setitem__(0, True),
        "meter shows 500 W with an open contactor": lambda io: io.idle_power_w.__setitem__(0, 500),
        "pilot fault": lambda io: io.car.__setitem__(0, "E"),
    }


@pytest.mark.parametrize("expected", faults())
def test_self_test_finds_broken_hardware(bench: Bench, expected: str) -> None:
    bench.run_ms(100)
    faults()[expected](bench.io)
    bench.run_ms(75)
    assert bench.app.self_test() == (False, f"connector 1: {expected}")
    assert bench.io.coil == [False, False] and bench.io.pwm == [1000, 1000]


def test_self_test_finds_a_contactor_that_stays_closed(bench: Bench) -> None:
    bench.run_ms(100)
    move = bench.io.set_contactor

    def weld_on_close(connector: int, on: bool) -> None:
        move(connector, on)
        bench.io.welded[connector] |= on

    bench.io.set_contactor = weld_on_close  # type: ignore[method-assign]
    ok, detail = bench.app.self_test()
    assert not ok and "contactor stays closed" in detail


def test_self_test_finds_a_torn_screen(tmp_path: Path) -> None:
    with release("1.0.0", tmp_path) as module:
        bench = start(module)
        screen = tmp_path / "1.0.0" / "screens" / "finished.pbm"
        screen.write_bytes(screen.read_bytes()[:-1])
        assert bench.app.self_test() == (False, "screen finished is not readable")


def test_self_test_keeps_its_hands_off_a_connector_in_use(bench: Bench) -> None:
    begin_session(bench)
    bench.io.car[1] = "B"  # not even seen by the application yet
    before = (list(bench.io.coil), list(bench.io.pwm), list(bench.io.coil_moves))
    ok, detail = bench.app.self_test()
    assert ok and detail.count("in use, only looked at") == 2
    assert before == (bench.io.coil, bench.io.pwm, bench.io.coil_moves)


def test_self_test_clears_the_fault_of_a_contactor_that_moves_again(bench: Bench) -> None:
    bench.io.welded[0] = True
    bench.run_ms(200)
    bench.io.welded[0] = False
    bench.run_ms(200)
    assert bench.app.connectors() == ["Faulted", "Available"]
    assert bench.app.self_test()[0]
    assert bench.app.connectors() == ["Available", "Available"]


# A charger's day.


def test_a_session_from_card_to_unplug(bench: Bench) -> None:
    assert bench.app.connectors() == ["Available", "Available"]
    begin_session(bench)
    assert bench.app.connectors() == ["Occupied", "Available"]
    assert bench.app.charging() and bench.app.contactor_closed()
    assert bench.io.pwm == [266, 1000], "16 A here, no offer there"
    bench.io.pulses[0] = 1234
    bench.io.car[0] = "A"
    bench.run_ms(100)
    assert not bench.io.coil[0], "off within 100 ms"
    assert not bench.app.charging() and not bench.app.contactor_closed()
    ended = "connector 1: session 1 ended (EVDisconnected) with 1234 Wh, meter 1234 Wh"
    assert ended in bench.services.lines
    assert bench.app.connectors() == ["Available", "Available"]


def test_a_waiting_card_counts_as_busy(bench: Bench) -> None:
    bench.io.card[1] = CARD
    bench.run_ms(50)
    assert bench.app.charging() and bench.app.connectors() == ["Available", "Occupied"]
    assert not bench.app.contactor_closed()


def test_hold_makes_idle_connectors_unavailable_and_refuses_cards(bench: Bench) -> None:
    bench.run_ms(50)
    bench.app.hold(True)
    assert bench.app.connectors() == ["Unavailable", "Unavailable"]
    bench.io.car[0] = "C"
    bench.io.card[0] = CARD
    bench.run_ms(500)
    bench.io.card[0] = CARD
    bench.run_ms(50)
    assert not bench.app.charging() and not bench.io.coil[0]
    assert bench.app.connectors() == ["Occupied", "Unavailable"], "a car is seen under hold"
    assert "connector 1: card refused, Unavailable" in bench.services.lines
    assert "connector 1: card refused, Occupied" in bench.services.lines
    bench.app.hold(False)
    bench.io.card[0] = CARD
    bench.run_ms(500)
    assert bench.io.coil[0]


def test_hold_lets_the_running_session_go_on(bench: Bench) -> None:
    begin_session(bench)
    bench.app.hold(True)
    bench.run_ms(500)
    assert bench.io.coil[0] and bench.app.charging()
    assert bench.app.connectors() == ["Occupied", "Unavailable"]


def test_a_contactor_that_does_not_close_ends_the_session(bench: Bench) -> None:
    bench.io.stuck[0] = True
    bench.io.car[0] = "C"
    bench.io.card[0] = CARD
    bench.run_ms(1000)
    assert bench.app.connectors() == ["Faulted", "Available"]
    assert not bench.io.coil[0] and bench.io.pwm[0] == 1000 and not bench.app.charging()
    assert "connector 1: fault: contactor does not close" in bench.services.lines


def test_a_welded_contactor_is_told_and_blocks_the_gate(bench: Bench) -> None:
    begin_session(bench)
    bench.io.welded[0] = True
    bench.io.car[0] = "A"
    bench.run_ms(500)
    assert bench.app.connectors() == ["Faulted", "Available"]
    assert bench.app.contactor_closed() and not bench.app.charging()


def test_each_state_has_its_screen(bench: Bench) -> None:
    def seen(duration_ms: int = 250) -> str:
        bench.run_ms(duration_ms)
        return str(bench.app._display.shown)

    assert seen() == "idle"
    bench.io.car[0] = "B"
    assert seen() == "card"
    bench.io.card[0] = CARD
    assert seen() == "charging"
    bench.io.card[0] = CARD
    assert seen() == "finished"
    bench.app.hold(True)
    assert seen() == "update"
    bench.io.welded[1] = True
    assert seen() == "fault"
    assert len(bench.io.screens) == len(set(bench.io.screens)) == 6, "each drawn once, none alike"


def test_run_works_and_leaves_everything_open(tmp_path: Path) -> None:
    async def a_while(bench: Bench) -> None:
        task = asyncio.create_task(bench.app.run())
        await asyncio.sleep(0.4)
        assert bench.io.coil[0]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    with release("1.0.0", tmp_path) as module:
        hardware = SimIo()
        hardware.car[0], hardware.card[0] = "C", CARD
        bench = Bench.__new__(Bench)
        bench.io, bench.app = hardware, module.create(Services(hardware, MemoryStore()))
        asyncio.run(a_while(bench))
        assert not hardware.coil[0] and hardware.pwm[0] == 1000
        assert not bench.app.contactor_closed()


# Restarts and releases.


def test_the_meter_survives_an_update_and_the_way_back(tmp_path: Path) -> None:
    store = MemoryStore()
    for number, version in enumerate(["1.0.0", "1.1.0", "1.2.0", "1.1.0", "1.0.0"]):
        with release(version, tmp_path) as module:
            bench = start(module, store=store)
            assert f"connector 2: meter {number * 500} Wh" in bench.services.lines
            bench.run_ms(100)
            bench.io.pulses[1] = 500
            bench.run_ms(100)
            bench.app.hold(True)  # as the agent does before it resets


def test_what_was_counted_before_the_start_is_not_counted_again(tmp_path: Path) -> None:
    hardware = SimIo()
    hardware.pulses[0] = 1000
    with release("1.0.0", tmp_path) as module:
        bench = start(module, hardware)
        bench.run_ms(50)
        hardware.pulses[0] = 1007
        bench.run_ms(50)
        begin_session(bench)
        assert "connector 1: session 1 started, meter 7 Wh" in bench.services.lines


def test_a_session_goes_on_after_a_power_cut(bench: Bench, tmp_path: Path) -> None:
    begin_session(bench)
    hardware, store = SimIo(), bench.services.store
    hardware.car[0] = "C"
    with release("1.0.0", tmp_path) as module:
        again = start(module, hardware, store)
        assert again.app.charging(), "at once: nobody may update now"
        again.run_ms(300)
        assert hardware.coil[0]
        assert "connector 1: session 1 goes on after a power loss" in again.services.lines
        hardware.card[0] = CARD
        again.run_ms(100)
        assert not hardware.coil[0]


def test_a_session_without_its_car_ends_once_after_a_power_cut(
    bench: Bench, tmp_path: Path
) -> None:
    begin_session(bench)
    store = bench.services.store
    with release("1.0.0", tmp_path) as module:
        again = start(module, store=store)
        again.run_ms(100)
        assert any("session 1 ended (PowerLoss)" in line for line in again.services.lines)
        third = start(module, store=store)
        third.run_ms(100)
        assert not any("session 1" in line for line in third.services.lines)


def test_an_unreadable_meter_record_keeps_the_charger_from_charging(tmp_path: Path) -> None:
    store = MemoryStore()
    store.record = b"\x09garbage"
    with release("1.0.0", tmp_path) as module:
        bench = start(module, store=store)
        begin = bench.io
        begin.car[0], begin.card[0] = "C", CARD
        bench.run_ms(500)
        assert bench.app.connectors() == ["Faulted", "Faulted"] and not begin.coil[0]
        ok, detail = bench.app.self_test()
        assert not ok and "meter record not readable" in detail
        assert store.record == b"\x09garbage"


def test_1_1_0_shares_the_supply(sharing: Bench) -> None:
    begin_session(sharing, 0)
    assert sharing.io.pwm == [533, 1000], "32 A for one car"
    sharing.io.car[1], sharing.io.card[1] = "C", CARD
    sharing.run_ms(1000)
    assert sharing.io.pwm == [266, 1000], "the first falls at once, the second waits"
    assert not sharing.io.coil[1]
    sharing.run_ms(5000)
    assert sharing.io.pwm == [266, 266] and sharing.io.coil == [True, True]
    sharing.io.car[0] = "A"
    sharing.run_ms(6000)
    assert sharing.io.pwm == [1000, 533]


# The releases as files.


def test_releases_differ_where_they_say(tmp_path: Path) -> None:
    files = {}
    for version in assembly.versions():
        out = assembly.assemble(version, tmp_path / version)
        files[version] = {
            str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")
        }
    old, new, bad = (files[version] for version in ("1.0.0", "1.1.0", "1.2.0"))
    assert set(old) == set(new) == set(bad)
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {"charger/sharing.py", "screens/idle.pbm", "screens/charging.pbm"}
    assert {n for n in new if new[n] != bad[n]} == {"charger/wiring.py", "screens/fault.pbm"}


def test_assembling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = {p.name: p.read_bytes() for p in assembly.assemble("1.1.0", tmp_path).rglob("*.*")}
    again = {p.name: p.read_bytes() for p in assembly.assemble("1.1.0", tmp_path).rglob("*.*")}
    assert first == again and len(first) >= 15


def test_wrong_use_of_assemble_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = tmp_path / "notes.txt"
    keep.write_text("mine")
    assert assembly.main(["1.0.0", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert keep.read_text() == "mine"
    assert assembly.main(["9.9.9", str(tmp_path / "x")]) == 3
    assert "no release 9.9.9; there are 1.0.0, 1.1.0, 1.2.0" in capsys.readouterr().err
    assert assembly.main(["1.0.0", str(keep)]) == 2
    assert assembly.main([]) == 2


def test_a_drawing_error_names_its_line() -> None:
    for line in (
        "circle 1 2 3",
        "fill 1 2 3",
        "text 1 2 3 caf\u00e9",
        "poly 1,2 3",
        "fill a b c d",
    ):
        with pytest.raises(DrawingError, match="line 2"):
            render("# first\n" + line)


def test_a_picture_is_what_its_text_says() -> None:
    picture = render("fill 0 0 8 1\nclear 1 0 1 1\ninvert 8 0 8 1\npoly 0,2 4,2 4,4 0,4")
    assert picture[:11] == b"P4\n320 240\n" and len(picture) == 11 + 9600
    rows = picture[11:]
    assert rows[:3] == b"\xbf\xff\x00" and rows[40] == 0
    assert rows[80] == rows[120] == 0xF0 and rows[160] == 0


# On MicroPython, from a ROMFS, against the virtual board's own hardware module.

SCRIPT = """
import gc, sys, time, vfs
sys.path.insert(0, {device!r})
import virtual_io

class Store:
    def load(self, buf): return 0
    def save(self, *parts): pass

class Services: pass

services = Services()
services.io, services.store, services.version = virtual_io, Store(), {version!r}
services.log = lambda text: None
with open({rom!r}, "rb") as f:
    rom = f.read({size})
gc.collect()
before = gc.mem_alloc()
vfs.mount(vfs.VfsRom(memoryview(rom)), "/app")
sys.path.insert(0, "/app")
import app
charger = app.create(services)
gc.collect()
used = gc.mem_alloc() - before
for _ in range(8):
    charger.step()
    time.sleep(0.025)
ok, detail = charger.self_test()
print(ok, used, detail)
"""


def romfs(version: str, folder: Path) -> bytes:
    source = assembly.assemble(version, folder / version)
    with contextlib.redirect_stdout(io.StringIO()):
        return bytes(make_romfs(str(source), mpy_cross=True))


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.0"])
def test_release_on_micropython(version: str, micropython: str, tmp_path: Path) -> None:
    image = romfs(version, tmp_path)
    assert 60_000 <= len(image) <= 90_000, "a download of some twenty blocks"
    rom = tmp_path / "app.romfs"
    rom.write_bytes(image)
    script = SCRIPT.format(
        device=str(ROOT / "hil/virtual/device"), version=version, rom=str(rom), size=len(image)
    )
    done = subprocess.run(
        [micropython, "-X", "heapsize=256k", "-c", script],
        env={"CHARGEFLASH_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ok, used, detail = done.stdout.strip().split(" ", 2)
    assert ok == str(version in GOOD), detail
    assert int(used) < 32 * 1024, "heap of the application itself"


def test_by_hand_a_car_comes_and_goes_and_the_meter_stays(micropython: str, tmp_path: Path) -> None:
    app = assembly.assemble("1.1.0", tmp_path / "app-1.1.0")
    plant = tmp_path / "plant.in"

    def start_by_hand() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [micropython, "examples/charger_app/by_hand.py", str(app)],
            cwd=ROOT,
            env={"CHARGEFLASH_FOLDER": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def read_until(process: subprocess.Popen[str], words: str) -> str:
        assert process.stdout
        for line in process.stdout:
            if words in line:
                return line
        raise AssertionError(f"never said: {words}")

    with start_by_hand() as charger:
        assert "True" in read_until(charger, "self-test")
        plant.write_text("cp0=C\npower0=7000\nspeed0=10000\nauth0=1:04A1B2C3\n")
        read_until(charger, "Charging")
        time.sleep(0.3)
        plant.write_text("cp0=A\nauth0=1:04A1B2C3\n")
        meter = read_until(charger, "ended (EVDisconnected)").partition("meter ")[2].strip()
        time.sleep(0.1)
        charger.kill()
    assert int(meter.split()[0]) > 0
    with start_by_hand() as charger:
        assert meter in read_until(charger, "connector 1: meter")
        charger.send_signal(signal.SIGINT)
