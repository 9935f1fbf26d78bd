"""`chargeflash tell`: commands over a real broker, to a device that is played."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agent import protocol
from hil.broker import Broker, find_mosquitto
from host_tools import mqtt
from tests.host.published import Command
from tests.host.test_intake import status

pytestmark = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)
IDLE = status(status="Idle", request_id=7, reason="Canceled")
BUSY = status(status="Downloading", request_id=7)
Reply = Callable[[str, int], tuple[str, bytes] | None]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


class Played:
    """A device that answers commands; `heard` are those that came."""

    def __init__(self, broker: Broker, name: str, reply: Reply) -> None:
        self.heard: list[tuple[str, int]] = []
        self._name, self._reply = name, reply
        where = mqtt.Address(broker.host, broker.port)
        topics = [(protocol.topic(name, protocol.CMD), 1)]
        self.line = mqtt.Connection(where, topics, self._obey)

    def _obey(self, _topic: str, payload: bytes, _retained: bool) -> None:
        self.heard.append(protocol.parse_cmd(payload))
        answer = self._reply(*self.heard[-1])
        if answer is not None:
            self.line.client.publish(protocol.topic(self._name, answer[0]), answer[1], 1)


def obedient(cmd: str, request_id: int) -> tuple[str, bytes] | None:
    if cmd == protocol.CMD_ALLOW:
        event = protocol.pack_event(protocol.IMAGES_ALLOWED, request_id, "", "")
        return protocol.EVENT, event
    if cmd == protocol.CMD_STATUS:
        return protocol.STATUS, protocol.pack_status(BUSY)
    if request_id == 7:
        return protocol.STATUS, protocol.pack_status(IDLE)
    code = "NO_SUCH_JOB"
    return protocol.EVENT, protocol.pack_event(protocol.COMMAND_REJECTED, request_id, code, cmd)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def device(broker: Broker) -> Iterator[Played]:
    played = Played(broker, "CP-1", obedient)
    with played.line:
        yield played


def test_each_command_and_its_answer(command: Command, broker: Broker, device: Played) -> None:
    url = f"mqtt://{broker.host}:{broker.port}"
    for words, answer in (
        (("allow",), "CP-1: FailedImagesAllowed\n"),
        (("status",), "CP-1: Downloading\n"),
        (("cancel", "--request-id", 7), "CP-1: canceled\n"),
    ):
        found = command("tell", words[0], "CP-1", *words[1:], "--broker", url)
        assert found == (0, answer, ""), found
    assert device.heard == [("allow", 0), ("status", 0), ("cancel", 7)]


def test_a_device_that_does_not_obey(command: Command, broker: Broker, device: Played) -> None:
    url = f"mqtt://{broker.host}:{broker.port}"
    exit_code, out, err = command("tell", "cancel", "CP-1", "--request-id", 8, "--broker", url)
    assert (exit_code, out) == (5, "CP-1: CommandRejected NO_SUCH_JOB\n")
    assert err == "error: CP-1 did not obey [REJECTED]\n"


def test_a_device_that_is_off(command: Command, broker: Broker, device: Played) -> None:
    url = f"mqtt://{broker.host}:{broker.port}"
    words = ("tell", "allow", "CP-1", "CP-2", "--broker", url, "--wait-s", 0.5)
    exit_code, out, err = command(*words)
    assert (exit_code, out) == (5, "CP-1: FailedImagesAllowed\nCP-2: no answer\n")
    assert err.startswith("error: no answer to allow from CP-2") and err.endswith("[NO_ANSWER]\n")


def test_misuse(command: Command, broker: Broker) -> None:
    url = f"mqtt://{broker.host}:{broker.port}"
    command.fails("BAD_NAME", 2, "tell", "allow", "a/b", "--broker", url)
    command.fails("USAGE", 2, "tell", "cancel", "CP-1", "--broker", url)
    command.fails("USAGE", 2, "tell", "allow", "CP-1", "--request-id", 7, "--broker", url)
    assert command("tell", "explode", "CP-1", "--broker", url)[0] == 2
    assert command("tell", "allow", "--broker", url)[0] == 2
