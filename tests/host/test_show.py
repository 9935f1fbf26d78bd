"""`chargeflash show`: containers, artifacts, slots and flashes, whole and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootloader_verify import trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.flash import Region, align_up
from bootloader_verify.ports.unix import NorFile
from bootloader_verify.records import Records
from host_tools import artifact, boards
from host_tools.describe import describe
from host_tools.describe_flash import describe_flash, describe_slot
from host_tools.store import Store
from tests.host.published import Command
from tests.vectors import make_golden

BOARD = boards.load("virtual-esp32")
GOLDEN = make_golden.FOLDER
IMAGE = (GOLDEN / "image.img").read_bytes()
DIGEST = describe(IMAGE)["digest"]["stored"]
CODES: dict[str, str] = json.loads((GOLDEN / "golden.json").read_text())
# What show says of a golden container: signatures and roles are not its business.
BEFORE_KEYS = {"BAD_MAGIC", "BAD_HASH", "BAD_TLV", "UNSUPPORTED", "NOT_ERASED"}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def test_an_image_in_words(command: Command) -> None:
    code, out, err = command("show", GOLDEN / "image.img")
    assert code == 0 and err == ""
    assert "not authenticated" in out.splitlines()[0] and "fits: yes" in out
    for told in ("1.2.3+4", "SEC_CNT", "A,B", "1 image", DIGEST, "app.txt", "screens/idle.txt"):
        assert told in out
    assert make_golden.GoldenSigner("release_1").key_id.hex() in out


@pytest.mark.parametrize("name", CODES)
def test_every_golden_container(command: Command, name: str) -> None:
    expected = CODES[name] if CODES[name] in BEFORE_KEYS else ""
    for more in ((), ("--json",)):
        code, out, err = command("show", GOLDEN / name, *more)
        assert code == (4 if expected else 0) and err == ""
        assert expected in out
    said = json.loads(out)
    assert said["schema"] == 1 and said["code"] == expected and said["authenticated"] is False


def test_a_damaged_image_still_shows_what_it_holds(command: Command) -> None:
    code, out, _ = command("show", GOLDEN / "image_payload.img")
    assert code == 4 and "code: BAD_HASH" in out and "fits: NO" in out
    assert "1.2.3+4" in out and "SEC_CNT" in out


def test_json_payloads_are_shown(command: Command) -> None:
    said = json.loads(command("show", GOLDEN / "keyset.img", "--json")[1])
    assert said["kind"] == "keyset" and said["payload"]["json"]["thresholds"]["root"] == 2
    assert len(said["signatures"]) == 2
    assert '"golden": 1' in command("show", GOLDEN / "manifest.img")[1]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xfe",
        b'{"a":1e999}',
        b"{",
        b"[" * 100_000,
        b'"\x1b[31m"',
        b"NaN",
        b"9" * 5000,
    ],
)
def test_json_that_is_none(payload: bytes) -> None:
    from host_tools import container

    facts = describe(container.build(payload, 2, "1.0.0"))
    assert facts["code"] == "" and facts["payload"]["code"] == "BAD_JSON"


def test_no_control_character_reaches_the_terminal(command: Command, tmp_path: Path) -> None:
    from host_tools import container

    made = container.build(b'"\\u001b[31m\\u202e"', 2, "1.0.0")
    (tmp_path / "m").write_bytes(made)
    image = make_golden.image().replace(b"idle.txt", b"\x1b[31m\x07.t")
    (tmp_path / "i").write_bytes(image)
    for name in ("m", "i"):
        out = command("show", tmp_path / name)[1]
        assert all(c.isprintable() for c in out.replace("\n", ""))


def test_every_prefix_and_flip_is_shown_without_a_crash() -> None:
    good = (GOLDEN / "image.img").read_bytes()
    for end in range(len(good)):
        assert describe(good[:end])["code"]
    for at in range(len(good)):
        for bit in (0, 3, 7):
            facts = describe(make_golden.flipped(good, at, bit))
            json.dumps(facts)
    for data in (b"", b"\xff" * 4096, bytes(4096), bytes(range(256)) * 16):
        assert describe(data)["code"]


# --- slots and flashes --------------------------------------------------------------------------
@pytest.fixture
def nor(tmp_path: Path) -> NorFile:
    return NorFile(
        str(tmp_path / "flash.bin"), BOARD.flash_size, BOARD.erase_bytes, BOARD.write_bytes
    )


def region(nor: NorFile, name: str) -> Region:
    place = BOARD.regions[name]
    return Region(nor, place.offset, place.size)


def install(nor: NorFile, name: str, counter: int, data: bytes = IMAGE) -> Region:
    slot = region(nor, name)
    slot.program(0, data + b"\xff" * (align_up(len(data), 8) - len(data)))
    trailer.arm(slot, BOARD.layout("a"), counter, 2)
    return slot


def regions(nor: NorFile) -> dict[str, dict[str, object]]:
    whole = bytearray(nor.size_bytes)
    nor.read(0, whole)
    found: dict[str, dict[str, object]] = describe_flash(bytes(whole), BOARD)["regions"]
    json.dumps(found)
    return found


def state(nor: NorFile, name: str) -> dict[str, object]:
    found = regions(nor)[name]["trailer"]
    assert isinstance(found, dict)
    return found


def test_an_erased_flash(command: Command, nor: NorFile, tmp_path: Path) -> None:
    found = regions(nor)
    assert set(found) == set(BOARD.regions)
    assert found["slot_a"]["container"] == {} and state(nor, "slot_a")["state"] == "erased"
    assert found["epoch"]["epoch"] == 0
    assert found["journal"]["seq"] == 0 and found["journal"]["blank"] is True
    code, out, _ = command("show", tmp_path / "flash.bin", "--board", BOARD.name)
    assert code == 0 and "slot_b:" in out


def test_a_trial_and_its_attempts(nor: NorFile) -> None:
    layout = BOARD.layout("b")
    slot = install(nor, "slot_b", 7)
    trial = state(nor, "slot_b")
    assert (trial["state"], trial["install_counter"], trial["attempts_allowed"]) == ("trial", 7, 2)
    assert (trial["magic"], trial["image_ok"], trial["copy_done"]) == ("set", "erased", "erased")
    for used in (1, 2):
        trailer.mark_attempt(slot, layout, trailer.parse(slot.read, layout))
        assert state(nor, "slot_b")["attempts_used"] == used
    assert state(nor, "slot_b")["state"] == "trial, no attempt left"
    assert regions(nor)["slot_b"]["container"]["digest"]["fits"] is True  # type: ignore[index]


def test_a_confirmed_slot_and_the_logs(command: Command, nor: NorFile, tmp_path: Path) -> None:
    slot = install(nor, "slot_a", 1)
    layout = BOARD.layout("a")
    trailer.confirm(slot, layout, trailer.parse(slot.read, layout))
    EpochCounter(region(nor, "epoch")).raise_to(3)
    text = json.dumps({"state": "open", "seq": 9}).encode()
    manifest = (GOLDEN / "manifest.img").read_bytes()
    journal = Records(region(nor, "journal"), 6146)
    journal.save(len(text).to_bytes(2, "little"), text, manifest)
    found = regions(nor)
    assert state(nor, "slot_a")["state"] == "confirmed"
    assert found["epoch"]["epoch"] == 3
    assert found["journal"]["journal"] == {"state": "open", "seq": 9}
    assert found["journal"]["manifest"]["payload"]["json"] == {"golden": 1}  # type: ignore[index]
    code, out, _ = command("show", tmp_path / "flash.bin", "--board", BOARD.name)
    assert code == 0 and "state: confirmed" in out and DIGEST in out and "epoch: 3" in out


def test_a_slot_file(command: Command, nor: NorFile, tmp_path: Path) -> None:
    slot = install(nor, "slot_a", 4)
    raw = bytearray(slot.size_bytes)
    slot.read(0, raw)
    (tmp_path / "slot.bin").write_bytes(raw)
    code, out, _ = command("show", tmp_path / "slot.bin", "--board", BOARD.name)
    assert code == 0 and "install_counter: 4" in out and "1.2.3+4" in out


def test_a_damaged_flash_is_shown(nor: NorFile) -> None:
    slot = install(nor, "slot_a", 1, make_golden.flipped(IMAGE, 600))
    slot.program(BOARD.layout("a").image_ok, b"\x05" + b"\xff" * 7)
    for name in ("epoch", "journal", "keyset"):
        region(nor, name).program(0, bytes(64))
    found = regions(nor)
    assert found["slot_a"]["container"]["code"] == "BAD_HASH"  # type: ignore[index]
    assert (
        state(nor, "slot_a")["image_ok"] == "bad" and state(nor, "slot_a")["state"] == "not armed"
    )
    assert found["epoch"]["epoch"] is None
    assert found["journal"]["seq"] == 0 and found["journal"]["blank"] is False


def shown(command: Command, path: Path, told: str) -> int:
    """The exit code; words, JSON and exit code say the same."""
    code, out, err = command("show", path, "--board", BOARD.name)
    exit_code, text, _ = command("show", path, "--board", BOARD.name, "--json")
    said = json.loads(text)
    assert code == exit_code and err == "" and said["code"] == told
    assert out.splitlines()[1].startswith("code: ") == bool(told)
    return code


def slot_file(nor: NorFile, path: Path) -> Path:
    raw = bytearray(BOARD.regions["slot_a"].size)
    region(nor, "slot_a").read(0, raw)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize(
    ("data", "told"), [(make_golden.flipped(IMAGE, 600), "BAD_HASH"), (b"", "BAD_MAGIC")]
)
def test_a_damaged_image_that_is_to_boot(
    command: Command, nor: NorFile, tmp_path: Path, data: bytes, told: str, confirmed: bool
) -> None:
    slot, layout = install(nor, "slot_a", 1, data), BOARD.layout("a")
    if confirmed:
        trailer.confirm(slot, layout, trailer.parse(slot.read, layout))
    assert shown(command, tmp_path / "flash.bin", told) == 4
    assert shown(command, slot_file(nor, tmp_path / "slot.bin"), told) == 4
    assert "detail: slot_a: " in command("show", tmp_path / "flash.bin", "--board", BOARD.name)[1]


def test_half_an_image_that_is_not_to_boot(command: Command, nor: NorFile, tmp_path: Path) -> None:
    """What a download leaves in the spare slot is no damage."""
    install(nor, "slot_a", 1)
    region(nor, "slot_b").program(4096, IMAGE[:512])
    assert shown(command, tmp_path / "flash.bin", "") == 0
    assert shown(command, slot_file(nor, tmp_path / "slot.bin"), "") == 0


def test_a_journal_that_is_none(nor: NorFile) -> None:
    for payload in (b"x", b"\xff\xff{}", b"\x02\0{]", b"\0\0"):
        region(nor, "journal").erase(0, BOARD.regions["journal"].size)
        Records(region(nor, "journal"), 64).save(payload)
        assert regions(nor)["journal"]["code"] == "BAD_JOURNAL"


def test_a_slot_of_noise() -> None:
    size = BOARD.regions["slot_a"].size
    for data in (bytes(size), bytes(range(256)) * (size // 256)):
        facts = describe_slot(data, BOARD)
        assert facts["container"]["code"] and facts["trailer"]["state"] == "not armed"


# --- artifacts and misuse -----------------------------------------------------------------------
def test_an_artifact(command: Command, tmp_path: Path) -> None:
    made = [artifact.make(IMAGE + bytes(9000), name) for name in artifact.ENCODINGS]
    Store(tmp_path, create=True).add(bytes.fromhex(DIGEST), IMAGE, made)
    for one in made:
        folder = tmp_path / "artifacts" / one.id.hex()
        said = json.loads(command("show", folder, "--json")[1])
        assert said["id"] == one.id.hex() and said["blocks"] == said["blocks_that_fit"] == 3
        assert said["bytes"] == one.bytes and said["code"] == ""
    assert said["encodings"] == {"raw": 3}


@pytest.mark.parametrize("part", ["index.bin", "blocks.bin"])
def test_a_damaged_artifact(command: Command, tmp_path: Path, part: str) -> None:
    made = artifact.make(IMAGE + bytes(9000), "raw")
    Store(tmp_path, create=True).add(bytes.fromhex(DIGEST), IMAGE, [made])
    folder = tmp_path / "artifacts" / made.id.hex()
    good = (folder / part).read_bytes()
    for bad in (good[:-1], make_golden.flipped(good, 5), b"", good + b"\0"):
        (folder / part).write_bytes(bad)
        code, out, err = command("show", folder)
        assert code == 4 and "DAMAGED" in out and err == ""


def test_misuse(command: Command, tmp_path: Path) -> None:
    command.fails("NOT_FOUND", 3, "show", tmp_path / "none")
    command.fails("NO_ARTIFACT", 3, "show", tmp_path)
    for name in ("nothing", ""):
        command.fails("UNKNOWN_BOARD", 3, "show", GOLDEN / "image.img", "--board", name)
