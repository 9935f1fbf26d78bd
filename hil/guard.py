"""Programs that end with us, however we end.

`guarded` starts a program whose process also keeps a small watcher; the watcher holds one end of a
pipe of ours. If this process dies without a word, the pipe closes and the watcher ends the program:
a test run that is killed leaves no broker behind.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_GRACE_S = 5.0


class Guarded:
    """A running program. `pid` is its own, not a wrapper's."""

    def __init__(self, command: Sequence[str], log: IO[bytes]) -> None:
        watched, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__)), str(watched), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[watched],
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(watched)
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def end(self, kill: bool = False) -> None:
        """SIGTERM (SIGKILL after a grace, or at once with `kill`); returns when it is gone."""
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._pipe >= 0:
            with contextlib.suppress(OSError):
                os.write(self._pipe, b"!")  # all is well: the watcher may go
            os.close(self._pipe)
            self._pipe = -1


def _watch(pipe: int, program: int) -> None:
    """In the watcher: wait for a word or for the silence of the dead."""
    import signal

    if not os.read(pipe, 1):
        with contextlib.suppress(ProcessLookupError):
            os.kill(program, signal.SIGTERM)
    os._exit(0)


def _become(pipe: int, command: list[str]) -> None:
    program = os.getpid()
    if os.fork() == 0:
        os.setsid()  # a Ctrl-C on the terminal is not for the watcher
        _watch(pipe, program)
    os.close(pipe)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
