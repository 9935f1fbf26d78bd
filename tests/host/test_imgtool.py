"""The stock tool and ours: it accepts what we sign, we accept what it makes in our profile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bootloader_verify import container as form
from examples.charger_app.assemble import assemble
from host_tools import boards, container, romfs
from tests.host.published import Command, private_pem, public_pem
from tests.vectors.signing_DO_NOT_USE import RSA_PEM

BOARD = boards.load("virtual-esp32")
SLOT = str(BOARD.regions["slot_a"].size)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def imgtool(*words: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "imgtool.main", *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def sign_line(key: Path, source: Path, out: Path, *more: object) -> tuple[object, ...]:
    """The line of FORMATS, section 1."""
    head = ("sign", "-k", key, "-v", "1.4.0+12", "-H", 512, "--pad-header", "-S", SLOT)
    profile = ("--align", 8, "-s", 5, "--vid", BOARD.vendor_domain, "--cid", BOARD.device_class)
    return (*head, *profile, "--custom-tlv", "0x00a0", "0x01", *more, source, out)


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "in.bin"
    path.write_bytes(romfs.build(assemble("1.1.0", tmp_path / "app")))
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the key pairs of two names."""
    for name in ("release_1", "release_2"):
        private_pem(tmp_path, name)
        public_pem(tmp_path, name)
    return tmp_path


def test_imgtool_accepts_what_build_makes(command: Command, keys: Path, payload: Path) -> None:
    out, key = keys / "a.img", keys / "release_1-DO_NOT_USE.pem"
    call = ("build", keys / "app", "--board", BOARD.name, "--version", "1.4.0+12", "--out", out)
    assert command(*call, "--key", key)[0] == 0
    for name in ("release_1-DO_NOT_USE.pub.pem", "release_1-DO_NOT_USE.pem"):
        done = imgtool("verify", "-k", keys / name, out)
        assert done.returncode == 0 and "1.4.0+12" in done.stdout, done.stdout
    assert imgtool("verify", "-k", keys / "release_2-DO_NOT_USE.pub.pem", out).returncode != 0


def test_imgtool_accepts_each_signature_that_sign_adds(
    command: Command, keys: Path, payload: Path
) -> None:
    out = keys / "a.img"
    call = ("build", keys / "app", "--board", BOARD.name, "--version", "1.4.0", "--out", out)
    assert command(*call)[0] == 0
    more = [w for n in ("release_1", "release_2") for w in ("--key", keys / f"{n}-DO_NOT_USE.pem")]
    assert command("sign", out, *more, "--key", RSA_PEM)[0] == 0
    for name in ("release_1-DO_NOT_USE.pub.pem", "release_2-DO_NOT_USE.pub.pem"):
        assert imgtool("verify", "-k", keys / name, out).returncode == 0, name
    assert imgtool("verify", "-k", RSA_PEM, out).returncode == 0


def test_we_accept_what_imgtool_signs(command: Command, keys: Path, payload: Path) -> None:
    out = keys / "stock.img"
    done = imgtool(*sign_line(keys / "release_1-DO_NOT_USE.pem", payload, out))
    assert done.returncode == 0, done.stderr
    call = ("verify", out, "--key", keys / "release_1-DO_NOT_USE.pub.pem")
    facts = ("--vid", BOARD.vendor_domain, "--cid", BOARD.device_class, "--min-epoch", 5)
    code, said, _ = command(*call, *facts)
    assert code == 0 and "image 1.4.0+12 epoch 5" in said, said
    assert command(*call, "--min-epoch", 6)[0] == 4


def test_we_accept_what_imgtool_signs_with_rsa(command: Command, keys: Path, payload: Path) -> None:
    out = keys / "stock.img"
    assert imgtool(*sign_line(RSA_PEM, payload, out)).returncode == 0
    public = keys / "rsa.pub.pem"
    assert imgtool("getpub", "-k", RSA_PEM, "-e", "pem", "-o", public).returncode == 0
    assert command("verify", out, "--key", public)[0] == 0


def test_both_write_the_same_bytes(keys: Path, payload: Path) -> None:
    """All that is under the signature: header, payload, protected TLVs, and the digest."""
    out = keys / "stock.img"
    key = keys / "release_1-DO_NOT_USE.pem"
    assert imgtool(*sign_line(key, payload, out)).returncode == 0
    ours = container.build(
        payload.read_bytes(), form.KIND_IMAGE, "1.4.0+12", 5, BOARD.vid, BOARD.cid
    )
    header, tlvs = container.parse(out.read_bytes())
    end = header.tlv_offset + header.protect_tlv_size
    assert out.read_bytes()[:end] == ours[:end]
    assert tlvs.sha256 == container.parse(ours)[1].sha256


def test_sign_adds_to_what_imgtool_signed(command: Command, keys: Path, payload: Path) -> None:
    out = keys / "stock.img"
    assert imgtool(*sign_line(keys / "release_1-DO_NOT_USE.pem", payload, out)).returncode == 0
    assert command("sign", out, "--key", keys / "release_2-DO_NOT_USE.pem")[0] == 0
    for name in ("release_1", "release_2"):
        public = keys / f"{name}-DO_NOT_USE.pub.pem"
        assert command("verify", out, "--key", public)[0] == 0
        assert imgtool("verify", "-k", public, out).returncode == 0


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--non-bootable",), "WRONG_KIND"),
        (("--rom-fixed", "0x40000"), "WRONG_HW"),
        (("--sha", "512"), None),  # imgtool itself refuses: P-256 goes with SHA-256
        (("--boot-record", "app"), "BAD_TLV"),
        (("--custom-tlv", "0x00b0", "0x01"), "BAD_TLV"),
        (("--public-key-format", "full"), "BAD_TLV"),
    ],
)
def test_what_is_outside_of_the_profile_is_refused(
    command: Command, keys: Path, payload: Path, more: tuple[str, ...], code: str | None
) -> None:
    out = keys / "stock.img"
    done = imgtool(*sign_line(keys / "release_1-DO_NOT_USE.pem", payload, out, *more))
    assert (done.returncode == 0) == (code is not None), done.stderr
    if code is not None:
        public = keys / "release_1-DO_NOT_USE.pub.pem"
        exit_code, said, _ = command("verify", out, "--key", public, "--kind", "image")
        assert exit_code == 4 and f"  {code}: " in said, said
