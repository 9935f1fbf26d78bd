"""One mutant of a container from one random generator: bytes, fields, entries, pairs, new signatures."""

from __future__ import annotations

import functools
import hashlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import utils

from bootloader_verify import p256
from tests.fuzz import reference
from tests.fuzz.originals import Original, chain, originals
from tests.unit import containers
from tests.vectors import signing_DO_NOT_USE as signing

ODD_BYTES = (0x00, 0x01, 0x02, 0x07, 0x08, 0x10, 0x30, 0x7F, 0x80, 0x81, 0xFE, 0xFF)
ODD_NUMBERS = (0, 1, 3, 4, 31, 32, 33, 2047, 2048, 2049, 4095, 4096, 4097, 0xFFFF, 0x7FFFFFFF)
ODD_NUMBERS += (0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)
TYPES = (*reference.PROTECTED, *reference.SIGNATURES, 0x00, 0x01, 0x10, 0x24, 0xA4, 0xFFFF)
KEY_NAMES = ("release_1", "release_2", "rollout_1", "root_1", "root_2", "root_3", "stranger")
NAME_OF = {containers.hash_of(name): name for name in KEY_NAMES}
Entries = list[tuple[int, bytes]]


@dataclass
class Parts:
    """A container in pieces that can be bent.

    protected_off, unprotected_off: what the areas' totals lie by; last_off: what the length of the
    very last entry lies by.
    """

    header: list[int]
    gap: bytes
    payload: bytes
    protected: Entries
    unprotected: Entries
    tail: bytes
    protected_off: int = 0
    unprotected_off: int = 0
    last_off: int = 0

    def signed(self) -> bytes:
        head = struct.pack("<IIHHIIBBHII", *self.header)
        protected = area(0x6908, self.protected, self.protected_off) if self.header[3] else b""
        return head + self.gap + self.payload + protected

    def whole(self) -> bytes:
        last = bytearray(area(0x6907, self.unprotected, self.unprotected_off))
        if self.last_off and self.unprotected:
            size = len(self.unprotected[-1][1])
            struct.pack_into("<H", last, len(last) - size - 2, size + self.last_off & 0xFFFF)
        return self.signed() + bytes(last) + self.tail


def area(magic: int, entries: Entries, off: int) -> bytes:
    body = b"".join(struct.pack("<HH", k, len(v) & 0xFFFF) + v for k, v in entries)
    return struct.pack("<HH", magic, 4 + len(body) + off & 0xFFFF) + body


@functools.cache
def _readings() -> dict[str, reference.Reading]:
    found = {}
    for one in (*originals(), *chain()):
        try:
            found[one.name] = reference.read(one.data)
        except reference.RefusedError:
            continue
    return found


def parts(one: Original) -> Parts | None:
    """None for an original that cannot be taken apart."""
    r = _readings().get(one.name)
    if r is None:
        return None
    lists = list(r.protected), list(r.unprotected)
    return Parts(list(r.header), r.gap, r.payload, *lists, one.data[r.end :])


