"""`chargeflash publish`: what verifies goes into the store, nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools import artifact, manifest
from host_tools.store import Store
from tests.host.published import Command, image, private_pem, public_pem
from tests.unit import containers


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


class Desk:
    """A folder with an image file, its key and the name of a store that is not there yet."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self.data = data
        self.file, self.store = folder / "app.img", folder / "store"
        self.file.write_bytes(data)
        self.key = public_pem(folder, "release_1")
        self.words = ["publish", self.file, "--store", self.store]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, DATA)


def test_an_image_is_published(command: Command, desk: Desk) -> None:
    exit_code, out, err = command(*desk.words, "--key", desk.key)
    assert (exit_code, err) == (0, "")
    digest = manifest.read_image(desk.data).digest
    store = Store(desk.store)
    assert store.image(digest) == desk.data
    entries = store.artifacts_of(digest)
    assert [entry["encoding"] for entry in entries] == ["deflate", "raw"]
    deflated = artifact.make(desk.data, "deflate")
    assert out.splitlines() == [
        f"image {digest.hex()} {len(desk.data)} bytes",
        "version 1.2.3+4 epoch 2",
        f"artifact {deflated.id.hex()} deflate {deflated.bytes} bytes in 6 blocks",
        f"artifact {artifact.make(desk.data, 'raw').id.hex()} raw {len(desk.data)} bytes in 6 blocks",
    ]
    assert deflated.bytes < len(desk.data)


def test_publishing_again_says_and_leaves_the_same(command: Command, desk: Desk) -> None:
    first = command(*desk.words, "--key", desk.key)
    stands = {path: path.read_bytes() for path in desk.store.rglob("*") if path.is_file()}
    assert command(*desk.words, "--key", desk.key) == first
    assert {path: path.read_bytes() for path in desk.store.rglob("*") if path.is_file()} == stands


def test_one_of_several_keys_is_enough(command: Command, desk: Desk, tmp_path: Path) -> None:
    other = public_pem(tmp_path, "release_2")
    assert command(*desk.words, "--key", other, "--key", desk.key)[0] == 0


def test_erased_bytes_behind_the_image_are_left_out(command: Command, desk: Desk) -> None:
    desk.file.write_bytes(desk.data + b"\xff" * 5000)
    assert command(*desk.words, "--key", desk.key)[0] == 0
    digest = manifest.read_image(desk.data).digest
    assert Store(desk.store).image(digest) == desk.data


DATA = image(20_000, epoch=2)
OTHER_KIND = containers.seal(
    containers.body(containers.protected_entries(2, None, None, None), flags=0x10), pairs=[]
)
REFUSED = {
    "a flipped byte": ("BAD_HASH", DATA[:700] + b"\x00" + DATA[701:]),
    "another signer": ("UNKNOWN_KEY", image(20_000, key="release_2")),
    "no signature": ("UNSIGNED", containers.seal(containers.body(), pairs=[])),
    "a manifest": ("UNSIGNED", OTHER_KIND),
    "a cut file": ("BAD_SIZE", DATA[:1000]),
    "nothing": ("BAD_SIZE", b""),
    "no container": ("BAD_MAGIC", b"PK" * 1000),
    "bytes behind it": ("NOT_ERASED", DATA + b"more"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_verify_is_not_published(command: Command, desk: Desk, what: str) -> None:
    code, data = REFUSED[what]
    desk.file.write_bytes(data)
    command.fails(code, 4, *desk.words, "--key", desk.key)
    assert not desk.store.exists()


def test_an_image_that_no_manifest_can_name_is_not_published(
    command: Command, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "PAYLOAD_BYTES_MAX", 500)
    command.fails("TOO_LARGE", 1, *desk.words, "--key", desk.key)
    assert not desk.store.exists()


# --- misuse -----------------------------------------------------------------------------------------
def test_without_a_key_nothing_is_published(command: Command, desk: Desk) -> None:
    exit_code, out, err = command(*desk.words)
    assert (exit_code, out) == (2, "") and "--key" in err


def test_a_missing_image(command: Command, desk: Desk) -> None:
    desk.file.unlink()
    command.fails("NOT_FOUND", 3, *desk.words, "--key", desk.key)


def test_a_missing_key(command: Command, desk: Desk) -> None:
    command.fails("NOT_FOUND", 3, *desk.words, "--key", "nowhere.pem")


def test_a_private_key_is_not_asked_for(command: Command, desk: Desk, tmp_path: Path) -> None:
    key = private_pem(tmp_path, "release_1")
    command.fails("PRIVATE_KEY", 2, *desk.words, "--key", key)


def test_a_store_that_is_a_file(command: Command, desk: Desk) -> None:
    desk.store.write_text("")
    command.fails("STORE_FAILED", 1, *desk.words, "--key", desk.key)
