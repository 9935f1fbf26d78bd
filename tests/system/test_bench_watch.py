"""The watcher records what a device says and what is sent to it, and fails with the whole story."""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent import protocol
from hil.broker import Broker, find_mosquitto
from hil.errors import BenchError, NotSeenError
from hil.watch import Sent, Watch

pytestmark = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)


class Device:
    """Says whatever the test wants, as CP-0001."""

    def __init__(self, broker: Broker) -> None:
        self._paho = paho.Client(CallbackAPIVersion.VERSION2)
        self._paho.connect(broker.host, broker.port)
        self._paho.loop_start()

    def say(self, leaf: str, payload: bytes, retain: bool = False) -> None:
        topic = protocol.topic("CP-0001", leaf)
        self._paho.publish(topic, payload, 1, retain).wait_for_publish(3)

    def status(self, status: str, request_id: int = 7, retain: bool = False) -> None:
        said = {"status": status, "request_id": request_id, "blocks": 18, "blocks_done": 5}
        self.say(protocol.STATUS, json.dumps(said).encode(), retain)

    def close(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def device(broker: Broker) -> Iterator[Device]:
    device = Device(broker)
    yield device
    device.close()


def test_it_waits_for_words_and_keeps_their_order(broker: Broker, device: Device) -> None:
    device.status("Idle", 0, retain=True)
    with Watch(broker.host, broker.port, "CP-0001") as watch:
        assert watch.wait_status("Idle", 3)["request_id"] == 0
        for status in ("Downloading", "Downloading", "Downloaded"):
            device.status(status)
        device.status("Installed", 8)
        device.say(
            protocol.EVENT, protocol.pack_event("OfferRejected", 9, "DENIED", "failed before")
        )
        assert watch.wait_event("OfferRejected", 3, request_id=9)["code"] == "DENIED"
        assert watch.wait(lambda m: m["request_id"] == 8, 3, "8")["status"] == "Installed"
        assert watch.trace(7) == ["Downloading", "Downloaded"]
        assert [m["request_id"] for m in watch.statuses] == [0, 7, 7, 7, 8]


def test_a_wait_that_fails_tells_what_came_instead(broker: Broker, device: Device) -> None:
    with Watch(broker.host, broker.port, "CP-0001") as watch:
        device.status("Downloading")
        watch.wait_status("Downloading", 3)
        with pytest.raises(NotSeenError, match=r"Installed.*Downloading#7 5/18"):
            watch.wait_status("Installed", 0.05)
        with pytest.raises(NotSeenError):
            watch.wait_status("Downloading", 0.05, since=1)
        with pytest.raises(NotSeenError):
            watch.wait_status("Downloading", 0.05, request_id=8)


def test_it_counts_what_is_sent_and_survives_junk(broker: Broker, device: Device) -> None:
    with Watch(broker.host, broker.port, "CP-0001") as watch:
        device.say(protocol.DATA, protocol.pack_data(1, protocol.KIND_PAGE, 0, bytes(36)))
        device.say(protocol.DATA, protocol.pack_data(1, protocol.KIND_BLOCK, 4, bytes(100)))
        device.say(protocol.DATA, protocol.pack_data(1, protocol.KIND_BUSY, 1000))
        device.say(protocol.DATA, b"junk")
        device.say(protocol.STATUS, b"\xff{")
        device.say(protocol.ONLINE, b"\xff")
        device.status("Idle")
        watch.wait_status("Idle", 3)
        crcs = [binascii.crc32(bytes(size)) for size in (36, 100)]
        assert watch.sent == [Sent(False, 0, 36, crcs[0]), Sent(True, 4, 100, crcs[1])]
        assert watch.statuses[0] == {"undecodable": "ff7b"}


def test_a_broker_that_is_not_there_is_said_so(broker: Broker) -> None:
    broker.stop()
    with pytest.raises(BenchError) as caught:
        Watch(broker.host, broker.port, "CP-0001")
    assert caught.value.code == "BROKER_FAILED"
