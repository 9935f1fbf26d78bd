"""The bridge between the device's serial line and the user's port.

Down (keys): a chip's UART keeps what arrives while it is busy; MicroPython's unix port throws it
away whenever it changes between program and prompt. So the bridge holds keys over such a change.
Up (text): a lone line feed becomes CR LF, as chips do it, except in the raw REPL, whose users may
send bytes. A soft reset asked for in the raw REPL ends there again, without main, as on a chip.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

from hil.virtual.process import DeviceProcess
from hil.virtual.user_port import UserPort

_CTRL_A = b"\x01"
_CTRL_C = b"\x03"
_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_FRIENDLY_BANNER = b'Type "help()" for more information.'
_SOFT_REBOOT = b"MPY: soft reboot\r\n"
_LONE_LF = re.compile(rb"(?<!\r)\n")
_HELD_BYTES = 65536
_INTERRUPT_WAIT_S = 0.5  # a program may take a Ctrl-C and go on: then keys flow again
_BETWEEN_COMMANDS_S = 0.02  # raw REPL: from the end of a program's output to its prompt


class Console:
    """Bridges one device after the other to one port. Lives in the supervisor's thread."""

    def __init__(self, port: UserPort, heard: Callable[[bytes], None]) -> None:
        self._port = port
        self._heard = heard
        self._device: DeviceProcess | None = None
        self._held = bytearray()
        self._hold_until_s = 0.0  # 0: until the device is up
        self._holding = False
        self._tail = b""
        self._last_cr = b""
        self._silent_until: bytes | None = None
        self.raw_repl = False

    @property
    def holding(self) -> bool:
        """True while keys wait; then `release` has to be called every few ms."""
        return bool(self._held)

    def attach(self, device: DeviceProcess, raw_repl: bool) -> None:
        """A device begins to run. `raw_repl`: take its REPL straight into raw mode."""
        self._device = device
        self._held.clear()
        self._holding, self._hold_until_s = True, 0.0
        self._tail = self._last_cr = b""
        self.raw_repl = raw_repl
        self._silent_until = _RAW_BANNER if raw_repl else None
        if raw_repl:
            self._held += _CTRL_A

    def detach(self, last_words: bytes) -> None:
        """The device is dead; show what was still in its line."""
        self._device = None
        self.from_device(last_words)

    def say_soft_reboot(self) -> None:
        self._port.write(_SOFT_REBOOT)

    def is_up(self) -> None:
        """The device takes Ctrl-C from now on."""
        if self._silent_until is None:
            self._holding = False
            self.release()

    def from_user(self, keys: bytes) -> None:
        self._held += keys
        del self._held[_HELD_BYTES:]
        self.release()

    def from_device(self, data: bytes) -> None:
        """Text of the device, to the log and to the user."""
        if not data:
            return
        if self._silent_until is not None:
            data = self._skip_to_banner(data)
        self._follow_mode(data)
        if not self.raw_repl:
            data = self._cooked(data)
        self._port.write(data)
        self._heard(data)

    def release(self) -> None:
        """Pass on what may go."""
        device = self._device
        if device is None:
            self._held.clear()  # a chip without power hears nothing
            return
        if self._holding and not self._hold_is_over(device):
            return
        self._holding = False
        while self._held and not self._holding:
            self._pass_some(device)

    def _hold_is_over(self, device: DeviceProcess) -> bool:
        if device.reads_keys():
            return True
        return 0 < self._hold_until_s < time.monotonic()

    def _pass_some(self, device: DeviceProcess) -> None:
        if device.reads_keys():
            self._send(device, len(self._held))
            return
        interrupt_at = self._held.find(_CTRL_C)
        if interrupt_at >= 0:
            self._send(device, interrupt_at + 1)
            self._hold(_INTERRUPT_WAIT_S)
        elif self.raw_repl and not self._hold_until_s:
            self._hold(_BETWEEN_COMMANDS_S)
        else:
            self._send(device, len(self._held))

    def _hold(self, seconds: float) -> None:
        self._holding = True
        self._hold_until_s = time.monotonic() + seconds

    def _send(self, device: DeviceProcess, size: int) -> None:
        keys = bytes(self._held[:size])
        del self._held[:size]
        self._hold_until_s = 0.0
        try:
            sent = os.write(device.line, keys)
        except OSError:
            sent = 0
        # The program reads nothing and its line is full: a chip loses such keys, but hears Ctrl-C.
        if _CTRL_C in keys[sent:] and not device.reads_keys():
            device.interrupt()

    def _skip_to_banner(self, data: bytes) -> bytes:
        self._tail += data
        at = self._tail.find(self._silent_until or b"")
        if at < 0:
            return b""
        data, self._tail = self._tail[at:], b""
        self._silent_until = None
        return data

    def _follow_mode(self, data: bytes) -> None:
        seen = self._tail + data
        raw, friendly = seen.rfind(_RAW_BANNER), seen.rfind(_FRIENDLY_BANNER)
        if raw != friendly:
            self.raw_repl = raw > friendly
        self._tail = seen[-len(_FRIENDLY_BANNER) :]

    def _cooked(self, data: bytes) -> bytes:
        text = _LONE_LF.sub(b"\r\n", self._last_cr + data)[len(self._last_cr) :]
        self._last_cr = b"\r" if data.endswith(b"\r") else b""
        return text
