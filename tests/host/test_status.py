"""`chargeflash status`: the devices, as the broker retains what they said."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agent import protocol
from hil.broker import Broker, find_mosquitto
from host_tools import mqtt
from host_tools.status import COLUMNS, Listener
from tests.host.published import Command
from tests.host.test_intake import status

needs_mosquitto = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)
DOWNLOADING = status(
    status="Downloading",
    request_id=7,
    version="1.0.0+0",
    slot="a",
    mode="normal",
    blocks=64,
    blocks_done=16,
    detail="going well",
)
FAILED = status(status="InstallationFailed", reason="TrialBootFailed", detail="\x07\nno\u202emeter")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that retains what four devices said."""
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        with mqtt.Connection(mqtt.Address(broker.host, broker.port)) as sender:
            for device, leaf, payload in (
                ("CP-1", "status", protocol.pack_status(DOWNLOADING)),
                ("CP-1", "online", b"1"),
                ("CP-2", "status", json.dumps(FAILED).encode()),
                ("CP-2", "online", b"0"),
                ("CP-3", "online", b"1"),
                ("CP-4", "status", b"\x1b[2J"),
                ("CP-4", "online", b"2"),
            ):
                sender.publish(protocol.topic(device, leaf), payload, retain=True)
        yield f"mqtt://{broker.host}:{broker.port}"


@needs_mosquitto
def test_all_devices_in_a_table(command: Command, url: str) -> None:
    exit_code, out, err = command("status", "--broker", url, "--wait-s", 0.3)
    assert (exit_code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert tuple(rows[0]) == COLUMNS
    assert rows[1][:7] == ["CP-1", "yes", "Downloading", "1.0.0+0", "a", "normal", "16/64"]
    assert rows[1][7:] == ["-", "going", "well"]
    assert rows[2][:3] == ["CP-2", "no", "InstallationFailed"] and rows[2][-2:] == [
        "TrialBootFailed",
        "??no?meter",
    ]
    assert rows[3] == ["CP-3", "yes", *"-------"]
    assert rows[4] == ["CP-4", "-", "unreadable", *"------"]


@needs_mosquitto
def test_named_devices_as_json(command: Command, url: str) -> None:
    exit_code, out, err = command("status", "CP-3", "CP-1", "--broker", url, "--json")
    assert (exit_code, err) == (0, "")
    found = json.loads(out)
    assert found["schema"] == 1
    assert found["devices"] == [
        {"device": "CP-1", "online": True, "status": DOWNLOADING},
        {"device": "CP-3", "online": True, "status": None},
    ]


@needs_mosquitto
def test_a_named_device_needs_no_waiting(command: Command, url: str) -> None:
    """With a wait of a minute this would not end in time."""
    assert command("status", "CP-1", "--broker", url, "--wait-s", 60)[0] == 0


@needs_mosquitto
def test_an_unknown_device(command: Command, url: str) -> None:
    words = ["CP-1", "CP-9", "--broker", url, "--wait-s", 0.2]
    exit_code, out, err = command("status", *words)
    assert exit_code == 3 and "CP-1" in out and "CP-9" not in out
    assert err == "error: the broker knows nothing of CP-9 [NO_DEVICE]\n"
    exit_code, out, err = command("status", *words, "--json")
    assert exit_code == 3 and [d["device"] for d in json.loads(out)["devices"]] == ["CP-1"]


def test_a_message_that_was_cleared_is_none() -> None:
    listener = Listener(())
    listener.take("ota/v1/CP-1/status", b"", True)
    assert listener.devices == {}


def test_a_device_that_became_readable() -> None:
    listener = Listener(())
    listener.take("ota/v1/CP-1/status", b"what", True)
    listener.take("ota/v1/CP-1/status", protocol.pack_status(DOWNLOADING), False)
    heard = listener.devices["CP-1"]
    assert heard.status == DOWNLOADING and not heard.unreadable


# --- misuse -----------------------------------------------------------------------------------------
def test_a_broker_that_is_down(command: Command) -> None:
    command.fails("BROKER_DOWN", 6, "status", "--broker", "mqtt://127.0.0.1:1")


def test_a_broker_that_is_none(command: Command) -> None:
    command.fails("BAD_BROKER_URL", 2, "status", "--broker", "127.0.0.1")


@pytest.mark.parametrize("name", ["#", "+", "a/b", "$SYS"])
def test_a_device_that_has_no_name(command: Command, name: str) -> None:
    command.fails("BAD_NAME", 2, "status", name, "--broker", "mqtt://127.0.0.1:1")


def test_a_certificate_that_is_not_there(command: Command) -> None:
    words = ["status", "--broker", "mqtts://127.0.0.1:1", "--ca", "nowhere.pem"]
    command.fails("NOT_FOUND", 3, *words)


def test_the_broker_has_to_be_named(command: Command) -> None:
    exit_code, out, err = command("status")
    assert (exit_code, out) == (2, "") and "--broker" in err
