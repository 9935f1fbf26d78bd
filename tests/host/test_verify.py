"""`chargeflash verify`: its lines and exit codes, and that no bit of a container is free."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bootloader_verify import container as form
from bootloader_verify import keyset, ladder
from bootloader_verify.errors import VerifyError
from host_tools import boards, container
from tests.host.published import Command, private_pem, public_pem
from tests.vectors import make_golden
from tests.vectors.make_golden import GoldenSigner

BOARD = boards.load("virtual-esp32")
GOLDEN = make_golden.FOLDER
KEY = GOLDEN / "release_1-DO_NOT_USE.pub.pem"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def small(*names: str) -> bytes:
    """An image with a header of 32 bytes and a payload of 8."""
    made = container.build(
        b"8 bytes!", form.KIND_IMAGE, "1.0.0", 1, BOARD.vid, BOARD.cid, ["A"], header_bytes=32
    )
    return make_golden.signed(made, *names)


def code_of(data: bytes, *names: str) -> str:
    keys = container.keyset_of([GoldenSigner(name) for name in names], keyset.RELEASE)
    expect = ladder.Expect(form.KIND_IMAGE, BOARD.vid, BOARD.cid, "A")
    try:
        ladder.check(container.reader(data), len(data), keys, expect)
    except VerifyError as error:
        return error.code
    return ""


def free_bits(good: bytes, *names: str) -> list[tuple[int, int]]:
    """(offset, bit) of every bit that can be flipped without a refusal."""
    assert code_of(good, *names) == ""
    return [
        (at, bit)
        for at in range(len(good))
        for bit in range(8)
        if code_of(make_golden.flipped(good, at, bit), *names) == ""
    ]


@pytest.mark.parametrize("name", ["release_1", "release_rsa"])
def test_no_bit_can_change(name: str) -> None:
    assert free_bits(small(name), name) == []


def test_a_second_signature_can_only_become_that_of_an_unknown_key() -> None:
    """Threshold 1: one good pair is enough and pairs of unknown keys are passed over (rotation)."""
    good = small("release_1", "release_2")
    hashes = [good.index(GoldenSigner(name).key_id) for name in ("release_1", "release_2")]
    key_hash_bits = [(at + i, bit) for at in hashes for i in range(32) for bit in range(8)]
    assert free_bits(good, "release_1", "release_2") == key_hash_bits


def test_no_prefix_is_accepted() -> None:
    good = small("release_1", "release_2")
    for end in range(len(good)):
        assert code_of(good[:end], "release_1", "release_2"), end


def test_every_byte_behind_it_counts() -> None:
    good = small("release_1")
    assert code_of(good + b"\xff" * 2000, "release_1") == ""
    assert code_of(good + b"\xff" * 1999 + b"\xfe", "release_1") == "NOT_ERASED"


# --- the command --------------------------------------------------------------------------------
def test_an_accepted_file_is_one_line(command: Command) -> None:
    code, out, err = command("verify", GOLDEN / "image.img", "--key", KEY)
    assert code == 0 and err == "" and out.count("\n") == 1
    assert out.startswith(f"accepted  {GOLDEN / 'image.img'}  image 1.2.3+4 epoch 3 ")


def test_a_refused_file_is_one_line(command: Command) -> None:
    code, out, err = command("verify", GOLDEN / "image_payload.img", "--key", KEY)
    assert code == 4 and err == "" and out.count("\n") == 1
    assert out.startswith(f"refused  {GOLDEN / 'image_payload.img'}  BAD_HASH: ")


@pytest.mark.parametrize(
    ("names", "exit_code"),
    [
        (["image.img", "image_padded.img"], 0),
        (["image.img", "image_cut.img"], 4),
        (["image.img", "none.img"], 3),
        (["none.img", "image_cut.img"], 4),
    ],
)
def test_exit_codes(command: Command, names: list[str], exit_code: int) -> None:
    code, out, _ = command("verify", *(GOLDEN / name for name in names), "--key", KEY)
    assert code == exit_code and out.count("\n") == 2


def test_each_kind_with_its_key(command: Command) -> None:
    keys = [w for p in GOLDEN.glob("*.pem") for w in ("--key", p)]
    files = [GOLDEN / name for name in ("image.img", "manifest.img", "keyset.img", "image_rsa.img")]
    code, out, _ = command("verify", *files, *keys)
    assert code == 0
    assert [line.split()[2] for line in out.splitlines()] == [
        "image",
        "manifest",
        "keyset",
        "image",
    ]


def test_the_kind_can_be_demanded(command: Command) -> None:
    key = GOLDEN / "rollout_1-DO_NOT_USE.pub.pem"
    code, out, _ = command("verify", GOLDEN / "manifest.img", "--key", key, "--kind", "image")
    assert code == 4 and "WRONG_KIND" in out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--vid", "chargeflash.example", "--cid", "wallbox-comms"), "accepted"),
        (("--vid", BOARD.vid.hex(), "--cid", BOARD.cid.hex().upper()), "accepted"),
        (("--vid", BOARD.vid.hex(), "--cid", "wallbox-comms"), "accepted"),
        (("--cid", BOARD.cid.hex()), "accepted"),
        (("--vid", "other.example"), "WRONG_HW"),
        (("--vid", "chargeflash.example", "--cid", "wallbox"), "WRONG_HW"),
        (("--cid", bytes(16).hex()), "WRONG_HW"),
        (("--revision", "B"), "accepted"),
        (("--revision", "C"), "WRONG_HW"),
        (("--min-epoch", "3"), "accepted"),
        (("--min-epoch", "4"), "ROLLBACK"),
    ],
)
def test_what_the_image_must_be_for(command: Command, more: tuple[str, ...], told: str) -> None:
    code, out, _ = command("verify", GOLDEN / "image.img", "--key", KEY, *more)
    assert told in out and code == (0 if told == "accepted" else 4)


def test_a_class_name_needs_its_vendor(command: Command) -> None:
    call = ("verify", GOLDEN / "image.img", "--key", KEY, "--cid", "wallbox-comms")
    command.fails("BAD_CLASS", 2, *call)


@pytest.mark.parametrize("option", ["--vid", "--cid", "--revision"])
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_demand_is_none(command: Command, option: str, text: str) -> None:
    """What an unset variable of a script leaves must not count as "any will do"."""
    code, out, err = command("verify", GOLDEN / "image.img", "--key", KEY, option, text)
    assert code == 2 and out == "" and option in err and "[USAGE]" in err


def test_json_is_nothing_but_json(command: Command) -> None:
    files = [GOLDEN / "image.img", GOLDEN / "image_cut.img"]
    code, out, err = command("verify", *files, "--key", KEY, "--json")
    said = json.loads(out)
    assert code == 4 and err == "" and said["schema"] == 1
    good, bad = said["files"]
    assert good["accepted"] is True and good["version"] == "1.2.3+4" and good["epoch"] == 3
    assert good["digest"] == container.parse(files[0].read_bytes())[1].sha256.hex()
    assert bad["accepted"] is False and bad["code"] == "BAD_TLV"


def test_only_keys_that_signed_and_are_trusted_are_named(command: Command) -> None:
    call = ("verify", GOLDEN / "image_two_signatures.img", "--key", KEY, "--json")
    keys = json.loads(command(*call)[1])["files"][0]["keys"]
    assert keys == [GoldenSigner("release_1").key_id.hex()]


def test_misuse_of_keys(command: Command, tmp_path: Path) -> None:
    file = GOLDEN / "image.img"
    command.fails("PRIVATE_KEY", 2, "verify", file, "--key", private_pem(tmp_path, "release_1"))
    command.fails("NOT_FOUND", 3, "verify", file, "--key", tmp_path / "none.pem", "--json")
    (tmp_path / "x.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    command.fails("NOT_A_KEY", 2, "verify", file, "--key", tmp_path / "x.pem")
    code, out, err = command("verify", file)
    assert code == 2 and out == "" and "--key" in err


def test_a_folder_is_refused_like_a_file(command: Command, tmp_path: Path) -> None:
    key = public_pem(tmp_path, "release_1")
    code, out, _ = command("verify", tmp_path, "--key", key)
    assert code == 2 and "UNREADABLE" in out


def run(*words: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "host_tools", *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_as_a_process(tmp_path: Path) -> None:
    good = run("verify", GOLDEN / "image.img", "--key", KEY)
    assert good.returncode == 0 and good.stdout.startswith("accepted") and good.stderr == ""
    assert run("verify", GOLDEN / "image_cut.img", "--key", KEY).returncode == 4
    wrong = run("sign", tmp_path / "none.img", "--key", KEY)
    assert wrong.returncode == 3 and wrong.stdout == ""
    assert wrong.stderr.startswith("error: ") and wrong.stderr.endswith("[NOT_FOUND]\n")
