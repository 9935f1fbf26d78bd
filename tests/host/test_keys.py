"""`chargeflash keys`: keys that stay secret and are never written over, keysets that verify."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bootloader_verify import keyset, keyset_store, ladder
from bootloader_verify.container import KIND_KEYSET
from host_tools import container
from host_tools.signer import FileSigner, PublicKey
from tests.host.published import Command, public_pem

CLASS = "00112233445566778899aabbccddeeff"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


@pytest.fixture
def made(command: Command, tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    assert command("keys", "new", "root", "root2", "release", "rollout", "--out", folder)[0] == 0
    return folder


def test_a_key_is_a_pair_of_files(made: Path) -> None:
    signer, public = FileSigner(made / "root.pem"), PublicKey(made / "root.pub.pem")
    assert signer.key_id == public.key_id and signer.alg == keyset.ECDSA_P256
    assert stat.S_IMODE((made / "root.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in made.iterdir() if path.name.startswith("root2")) == [
        "root2.pem",
        "root2.pub.pem",
    ]


def test_demo_keys_say_so_in_their_names(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("keys", "new", "release", "--out", tmp_path, "--demo")
    assert code == 0 and "release-DO_NOT_USE.pem" in out
    assert (tmp_path / "release-DO_NOT_USE.pub.pem").exists()
    assert not (tmp_path / "release.pem").exists()


@pytest.mark.parametrize("there", ["b.pem", "b.pub.pem"])
def test_no_key_is_written_over_and_none_is_made(
    command: Command, tmp_path: Path, there: str
) -> None:
    (tmp_path / there).write_text("mine")
    command.fails("EXISTS", 2, "keys", "new", "a", "b", "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize("name", ["../a", "", "a b", ".hidden", "a/b", "x" * 65])
def test_a_name_is_a_name(command: Command, tmp_path: Path, name: str) -> None:
    command.fails("BAD_NAME", 2, "keys", "new", name, "--out", tmp_path / "k")
    assert not (tmp_path / "k").exists()


def test_a_name_twice(command: Command, tmp_path: Path) -> None:
    command.fails("BAD_NAME", 2, "keys", "new", "a", "a", "--out", tmp_path)


def words(made: Path, target: Path, **changed: object) -> list[object]:
    """A good call; each option can be changed."""
    options: dict[str, object] = {
        "root": made / "root.pub.pem",
        "release": made / "release.pub.pem",
        "rollout": made / "rollout.pub.pem",
        "sign": made / "root.pem",
        "out": target,
    } | changed
    return ["keys", "keyset", *(w for name, v in options.items() for w in (f"--{name}", v))]


def test_a_keyset_says_who_may_sign_what(command: Command, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "keyset.img"
    assert command(*words(made, out, version=3))[0] == 0
    data = out.read_bytes()
    keys = keyset_store.unpack(data)
    assert keys.version == 3 and len(keys.keys) == 3
    for name in ("root", "release", "rollout"):
        found = keys.find(PublicKey(made / f"{name}.pub.pem").key_id)
        assert found is not None and (found.role, found.device_class) == (name, "all")
    verified = container.verify(data, keys, ladder.Expect(KIND_KEYSET))
    assert verified.version == (0, 0, 0, 3)


def test_the_same_keys_give_the_same_keyset_payload(
    command: Command, made: Path, tmp_path: Path
) -> None:
    digests = []
    for name in ("one", "two"):
        assert command(*words(made, tmp_path / name))[0] == 0
        digests.append(container.parse((tmp_path / name).read_bytes())[1].sha256)
    assert digests[0] == digests[1]


def test_a_class_binds_the_release_keys(command: Command, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "keyset.img"
    assert command(*words(made, out, **{"class": CLASS}))[0] == 0
    classes = {
        key.role: key.device_class for key in keyset_store.unpack(out.read_bytes()).keys.values()
    }
    assert classes == {"root": "all", "release": CLASS, "rollout": "all"}


def test_two_of_two_roots(command: Command, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "keyset.img"
    both = [*words(made, out), "--root", made / "root2.pub.pem", "--root-threshold", 2]
    command.fails("THRESHOLD", 4, *both)
    assert not out.exists()
    assert command(*both, "--sign", made / "root2.pem")[0] == 0
    assert len(container.parse(out.read_bytes())[1].pairs) == 2


@pytest.mark.parametrize(
    ("changed", "code", "exit_code"),
    [
        ({"sign": "release.pem"}, "WRONG_ROLE", 4),
        ({"sign": "root.pub.pem"}, "PUBLIC_KEY", 2),
        ({"root": "root.pem"}, "PRIVATE_KEY", 2),
        ({"release": "none.pem"}, "NOT_FOUND", 3),
        ({"rollout": "release.pub.pem"}, "BAD_KEYSET", 2),  # a key has one role
        ({"class": "wallbox"}, "BAD_KEYSET", 2),
        ({"out": "root.pem/keyset.img"}, "UNWRITABLE", 2),
        ({"out": ""}, "UNWRITABLE", 2),  # a folder
    ],
)
def test_a_keyset_that_is_none(
    command: Command, made: Path, tmp_path: Path, changed: dict[str, str], code: str, exit_code: int
) -> None:
    files = {n: made / v if n != "class" else v for n, v in changed.items()}
    command.fails(code, exit_code, *words(made, tmp_path / "out", **files))
    assert not (tmp_path / "out").exists()


def test_a_good_signature_does_not_excuse_a_strange_one(
    command: Command, made: Path, tmp_path: Path
) -> None:
    for name in ("rollout.pem", "root2.pem"):  # another role; not in the keyset
        both = [*words(made, tmp_path / "out"), "--sign", made / name]
        command.fails("WRONG_ROLE", 4, *both)
        assert not (tmp_path / "out").exists()


def test_a_signer_twice(command: Command, made: Path, tmp_path: Path) -> None:
    again = [*words(made, tmp_path / "out"), "--sign", made / "root.pem"]
    command.fails("SIGNED_ALREADY", 1, *again)


def test_a_key_that_another_tool_made(tmp_path: Path) -> None:
    assert PublicKey(public_pem(tmp_path, "release_1")).alg == keyset.ECDSA_P256
