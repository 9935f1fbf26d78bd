"""The agent's MQTT session on the real MicroPython against the real mosquitto."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hil.broker import Broker, Tls, find_mosquitto
from hil.link import Link
from tests.system.bench import ROOT
from tests.system.certificates import Authority, Issued

pytestmark = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)
RX_BYTES = 2000
NO_WAIT = {"retry_back_off_wait_minimum_s": 0, "retry_back_off_random_range_s": 0}


class Device:
    """A MicroPython process with the agent's session in it (device_mqtt.py)."""

    def __init__(self, micropython: str, folder: Path, port: int, **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        found = {"device": "CP-0001", "host": "127.0.0.1", "port": port, "tls": None}
        found |= {"keepalive_s": 60, "back_off": NO_WAIT} | settings
        times = found.pop("times", [])
        (folder / "device.json").write_text(json.dumps(found))
        script = str(ROOT / "tests/system/device_mqtt.py")
        command = [micropython, "-X", "heapsize=128k", script, str(ROOT), str(folder)]
        self._process = subprocess.Popen(
            [*command, str(RX_BYTES), *map(str, times)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())

    def wait(self, beginning: str, timeout_s: float = 6.0) -> str:
        """The next line that begins so; what came before it stays in `said`."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {beginning!r}; it said {self.said}") from None
            self.said.append(line)
            if line.startswith(beginning):
                return line

    def publish(self, leaf: str, text: str, qos: int = 1, retain: bool = False) -> None:
        self.tell(f"pub {leaf} {qos} {int(retain)} {text}")

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self, kill: bool = True) -> int:
        if kill:
            self._process.kill()
        code = self._process.wait(5)
        self._reader.join(5)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return code


class Server:
    """The other side: publishes to the device and records what it says."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, str, bool]] = []
        self._changed = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe("ota/v1/+/+", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            leaf = message.topic.split("/")[-1]
            self.got.append((leaf, message.payload.decode(), message.retain))
            self._changed.notify_all()

    def publish(
        self, leaf: str, payload: str, qos: int = 1, retain: bool = False, wait: bool = True
    ) -> None:
        published = self._client.publish(f"ota/v1/CP-0001/{leaf}", payload, qos, retain)
        if wait:
            published.wait_for_publish(5)

    def wait(self, leaf: str, payload: str, timeout_s: float = 6.0) -> None:
        with self._changed:
            seen = self._changed.wait_for(
                lambda: (leaf, payload) in [message[:2] for message in self.got], timeout_s
            )
            assert seen, f"no {leaf} {payload!r}; there was {self.got}"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def server(broker: Broker) -> Iterator[Server]:
    server = Server(broker.port)
    yield server
    server.close()


@pytest.fixture
def devices(micropython: str, tmp_path: Path) -> Iterator[Any]:
    made: list[Device] = []

    def make(port: int, **settings: Any) -> Device:
        made.append(Device(micropython, tmp_path / "device", port, **settings))
        return made[-1]

    yield make
    for device in made:
        device.end()


# Messages.


def test_messages_go_both_ways(broker: Broker, server: Server, devices: Any) -> None:
    device = devices(broker.port)
    device.wait("link up")
    server.wait("online", "1")
    server.publish("data", "d" * RX_BYTES, qos=0)
    assert device.wait("message data").startswith(f"message data {RX_BYTES} ddd")
    server.publish("cmd", "do")
    device.wait("message cmd 2 do")
    device.publish("status", "fine", retain=True)
    device.wait("sent status")
    device.publish("get", "block 7", qos=0)
    device.wait("sent get")
    server.wait("status", "fine")
    server.wait("get", "block 7")


def test_what_is_retained_is_there_for_who_comes_later(
    broker: Broker, server: Server, devices: Any
) -> None:
    server.publish("offer", "the manifest", retain=True)
    device = devices(broker.port)
    device.wait("message offer 12 the manifest")
    device.publish("status", "Idle", retain=True)
    device.wait("sent status")
    late = Server(broker.port)
    late.wait("status", "Idle")
    late.wait("online", "1")
    assert all(retained for _, _, retained in late.got)
    late.close()


def test_a_vanished_device_is_offline_and_one_that_says_goodbye_too(
    broker: Broker, server: Server, devices: Any
) -> None:
    device = devices(broker.port)
    server.wait("online", "1")
    device.end()
    server.wait("online", "0")
    device = devices(broker.port)
    device.wait("link up")
    server.got.clear()
    device.tell("bye")
    assert device.end(kill=False) == 0
    server.wait("online", "0")


def test_many_messages_arrive_whole_and_in_order(
    broker: Broker, server: Server, devices: Any
) -> None:
    device = devices(broker.port)
    device.wait("link up")
    for number in range(300):
        server.publish("cmd", f"{number:04}:" + "x" * (number * 7 % 1900), wait=False)
    for number in range(300):
        size = 5 + number * 7 % 1900
        assert device.wait("message").startswith(f"message cmd {size} {number:04}:")


# Connections that end.


def test_what_was_said_meanwhile_is_delivered_after_a_reconnect(
    broker: Broker, server: Server, devices: Any
) -> None:
    with Link(broker.port) as line:
        device = devices(line.port, back_off=NO_WAIT | {"retry_back_off_wait_minimum_s": 1})
        device.wait("log link up, session new")
        line.cut()
        device.wait("link down")
        server.publish("cmd", "queued for you", qos=1)
        device.publish("event", "queued for them", qos=1)
        line.restore()
        device.wait("message cmd 14 queued for you")
        device.wait("log link up, session kept")
        device.wait("sent event")
        server.wait("event", "queued for them")


def test_a_message_in_flight_when_the_line_breaks_arrives(
    broker: Broker, server: Server, devices: Any
) -> None:
    with Link(broker.port) as line:
        device = devices(line.port)
        device.wait("link up")
        line.stall()
        device.publish("event", "only once in flight")
        time.sleep(0.3)
        line.cut()
        device.wait("link down")
        line.restore()
        device.wait("sent event")
        server.wait("event", "only once in flight")


def test_a_broker_restart_is_survived(broker: Broker, server: Server, devices: Any) -> None:
    device = devices(broker.port)
    device.wait("link up")
    broker.restart(pause_s=0.5)
    device.wait("link down")
    device.wait("log link up, session kept", 10)
    device.publish("status", "still here")
    device.wait("sent status")


def test_a_silent_line_is_noticed_and_left(broker: Broker, server: Server, devices: Any) -> None:
    with Link(broker.port) as line:
        device = devices(line.port, times=[1500, 300, 500])  # connect, probe, answer
        device.wait("link up")
        line.stall()
        began = time.monotonic()
        device.publish("get", "anybody there", qos=0)
        device.wait("log link down: silent for")
        assert time.monotonic() - began < 2.0
        device.wait("log link down: no connection within 1500 ms")
        line.restore()
        device.wait("link up")


def test_a_quiet_line_stays_up_by_pings(broker: Broker, server: Server, devices: Any) -> None:
    device = devices(broker.port, keepalive_s=2)
    device.wait("link up")
    time.sleep(4)  # mosquitto would close after 3 s without a word
    server.publish("cmd", "still there?")
    device.wait("message cmd")
    assert not [line for line in device.said if "down" in line]


# What does not fit.


def test_a_message_too_long_for_the_device_goes_by(
    broker: Broker, server: Server, devices: Any
) -> None:
    server.publish("offer", "z" * (RX_BYTES + 1), retain=True)
    device = devices(broker.port)
    device.wait(f"log message of {RX_BYTES + 1} bytes on ota/v1/CP-0001/offer is too long")
    server.publish("cmd", "next")
    device.wait("message cmd 4 next")
    assert not [line for line in device.said if "down" in line]


def test_a_packet_beyond_every_limit_drops_the_line_and_is_not_kept(
    server: Server, broker: Broker, devices: Any, tmp_path: Path
) -> None:
    with Broker(tmp_path / "big", extra=["max_packet_size 300000"]) as big:
        other = Server(big.port)
        device = devices(big.port)
        device.wait("log link up, session new")
        other.publish("cmd", "z" * 200_000, qos=1)
        device.wait("log link down: PACKET_TOO_LARGE")
        device.wait("log link up, session new")
        other.publish("cmd", "next")
        device.wait("message cmd 4 next")
        other.close()


def test_a_message_that_meets_a_defect_of_ours_does_not_come_back_for_ever(
    broker: Broker, server: Server, devices: Any
) -> None:
    device = devices(broker.port)
    device.wait("link up")
    server.publish("cmd", "crash", qos=1)
    device.wait("defect as asked")
    server.publish("cmd", "next")
    device.wait("message cmd 4 next")


# TLS.


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates", "test-ca")


def tls_broker(folder: Path, ca: Authority, server: Issued) -> Broker:
    return Broker(folder, tls=Tls(cert=server.cert, key=server.key, ca=ca.issued.cert))


def device_tls(
    ca: Authority, issued: Issued, server_name: str = "broker.example"
) -> dict[str, str]:
    return {
        "ca": str(ca.issued.cert_der),
        "cert": str(issued.cert_der),
        "key": str(issued.key_der),
        "server_name": server_name,
    }


def test_mutual_tls(tmp_path: Path, authority: Authority, devices: Any) -> None:
    issued = authority.issue("broker", host="broker.example")
    with tls_broker(tmp_path / "broker", authority, issued) as broker:
        tls = device_tls(authority, authority.issue("CP-0001"))
        device = devices(broker.port, tls=tls)
        device.wait("log link up, session new", 10)
        device.publish("status", "secret")
        device.wait("sent status")


def test_a_server_of_another_ca_is_refused(
    tmp_path: Path, authority: Authority, devices: Any
) -> None:
    stranger = Authority(tmp_path / "strange", "stranger")
    issued = stranger.issue("broker", host="broker.example")
    with tls_broker(tmp_path / "broker", authority, issued) as broker:
        tls = device_tls(authority, authority.issue("CP-0001"))
        refused(devices(broker.port, tls=tls), "certificate")


def test_a_server_of_another_name_is_refused(
    tmp_path: Path, authority: Authority, devices: Any
) -> None:
    issued = authority.issue("broker", host="evil.example")
    with tls_broker(tmp_path / "broker", authority, issued) as broker:
        tls = device_tls(authority, authority.issue("CP-0001"))
        refused(devices(broker.port, tls=tls), "certificate")


def test_a_server_whose_certificate_has_ended_is_refused(
    tmp_path: Path, authority: Authority, devices: Any
) -> None:
    issued = authority.issue("broker", host="broker.example", days=-1)
    with tls_broker(tmp_path / "broker", authority, issued) as broker:
        tls = device_tls(authority, authority.issue("CP-0001"))
        refused(devices(broker.port, tls=tls), "certificate")


def test_a_device_of_another_ca_is_refused_by_the_broker(
    tmp_path: Path, authority: Authority, devices: Any
) -> None:
    stranger = Authority(tmp_path / "strange", "stranger")
    issued = authority.issue("broker", host="broker.example")
    with tls_broker(tmp_path / "broker", authority, issued) as broker:
        refused(devices(broker.port, tls=device_tls(authority, stranger.issue("CP-0001"))))


def test_there_is_no_fallback_to_a_plain_line(
    broker: Broker, server: Server, authority: Authority, devices: Any
) -> None:
    with Link(broker.port) as line:
        tls = device_tls(authority, authority.issue("CP-0001"))
        refused(devices(line.port, tls=tls, times=[1500]))
        assert server.got == []


def test_a_missing_key_file_is_named_and_nothing_is_sent(
    broker: Broker, authority: Authority, devices: Any
) -> None:
    with Link(broker.port) as line:
        tls = device_tls(authority, authority.issue("CP-0001")) | {"key": "lost.der"}
        device = devices(line.port, tls=tls)
        device.wait("log link down: OSError TLS file lost.der (key)")
        assert line.connections == 0


def refused(device: Device, why: str = "") -> None:
    """It tries again and again, and never comes up."""
    for _ in range(2):
        reason = device.wait("log link down", 10)
        assert why in reason.replace("CERT_VERIFY_FAILED", "certificate")
    assert not [line for line in device.said if "link up" in line]
