"""`chargeflash offer`: what a device gets is what it accepts, and each offer is newer than the last."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import manifest as device_side
from bootloader_verify import ladder
from bootloader_verify.container import FLAG_NON_BOOTABLE, KIND_MANIFEST
from bootloader_verify.keyset import ROLLOUT
from hil.broker import Broker, find_mosquitto
from host_tools import artifact, container, mqtt
from host_tools.manifest import Policy
from host_tools.offer import Offers, send
from host_tools.signer import FileSigner, PublicKey
from host_tools.store import Store
from tests.host.published import Command, Ear, image, private_pem, public_pem, published
from tests.unit import containers

DATA = image(20_000, epoch=2, revisions=b"A,B")
NOWHERE = "mqtt://127.0.0.1:1"

needs_mosquitto = pytest.mark.skipif(
    not find_mosquitto(), reason="mosquitto is missing: apt install mosquitto"
)


@dataclasses.dataclass
class Desk:
    """A store with one image, the keys, and the words of an offer."""

    folder: Path
    digest: bytes
    store: Path
    key: Path

    def words(self, url: str, *more: object, key: Path | None = None) -> list[object]:
        common = ["--store", self.store, "--broker", url, "--rollout-key", key or self.key]
        return ["offer", self.digest.hex(), *common, *more]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    _, _, digest = published(tmp_path / "store", DATA)
    return Desk(tmp_path, digest, tmp_path / "store", private_pem(tmp_path, "rollout_1"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def retained(broker: Broker, device: str) -> bytes:
    """The offer that the broker keeps for a device."""
    ear = Ear()
    address = mqtt.Address(broker.host, broker.port)
    with mqtt.Connection(address, [(f"ota/v1/{device}/offer", 1)], ear):
        [(_, payload, kept)] = ear.wait(1)
    assert kept
    return payload


def opened(desk: Desk, offer: bytes) -> tuple[device_side.Manifest, ladder.Verified]:
    """As the device takes it: the ladder for a manifest, then its parser."""
    trusted = container.keyset_of([PublicKey(public_pem(desk.folder, "rollout_1"))], ROLLOUT)
    verified = container.verify(offer, trusted, ladder.Expect(KIND_MANIFEST))
    start = verified.payload_offset
    return device_side.parse(offer[start : start + verified.payload_size]), verified


def url_of(broker: Broker) -> str:
    return f"mqtt://{broker.host}:{broker.port}"


# --- offers -----------------------------------------------------------------------------------------
@needs_mosquitto
def test_a_device_gets_a_signed_manifest(command: Command, desk: Desk, broker: Broker) -> None:
    policy = ["--attempts", 2, "--confirm-s", 30, "--require-unplugged", "--deadline-s", 900]
    exit_code, out, err = command(*desk.words(url_of(broker), "--device", "CP-1", *policy))
    assert (exit_code, out, err) == (0, "request_id=1 seq=1 device=CP-1\n", "")
    offer = retained(broker, "CP-1")
    assert len(offer) <= device_side.CONTAINER_BYTES_MAX
    found, verified = opened(desk, offer)
    assert verified.header.flags == FLAG_NON_BOOTABLE and verified.header.hdr_size == 32
    assert (found.seq, found.request_id, found.device) == (1, 1, "CP-1")
    assert (found.digest, found.size, found.epoch) == (desk.digest, len(DATA), 2)
    assert found.revisions == ["A", "B"]
    assert [one.encoding for one in found.artifacts] == ["deflate", "raw"]
    assert (found.policy.attempts, found.policy.confirm_s) == (2, 30)
    assert found.policy.require_unplugged and not found.policy.allow_downgrade
    assert (found.policy.deadline_s, found.policy.max_deferral_s) == (900, 0)
    device = device_side.Device(["CP-1"], containers.VID, containers.CID, "B", 10**6, 4096)
    device_side.judge(found, device)


@needs_mosquitto
def test_the_next_offer_is_newer_for_each_device(
    command: Command, desk: Desk, broker: Broker
) -> None:
    url = url_of(broker)
    listing = desk.folder / "devices.txt"
    listing.write_text("# the first wave\nCP-2\n\nCP-3  # the noisy one\nCP-2\n")
    said = command(*desk.words(url, "--device", "CP-2", "--devices", listing))[1]
    assert said == "request_id=1 seq=1 device=CP-2\nrequest_id=2 seq=1 device=CP-3\n"
    said = command(*desk.words(url, "--device", "CP-3", "--allow-downgrade"))[1]
    assert said == "request_id=3 seq=2 device=CP-3\n"
    found, _ = opened(desk, retained(broker, "CP-3"))
    assert (found.seq, found.request_id, found.policy.allow_downgrade) == (2, 3, True)
    found, _ = opened(desk, retained(broker, "CP-2"))
    assert (found.seq, found.request_id) == (1, 1)


@needs_mosquitto
def test_an_image_is_named_by_its_file_or_by_its_digest(
    command: Command, desk: Desk, broker: Broker
) -> None:
    file = desk.folder / "app.img"
    file.write_bytes(DATA)
    for name in (file, desk.digest.hex()[:12]):
        words = desk.words(url_of(broker), "--device", "CP-4")
        words[1] = name
        assert command(*words)[0] == 0
        assert opened(desk, retained(broker, "CP-4"))[0].digest == desk.digest


# --- misuse: nothing is used up ---------------------------------------------------------------------
def untouched(desk: Desk) -> bool:
    return not (desk.store / "offers").exists() and not (desk.store / "requests.json").exists()


def test_a_broker_that_is_down(command: Command, desk: Desk) -> None:
    said = command.fails("BROKER_DOWN", 6, *desk.words(NOWHERE, "--device", "CP-1"))
    assert "127.0.0.1:1" in said and untouched(desk)


def test_a_broker_that_is_none(command: Command, desk: Desk) -> None:
    command.fails("BAD_BROKER_URL", 2, *desk.words("http://broker", "--device", "CP-1"))


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "+", "#", "ü", "x" * 65])
def test_a_device_that_has_no_name(command: Command, desk: Desk, name: str) -> None:
    words = desk.words(NOWHERE, "--device", "CP-1", "--device", name)
    command.fails("BAD_NAME", 2, *words)
    assert untouched(desk)


def test_no_device_at_all(command: Command, desk: Desk) -> None:
    command.fails("NO_DEVICE", 2, *desk.words(NOWHERE))


def test_a_list_that_is_not_there(command: Command, desk: Desk) -> None:
    command.fails("NOT_FOUND", 3, *desk.words(NOWHERE, "--devices", desk.folder / "nowhere"))


def test_an_image_that_is_not_published(command: Command, desk: Desk) -> None:
    words = desk.words(NOWHERE, "--device", "CP-1")
    words[1] = "ab" * 32
    command.fails("NO_IMAGE", 3, *words)
    file = desk.folder / "other.img"
    file.write_bytes(image(20_000, seed=5))
    words[1] = file
    command.fails("NO_IMAGE", 3, *words)
    assert untouched(desk)


def test_a_file_that_is_no_image(command: Command, desk: Desk) -> None:
    words = desk.words(NOWHERE, "--device", "CP-1")
    words[1] = desk.key
    command.fails("BAD_MAGIC", 4, *words)


def test_a_store_that_is_not_there(command: Command, desk: Desk) -> None:
    desk.store = desk.folder / "nowhere"
    command.fails("NO_STORE", 3, *desk.words(NOWHERE, "--device", "CP-1"))


def test_an_image_that_changed_in_the_store(command: Command, desk: Desk) -> None:
    path = desk.store / "images" / f"{desk.digest.hex()}.img"
    path.write_bytes(DATA[:700] + b"\x00" + DATA[701:])
    command.fails("DAMAGED", 1, *desk.words(NOWHERE, "--device", "CP-1"))
    other = image(20_000, seed=5)
    path.write_bytes(other)
    command.fails("DAMAGED", 1, *desk.words(NOWHERE, "--device", "CP-1"))
    path.write_bytes(DATA + b"\xff")
    command.fails("DAMAGED", 1, *desk.words(NOWHERE, "--device", "CP-1"))
    assert untouched(desk)


BENT: dict[str, object] = {
    "encoding": ["deflate"],
    "base": "",
    "block_size": -1,
    "blocks": "x",
    "index_sha256": [],
    "bytes": 1e999,
}
DAMAGES: dict[str, object] = {
    "the blocks are gone": ("blocks.bin", lambda b: None),
    "the index is gone": ("index.bin", lambda b: None),
    "garbage as an index": ("index.bin", lambda b: b"garbage"),
    "no index": ("index.bin", lambda b: b""),
    "other blocks": ("blocks.bin", lambda b: bytes(len(b))),
    "no facts": ("artifact.json", lambda b: None),
    "facts without an end": ("artifact.json", lambda b: b"[" * 100_000),
    "a block size of no image": ("artifact.json", lambda b: b.replace(b"4096", b"8192")),
    "true for a number": ("artifact.json", lambda b: b.replace(b'"blocks": 6', b'"blocks": true')),
}
for field, value in BENT.items():
    DAMAGES[f"{field} {value}"] = (
        "artifact.json",
        lambda b, new={field: value}: json.dumps(json.loads(b) | new).encode(),
    )


@pytest.mark.parametrize("which", ["deflate", "raw"])
@pytest.mark.parametrize("what", DAMAGES)
def test_a_store_that_cannot_serve_the_image(
    command: Command, desk: Desk, what: str, which: str
) -> None:
    """Either artifact counts: a device takes the one that it likes best."""
    name, damage = DAMAGES[what]  # type: ignore[misc]
    path = desk.store / "artifacts" / artifact.make(DATA, which).id.hex() / name
    made = damage(path.read_bytes())
    path.unlink() if made is None else path.write_bytes(made)
    command.fails("DAMAGED", 1, *desk.words(NOWHERE, "--device", "CP-1"))
    assert untouched(desk)


def test_an_artifact_of_another_image(command: Command, desk: Desk) -> None:
    _, [other, _], _ = published(desk.store, image(20_000, seed=5))
    path = desk.store / "images" / f"{desk.digest.hex()}.json"
    path.write_text(json.dumps({"schema": 1, "artifacts": [other.id.hex()]}))
    command.fails("DAMAGED", 1, *desk.words(NOWHERE, "--device", "CP-1"))
    assert untouched(desk)


def test_an_image_without_artifacts(command: Command, desk: Desk) -> None:
    path = desk.store / "images" / f"{desk.digest.hex()}.json"
    path.write_text('{"schema": 1, "artifacts": []}')
    command.fails("DAMAGED", 1, *desk.words(NOWHERE, "--device", "CP-1"))


def test_a_list_that_is_endless_or_no_text(command: Command, desk: Desk) -> None:
    pipe, noise = desk.folder / "pipe", desk.folder / "noise"
    os.mkfifo(pipe)
    noise.write_bytes(b"\xff\xfe")
    for path in (pipe, noise, desk.folder, "/dev/zero"):
        command.fails("UNREADABLE", 2, *desk.words(NOWHERE, "--devices", path))


class _Slow:
    """A broker that takes the first message only after another offer had its chance."""

    def __init__(self, meanwhile: threading.Thread) -> None:
        self.took: list[bytes] = []
        self._meanwhile = meanwhile

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        if self._meanwhile.ident is None:
            self._meanwhile.start()
            self._meanwhile.join(0.3)
        self.took.append(payload)


def test_two_offers_at_once_come_in_the_order_of_their_seq(desk: Desk) -> None:
    """The older one would be retained last, and every device refuse it as a replay."""
    offers = Offers(Store(desk.store), desk.digest, Policy(), FileSigner(desk.key))

    def offer(names: tuple[str, ...]) -> None:
        list(send(offers, names, broker))  # type: ignore[arg-type]

    other = threading.Thread(target=offer, args=(("CP-1",),))
    broker = _Slow(other)
    offer(("CP-1",))
    other.join()
    assert [opened(desk, made)[0].seq for made in broker.took] == [1, 2]


def test_an_offer_does_not_wait_for_that_of_another_device(desk: Desk) -> None:
    store = Store(desk.store)
    with store.offering("CP-1"), store.offering("CP-2"):
        assert store.next_offer("CP-2", desk.digest) == (1, 1)


def test_a_key_that_is_not_there(command: Command, desk: Desk) -> None:
    words = desk.words(NOWHERE, "--device", "CP-1", key=desk.folder / "nowhere.pem")
    command.fails("NOT_FOUND", 3, *words)


def test_a_public_key(command: Command, desk: Desk) -> None:
    key = public_pem(desk.folder, "rollout_1")
    command.fails("PUBLIC_KEY", 2, *desk.words(NOWHERE, "--device", "CP-1", key=key))


def test_the_key_that_signed_the_image(command: Command, desk: Desk) -> None:
    key = private_pem(desk.folder, "release_1")
    command.fails("WRONG_ROLE", 4, *desk.words(NOWHERE, "--device", "CP-1", key=key))
    assert untouched(desk)


@pytest.mark.parametrize(
    "option",
    [
        ["--attempts", 0],
        ["--attempts", 4],
        ["--confirm-s", 0],
        ["--confirm-s", 86401],
        ["--deadline-s", -1],
        ["--max-deferral-s", 366 * 86400 + 1],
    ],
)
def test_a_policy_that_no_device_takes(command: Command, desk: Desk, option: list[object]) -> None:
    assert command(*desk.words(NOWHERE, "--device", "CP-1", *option))[0] == 2
    assert untouched(desk)
