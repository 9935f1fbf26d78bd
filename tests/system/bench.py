"""A trivial device for tests of the bench: the board's own modules and a main of a few lines."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MPREMOTE = Path(sys.executable).with_name("mpremote")


def base_with(folder: Path, main: str) -> Path:
    """A base firmware with this `main`, the modules of the virtual board and the boot verifier."""
    shutil.copytree(ROOT / "hil/virtual/device", folder, ignore=shutil.ignore_patterns("main.py"))
    (folder / "bootloader_verify").symlink_to(ROOT / "bootloader_verify")
    (folder / "main.py").write_text(textwrap.dedent(main))
    return folder


def mpremote(tty: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The unmodified command, as a user types it."""
    return subprocess.run(
        [str(_MPREMOTE), "connect", str(tty), *words], capture_output=True, text=True, timeout=20
    )
