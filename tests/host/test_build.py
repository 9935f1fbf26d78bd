"""`chargeflash build`: the payload, what the image says, and applications that cannot be built."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bootloader_verify import container as form
from examples.charger_app.assemble import assemble
from host_tools import boards, container, manifest, romfs
from host_tools.errors import ToolError
from host_tools.signer import PublicKey
from tests.host.published import Command, private_pem, public_pem, refused

BOARD = "virtual-esp32"
MOUNT = """
import os, sys, vfs
with open(sys.argv[1], "rb") as file:
    rom = file.read()
vfs.mount(vfs.VfsRom(memoryview(rom)), "/app")
sys.path.insert(0, "/app")
import app
print(sorted(os.listdir("/app")), app.answer(), open("/app/data/x.bin", "rb").read())
"""


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "data").mkdir(parents=True)
    (folder / "app.py").write_text("from helper import N\n\ndef answer():\n    return N\n")
    (folder / "helper.py").write_text("N = 42\n")
    (folder / "data" / "x.bin").write_bytes(b"\x00\x01data")
    return folder


def call(folder: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("build", folder, "--board", BOARD, "--version", "1.2.3+4", "--out", out, *more)


def test_the_image_says_what_it_is(command: Command, app: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.img"
    key = private_pem(tmp_path, "release_1")
    code, said, _ = command(*call(app, out, "--key", key, "--epoch", 7, "--revisions", "A,B"))
    assert code == 0 and "1.2.3+4" in said
    header, tlvs = container.parse(out.read_bytes())
    board = boards.load(BOARD)
    assert header.version == (1, 2, 3, 4) and header.flags == 0 and header.hdr_size == 512
    assert tlvs.protected == {
        form.TLV_SEC_CNT: b"\x07\0\0\0",
        form.TLV_VID: board.vid,
        form.TLV_CID: board.cid,
        form.TLV_KIND: b"\x01",
        form.TLV_REVISIONS: b"A,B",
    }
    assert [p[0] for p in tlvs.pairs] == [PublicKey(public_pem(tmp_path, "release_1")).key_id]


def test_without_a_key_it_is_unsigned(command: Command, app: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.img"
    code, said, _ = command(*call(app, out))
    assert code == 0 and "unsigned" in said
    assert container.parse(out.read_bytes())[1].pairs == []


def test_micropython_mounts_and_runs_the_payload(
    app: Path, tmp_path: Path, micropython: str
) -> None:
    (tmp_path / "rom").write_bytes(romfs.build(app))
    (tmp_path / "mount.py").write_text(MOUNT)
    done = subprocess.run(
        [micropython, "mount.py", "rom"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['app.mpy', 'data', 'helper.mpy'] 42 b'\\x00\\x01data'\n"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = assemble("1.1.0", tmp_path / "one"), assemble("1.1.0", tmp_path / "there" / "two")
    for path in two.rglob("*.py"):
        path.touch()
    board = boards.load(BOARD)
    first = container.build(romfs.build(one), 1, "1.1.0", 1, board.vid, board.cid)
    assert first == container.build(romfs.build(two), 1, "1.1.0", 1, board.vid, board.cid)
    assert str(tmp_path).encode() not in first


def test_the_listing_is_what_went_in(tmp_path: Path) -> None:
    folder = assemble("1.1.0", tmp_path / "app")
    expected = {
        str(p.relative_to(folder).with_suffix(".mpy" if p.suffix == ".py" else p.suffix))
        for p in folder.rglob("*")
        if p.is_file()
    }
    listed = dict(romfs.listing(romfs.build(folder)))
    assert set(listed) == expected
    for screen in folder.glob("screens/*.pbm"):
        assert listed[f"screens/{screen.name}"] == screen.stat().st_size


def test_files_stand_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Whatever order the machine's file system gives them in."""
    for name in ("z.txt", "app.py", "m.txt", "a.txt"):
        (tmp_path / name).write_text("")
    names = [name for name, _ in romfs.listing(romfs.build(tmp_path))]
    assert names == ["a.txt", "app.mpy", "m.txt", "z.txt"]


