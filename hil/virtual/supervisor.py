"""What stands around the chip: power switch, reset line, watchdog, serial line, in one thread.

Whatever is asked of it from other threads goes through `call`, so that no two hands are on the
switch at once.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hil.errors import BenchError
from hil.virtual.console import Console
from hil.virtual.control import Control
from hil.virtual.process import DeviceProcess
from hil.virtual.serial_log import Line, SerialLog
from hil.virtual.user_port import UserPort
from host_tools.errors import EXIT_DEVICE

T = TypeVar("T")
_TICK_S = 0.02
_HOLDING_TICK_S = 0.003
_READ_BYTES = 65536
_CALL_TIMEOUT_S = 15.0
_STILLBORN_MOST = 5  # boots in a row that end before MicroPython ran a line: the next one will too
_CRASH_PAUSE_S = 0.1  # a device that dies as it starts does not eat the machine


@dataclass
class Boot:
    """One life. `cause`: power, soft, hard, watchdog or unknown; `end`: how it ended, in words."""

    number: int
    cause: str
    pid: int
    started_s: float  # monotonic
    end: str = ""
    exit_code: int | None = None
    operations: list[tuple[str, int, int]] = field(default_factory=list)  # kind, offset, size


class Supervisor:
    """`start(cause, boot, run_main)` makes the next process; `fell` hears that the outputs fell."""

    def __init__(
        self,
        start: Callable[[str, int, bool], DeviceProcess],
        fell: Callable[[], None],
        control: Control,
        port: UserPort,
        log: SerialLog,
    ) -> None:
        self.boots: list[Boot] = []
        self._start, self._fell = start, fell
        self._control, self._port, self._log = control, port, log
        self._console = Console(port, log.feed)
        self._device: DeviceProcess | None = None
        self._watchdog_ms = 0
        self._watchdog_due_s = 0.0
        self._cut_lines: list[Callable[[Line], bool]] = []
        self._cut_by: Line | None = None
        self._runs_main = True
        self._stillborn = 0
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        self._ending = False
        self._failed: BenchError | None = None
        self.off = threading.Event()
        self.off.set()
        log.watch(self._look_for_cut)
        self._thread = threading.Thread(target=self._run, name="virtual-board", daemon=True)
        self._thread.start()

    # Called from any thread.

    def call(self, do: Callable[[], T]) -> T:
        """Run `do` in the supervisor's thread; its answer or its error comes back."""
        if threading.current_thread() is self._thread:
            return do()
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(do())
            except BaseException as error:
                answer.set_exception(error)

        if self._failed is not None:
            raise self._failed
        self._calls.put(run)
        os.write(self._wake_write, b"!")
        return answer.result(_CALL_TIMEOUT_S)

    def close(self) -> None:
        self._failed = None
        if self._thread.is_alive():
            self.call(self._end_all)
        self._thread.join(_CALL_TIMEOUT_S)
        os.close(self._wake_read)
        os.close(self._wake_write)

    # Called in the thread, by `call`.

    @property
    def powered(self) -> bool:
        return self._device is not None

    def power_on(self, run_main: bool = True) -> None:
        if self._device is None:
            self._begin("power", run_main)

    def power_off(self, why: str = "power off") -> None:
        self._kill(why)
        self.off.set()

    def reset(self, cause: str) -> None:
        if self._device is None:
            raise BenchError("NO_POWER", "the board has no power: switch it on first", EXIT_DEVICE)
        self._restart(f"{cause} reset", cause)

    def type_keys(self, keys: bytes) -> None:
        self._console.from_user(keys)

    def cut_when(self, seen: Callable[[Line], bool]) -> None:
        """Cut the power at the first line of the device for which `seen` is true."""
        self._cut_lines.append(seen)

    # The thread.

    def _run(self) -> None:
        while not self._ending:
            self._wait()
            while not self._calls.empty():
                self._calls.get()()
            try:
                self._turn()
            except BenchError as error:  # no process could be made, or one could not be ended
                self._log.note(f"the bench failed: {error}")
                self._failed = error
                self.off.set()

    def _turn(self) -> None:
        self._port.poll()
        self._port.flush()
        self._read_user()
        self._read_device()
        self._obey()
        self._console.release()
        self._look_at_watchdog()
        self._look_for_death()

    def _wait(self) -> None:
        read = [self._wake_read, self._control.line]
        if self._port.attached:
            read.append(self._port.line)
        if self._device is not None:
            read.append(self._device.line)
        ready, _, _ = select.select(read, [], [], self._patience_s())
        if self._wake_read in ready:
            os.read(self._wake_read, _READ_BYTES)

    def _patience_s(self) -> float:
        if self._console.holding or not self._port.flush():
            return _HOLDING_TICK_S
        return _TICK_S

    def _read_user(self) -> None:
        keys = self._port.read()
        if keys:
            self._console.from_user(keys)

    def _read_device(self) -> None:
        if self._device is None:
            return
        try:
            self._console.from_device(os.read(self._device.line, _READ_BYTES))
        except OSError:  # nothing there, or the process is gone: _look_for_death sees to that
            return
        if self._cut_by is not None:
            self.power_off(f"power cut after the line {self._cut_by.text!r}")

    def _obey(self) -> None:
        """Do what the device asks for."""
        life = self._device
        for words in self._control.read():
            order = _ORDERS.get((words[0], len(words)))
            if order is None:
                self._log.note(f"the device asked for what no board does: {words[:4]}")
            else:
                order(self, words)
            if self._device is not life:
                return  # the rest is of a device that is dead by now

    def _order_up(self, _words: list[str]) -> None:
        self._stillborn = -1  # this one lives
        if self._runs_main:
            self._console.is_up()

    def _order_watchdog(self, words: list[str]) -> None:
        if words[1].isdigit() and int(words[1]):
            self._watchdog_ms = int(words[1])
            self._feed(words)

    def _feed(self, _words: list[str]) -> None:
        self._watchdog_due_s = time.monotonic() + self._watchdog_ms / 1000

    def _order_reset(self, words: list[str]) -> None:
        self.reset("hard" if words[1] == "hard" else "soft")

    def _order_exit(self, words: list[str]) -> None:
        self.boots[-1].exit_code = int(words[1]) if words[1].lstrip("-").isdigit() else 1
        self._restart(f"soft reset: main ended with {words[1]}", "soft")

    def _order_operation(self, words: list[str]) -> None:
        if words[3].isdigit() and words[4].isdigit():
            self.boots[-1].operations.append((words[2], int(words[3]), int(words[4])))

    def _order_cut(self, _words: list[str]) -> None:
        self.power_off("power cut at the armed flash operation")

    def _look_at_watchdog(self) -> None:
        if self._device is not None and self._watchdog_ms:
            if time.monotonic() < self._watchdog_due_s:
                return
            self._obey()  # what it fed while we were busy counts
            if self._device is not None and time.monotonic() >= self._watchdog_due_s:
                self._restart(f"watchdog: not fed for {self._watchdog_ms} ms", "watchdog")

    def _look_for_death(self) -> None:
        """The process ended by itself: a soft reset from the REPL, or it crashed."""
        if self._device is None:
            return
        code = self._device.exit_code()
        if code is None:
            return
        self.boots[-1].exit_code = code
        if code == 0:
            self._restart("soft reset from the REPL", "soft", from_repl=True)
        else:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN_MOST:
                self._give_up(code)
            time.sleep(_CRASH_PAUSE_S)
            self._restart(f"the process ended with {code}", "unknown")

    def _give_up(self, code: int) -> None:
        self._kill(f"the process ended with {code}")
        said = [line.text for line in self._log.lines() if not line.note and line.text][-1:]
        text = (
            f"MicroPython ended {self._stillborn} times before it ran a line, with {code}: {said}"
        )
        raise BenchError("NO_BOOT", text, EXIT_DEVICE)

    def _look_for_cut(self, line: Line) -> None:
        if not line.note and self._cut_by is None and any(seen(line) for seen in self._cut_lines):
            self._cut_by = line

    def _restart(self, why: str, cause: str, from_repl: bool = False) -> None:
        self._kill(why)
        if (
            self._cut_by is not None
        ):  # its last line armed a cut: the power goes, not only the program
            self.off.set()
            return
        raw_repl = from_repl and self._console.raw_repl
        if cause == "soft":
            self._console.say_soft_reboot()
        self._begin(cause, run_main=not raw_repl, raw_repl=raw_repl)

    def _begin(self, cause: str, run_main: bool, raw_repl: bool = False) -> None:
        number = len(self.boots) + 1
        self._control.drain()
        self._log.boot = number
        self._log.note(f"boot {number}, reset cause {cause}")
        self._watchdog_ms = 0
        self._cut_by = None
        self._runs_main = run_main
        self._device = self._start(cause, number, run_main)
        self.boots.append(Boot(number, cause, self._device.pid, time.monotonic()))
        self._console.attach(self._device, raw_repl)
        self.off.clear()

    def _kill(self, why: str) -> None:
        device, self._device = self._device, None
        if device is None:
            return
        try:
            self._console.detach(device.kill())
        finally:
            if self._cut_by is not None:
                self._cut_lines.clear()
            self.boots[-1].end = why
            self._log.note(why)
            self._control.drain()
            self._fell()

    def _end_all(self) -> None:
        self._kill("bench closed")
        self._ending = True


_ORDERS: dict[tuple[str, int], Callable[[Any, list[str]], None]] = {
    ("up", 1): Supervisor._order_up,
    ("wdt", 2): Supervisor._order_watchdog,
    ("feed", 1): Supervisor._feed,
    ("reset", 2): Supervisor._order_reset,
    ("exit", 2): Supervisor._order_exit,
    ("op", 5): Supervisor._order_operation,
    ("cut", 1): Supervisor._order_cut,
}
