"""The store: a folder with everything that is published, and what the devices said.

    images/<digest>.img       container bytes, named by the container's digest (hex)
    images/<digest>.json      its artifacts in the order of preference; written last, so it is whole
    artifacts/<id>/           index.bin, blocks.bin (encoded, one behind the other), artifact.json
    offers/<device>.json      the last seq that was given to a device
    offers/<device>.lock      held from the making of an offer until the broker has it
    requests.json             the last request id
    devices/<device>.json     last status and whether it is online, as the device says
    events.jsonl              one event of a device a line

Files appear whole or not at all (temporary file, then replace). Several commands and servers may
work on one store; what counts up does so under a lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from host_tools import files
from host_tools.artifact import Artifact
from host_tools.errors import EXIT_FAILED, EXIT_NOT_FOUND, ToolError
from host_tools.stored import ABOUT, BLOCKS, INDEX, StoredArtifact, checked_entry, damaged

SCHEMA = 1
_DIGEST_CHARS = 64
_DIGEST_CHARS_MIN = 8  # of a digest that a person shortened
_REQUEST_ID_MAX = 0x7FFFFFFF
_SEQ_MAX = 0xFFFFFFFF
_ID_CHARS = 32
_HEX_DIGITS = frozenset("0123456789abcdef")
_JSON_BYTES_MAX = 1024 * 1024


class Store:
    """One store; ToolError NO_STORE unless the folder is there or `create` makes it."""

    def __init__(self, folder: Path, create: bool = False) -> None:
        self.folder = folder
        if create:
            with _named_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            text = f"there is no store at {folder}: chargeflash publish makes one"
            raise ToolError("NO_STORE", text, EXIT_NOT_FOUND)

    # --- images and artifacts -----------------------------------------------------------------
    def add(self, digest: bytes, image: bytes, artifacts: list[Artifact]) -> None:
        """Publish: after this every server of the store has it. Doing it again changes nothing."""
        with self._locked():
            for made in artifacts:
                self._add_artifact(digest, made)
            self._write(f"images/{digest.hex()}.img", image)
            ids = [made.id.hex() for made in artifacts]
            known = {"schema": SCHEMA, "digest": digest.hex(), "size": len(image)}
            self._write_json(f"images/{digest.hex()}.json", known | {"artifacts": ids})

    def _add_artifact(self, digest: bytes, made: Artifact) -> None:
        place = self.folder / "artifacts" / made.id.hex()
        about = {"schema": SCHEMA, "id": made.id.hex(), "image": digest.hex()} | made.entry()
        parts = {INDEX: made.index, BLOCKS: b"".join(made.blocks), ABOUT: _json(about)}
        if _holds(place, parts):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
        try:
            for name, data in parts.items():
                _write_file(temporary / name, data)
            temporary.chmod(0o755)  # mkdtemp keeps it from the servers of other users
            _remove(place)  # damaged, or we were not here
            temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def open_artifact(self, artifact_id: bytes) -> StoredArtifact | None:
        """None when it is not published here; ToolError DAMAGED."""
        try:
            return StoredArtifact(self.folder / "artifacts" / artifact_id.hex(), artifact_id)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            text = f"artifact {artifact_id.hex()} cannot be read: {error}"
            raise ToolError("DAMAGED", text) from error

    def find(self, digest: str) -> bytes:
        """The digest of the one published image that begins so (at least 8 hex digits)."""
        wanted = digest.lower()
        if not set(wanted) <= _HEX_DIGITS or not _DIGEST_CHARS_MIN <= len(wanted) <= _DIGEST_CHARS:
            text = f"{digest} is no file and no digest (8 to 64 hex digits)"
            raise ToolError("NO_IMAGE", text, EXIT_NOT_FOUND)
        listed = (self.folder / "images").glob(f"{wanted}*.json")
        found = sorted(path for path in listed if _is_hex(path.stem, _DIGEST_CHARS))
        if len(found) != 1:
            what = f"{len(found)} images begin with" if found else "no image is published as"
            raise ToolError("NO_IMAGE", f"{what} {digest} in {self.folder}", EXIT_NOT_FOUND)
        return bytes.fromhex(found[0].stem)

    def image(self, digest: bytes) -> bytes:
        """The container bytes of a published image."""
        path = self.folder / "images" / f"{digest.hex()}.img"
        with _named_errors(path), files.open_regular(path) as file:
            return file.read(files.BYTES_MAX)

    def artifacts_of(self, digest: bytes) -> list[dict[str, Any]]:
        """Manifest entries of a published image's artifacts, in the order of preference.

        ToolError DAMAGED unless every one of them is whole and rebuilds the image.
        """
        image = self.image(digest)
        listed = self._read_json(f"images/{digest.hex()}.json").get("artifacts")
        if not isinstance(listed, list) or not listed or not all(map(_is_id, listed)):
            text = f"what is known of image {digest.hex()} is damaged: publish it again"
            raise ToolError("DAMAGED", text)
        return [self._entry(bytes.fromhex(name), image) for name in listed]

    def _entry(self, artifact_id: bytes, image: bytes) -> dict[str, Any]:
        about = self._read_json(f"artifacts/{artifact_id.hex()}/{ABOUT}")
        found = self.open_artifact(artifact_id)
        if found is None:
            raise damaged(artifact_id)
        with closing(found):
            return checked_entry(about, found, image)

    def published(self, digest: bytes) -> tuple[bytes, list[dict[str, Any]]]:
        """Container bytes and manifest entries that belong together, whoever publishes meanwhile."""
        with self._locked():
            return self.image(digest), self.artifacts_of(digest)

    # --- numbers that count up ----------------------------------------------------------------
    def next_offer(self, device: str, digest: bytes) -> tuple[int, int]:
        """(request id, seq) for an offer to a device. Neither is ever given a second time."""
        with self._locked():
            request_id = self._count("requests.json", "request_id", _REQUEST_ID_MAX)
            about = {"device": device, "image": digest.hex(), "request_id": request_id}
            seq = self._count(f"offers/{device}.json", "seq", _SEQ_MAX, about)
        return request_id, seq

    @contextmanager
    def offering(self, device: str) -> Iterator[None]:
        """One at a time for each device, or a higher seq is overtaken on its way to the broker."""
        path = self.folder / "offers" / f"{device}.lock"
        with _named_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("ab")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _count(self, name: str, field: str, most: int, about: dict[str, Any] | None = None) -> int:
        last = self._read_json(name).get(field) if (self.folder / name).exists() else 0
        if type(last) is not int or not 0 <= last < most:
            raise ToolError("DAMAGED", f"{self.folder / name} has no usable {field}")
        self._write_json(name, {"schema": SCHEMA, field: last + 1} | (about or {}))
        return last + 1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _named_errors(self.folder), (self.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def try_intake_lock(self) -> IO[bytes] | None:
        """The right to write down what devices say, for as long as the file is open; else None."""
        lock = (self.folder / "intake.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
        return lock

    # --- what devices say ---------------------------------------------------------------------
    def device(self, name: str) -> dict[str, Any]:
        """What was last written of a device; empty if nothing was."""
        try:
            path = self.folder / "devices" / f"{name}.json"
            found = json.loads(files.read(path, _JSON_BYTES_MAX))
        except (ToolError, ValueError, RecursionError):
            return {}  # the device says it again
        return found if isinstance(found, dict) else {}

    def write_device(self, name: str, fields: dict[str, Any]) -> None:
        """Replace what is known of a device."""
        about = {"schema": SCHEMA, "device": name} | fields
        self._write_json(f"devices/{name}.json", about, durable=False)

    def append_event(self, fields: dict[str, Any]) -> None:
        """One line at the end of events.jsonl; lines of several writers do not mix."""
        line = json.dumps({"schema": SCHEMA} | fields).encode() + b"\n"
        with (self.folder / "events.jsonl").open("ab", buffering=0) as file:
            file.write(line)

    # --- files --------------------------------------------------------------------------------
    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found = json.loads(files.read(path, _JSON_BYTES_MAX))
        except (ToolError, ValueError, RecursionError) as error:
            raise ToolError("DAMAGED", f"{path} cannot be read: {error}") from error
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise ToolError("DAMAGED", f"{path} is not of schema {SCHEMA}")
        return found

    def _write_json(self, name: str, fields: dict[str, Any], durable: bool = True) -> None:
        self._write(name, _json(fields), durable)

    def _write(self, name: str, data: bytes, durable: bool = True) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        os.close(descriptor)
        try:
            _write_file(Path(temporary), data, durable)
            Path(temporary).chmod(0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def _is_hex(text: str, chars: int) -> bool:
    return len(text) == chars and set(text) <= _HEX_DIGITS


def _is_id(name: Any) -> bool:
    return isinstance(name, str) and _is_hex(name, _ID_CHARS)


def _holds(folder: Path, parts: dict[str, bytes]) -> bool:
    """The folder has exactly these bytes in these files."""
    try:
        return all(files.read(folder / name) == data for name, data in parts.items())
    except ToolError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1).encode() + b"\n"


def _write_file(path: Path, data: bytes, durable: bool = True) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise ToolError("STORE_FAILED", f"{where}: {error.strerror}", EXIT_FAILED) from error
