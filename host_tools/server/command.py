"""`chargeflash serve`: answers devices that ask for blocks, and writes down what they say."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from agent import protocol
from host_tools import mqtt
from host_tools.errors import EXIT_USAGE, ToolError
from host_tools.server.blocks import Blocks, Complaints, Library
from host_tools.server.intake import LEAVES, Intake
from host_tools.store import Store

SHARE = "$share/blocks/"  # one server of all answers a request
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _EndedError(Exception):
    """SIGTERM or SIGINT: the way out of waiting."""


class Server:
    """Store and broker joined; the rest are bytes in, bytes out. Callbacks run in one thread."""

    def __init__(self, store: Store, address: mqtt.Address, name: str) -> None:
        self.complaints = Complaints(log)
        self._library = Library(store)
        self.blocks = Blocks(self._library, self.complaints)
        self.intake = Intake(store, self.complaints)
        self._pending = 0
        asks = [(SHARE + protocol.topic("+", protocol.GET), 0)]
        says = [(protocol.topic("+", leaf), 1) for leaf in LEAVES]
        client_id = f"{name}-{secrets.token_hex(4)}"  # two of one name must not oust each other
        self.connection = mqtt.Connection(
            address, asks + says, self._take, client_id, log, self._on_line
        )
        self._client = self.connection.client
        self._client.on_publish = self._published

    @property
    def summary(self) -> str:
        """What was done, in one line."""
        return (
            f"end: {self.blocks.requests} requests, {self.blocks.items} pages and blocks, "
            f"{self.intake.taken} messages written, {self.complaints.count} complaints"
        )

    def close(self) -> None:
        """Give files and locks back."""
        self._library.close()
        self.intake.close()

    def _on_line(self) -> None:
        self._pending = 0  # what waited for the old connection is lost; devices ask again

    def _published(self, *_: object) -> None:
        self._pending -= 1

    def _take(self, topic: str, payload: bytes, _retained: bool) -> None:
        found = protocol.parse_topic(topic)
        if found is None:
            self.complaints.about("unknown topic", topic[:100], "no device has such a name")
            return
        device, leaf = found
        if leaf == protocol.GET:
            self._answer(device, payload)
        else:
            self._note(device, leaf, payload)

    def _answer(self, device: str, payload: bytes) -> None:
        where = protocol.topic(device, protocol.DATA)
        for message in self.blocks.answer(device, payload, self._pending):
            if self._client.publish(where, message, 0).rc == 0:
                self._pending += 1

    def _note(self, device: str, leaf: str, payload: bytes) -> None:
        try:
            self.intake.take(device, leaf, payload)
        except (ToolError, OSError) as error:  # a full disk must not stop the blocks
            self.complaints.about("cannot write", device, str(error))


def log(line: str) -> None:
    """One line on stdout, at once; what came over the network cannot steer a terminal."""
    click.echo("".join(c if c.isprintable() else "?" for c in line))


@click.command()
@click.option("--store", "folder", type=click.Path(path_type=Path), required=True)
@mqtt.options
@click.option("--name", default="chargeflash-server", help="Begins this server's client id.")
def serve(
    folder: Path, url: str, ca: Path | None, cert: Path | None, tls_key: Path | None, name: str
) -> None:
    """Serve the published images to the devices, until SIGTERM or Ctrl-C."""
    if not protocol.is_name(name):
        raise ToolError("BAD_NAME", f"{name!r} is no name: [A-Za-z0-9._-], up to 64", EXIT_USAGE)
    address = mqtt.address(url, ca, cert, tls_key)
    server = Server(Store(folder), address, name)
    try:
        with _until_a_signal(), server.connection as connection:
            log(f"ready: {name} serves {folder} through {address}")
            connection.ended.wait()
            if connection.failed is not None:
                raise connection.failed
    finally:
        server.close()
    log(server.summary)


@contextmanager
def _until_a_signal() -> Iterator[None]:
    """SIGTERM and SIGINT leave the block, wherever it waits; further ones change nothing."""
    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    try:
        yield
    except _EndedError:
        return
    except BaseException:
        for number, handler in before.items():
            signal.signal(number, handler)
        raise


def _end(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # one is enough: nothing may disturb the way out
    raise _EndedError
