"""The golden containers: what they are, and that the script still makes them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bootloader_verify import keyset_store, ladder
from bootloader_verify.container import KIND_IMAGE, KIND_KEYSET, KIND_MANIFEST
from bootloader_verify.errors import VerifyError
from host_tools import container
from tests.vectors import make_golden

GOLDEN = make_golden.FOLDER
ANSWERS: dict[str, str] = json.loads((GOLDEN / "golden.json").read_text())
KINDS = {"image": KIND_IMAGE, "manifest": KIND_MANIFEST, "keyset": KIND_KEYSET}


def answer(name: str) -> str:
    """ "" or the code, for a device with the golden keyset."""
    data = (GOLDEN / name).read_bytes()
    keys = keyset_store.unpack((GOLDEN / "keyset.img").read_bytes())
    kind = KINDS[name.removesuffix(".img").split("_")[0]]
    try:
        ladder.check(container.reader(data), len(data), keys, ladder.Expect(kind))
    except VerifyError as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", ANSWERS)
def test_a_golden_container_gets_its_answer(name: str) -> None:
    assert answer(name) == ANSWERS[name]


def test_the_script_makes_the_same_bytes() -> None:
    made = make_golden.files()
    assert set(made) == {path.name for path in GOLDEN.iterdir()}
    for name, data in made.items():
        assert (GOLDEN / name).read_bytes() == data, name


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("image.img", "release_1"),
        ("image_rsa.img", "release_rsa"),
        ("image_two_signatures.img", "release_1"),
        ("image_two_signatures.img", "release_rsa"),
        ("manifest.img", "rollout_1"),
        ("keyset.img", "root_2"),
    ],
)
def test_imgtool_accepts_what_is_golden(name: str, key: str) -> None:
    words = [sys.executable, "-m", "imgtool.main", "verify", "-k"]
    words += [str(GOLDEN / f"{key}-DO_NOT_USE.pub.pem"), str(GOLDEN / name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "correctly validated" in done.stdout, done.stdout + done.stderr
