"""The broker of a bench: either kind serves what our devices need of one, also over a restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hil.broker import Broker, Tls, find_mosquitto
from hil.errors import BenchError
from tests.system.bench import ROOT

needs_mosquitto = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)


class Client:
    """A client that is connected for the length of a block."""

    def __init__(self, broker: Broker, name: str, *topics: str, clean: bool = True) -> None:
        self.got: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Semaphore(0)
        self._broker, self._topics = broker, topics
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=clean)
        self._paho.on_message = self._take
        self._paho.on_subscribe = lambda *_: self._subscribed.release()

    def __enter__(self) -> Client:
        self._paho.connect(self._broker.host, self._broker.port)
        self._paho.loop_start()
        for topic in self._topics:
            self._paho.subscribe(topic, 1)
            assert self._subscribed.acquire(timeout=3)
        return self

    def __exit__(self, *_: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self._paho.publish(topic, payload, qos, retain).wait_for_publish(3)

    def wait(self, count: int) -> list[tuple[str, bytes]]:
        with self._changed:
            self._changed.wait_for(lambda: len(self.got) >= count, 3)
        return self.got

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.got.append((message.topic, message.payload))
            self._changed.notify_all()


@pytest.fixture(params=[pytest.param("mosquitto", marks=needs_mosquitto), "amqtt"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    if request.param == "amqtt":
        pytest.importorskip("amqtt")
    with Broker(tmp_path / "broker", embedded=request.param == "amqtt") as broker:
        assert broker.kind == request.param
        assert broker.version[0].isdigit()
        yield broker


def test_a_restart_keeps_the_port_and_what_was_retained(broker: Broker) -> None:
    with Client(broker, "server") as server:
        server.publish("ota/v1/CP-0001/offer", b"the manifest", retain=True)
    broker.restart()
    with Client(broker, "CP-0001", "ota/v1/CP-0001/offer") as device:
        assert device.wait(1) == [("ota/v1/CP-0001/offer", b"the manifest")]


def test_a_device_that_was_away_gets_what_was_queued_for_it(broker: Broker) -> None:
    with Client(broker, "CP-0001", "ota/v1/CP-0001/cmd", clean=False):
        pass
    time.sleep(1.2)  # longer than the embedded broker's look at forgotten sessions
    with Client(broker, "server") as server:
        server.publish("ota/v1/CP-0001/cmd", b"while you were away")
    with Client(broker, "CP-0001", clean=False) as device:
        assert device.wait(1) == [("ota/v1/CP-0001/cmd", b"while you were away")]


def test_a_server_is_reached_through_a_shared_subscription(broker: Broker) -> None:
    topic = "ota/v1/CP-0001/get"
    shared = "$share/servers/ota/v1/+/get"
    with Client(broker, "server", shared) as server, Client(broker, "CP-0001") as device:
        device.publish(topic, b"what is missing", qos=0)
        assert server.wait(1) == [(topic, b"what is missing")]


def test_the_largest_block_passes(broker: Broker) -> None:
    block = bytes(16_384 + 16)
    topic = "ota/v1/CP-0001/data"
    with Client(broker, "CP-0001", topic) as device, Client(broker, "server") as server:
        server.publish(topic, block, qos=0)
        assert device.wait(1) == [(topic, block)]


def test_a_port_that_is_taken_is_said_so(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=f"port {broker.port} is taken") as caught:
        Broker(tmp_path / "other", port=broker.port)
    assert caught.value.code == "PORT_BUSY"


@needs_mosquitto
def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    broker = Broker(tmp_path / "broker", tls=Tls(cert=nothing, key=nothing))
    with pytest.raises(BenchError, match=r"mosquitto does not start: .*nothing\.pem") as caught:
        broker.start()
    assert caught.value.code == "BROKER_FAILED"


@needs_mosquitto
def test_no_broker_is_left_when_the_run_is_killed(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from hil.broker import Broker\n"
            "broker = Broker(Path(sys.argv[1])).start()\n"
            "print(broker._server._process.pid, flush=True); time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _is_mosquitto(pid):
        time.sleep(0.05)
    assert not _is_mosquitto(pid)


def _is_mosquitto(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip()[:1] not in ("", "Z")
