"""`chargeflash status`: what the devices say, from the broker's retained messages."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agent import protocol
from agent.protocol import ProtocolError
from host_tools import mqtt
from host_tools.errors import EXIT_NOT_FOUND, EXIT_USAGE, ToolError
from host_tools.server.intake import ONLINE

SCHEMA = 1
COLUMNS = ("DEVICE", "ONLINE", "STATUS", "VERSION", "SLOT", "MODE", "PROGRESS", "REASON", "DETAIL")
_YES_NO = {True: "yes", False: "no", None: "-"}


@dataclass
class Heard:
    """What a device said: None where it said nothing, or nothing that can be read."""

    online: bool | None = None
    status: dict[str, Any] | None = None
    unreadable: bool = False

    @property
    def complete(self) -> bool:
        return self.online is not None and (self.status is not None or self.unreadable)


class Listener:
    """Collects status and online messages; `devices` maps a name to what it said."""

    def __init__(self, awaited: tuple[str, ...]) -> None:
        self.devices: dict[str, Heard] = {}
        self.everything = threading.Event()  # all that was awaited has come
        self._awaited = awaited

    def take(self, topic: str, payload: bytes, _retained: bool) -> None:
        """One message, in the connection's thread."""
        found = protocol.parse_topic(topic)
        if found is None or not payload:  # an empty one clears what was retained
            return
        heard = self.devices.setdefault(found[0], Heard())
        if found[1] == protocol.ONLINE:
            heard.online = ONLINE.get(payload)
        else:
            self._take_status(heard, payload)
        if self._awaited and all(self._complete(name) for name in self._awaited):
            self.everything.set()

    def _take_status(self, heard: Heard, payload: bytes) -> None:
        try:
            heard.status, heard.unreadable = protocol.parse_status(payload), False
        except ProtocolError:
            heard.unreadable = True

    def _complete(self, name: str) -> bool:
        return name in self.devices and self.devices[name].complete


@click.command()
@click.argument("devices", nargs=-1, metavar="[DEVICE]...")
@mqtt.options
@click.option("--json", "as_json", is_flag=True, help="Only JSON on stdout, with its schema.")
@click.option(
    "--wait-s",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    help="How long to wait for what the broker retains.",
)
def status(
    devices: tuple[str, ...],
    url: str,
    ca: Path | None,
    cert: Path | None,
    tls_key: Path | None,
    as_json: bool,
    wait_s: float,
) -> None:
    """Show the devices: all that the broker knows, or the named ones."""
    check_names(devices)
    address = mqtt.address(url, ca, cert, tls_key)
    listener = Listener(devices)
    topics = [
        (protocol.topic(name, leaf), 1)
        for name in devices or ("+",)
        for leaf in (protocol.STATUS, protocol.ONLINE)
    ]
    with mqtt.Connection(address, topics, listener.take):
        listener.everything.wait(wait_s)
    known = dict(sorted(listener.devices.items()))
    click.echo(_as_json(known) if as_json else _as_table(known))
    silent = [name for name in devices if name not in known]
    if silent:
        text = f"the broker knows nothing of {', '.join(silent)}"
        raise ToolError("NO_DEVICE", text, EXIT_NOT_FOUND)


def check_names(names: tuple[str, ...]) -> None:
    """ToolError BAD_NAME for the first that is none."""
    for name in names:
        if not protocol.is_name(name):
            text = f"{name!r} is no device name: A-Z a-z 0-9 . _ - , up to 64, no leading dot"
            raise ToolError("BAD_NAME", text, EXIT_USAGE)


def _as_json(known: dict[str, Heard]) -> str:
    listed = [
        {"device": name, "online": heard.online, "status": heard.status}
        for name, heard in known.items()
    ]
    return json.dumps({"schema": SCHEMA, "devices": listed}, indent=1)


def _as_table(known: dict[str, Heard]) -> str:
    rows = [COLUMNS, *(_row(name, heard) for name, heard in known.items())]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _row(name: str, heard: Heard) -> tuple[str, ...]:
    said = heard.status
    if said is None:
        nothing = "unreadable" if heard.unreadable else "-"
        return (name, _YES_NO[heard.online], nothing, *["-"] * (len(COLUMNS) - 3))
    progress = f"{said['blocks_done']}/{said['blocks']}" if said["blocks"] else "-"
    words = [said["version"], said["slot"], said["mode"], progress, said["reason"], said["detail"]]
    cells = [protocol.plain(word) or "-" for word in words]  # it may not steer the terminal
    return (name, _YES_NO[heard.online], said["status"], *cells)
