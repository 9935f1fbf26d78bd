"""The house keeps its own rules: who imports whom, where I/O may stand, what a commit may hold."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"bootloader_verify", "agent", "host_tools", "hil", "board_configs", "tests", "examples"}
PURE_AGENT = {"agent.protocol", "agent.states", "agent.controller.an3155"}
# room -> what of ours it may import
ARROWS = {
    "bootloader_verify": {"bootloader_verify"},
    "agent": {"agent", "bootloader_verify"},
    "host_tools": {"host_tools", "bootloader_verify"} | PURE_AGENT,
    "hil": {"hil", "host_tools", "bootloader_verify"} | PURE_AGENT,
    "examples": {"examples"},
}
HARDWARE = {"socket", "ssl", "tls", "time", "machine", "asyncio", "select", "esp32", "pyb", "vfs"}
HARDWARE |= {"uasyncio", "usocket", "utime", "network", "os", "random"}
MAY_TOUCH_HARDWARE = (
    "bootloader_verify/ports/",
    "agent/ports/",
    "agent/main.py",
    "agent/charger.py",
    "agent/app_host.py",
)


def imports(source: str) -> set[str]:
    """Dotted names that a module imports; `from a.b import c` counts as a.b.c as well."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def allowed(name: str, room: str) -> bool:
    if name.split(".")[0] not in OURS:
        return True
    return any(name == a or name.startswith(a + ".") for a in ARROWS[room])


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(room)
        for name in sorted(imports(path.read_text()))
        if not allowed(name, room)
    ]
    assert not wrong


@pytest.mark.parametrize("room", ["bootloader_verify", "agent"])
def test_device_decisions_know_no_hardware(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(room)
        if not str(path.relative_to(ROOT)).startswith(MAY_TOUCH_HARDWARE)
        for name in sorted(imports(path.read_text()))
        if name.split(".")[0] in HARDWARE
    ]
    assert not wrong


def test_the_rule_sees_a_breach() -> None:
    assert not allowed("hil.virtual.board", "host_tools")
    assert not allowed("agent.update.updater.Updater", "host_tools")
    assert allowed("agent.protocol.pack_get", "host_tools")
    assert not allowed("tests.unit.expect", "hil")
    assert imports("from agent.net import link\nimport os.path") == {"agent.net.link", "os.path"}


def test_no_private_key_is_tracked_but_the_ones_that_say_so() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    names = [n for n in listing.stdout.split("\0") if n and (ROOT / n).is_file()]
    marker = b"PRIVATE" + b" KEY-----"
    wrong = [
        n for n in names if marker in (ROOT / n).read_bytes() and "DO_NOT_USE" not in Path(n).name
    ]
    assert not wrong
