"""The line to the broker: its address, and one clear line when it is not to be had."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.broker import Broker, Tls, find_mosquitto
from host_tools import mqtt
from host_tools.errors import ToolError
from host_tools.mqtt import Address
from tests.host.published import Ear, refused
from tests.system.certificates import Authority

needs_mosquitto = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)


def plain(url: str) -> Address:
    return mqtt.address(url, None, None, None)


# --- addresses --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("mqtt://broker.example", "broker.example", 1883),
        ("mqtt://127.0.0.1:2000/", "127.0.0.1", 2000),
        ("mqtt://[::1]:65535", "::1", 65535),
    ],
)
def test_an_address(url: str, host: str, port: int) -> None:
    assert plain(url) == Address(host, port)


def test_a_safe_address() -> None:
    found = plain("mqtts://broker.example")
    assert found.port == 8883 and found.tls is not None and found.tls.check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "broker:1883",
        "http://broker",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://broker:0",
        "mqtt://broker:65536",
        "mqtt://broker:port",
        "mqtt://broker:-1",
        "mqtt://user:secret@broker",
        "mqtt://broker/topic",
        "mqtt://broker?x=1",
        "mqtt://broker#x",
        "mqtt://[::1",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with refused("BAD_BROKER_URL", 2):
        plain(url)


def test_tls_options_that_do_not_go_together(tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    file.write_text("no certificate")
    with refused("BAD_TLS_OPTIONS", 2):
        mqtt.address("mqtt://broker", file, None, None)  # it would stay unused, the line plain
    with refused("BAD_TLS_OPTIONS", 2):
        mqtt.address("mqtts://broker", None, file, None)
    with refused("BAD_TLS_OPTIONS", 2):
        mqtt.address("mqtts://broker", file, None, None)
    with refused("BAD_TLS_OPTIONS", 2):
        mqtt.address("mqtts://broker", None, file, file)
    with refused("NOT_FOUND", 3):
        mqtt.address("mqtts://broker", tmp_path / "nowhere.pem", None, None)


# --- brokers that are none --------------------------------------------------------------------------
@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_nobody_there(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with refused("BROKER_DOWN", 6) as caught, mqtt.Connection(Address("127.0.0.1", port)):
        pass
    assert f"127.0.0.1:{port}: connection refused" in str(caught.value)


def test_a_name_that_is_none() -> None:
    with refused("BROKER_DOWN", 6), mqtt.Connection(Address("a" * 70 + ".invalid", 1)):
        pass


def test_somebody_who_says_nothing(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 0.3)
    address = Address("127.0.0.1", listener.getsockname()[1])
    with refused("BROKER_DOWN", 6) as caught, mqtt.Connection(address):
        pass
    assert "says nothing" in str(caught.value)


def test_somebody_who_hangs_up(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 0.3)

    def hang_up() -> None:
        listener.accept()[0].close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    address = Address("127.0.0.1", listener.getsockname()[1])
    with refused("BROKER_DOWN", 6), mqtt.Connection(address):
        pass
    thread.join()


def test_somebody_who_refuses(listener: socket.socket) -> None:
    def refuse() -> None:
        line = listener.accept()[0]
        line.recv(1000)
        line.sendall(bytes([0x20, 2, 0, 5]))  # CONNACK: not authorised
        line.recv(1000)
        line.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    address = Address("127.0.0.1", listener.getsockname()[1])
    with refused("BROKER_REFUSED", 6) as caught, mqtt.Connection(address):
        pass
    assert "not authorized" in str(caught.value)
    thread.join()


def test_a_subscription_that_is_refused_later_is_tried_again(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that came back without its subscription would be deaf for ever."""
    monkeypatch.setattr(mqtt, "RECONNECT_S_MIN", 0)
    back = threading.Event()

    def serve(grant: int) -> socket.socket:
        line = listener.accept()[0]
        line.recv(1000)
        line.sendall(bytes([0x20, 2, 0, 0]))
        mid = line.recv(1000)[2:4]
        line.sendall(bytes([0x90, 3]) + mid + bytes([grant]))
        return line

    def broker() -> None:
        serve(0).close()
        refusing = serve(0x80)
        with serve(0):
            back.wait(10)
        refusing.close()

    def heard(line: str) -> None:
        log.append(line)
        if line == "broker: back":
            back.set()

    log: list[str] = []
    listener.settimeout(10)
    thread = threading.Thread(target=broker)
    thread.start()
    address = Address("127.0.0.1", listener.getsockname()[1])
    with mqtt.Connection(address, [("a", 0)], log=heard):
        assert back.wait(10), log
    thread.join()
    assert "broker: it refused a subscription, trying again" in log


# --- a real one -------------------------------------------------------------------------------------
@needs_mosquitto
def test_a_message_that_is_acknowledged_and_retained(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        address = Address(broker.host, broker.port)
        with mqtt.Connection(address) as sender:
            sender.publish("a/b", b"\0\xff", retain=True)
        ear = Ear()
        with mqtt.Connection(address, [("a/+", 1)], ear):
            ear.wait(1)
        assert ear.got == [("a/b", b"\0\xff", True)]


@needs_mosquitto
def test_a_broker_that_goes_away_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 0.5)
    with Broker(tmp_path) as broker, mqtt.Connection(Address(broker.host, broker.port)) as sender:
        broker.stop()
        with refused("BROKER_DOWN", 6):
            sender.publish("a", b"x")


@needs_mosquitto
def test_a_broker_that_comes_back_is_subscribed_again(tmp_path: Path) -> None:
    ear, log = Ear(), []
    with Broker(tmp_path) as broker:
        address = Address(broker.host, broker.port)
        with mqtt.Connection(address, [("a", 0)], ear, log=log.append):
            broker.restart()
            deadline = time.monotonic() + 10
            while "broker: back" not in log and time.monotonic() < deadline:
                time.sleep(0.02)
            with mqtt.Connection(address) as sender:
                sender.publish("a", b"again")
            ear.wait(1)
    assert log[-1] == "broker: back" and "lost" in log[0]


@needs_mosquitto
def test_mutual_tls_and_a_broker_of_another_ca(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "a", "ca"), Authority(tmp_path / "b", "other")
    issued = authority.issue("broker", address="127.0.0.1")
    ours = authority.issue("fleet")
    tls = Tls(cert=issued.cert, key=issued.key, ca=authority.issued.cert)
    with Broker(tmp_path / "broker", tls=tls) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        safe = mqtt.address(url, authority.issued.cert, ours.cert, ours.key)
        with mqtt.Connection(safe) as connection:
            connection.publish("a", b"x")
        strange = mqtt.address(url, stranger.issued.cert, ours.cert, ours.key)
        with refused("BROKER_TLS", 6) as caught, mqtt.Connection(strange):
            pass
        assert "certificate" in str(caught.value)


@needs_mosquitto
def test_a_plain_broker_is_not_spoken_to_without_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "a", "ca")
    with Broker(tmp_path / "broker") as broker:
        address = mqtt.address(
            f"mqtts://127.0.0.1:{broker.port}", authority.issued.cert, None, None
        )
        with pytest.raises(ToolError) as caught, mqtt.Connection(address):
            pass
    # Which of the two depends on how the broker hangs up on a TLS greeting.
    assert caught.value.code in ("BROKER_TLS", "BROKER_DOWN") and caught.value.exit_code == 6
