"""One input of the fuzzer, made from (seed, number), and the judgement over it.

container  the ladder over a mutant: the verdict is the reference's, nothing but VerifyError escapes,
           no byte outside is read and none of the payload twice
changing   the same while the flash shows other bytes from some read on
keyset     keyset.parse over mangled JSON
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from bootloader_verify import errors, keyset, ladder, p256
from bootloader_verify.errors import VerifyError
from bootloader_verify.keyset_store import CONTAINER_BYTES_MAX, KeysetStore
from tests.fuzz import mutate, reference
from tests.fuzz.originals import Device, Original, chain, factory, originals
from tests.power.flash_model import RamNor
from tests.unit import containers

CODES = frozenset(v for k, v in vars(errors).items() if k.isupper() and isinstance(v, str))
BUFFER_BYTES_MAX = 2048  # no memory in proportion to what a container claims
HEAD_READS_BYTES = 8  # both areas' heads are read twice: to learn their length, and with the area
# Verdicts beside the codes. signed anew: the fuzzer bent it and signed it with a trusted test key.
ACCEPTED, SIGNED_ANEW, A_KEYSET = "accepted", "accepted, signed anew", "a keyset"
# A pure function, asked about the same few signatures again and again.
verify_once = functools.lru_cache(maxsize=100_000)(p256.verify)


@dataclass
class Input:
    """What the numbers made. `later`, `turn`: other bytes from read number `turn` on."""

    kind: str
    original: Original | None
    data: bytes
    later: bytes = b""
    turn: int = 0


class Flash:
    """Counts what is read and refuses to read outside."""

    def __init__(self, made: Input) -> None:
        self._made = made
        self.size = len(made.data)
        self.reads = self.read_bytes = 0

    def read(self, offset: int, buf: Any) -> None:
        end = offset + len(buf)
        assert 0 <= offset <= end <= self.size, f"read {offset}..{end} of {self.size}"
        assert len(buf) <= BUFFER_BYTES_MAX, f"a buffer of {len(buf)}"
        self.reads += 1
        self.read_bytes += len(buf)
        made = self._made
        data = made.later if made.turn and self.reads >= made.turn else made.data
        buf[:] = data[offset:end]


def make(seed: int, number: int) -> Input:
    """Input `number` of `seed`; the same on every run."""
    rng = random.Random(seed << 40 | number)
    if number < len(originals()):
        one = originals()[number]
        return Input("container", one, one.data)
    if number < len(originals()) + len(chain()):
        one = chain()[number - len(originals())]
        return Input("chain", one, one.data)
    pick = rng.random()
    if pick < 0.06:
        return Input("keyset", None, _json(rng))
    if pick < 0.1:
        one = rng.choice(chain())
        maker = mutate.by_bytes if rng.random() < 0.3 else mutate.by_parts
        return Input("chain", one, maker(rng, one))
    one = rng.choice(originals())
    if pick < 0.15:
        return _changing(rng, one)
    maker = (
        mutate.by_bytes if pick < 0.5 else mutate.by_parts if pick < 0.95 else mutate.from_nothing
    )
    return Input("container", one, maker(rng, one))


def _changing(rng: random.Random, one: Original) -> Input:
    maker = mutate.by_bytes if rng.random() < 0.5 else functools.partial(mutate.by_parts, sign=0.0)
    other = maker(rng, one)[: len(one.data)]
    other += one.data[len(other) :]
    first, second = rng.choice(((one.data, other), (other, one.data)))
    return Input("changing", one, first, second, rng.randrange(1, 9))


_FIELDS = containers.keyset_fields(["root_1", "root_2", "release_1", "release_rsa", "rollout_1"])
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2,
    16,
    17,
    1 << 32,
    1e400,
    0.5,
    "",
    "all",
    "root",
    "boss",
)
_ODD += ([], {}, "ab" * 32, "ab" * 16, "\ud800", ["ab" * 32], {"ab" * 16: 5}, {"ab" * 16: -1})


def _json(rng: random.Random) -> bytes:
    """A keyset with one value or one name changed, or with mangled bytes."""
    fields = json.loads(json.dumps(_FIELDS))
    if rng.random() < 0.7:
        inside: Any = rng.choice((fields, fields, fields["thresholds"], *fields["keys"]))
        value = rng.choice((*_ODD, rng.choice(list(inside.values()))))
        inside[rng.choice((*inside, *inside, "more"))] = value
    data = bytearray(json.dumps(fields).encode())
    if rng.random() < 0.3:
        rng.choice(mutate.BYTES)(rng, data)
    if rng.random() < 0.02:
        data[:0] = rng.choice((b"[", b'{"a":', b" ")) * rng.randrange(13_000)
    return bytes(data)


# --- judging ------------------------------------------------------------------------------------------
def judge(made: Input) -> str:
    """The code, ACCEPTED, SIGNED_ANEW or A_KEYSET; AssertionError or anything else is a finding."""
    return JUDGES[made.kind](made)


def climb(made: Input) -> tuple[str, Any]:
    """(code, None) or ("", what was verified), with the bounds of reading checked."""
    assert made.original is not None
    flash = Flash(made)
    device = made.original.device
    try:
        found = ladder.check(flash.read, flash.size, device.keys, device.asked)
    except VerifyError as error:
        assert error.code in CODES, error.code
        found, code = None, error.code
    else:
        code = ""
    assert flash.read_bytes <= flash.size + HEAD_READS_BYTES, flash.read_bytes
    return code, found


def container(made: Input) -> str:
    code, found = climb(made)
    try:
        reading = reference.accept(made.data, made.original.device)
    except reference.RefusedError as rule:
        assert code, f"accepted against the rule: {rule}"
        return code
    assert not code, f"{code}, but every rule is kept"
    assert found.digest == reading.unprotected[0][1] and found.end == reading.end
    assert found.tlvs == reading.claims and found.version == reading.header[6:10]
    ladder.recheck(Flash(made).read, found)
    return ACCEPTED if found.digest in signed_readings() else SIGNED_ANEW


def changing(made: Input) -> str:
    """Accepted only if all that was parsed is what one of the originals says."""
    code, found = climb(made)
    if code:
        return code
    assert found.digest in signed_readings(), "a mixture that nobody signed"
    reading = signed_readings()[found.digest]
    assert found.tlvs == reading.claims and found.version == reading.header[6:10]
    try:
        ladder.recheck(Flash(Input("container", made.original, made.later)).read, found)
    except VerifyError as error:
        return error.code
    return ACCEPTED


def keyset_payload(made: Input) -> str:
    try:
        found = keyset.parse(made.data)
    except VerifyError as error:
        return error.code
    assert type(found.version) is int and 1 <= found.version <= 0xFFFFFFFF
    assert 1 <= len(found.keys) <= 16 and len(found.revoked) <= 32
    known = {bytes.fromhex(one["id"]): bytes.fromhex(one["key"]) for one in _FIELDS["keys"]}
    for key_id, key in found.keys.items():
        assert key.id == key_id and key.raw == known[key_id], "another key under a known id"
        assert key.role in ("root", "release", "rollout")
    assert all(1 <= found.threshold(role) <= 16 for role in ("root", "release", "rollout"))
    for role in keyset.ROLES:
        able = [k for k, key in found.keys.items() if key.role == role and k not in found.revoked]
        assert len(able) >= found.threshold(role), "nobody could ever sign"
    assert all(len(one) == 32 for one in found.revoked)
    assert all(len(k) == 32 and 0 <= v <= 0xFFFFFFFF for k, v in found.min_epoch.items())
    return A_KEYSET


def next_keyset(made: Input) -> str:
    """Taken, and kept over a restart, exactly if N and N + 1 signed it; else nothing is written."""
    flash = RamNor(2 * 8192, 1024, 8)
    store = KeysetStore(flash, factory())
    try:
        found = store.accept(made.data)
    except VerifyError as error:
        assert error.code in CODES and flash.operations == 0 and store.keyset.version == 1
        assert not follows(made), f"{error}, but every rule is kept"
        return error.code
    assert follows(made), "taken against the rules"
    again = KeysetStore(flash, factory())
    assert found.version == 2 and (again.keyset.keys.keys(), again.damaged) == (
        found.keys.keys(),
        False,
    )
    known = hashlib.sha256(reference.read(made.data).signed).digest() in signed_readings()
    return ACCEPTED if known else SIGNED_ANEW


def follows(made: Input) -> bool:
    """FORMATS 6: the threshold of N and of N + 1, and version exactly N + 1."""
    device = made.original.device
    try:
        payload = reference.accept(made.data, device).payload
        found = keyset.parse(payload)
        reference.accept(made.data, Device(found, device.asked))
    except (reference.RefusedError, VerifyError):
        return False
    return found.version == device.keys.version + 1 and len(made.data) <= CONTAINER_BYTES_MAX


JUDGES = {
    "container": container,
    "changing": changing,
    "keyset": keyset_payload,
    "chain": next_keyset,
}


@functools.cache
def signed_readings() -> dict[bytes, reference.Reading]:
    """The originals that are whole, by their digests."""
    found = {}
    for one in (*originals(), *chain()):
        try:
            reading = reference.read(one.data)
        except reference.RefusedError:
            continue
        found[hashlib.sha256(reading.signed).digest()] = reading
    return found