# --- bytes --------------------------------------------------------------------------------------------
def _place(rng: random.Random, data: bytearray) -> int:
    """Anywhere, but as often in the header and at the end, where the structure is."""
    end = len(data)
    return rng.choice(
        (rng.randrange(end), rng.randrange(min(32, end)), end - 1 - rng.randrange(end) // 2)
    )


def flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def put_byte(rng: random.Random, data: bytearray) -> None:
    data[_place(rng, data)] = rng.choice(ODD_BYTES)


def put_number(rng: random.Random, data: bytearray) -> None:
    at, size = _place(rng, data), rng.choice((2, 4))
    if rng.random() < 0.5:
        value = rng.choice(ODD_NUMBERS)
    else:
        value = int.from_bytes(data[at : at + size], "little") + rng.randrange(-4, 5)
    data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def cut(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    del data[at : rng.choice((len(data), at + rng.randrange(1, 40)))]


def grow(rng: random.Random, data: bytearray) -> None:
    more = rng.choice((b"\xff", b"\0", rng.randbytes(1))) * rng.randrange(1, 80)
    at = rng.choice((len(data), _place(rng, data)))
    data[at:at] = more


def splice(rng: random.Random, data: bytearray) -> None:
    other = rng.choice(originals()).data
    at, size = _place(rng, data), rng.choice((len(other), rng.randrange(1, 200)))
    start = rng.choice((at, rng.randrange(len(other))))
    data[at : at + size] = other[start : start + size]


def swap(rng: random.Random, data: bytearray) -> None:
    a, b = sorted((_place(rng, data), _place(rng, data)))
    size = rng.randrange(1, 80)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


BYTES: tuple[Callable[[random.Random, bytearray], None], ...]
BYTES = (flip, flip, put_byte, put_number, cut, grow, splice, swap)


# --- fields and entries -------------------------------------------------------------------------------
HEADER_BITS = (32, 32, 16, 16, 32, 32, 8, 8, 16, 32, 32)


def bend_header(rng: random.Random, p: Parts) -> None:
    at = rng.randrange(len(p.header))
    odd = (rng.choice(ODD_NUMBERS), p.header[at] + rng.randrange(-4, 5), 1 << rng.randrange(32))
    p.header[at] = rng.choice(odd) & (1 << HEADER_BITS[at]) - 1


def bend_payload(rng: random.Random, p: Parts) -> None:
    p.payload = rng.randbytes(rng.randrange(1, 40)) + p.payload[rng.randrange(len(p.payload)) :]
    if rng.random() < 0.9:
        p.header[4] = len(p.payload)


def bend_entries(rng: random.Random, p: Parts) -> None:
    entries = rng.choice((p.protected, p.unprotected))
    at = rng.randrange(len(entries) + 1)
    what = rng.randrange(5)
    if what == 0:
        rng.shuffle(entries)
    elif what == 1 or at == len(entries):
        fresh = (rng.choice(TYPES), rng.randbytes(rng.choice((0, 1, 4, 8, 12, 16, 32, 70))))
        entries.insert(at, rng.choice([fresh, *entries]))
    elif what == 2:
        del entries[at]
    else:
        entries[at] = bent_entry(rng, *entries[at])


def bent_entry(rng: random.Random, kind: int, value: bytes) -> tuple[int, bytes]:
    new = bytearray(value)
    pick = rng.randrange(5)
    if pick < 2 and new:
        (flip, put_byte)[pick](rng, new)
    elif pick < 3:
        return rng.choice(TYPES), value
    else:
        new = new[: rng.randrange(len(new) + 1)] if pick == 3 else new + rng.randbytes(2)
    return kind, bytes(new)


def bend_claims(rng: random.Random, p: Parts) -> None:
    """Entries of the right shape with another content."""
    kind = rng.choice(list(reference.PROTECTED))
    value = rng.randbytes(rng.choice(reference.PROTECTED[kind]))
    if kind == 0xA0:
        value = bytes([rng.randrange(7)])
    elif kind == 0x50:
        value = struct.pack("<I", rng.choice((0, 1, 2, 3, 16, 17, 18, 19, 0xFFFFFFFF)))
    elif kind == 0xA1:
        value = rng.choice((b"A", b"B,A", b"a", b"A,", b"AB"))
    elif kind == 0xA2:
        value = struct.pack("<BBHI", *(rng.choice((0, 0, 1, 255)) for _ in range(4)))
    p.protected = [e for e in p.protected if e[0] != kind] + [(kind, value)]


def bend_totals(rng: random.Random, p: Parts) -> None:
    off = rng.choice((-4, -3, -2, -1, 1, 2, 3, 4, 2000, rng.randrange(-0x8000, 0x8000)))
    if rng.random() < 0.5:
        p.tail += b"\xff" * off  # so that it lies inside of the room
    setattr(p, rng.choice(("protected_off", "unprotected_off", "last_off")), off)


# --- pairs --------------------------------------------------------------------------------------------
def bend_pairs(rng: random.Random, p: Parts) -> None:
    """Shuffle, drop, double or cross (KEYHASH, signature) pairs, or take one from elsewhere."""
    entries = p.unprotected
    pairs = [entries[i : i + 2] for i in range(1, len(entries) - 1, 2)]
    donor = rng.choice(list(_readings().values())).unprotected
    pairs += [donor[1:3]] if len(donor) > 2 and rng.random() < 0.7 else []
    pairs += [[(1, rng.randbytes(32)), (0x22, rng.randbytes(70))]] if rng.random() < 0.3 else []
    if len(pairs) > 1 and rng.random() < 0.3:
        a, b = rng.sample(pairs, 2)
        a[1], b[1] = b[1], a[1]
    pairs *= rng.choice((1, 1, 1, 2, 5))
    rng.shuffle(pairs)
    kept = pairs[: rng.randrange(6)] if rng.random() < 0.5 else pairs
    p.unprotected = [*entries[:1], *(e for one in kept for e in one)]


def bend_signature(rng: random.Random, p: Parts) -> None:
    places = [i for i, (kind, _) in enumerate(p.unprotected) if kind in reference.SIGNATURES]
    if not places:
        return
    at = rng.choice(places)
    kind, value = p.unprotected[at]
    spell = respelled if kind == 0x22 and rng.random() < 0.7 else None
    p.unprotected[at] = (kind, spell(rng, value)) if spell else bent_entry(rng, kind, value)


def respelled(rng: random.Random, der: bytes) -> bytes:
    """The high-S twin, and the spellings of one signature that strict DER refuses."""
    rs = p256.decode_signature(der)
    if rs is None:
        return der
    r, s = rs
    n = p256.N
    numbers = [
        (r, n - s),
        (n - r, s),
        (s, r),
        (r + n, s),
        (r, s + n),
        (0, s),
        (r, 0),
        (r, n),
        (n, s),
    ]
    wrong = [der[:1] + b"\x81" + der[1:], der + b"\0", der[:-1], b"\x31" + der[1:], bytes(70)]
    wrong += [b"\x30\x80" + der[2:] + b"\0\0", b"\x30" + bytes([der[1] - 1]) + der[2:]]
    for first in (b"\0" + der[4 : 4 + der[3]], der[5 : 4 + der[3]]):  # padded; negative or cut
        rest = der[4 + der[3] :]
        both = b"\x02" + bytes([len(first)]) + first + rest
        wrong.append(b"\x30" + bytes([len(both)]) + both)
    if rng.random() < 0.4:
        return utils.encode_dss_signature(*rng.choice((numbers[0], rng.choice(numbers))))
    return rng.choice(wrong)


def sign_anew(rng: random.Random, p: Parts) -> None:
    """Good signatures of test keys over what now stands there: only rungs 6 and up can refuse it."""
    reseal(p)
    names = [NAME_OF[value] for kind, value in p.unprotected if kind == 0x01 and value in NAME_OF]
    if not names or rng.random() < 0.5:
        names = [rng.choice((*names, *KEY_NAMES)) for _ in range(rng.choice((1, 1, 2, 3)))]
    p.unprotected = p.unprotected[:1]
    for name in names:
        value = signing.sign(name, p.unprotected[0][1])
        p.unprotected += [(0x01, containers.hash_of(name)), (0x22, value)]


def reseal(p: Parts) -> None:
    """The digest of what now stands there."""
    if p.header[3]:
        p.header[3] = len(area(0x6908, p.protected, 0)) & 0xFFFF
    p.unprotected = [(0x10, hashlib.sha256(p.signed()).digest()), *p.unprotected[1:]]


SIGNED = (bend_header, bend_payload, bend_entries, bend_entries, bend_claims, bend_claims)
UNSIGNED = (bend_pairs, bend_pairs, bend_signature, bend_entries, bend_totals)


# --- all of it ----------------------------------------------------------------------------------------
def by_bytes(rng: random.Random, one: Original) -> bytes:
    data = bytearray(one.data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if data:
            rng.choice(BYTES)(rng, data)
    return bytes(data)


def by_parts(rng: random.Random, one: Original, sign: float = 0.08) -> bytes:
    """`sign`: share of those with other signed bytes that get good signatures as well."""
    p = parts(one)
    if p is None:
        return by_bytes(rng, one)
    if rng.random() < 0.6:
        rng.choice(SIGNED)(rng, p)
        if rng.random() < sign:
            sign_anew(rng, p)
        elif rng.random() < 0.3:
            reseal(p)
    else:
        rng.choice(UNSIGNED)(rng, p)
    if rng.random() < 0.1:
        p.tail = rng.choice((b"", b"\xff" * 9, b"\0" * 9, rng.randbytes(3)))
    return p.whole()


def from_nothing(rng: random.Random, _one: Original) -> bytes:
    """Random bytes, or a good header and random areas of entries of the profile's types."""
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(300))
    entries = [
        [(rng.choice(TYPES), rng.randbytes(rng.choice((0, 1, 4, 16, 32)))) for _ in range(n)]
        for n in (rng.randrange(4), rng.randrange(10))
    ]
    entries[1].insert(0, (0x10, bytes(32)))
    header = [0x96F3B83D, 0, 32, 1, 8, 0, 1, 2, 3, 4, 0]
    p = Parts(header, b"", rng.randbytes(8), *entries, b"")
    reseal(p)
    if rng.random() < 0.5:
        rng.choice((bend_totals, bend_header, bend_pairs))(rng, p)
    return p.whole()