def test_what_stays_out(app: Path) -> None:
    before = romfs.build(app)
    (app / ".git").mkdir()
    (app / ".git" / "config").write_text("x")
    (app / "__pycache__").mkdir()
    (app / "__pycache__" / "app.pyc").write_text("x")
    assert romfs.build(app) == before


def test_a_damaged_file_system_is_an_error_and_no_crash(app: Path) -> None:
    good = romfs.build(app)
    for end in range(len(good)):
        with refused("BAD_ROMFS"):
            romfs.listing(good[:end])
    for at in range(len(good)):
        for bit in (0, 7):
            bad = good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :]
            try:
                romfs.listing(bad)
            except ToolError as error:
                assert error.code == "BAD_ROMFS"


def test_a_record_stays_inside_the_one_around_it() -> None:
    """A folder of 4 bytes, "d", whose one record says that it has 9."""
    inside = b"\x01d" + b"\x05\x09"
    around = b"\x04" + bytes([len(inside)]) + inside + b"\x01a" * 8
    with refused("BAD_ROMFS") as caught:
        romfs.listing(b"\xd2\xcd\x31" + bytes([len(around)]) + around)
    assert "crosses" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1\nif x\n    pass\n", "app.py:2: SyntaxError"),
        ("def f(:\n", "app.py:1: SyntaxError"),
        ("import micropython\n@micropython.native\ndef f():\n    return 1\n", "SyntaxError"),
        ('x = "never closed\n', "app.py:1: SyntaxError"),
    ],
)
def test_a_source_that_does_not_compile(
    command: Command, app: Path, tmp_path: Path, source: str, told: str
) -> None:
    (app / "app.py").write_text(source)
    assert told in command.fails("BAD_SOURCE", 1, *call(app, tmp_path / "a.img"))
    assert not (tmp_path / "a.img").exists()


def test_an_error_deep_inside_names_its_file(command: Command, app: Path, tmp_path: Path) -> None:
    (app / "data" / "m.py").write_text("\n\n)\n")
    assert "data/m.py:3: " in command.fails("BAD_SOURCE", 1, *call(app, tmp_path / "a.img"))


def test_an_empty_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = command.fails("NO_APP", 2, *call(tmp_path / "empty", tmp_path / "a.img"))
    assert "app.py" in said


def test_app_py_in_a_sub_folder_does_not_count(command: Command, app: Path, tmp_path: Path) -> None:
    command.fails("NO_APP", 2, *call(app.parent, tmp_path / "a.img"))


def test_no_such_folder(command: Command, app: Path, tmp_path: Path) -> None:
    command.fails("NOT_FOUND", 3, *call(tmp_path / "none", tmp_path / "a.img"))
    command.fails("NOT_FOUND", 3, *call(app / "app.py", tmp_path / "a.img"))


def test_a_source_and_its_bytecode(command: Command, app: Path, tmp_path: Path) -> None:
    (app / "helper.mpy").write_bytes(b"M")
    assert "helper" in command.fails("BAD_FILE", 1, *call(app, tmp_path / "a.img"))


