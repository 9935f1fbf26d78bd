"""`chargeflash tell`: a command to devices, and what they answer."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from agent import protocol
from agent.protocol import ProtocolError
from host_tools import mqtt
from host_tools.errors import EXIT_DEVICE, EXIT_USAGE, ToolError
from host_tools.status import check_names

_REQUEST_IDS = click.IntRange(1, 0x7FFFFFFF)
# What answers a command: an event, or (cancel) the status "Idle".
_ANSWERS = {
    protocol.CMD_ALLOW: (protocol.IMAGES_ALLOWED, protocol.COMMAND_REJECTED),
    protocol.CMD_CANCEL: (protocol.COMMAND_REJECTED,),
}


class Listener:
    """Collects the answers to one command: device -> what it said."""

    def __init__(self, devices: tuple[str, ...], cmd: str, request_id: int) -> None:
        self.answers: dict[str, str] = {}
        self.all_answered = threading.Event()
        self._devices, self._cmd, self._request_id = devices, cmd, request_id

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        """One message, in the connection's thread. What is retained was said before."""
        found = protocol.parse_topic(topic)
        if found is None or retained or found[0] not in self._devices:
            return
        try:
            answer = self._answer(found[1], payload)
        except ProtocolError:
            return
        if answer:
            self.answers[found[0]] = answer
        if len(self.answers) == len(self._devices):
            self.all_answered.set()

    def _answer(self, leaf: str, payload: bytes) -> str:
        if leaf == protocol.EVENT:
            event = protocol.parse_event(payload)
            ours = event["event"] in _ANSWERS.get(self._cmd, ())
            code = f" {event['code']}" if event["code"] else ""
            return event["event"] + code if ours and event["request_id"] == self._request_id else ""
        status = protocol.parse_status(payload)
        if self._cmd == protocol.CMD_CANCEL:
            done = status["status"] == protocol.IDLE and status["request_id"] == self._request_id
            return "canceled" if done else ""
        word: str = status["status"]
        return word if self._cmd == protocol.CMD_STATUS else ""


@click.command()
@click.argument("cmd", metavar="|".join(protocol.COMMANDS), type=click.Choice(protocol.COMMANDS))
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE...")
@mqtt.options
@click.option("--request-id", type=_REQUEST_IDS, help="cancel: the job that is to end.")
@click.option(
    "--wait-s",
    type=click.FloatRange(0, 600),
    default=10.0,
    show_default=True,
    help="How long to wait for the answers.",
)
def tell(
    cmd: str,
    devices: tuple[str, ...],
    url: str,
    ca: Path | None,
    cert: Path | None,
    tls_key: Path | None,
    request_id: int | None,
    wait_s: float,
) -> None:
    """Command devices: cancel a job, say the status again, allow what failed to be tried again."""
    check_names(devices)
    if (cmd == protocol.CMD_CANCEL) != (request_id is not None):
        text = "--request-id goes with cancel, which needs it: see chargeflash status --json"
        raise ToolError("USAGE", text, EXIT_USAGE)
    names = tuple(dict.fromkeys(devices))
    listener = Listener(names, cmd, request_id or 0)
    topics = [
        (protocol.topic(name, leaf), 1)
        for name in names
        for leaf in (protocol.EVENT, protocol.STATUS)
    ]
    with mqtt.Connection(mqtt.address(url, ca, cert, tls_key), topics, listener.take) as broker:
        for name in names:
            broker.publish(
                protocol.topic(name, protocol.CMD), protocol.pack_cmd(cmd, request_id or 0)
            )
        listener.all_answered.wait(wait_s)
    _show(names, cmd, listener.answers)


def _show(names: tuple[str, ...], cmd: str, answers: dict[str, str]) -> None:
    """A line a device; ToolError if one refused or said nothing."""
    for name in names:
        click.echo(f"{name}: {protocol.plain(answers.get(name, 'no answer'))}")
    if silent := [name for name in names if name not in answers]:
        text = (
            f"no answer to {cmd} from {', '.join(silent)}: a device that is off obeys when it is on"
        )
        raise ToolError("NO_ANSWER", text, EXIT_DEVICE)
    rejected = [name for name in names if answers[name].startswith(protocol.COMMAND_REJECTED)]
    if rejected:
        raise ToolError("REJECTED", f"{', '.join(rejected)} did not obey", EXIT_DEVICE)
