"""Every file of tests/unit runs under the real MicroPython too, as a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = sorted(p.stem for p in HERE.glob("test_*.py") if p != Path(__file__).resolve())


@pytest.mark.parametrize("name", NAMES)
def test_unit_file_passes_on_micropython(micropython: str, name: str) -> None:
    done = subprocess.run(
        [micropython, "-X", "heapsize=2m", "tests/unit/run.py", name],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed in " in done.stdout
