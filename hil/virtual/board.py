"""The virtual board: a board like any other, whose chip is a MicroPython process.

    with VirtualBoard(folder) as board:
        board.provision("CP-0001", broker.port, keyset=Path("keyset.img"))
        board.factory_flash(image)
        board.power_on()
        board.wait_line("ready", 5)
        board.plant.plug(0)
        board.power_off()

The folder is the board: `flash.bin` keeps its flash over power cuts and over runs. See README.md.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any, Self

from hil.errors import BenchError, NotSeenError
from hil.virtual.control import Control
from hil.virtual.cut import Cut
from hil.virtual.factory import flash_image, make_base
from hil.virtual.plant import Plant
from hil.virtual.process import DeviceProcess
from hil.virtual.serial_log import Line, SerialLog
from hil.virtual.supervisor import Boot, Supervisor
from hil.virtual.user_port import UserPort
from host_tools.boards import load
from host_tools.errors import EXIT_DEVICE, EXIT_NOT_FOUND, EXIT_USAGE

HEAP = "256k"  # what it goes to: hil/README.md, "The virtual board"
_RESETS = ("soft", "hard", "watchdog")


class VirtualBoard:
    """One board. `folder` holds all that it is, `board` names its description in board_configs.
    `base` is its base firmware: a folder of modules with a `main` (`provision` makes the real one).
    `heap` is MicroPython's heap. With `trace_flash` every boot records its flash operations.

    BenchError: BOARD_BUSY if another program has this folder's board, NO_FOLDER if it cannot be
    made, NO_BASE if there is nothing to run.
    """

    def __init__(
        self,
        folder: Path,
        board: str = "virtual-esp32",
        base: Path | None = None,
        heap: str = HEAP,
        trace_flash: bool = False,
    ) -> None:
        self.folder = folder.resolve()
        self.board = board
        self.base = base.resolve() if base else self._provisioned()
        self.heap = heap
        self.trace_flash = trace_flash
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"{folder} cannot be a board's folder: {error.strerror}"
            raise BenchError("NO_FOLDER", text, EXIT_NOT_FOUND) from error
        self.plant = Plant(self.folder)
        self._cuts: dict[int, Cut] = {}
        self._lock: int | None = None

    def _provisioned(self) -> Path | None:
        base = self.folder / "base"
        return base if base.is_dir() else None

    @property
    def tty(self) -> Path:
        """The serial port to give to mpremote or a terminal program."""
        return self.folder / "tty"

    @property
    def flash(self) -> Path:
        return self.folder / "flash.bin"

    # The bench side.

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def open(self) -> Self:
        """Take the board and its serial port; the power stays off. Once more is no harm."""
        if self._lock is None:
            self._lock = _lock(self.folder)
            self.log = SerialLog(self.folder / "serial.log")
            self._control = Control(self.folder / "control")
            self._port = UserPort(self.tty)
            self.plant.begin()
            self.plant.outputs_fall()
            self._supervisor = Supervisor(
                self._make_process, self.plant.outputs_fall, self._control, self._port, self.log
            )
        return self

    def start(self) -> Self:
        """Open and switch on."""
        self.open()
        self.power_on()
        return self

    def stop(self) -> None:
        """Switch off and give the board back; its folder stays."""
        if self._lock is None:
            return
        try:
            self._supervisor.close()
        finally:
            self._port.close()
            self._control.close()
            self.log.close()
            os.close(self._lock)
            self._lock = None

    def configure(self, device: str, host: str, port: int, **more: Any) -> None:
        """Write `device.json`: who the device is and where its broker is."""
        settings = {"device": device, "host": host, "port": port, "tls": None} | more
        (self.folder / "device.json").write_text(json.dumps(settings, indent=1) + "\n")

    # The factory.

    def provision(
        self,
        device: str,
        broker_port: int,
        keyset: Path,
        host: str = "127.0.0.1",
        source: bool = False,
        **settings: Any,
    ) -> None:
        """Make the base firmware in `<folder>/base` and `device.json` (see `configure`).

        `keyset`: the file with the keys to trust. With `source` the device runs the .py files that
        stand in this checkout, else their bytecode. The flash stays as it is. BenchError: POWERED,
        and those of factory.make_base; ToolError if the board is unknown."""
        self._must_be_off()
        self.base = make_base(self.folder / "base", load(self.board), keyset, source)
        self.configure(device, host, broker_port, **settings)

    def factory_flash(self, image: bytes) -> None:
        """Put `image` into slot a, confirmed, and erase all else. BenchError: POWERED, BAD_IMAGE,
        IMAGE_TOO_LARGE."""
        self._must_be_off()
        flash_image(self.flash, load(self.board), image)

    def _must_be_off(self) -> None:
        if self.open().powered:
            raise BenchError("POWERED", "the board has power: switch it off first", EXIT_DEVICE)

    # Power and reset.

    @property
    def powered(self) -> bool:
        return self._supervisor.powered

    @property
    def boots(self) -> list[Boot]:
        """Every life of the device since `open`, the present one last."""
        return self._supervisor.boots

    def power_on(self, run_main: bool = True) -> None:
        """Reset cause "power". With `run_main` False only a REPL runs, until the next reset."""
        supervisor = self.open()._supervisor
        supervisor.call(lambda: supervisor.power_on(run_main))

    def power_off(self) -> None:
        """Cut the power, in the middle of anything. Returns when the process is proved to be gone
        and its console silent; BenchError POWER_NOT_PROVEN if that cannot be shown."""
        self._supervisor.call(self._supervisor.power_off)

    def reset(self, cause: str = "hard") -> None:
        """Reset the chip: "hard" (its reset pin), "soft" or "watchdog"."""
        if cause not in _RESETS:
            raise BenchError("BAD_RESET", f"{cause} is not one of {', '.join(_RESETS)}", EXIT_USAGE)
        self._supervisor.call(lambda: self._supervisor.reset(cause))

    def wait_off(self, timeout_s: float) -> None:
        """Wait until an armed cut has taken the power; NotSeenError if it did not."""
        if not self._supervisor.off.wait(timeout_s):
            raise NotSeenError(f"the power was still on after {timeout_s:g} s")

    def wait_ended(self, timeout_s: float) -> bool:
        """False while it has power; True once it has not; the bench's own failure is raised."""
        if not self._supervisor.off.wait(timeout_s):
            return False
        self._supervisor.call(lambda: None)
        return True

    # Cuts.

    def cut_at_operation(
        self, operation: int, torn: str = "before", boot: int | None = None
    ) -> Cut:
        """Arm a cut at a flash operation (from 0) of the next boot, or of boot number `boot`."""
        cut = Cut(boot or len(self.open().boots) + 1, operation, torn)
        return self.arm(cut)

    def arm(self, cut: Cut) -> Cut:
        self._cuts[cut.boot] = cut
        return cut

    def cut_after_line(self, pattern: str) -> None:
        """Cut the power as soon as the device prints a line in which `pattern` is found (once)."""
        wanted = re.compile(pattern)
        supervisor = self.open()._supervisor
        supervisor.call(lambda: supervisor.cut_when(lambda line: bool(wanted.search(line.text))))

    # Console.

    def wait_line(self, pattern: str, timeout_s: float, since: int | None = None) -> Line:
        """The next line of the device with `pattern` in it, after the last one waited for."""
        return self.log.wait(pattern, timeout_s, since)

    def type_keys(self, keys: bytes) -> None:
        """Type on the serial line; b"\\x03" is Ctrl-C."""
        self._supervisor.call(lambda: self._supervisor.type_keys(keys))

    # What the supervisor needs.

    def _make_process(self, cause: str, boot: int, run_main: bool) -> DeviceProcess:
        env = {"CHARGEFLASH_RESET_CAUSE": cause}
        if boot in self._cuts:
            env |= self._cuts.pop(boot).environment
        if self.trace_flash:
            env["CHARGEFLASH_TRACE"] = "1"
        if self.base is None or not self.base.is_dir():
            where = self.base or "this board: provision it first"
            raise BenchError("NO_BASE", f"there is no base firmware in {where}", EXIT_NOT_FOUND)
        return DeviceProcess(self.folder, self.base, self.heap, env, run_main)


def is_taken(folder: Path) -> bool:
    """Does a program run the board in this folder now?"""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _lock(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise BenchError(
            "BOARD_BUSY",
            f"another program runs the board in {folder}: end it, or name another folder",
            EXIT_DEVICE,
        ) from None
    return lock
