"""`chargeflash serve` as a process, through the real mosquitto: blocks out, status in."""

from __future__ import annotations

import hashlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent import protocol
from agent.fetch.decode import Decoder
from hil.broker import Broker, Tls, find_mosquitto
from host_tools import artifact
from host_tools.artifact import Artifact
from host_tools.store import Store
from tests.host.published import image, published
from tests.host.test_intake import status
from tests.system.bench import ROOT
from tests.system.certificates import Authority

pytestmark = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)
DATA = image(200_000)  # 50 blocks, two pages
WAIT_S = 10.0
PAGE, BLOCK, GONE, _ = range(4)


class Server:
    """The process, ready; what it says is read line by line."""

    def __init__(self, store: Path, url: str, *more: object) -> None:
        words = ["serve", "--store", store, "--broker", url, *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "host_tools", *map(str, words)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def wait(self, beginning: str) -> str:
        """The next line that begins so."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {beginning!r}; it said {self.said}") from None
            self.said.append(line)
            if line.startswith(beginning):
                return line

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class Device:
    """A paho client that asks as a device does and collects the answers."""

    def __init__(self, port: int, name: str = "CP-0001") -> None:
        self.name = name
        self.answers: list[tuple[int, int, int, bytes]] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._take
        self.client.on_connect = lambda client, *_: client.subscribe(self._topic("data"))
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._subscribed.wait(WAIT_S)

    def _topic(self, leaf: str) -> str:
        return f"ota/v1/{self.name}/{leaf}"

    def _take(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        found = bytes(message.payload)
        header = protocol.parse_data_header(found)
        payload = found[protocol.DATA_HEADER_BYTES :]
        with self._changed:
            if header is None or not protocol.crc_holds(header[5], payload):
                self.answers.append((-1, -1, -1, found))
            else:
                self.answers.append((header[0], header[1], header[3], payload))
            self._changed.notify_all()

    def say(self, leaf: str, payload: bytes | str, qos: int = 1, retain: bool = False) -> None:
        self.client.publish(self._topic(leaf), payload, qos, retain).wait_for_publish(WAIT_S)

    def ask(self, nonce: int, kind: int, artifact_id: bytes, *ranges: tuple[int, int]) -> None:
        self.say("get", protocol.pack_get(nonce, kind, artifact_id, ranges), qos=0)

    def wait(self, count: int, timeout_s: float = WAIT_S) -> list[tuple[int, int, int, bytes]]:
        """All answers so far, once they are that many."""
        with self._changed:
            seen = self._changed.wait_for(lambda: len(self.answers) >= count, timeout_s)
        assert seen, f"{len(self.answers)} answers instead of {count}"
        return self.answers

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Bench:
    """A broker, a store with one image, and what runs with them; ended in the end."""

    def __init__(self, folder: Path, embedded: bool = False) -> None:
        self.folder, self.path = folder, folder / "store"
        self.broker = Broker(folder / "broker", embedded=embedded).start()
        self.url = f"mqtt://{self.broker.host}:{self.broker.port}"
        self.store, self.made, self.digest = published(self.path, DATA)
        self._running: list[Server] = []
        self._devices: list[Device] = []

    def serve(self, *more: object) -> Server:
        server = Server(self.path, self.url, *more)
        self._running.append(server)
        server.wait("ready")
        return server

    def device(self, name: str = "CP-0001") -> Device:
        self._devices.append(Device(self.broker.port, name))
        return self._devices[-1]

    def close(self) -> None:
        for device in self._devices:
            device.close()
        for server in self._running:
            server.end()
        self.broker.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def soon(holds: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


# --- blocks -----------------------------------------------------------------------------------------
def fetched(device: Device, made: Artifact, size: int) -> bytes:
    """The image, as a device gets it: pages by hash, blocks by the index, decoded."""
    pages = protocol.page_count(len(made.blocks))
    device.ask(1, PAGE, made.id, (0, pages))
    found = {number: payload for _, kind, number, payload in device.wait(pages) if kind == PAGE}
    for number in range(pages):
        assert hashlib.sha256(found[number]).digest() == made.page_hashes[number]
    device.answers.clear()
    for first in range(0, len(made.blocks), 8):
        device.ask(2, BLOCK, made.id, (first, 8))
    answers = device.wait(len(made.blocks))
    assert [(nonce, kind, number) for nonce, kind, number, _ in answers] == [
        (2, BLOCK, n) for n in range(len(made.blocks))
    ]
    decoder = Decoder(4096, memoryview(bytearray(4096)))
    out = b""
    for _, _, number, payload in answers:
        page, position = divmod(number, protocol.PAGE_ENTRIES)
        length, encoding, _, encoded, decoded = protocol.parse_entry(found[page], position)
        assert len(payload) == length and protocol.sha16(payload) == encoded
        block = decoder.decode(encoding, memoryview(payload), min(4096, size - len(out)))
        assert protocol.sha16(block) == decoded
        out += bytes(block)
    return out


@pytest.mark.parametrize("number", [0, 1])
def test_an_image_arrives_whole(bench: Bench, number: int) -> None:
    bench.serve()
    assert fetched(bench.device(), bench.made[number], len(DATA)) == DATA


def test_answers_come_in_the_order_of_the_ranges(bench: Bench) -> None:
    bench.serve()
    device, made = bench.device(), bench.made[0]
    device.ask(0xABCD, BLOCK, made.id, (40, 2), (3, 1), (49, 9), (0, 1))
    expected = [(0xABCD, BLOCK, n, made.blocks[n]) for n in (40, 41, 3, 49, 0)]
    assert device.wait(5) == expected


def test_each_device_gets_its_own_answers(bench: Bench) -> None:
    bench.serve()
    one, other = bench.device("CP-1"), bench.device("CP-2")
    one.ask(1, BLOCK, bench.made[0].id, (1, 1))
    other.ask(2, BLOCK, bench.made[0].id, (2, 1))
    assert one.wait(1) == [(1, BLOCK, 1, bench.made[0].blocks[1])]
    assert other.wait(1) == [(2, BLOCK, 2, bench.made[0].blocks[2])]


def test_an_artifact_that_is_not_there_is_gone_until_it_is_published(bench: Bench) -> None:
    server = bench.serve()
    device = bench.device()
    data = image(9_000, seed=7)
    coming = artifact.make(data, "deflate")
    device.ask(1, PAGE, coming.id, (0, 1))
    assert device.wait(1) == [(1, GONE, 0, b"")]
    published(bench.path, data)
    device.ask(2, PAGE, coming.id, (0, 1))
    assert device.wait(2)[1] == (2, PAGE, 0, coming.index)
    assert server.end() == 0


def test_what_is_malformed_is_logged_once_and_the_rest_goes_on(bench: Bench) -> None:
    server = bench.serve()
    device = bench.device()
    for payload in (b"", b"\0", b"x" * 68, b"{}" * 4000):
        device.say("get", payload, qos=0)
    device.ask(3, BLOCK, bench.made[0].id, (0, 0xFFFF), (0, 0xFFFF))
    answers = device.wait(64)
    assert [n for _, _, n, _ in answers] == [*range(50), *range(14)]
    device.ask(4, BLOCK, bench.made[0].id, (50, 1), (9, 1))
    assert device.wait(65)[64][:3] == (4, BLOCK, 9)
    assert server.end() == 0
    said = server.wait("end: 2 requests, 65 pages and blocks")
    assert said.endswith("5 complaints")
    assert sum(line.startswith("malformed get: CP-0001") for line in server.said) == 1
    assert sum(line.startswith("too much asked: CP-0001") for line in server.said) == 1


def test_garbage_in_the_store_stops_nobody(bench: Bench) -> None:
    """One artifact and a device's file are ruined; the other artifact and the intake go on."""
    ruined, sound = bench.made
    folder = bench.path / "artifacts" / ruined.id.hex()
    (folder / "index.bin").write_bytes(b"garbage")
    (folder / "artifact.json").write_text("[" * 100_000)
    (bench.path / "images" / "269f366bc6zz.json").write_text("[" * 100_000)
    (bench.path / "devices").mkdir()
    (bench.path / "devices" / "CP-0001.json").write_text("[" * 100_000)
    server = bench.serve()
    device = bench.device()
    device.say("online", "1")
    device.ask(1, BLOCK, ruined.id, (0, 1))
    device.ask(2, BLOCK, sound.id, (0, 1))
    assert device.wait(2) == [(1, GONE, 0, b""), (2, BLOCK, 0, sound.blocks[0])]
    soon(lambda: bench.store.device("CP-0001").get("online") is True, "no status intake")
    assert server.end() == 0
    server.wait("end:")
    assert sum(line.startswith("damaged store: ") for line in server.said) == 1


def test_two_servers_share_the_load(bench: Bench) -> None:
    servers = [bench.serve("--name", f"server-{n}") for n in range(2)]
    device, made = bench.device(), bench.made[1]
    for n in range(40):
        device.ask(n, BLOCK, made.id, (n, 1))
    answers = device.wait(40)
    device.ask(99, PAGE, made.id, (0, 1))  # behind it nothing more of those can come
    device.wait(41)
    assert Counter(answer[0] for answer in answers[:40]) == Counter(range(40))
    assert all(payload == made.blocks[number] for _, _, number, payload in answers[:40])
    assert [server.end() for server in servers] == [0, 0]
    answered = [int(server.wait("end:").split()[1]) for server in servers]
    assert sum(answered) == 41 and min(answered) > 0


def test_when_one_of_two_servers_ends_the_other_answers(bench: Bench) -> None:
    servers = [bench.serve() for _ in range(2)]
    device = bench.device()
    assert servers[0].end() == 0
    for n in range(6):
        device.ask(n, BLOCK, bench.made[0].id, (n, 1))
    assert sorted(answer[0] for answer in device.wait(6)) == list(range(6))


def test_a_restart_of_the_broker_is_survived(bench: Bench) -> None:
    server = bench.serve()
    device = bench.device()
    device.ask(1, BLOCK, bench.made[0].id, (0, 1))
    device.wait(1)
    device.close()
    bench.broker.restart(pause_s=0.2)
    server.wait("broker: lost")
    server.wait("broker: back")
    again = bench.device()
    again.ask(2, BLOCK, bench.made[0].id, (1, 1))
    assert again.wait(1) == [(2, BLOCK, 1, bench.made[0].blocks[1])]
    again.say("online", "1", retain=True)
    soon(lambda: bench.store.device("CP-0001").get("online") is True, "no status intake")


def test_the_embedded_broker_serves_as_well(tmp_path: Path) -> None:
    bench = Bench(tmp_path, embedded=True)
    try:
        bench.serve()
        device = bench.device()
        assert fetched(device, bench.made[0], len(DATA)) == DATA
        device.say("online", "1", retain=True)
        soon(lambda: bench.store.device("CP-0001").get("online") is True, "no status intake")
    finally:
        bench.close()


# --- what devices say -------------------------------------------------------------------------------
def test_status_online_and_events_are_written_down(bench: Bench) -> None:
    early = bench.device("CP-2")
    early.say("status", protocol.pack_status(status(status="Installed")), retain=True)
    bench.serve()
    device = bench.device("CP-1")
    device.say("online", "1", retain=True)
    device.say("status", protocol.pack_status(status(status="Downloading")), retain=True)
    device.say("event", protocol.pack_event("OfferAccepted", 3, "OK", "fine"))
    device.say("status", protocol.pack_status(status(status="Downloaded")), retain=True)

    def known(name: str) -> object:
        return (bench.store.device(name).get("status") or {}).get("status")

    soon(lambda: known("CP-1") == "Downloaded" and known("CP-2") == "Installed", "no status")
    assert bench.store.device("CP-1")["online"] is True
    [line] = (bench.path / "events.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert (event["device"], event["event"], event["request_id"]) == ("CP-1", "OfferAccepted", 3)


def test_malformed_words_are_not_taken_as_truth(bench: Bench) -> None:
    server = bench.serve()
    device = bench.device()
    device.say("status", protocol.pack_status(status(status="Idle")))
    for payload in ("", "x", "[" * 900, json.dumps(status() | {"status": "\x1b[2J"})):
        device.say("status", payload)
    device.say("event", "{}")
    device.say("online", "maybe")
    device.say("online", "0")
    soon(lambda: bench.store.device("CP-0001").get("online") is False, "no status intake")
    assert bench.store.device("CP-0001")["status"]["status"] == "Idle"
    assert not (bench.path / "events.jsonl").exists()
    assert server.end() == 0
    assert server.wait("end:").endswith("6 complaints")
    assert not [line for line in server.said if "\x1b" in line]


def test_two_servers_write_an_event_once(bench: Bench) -> None:
    servers = [bench.serve() for _ in range(2)]
    device = bench.device()
    for n in range(5):
        device.say("event", protocol.pack_event("OfferAccepted", n, "OK", ""))
    device.say("online", "1")
    soon(lambda: bench.store.device("CP-0001").get("online") is True, "no status intake")
    assert [server.end() for server in servers] == [0, 0]
    assert len((bench.path / "events.jsonl").read_text().splitlines()) == 5


# --- life of the process ----------------------------------------------------------------------------
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(bench: Bench, how: signal.Signals) -> None:
    server = bench.serve()
    assert server.end(how) == 0
    server.wait("end: 0 requests")
    assert not [line for line in server.said if "Traceback" in line]


def test_it_ends_while_the_broker_is_away(bench: Bench) -> None:
    server = bench.serve()
    bench.broker.stop()
    server.wait("broker: lost")
    assert server.end() == 0


def test_mutual_tls(bench: Bench, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates", "ca")
    issued = authority.issue("broker", address="127.0.0.1")
    ours = authority.issue("server")
    tls = Tls(cert=issued.cert, key=issued.key, ca=authority.issued.cert)
    with Broker(tmp_path / "safe", tls=tls) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        options = ["--ca", authority.issued.cert, "--cert", ours.cert, "--tls-key", ours.key]
        server = Server(bench.path, url, *options)
        try:
            server.wait("ready")
        finally:
            assert server.end() == 0


# --- misuse -----------------------------------------------------------------------------------------
def refused(store: Path, url: str, *more: object) -> tuple[int, str]:
    """(exit code, the one line)."""
    server = Server(store, url, *more)
    line = server.wait("error:")
    server.process.wait(WAIT_S)
    return server.end(), line


def test_without_a_broker_it_says_so_and_ends(tmp_path: Path) -> None:
    Store(tmp_path / "store", create=True)
    exit_code, line = refused(tmp_path / "store", "mqtt://127.0.0.1:1")
    assert exit_code == 6 and line.endswith("127.0.0.1:1: connection refused [BROKER_DOWN]")


def test_without_a_store_it_says_so_and_ends(tmp_path: Path) -> None:
    exit_code, line = refused(tmp_path / "nowhere", "mqtt://127.0.0.1:1")
    assert exit_code == 3 and line.endswith("[NO_STORE]")


def test_a_broker_or_a_name_that_is_none(tmp_path: Path) -> None:
    assert refused(tmp_path, "127.0.0.1")[0] == 2
    exit_code, line = refused(tmp_path, "mqtt://127.0.0.1:1", "--name", "a/b")
    assert exit_code == 2 and line.endswith("[BAD_NAME]")
