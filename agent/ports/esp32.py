"""An ESP32 for the agent; the names are those of unix.py. Settings and TLS files: the partition vfs.

Traps of the chip: a panic and machine.reset() have the same cause, a brown-out and power-on too. The
clock begins in 2000 at every power-on, and TLS checks dates.
"""

from agent.ports import runtime
from agent.ports.chip import Watchdog, charger_io, reset, reset_cause  # noqa: F401 (handed on)
from agent.ports.interface import attach, connect  # noqa: F401
from agent.ports.runtime import (  # noqa: F401
    heap,
    mount,
    now_ms,
    random_below,
    show_error,
    sleep_ms,
)
from agent.ports.stream import tls_context  # noqa: F401
from bootloader_verify.ports.esp32 import open_flash  # noqa: F401

_FILES = "/"  # where the frozen _boot.py mounts the partition vfs


def read_file(name: str) -> bytes:
    """A file of the board's file system; OSError if it is not there or too long."""
    return runtime.read_bounded(name if name.startswith("/") else _FILES + name)