def test_a_link_does_not_leave_the_folder(command: Command, app: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (app / "data" / "link").symlink_to(tmp_path / "secret")
    assert "data/link" in command.fails("BAD_FILE", 1, *call(app, tmp_path / "a.img"))


def test_a_name_that_a_romfs_cannot_hold(command: Command, app: Path, tmp_path: Path) -> None:
    (app / "größe.txt").write_text("x")
    command.fails("BAD_FILE", 1, *call(app, tmp_path / "a.img"))


def test_an_application_that_is_too_large(command: Command, app: Path, tmp_path: Path) -> None:
    (app / "big.bin").write_bytes(bytes(0x40000))
    key = private_pem(tmp_path, "release_1")
    for more in ((), ("--key", key)):
        said = command.fails("OUT_OF_STORAGE", 1, *call(app, tmp_path / "a.img", *more))
        assert "258048" in said
    assert not (tmp_path / "a.img").exists()


def test_the_largest_image_still_takes_its_signature(
    command: Command, app: Path, tmp_path: Path
) -> None:
    """112 bytes: two TLV heads, a key hash and the longest DER are kept free."""
    out, big = tmp_path / "a.img", app / "big.bin"
    limit = boards.load(BOARD).image_limit
    big.write_bytes(bytes(limit - 4096))
    assert command(*call(app, out))[0] == 0
    big.write_bytes(bytes(limit - 4096 + limit - out.stat().st_size - 112))
    assert command(*call(app, out))[0] == 0
    assert limit - 114 <= out.stat().st_size <= limit - 112  # a ROMFS has an even length
    assert command("sign", out, "--key", private_pem(tmp_path, "release_1"))[0] == 0
    assert out.stat().st_size <= limit
    big.write_bytes(big.read_bytes() + bytes(4))
    command.fails("OUT_OF_STORAGE", 1, *call(app, out))


def test_what_imgtool_wrote_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(container.Image):  # type: ignore[misc]
        def create(self, *args: object, **more: object) -> None:
            self.security_counter = 9
            super().create(*args, **more)

    monkeypatch.setattr(container, "Image", Other)
    with refused("BAD_CLAIM"):
        container.build(b"x", form.KIND_IMAGE, "1.0.0", 1, bytes(range(16)), bytes(range(16)))


@pytest.mark.parametrize(
    ("more", "code", "exit_code"),
    [
        (("--board", "nothing"), "UNKNOWN_BOARD", 3),
        (("--version", "1.2"), "BAD_VERSION", 2),
        (("--version", "256.0.0"), "BAD_VERSION", 2),
        (("--version", "1.0.65536"), "BAD_VERSION", 2),
        (("--version", "1.0.0+4294967296"), "BAD_VERSION", 2),
        (("--version", "9" * 5000 + ".0.0"), "BAD_VERSION", 2),
        (("--version", "1.0.0+"), "BAD_VERSION", 2),
        (("--version", "v1.0.0"), "BAD_VERSION", 2),
        (("--revisions", "A B"), "BAD_CLAIM", 2),
        (("--revisions", ",".join(["R"] * 9)), "BAD_CLAIM", 2),
        (("--revisions", ",".join("ABCDEFG") + ",H" + "x" * 50), "BAD_CLAIM", 2),
        (("--revisions", ""), "BAD_CLAIM", 2),
        (("--revisions", " , "), "BAD_CLAIM", 2),
    ],
)
def test_claims_that_cannot_be(
    command: Command, app: Path, tmp_path: Path, more: tuple[str, ...], code: str, exit_code: int
) -> None:
    command.fails(code, exit_code, *call(app, tmp_path / "a.img", *more))
    assert not (tmp_path / "a.img").exists()


@pytest.mark.parametrize("epoch", ["-1", "4294967296", "one"])
def test_an_epoch_is_a_u32(command: Command, app: Path, tmp_path: Path, epoch: str) -> None:
    code, out, err = command(*call(app, tmp_path / "a.img", "--epoch", epoch))
    assert code == 2 and out == "" and "--epoch" in err


def test_a_failed_build_leaves_the_old_file(command: Command, app: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.img"
    out.write_bytes(b"old")
    shutil.rmtree(app / "data")
    (app / "app.py").write_text("(")
    command.fails("BAD_SOURCE", 1, *call(app, out))
    assert out.read_bytes() == b"old" and not list(tmp_path.glob(".*"))


def test_a_pipe_in_an_application_is_not_waited_for(
    command: Command, app: Path, tmp_path: Path
) -> None:
    for name in ("pipe.bin", "pipe.py"):
        os.mkfifo(app / "data" / name)
        said = command.fails("BAD_FILE", 1, *call(app, tmp_path / "a.img"))
        assert f"data/{name} is no regular file" in said
        (app / "data" / name).unlink()


def test_as_many_revisions_as_a_manifest_takes(command: Command, app: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.img"
    assert command(*call(app, out, "--revisions", "A,B,C,D,E,F,G," + "H" * 50))[0] == 0
    assert len(manifest.read_image(out.read_bytes()).revisions) == 8
