"""Writes tests/unit/vectors_DO_NOT_USE.py: python -m tests.vectors.make_unit_vectors

Runs every unit test that builds containers, with a signer that notes what it signed. The result is
the same on every run (see signing_DO_NOT_USE.py).
"""

from __future__ import annotations

import importlib
import re
import sys
import types
from pathlib import Path

from tests.vectors import signing_DO_NOT_USE as signing

UNIT = Path(__file__).resolve().parent.parent / "unit"
TARGET = UNIT / "vectors_DO_NOT_USE.py"
_CONTAINERS = re.compile(r"from tests\.unit(\.containers import| import .*containers)")
_HEAD = '''# ruff: noqa: N999, E501
"""Made by tests/vectors/make_unit_vectors.py: public keys and signatures of the test keys."""

'''


def users() -> list[str]:
    """Unit test modules that build containers."""
    found = sorted(UNIT.glob("test_*.py"))
    return [path.stem for path in found if _CONTAINERS.search(path.read_text())]


def text(signatures: dict[str, str]) -> str:
    containers = importlib.import_module("tests.unit.containers")
    lines = [_HEAD, "PUBLIC = {\n"]
    for name in sorted(containers.KEYS):
        lines.append(f'    "{name}": "{signing.public_raw(name).hex()}",\n')
    lines += ["}\n", "SIGNATURES = {\n"]
    for label in sorted(signatures):
        lines.append(f'    "{label}": "{signatures[label]}",\n')
    return "".join([*lines, "}\n"])


def record() -> dict[str, str]:
    """{"key:digest": signature} of everything that the unit tests ask for."""
    containers = importlib.import_module("tests.unit.containers")
    signatures: dict[str, str] = {}

    def sign(name: str, digest: bytes) -> bytes:
        signature: bytes = signing.sign(name, digest)
        signatures[f"{name}:{digest.hex()}"] = signature.hex()
        return signature

    before, containers.signer = containers.signer, sign
    try:
        for module in users():
            _run(importlib.import_module(f"tests.unit.{module}"))
    finally:
        containers.signer = before
    return signatures


def _run(module: types.ModuleType) -> None:
    """Failures are for the test run to show; here only what is signed counts."""
    for name in [n for n in dir(module) if n.startswith("test_")]:
        try:
            getattr(module, name)()
        except Exception as error:
            print(f"{module.__name__}.{name}: {error}", file=sys.stderr)


def main() -> int:
    if not TARGET.exists():  # the first time: the keys, so that the tests can be imported
        names = ("root_1", "root_2", "root_3", "release_1", "release_2", "release_rsa")
        keys = {name: signing.public_raw(name).hex() for name in (*names, "rollout_1", "stranger")}
        TARGET.write_text(f"PUBLIC = {keys!r}\nSIGNATURES = {{}}\n")
    TARGET.write_text(text(record()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
