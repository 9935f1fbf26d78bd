"""Images, keys and stores for the tests of publishing. The keys are in the open: DO NOT USE them."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from host_tools import artifact, cli, manifest
from host_tools.artifact import Artifact
from host_tools.errors import ToolError
from host_tools.store import Store
from tests.unit import containers
from tests.vectors import signing_DO_NOT_USE as signing

HEADER_BYTES = 512


def payload(size: int, seed: int = 1) -> bytes:
    """Half text that deflates, half noise that does not."""
    noise = random.Random(seed)
    words = [b"contactor ", b"meter ", b"pilot ", b"session "]
    text = b"".join(noise.choice(words) for _ in range(size // 12))[: size // 2]
    return text + noise.randbytes(size - len(text))


def image(size: int = 20_000, seed: int = 1, key: str = "release_1", **claims: object) -> bytes:
    """A container of kind 1 with so many bytes of payload."""
    body = containers.body(
        containers.protected_entries(**claims), payload(size, seed), hdr_size=HEADER_BYTES
    )
    digest = containers.digest_of(body)
    pair = containers.pair(key, digest, signature=signing.sign(key, digest))
    return containers.seal(body, pairs=[pair])


def published(folder: Path, data: bytes) -> tuple[Store, list[Artifact], bytes]:
    """A store with the image in it, its artifacts and its digest."""
    store = Store(folder, create=True)
    made = [artifact.make(data, name) for name in artifact.ENCODINGS]
    digest = manifest.read_image(data).digest
    store.add(digest, data, made)
    return store, made, digest


def private_pem(folder: Path, name: str) -> Path:
    """The private half of a test key as PKCS8."""
    path = folder / f"{name}-DO_NOT_USE.pem"
    path.write_bytes(
        signing.private_key(name).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def public_pem(folder: Path, name: str) -> Path:
    """The public half."""
    path = folder / f"{name}-DO_NOT_USE.pub.pem"
    path.write_bytes(
        signing.private_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return path


@contextmanager
def refused(code: str, exit_code: int | None = None) -> Iterator[pytest.ExceptionInfo[ToolError]]:
    """The block ends in a ToolError of that code."""
    with pytest.raises(ToolError) as caught:
        yield caught
    assert caught.value.code == code
    assert exit_code is None or caught.value.exit_code == exit_code


class Ear:
    """What came on the subscriptions of a connection: (topic, payload, retained)."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, bool]] = []
        self._changed = threading.Condition()

    def __call__(self, topic: str, payload: bytes, retained: bool) -> None:
        with self._changed:
            self.got.append((topic, payload, retained))
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[str, bytes, bool]]:
        """All that came, once it is that many."""
        with self._changed:
            seen = self._changed.wait_for(lambda: len(self.got) >= count, 5)
        assert seen, f"{self.got} instead of {count} messages"
        return self.got


class Command:
    """`chargeflash` in this process: exit code, stdout and stderr of one call."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["chargeflash", *map(str, words)])
        self._capsys.readouterr()
        try:
            cli.main()
            exit_code = 0
        except SystemExit as leave:
            exit_code = int(leave.code or 0)
        said = self._capsys.readouterr()
        return exit_code, said.out, said.err

    def fails(self, code: str, exit_code: int, *words: object) -> str:
        """It ends with that exit code and one line that names the code; nothing on stdout."""
        found, out, err = self(*words)
        assert found == exit_code, (found, out, err)
        assert out == "" and err.count("\n") == 1 and err.endswith(f"[{code}]\n"), (out, err)
        return err
