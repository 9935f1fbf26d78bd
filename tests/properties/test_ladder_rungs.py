"""The tests are tested: with any one rung of the ladder switched off, something bad climbs it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bootloader_verify import container, ladder
from bootloader_verify.errors import CodedError
from tests.unit import containers
from tests.unit.containers import body, image, keyset, other, pair, protected_entries, seal, tlv
from tests.vectors import signing_DO_NOT_USE

Attempt = Callable[[], Any]
REVOKED = keyset(revoked=["release_2"])


@pytest.fixture(scope="module", autouse=True)
def live_signer() -> Iterator[None]:
    before, containers.signer = containers.signer, signing_DO_NOT_USE.sign
    yield
    containers.signer = before


def climb(data: bytes, keys: Any = None, later: bytes | None = None) -> Any:
    """All ten rungs; at the last one the flash shows `later`."""
    found = containers.check(data, keys)
    ladder.recheck(containers.reader(later or data), found)
    return found


def corpus() -> dict[int, list[Attempt]]:
    """Bad containers, by the rung that must stop them; each is good in every other respect."""
    good = image()
    digest = containers.digest_of(body())
    entries = protected_entries()
    flipped = good[:40] + bytes([good[40] ^ 1]) + good[41:]
    crossed = pair("stranger", digest, keyhash=containers.hash_of("release_1"))
    bad_second = pair("release_2", digest, signature=bytes(70))
    return {
        1: [lambda: climb(image(bent={"magic": 0x96F3B83C}))],
        2: [lambda: climb(image(payload=b""))],
        3: [lambda: climb(seal(body([*entries, b"\0\0\0"])))],
        4: [
            lambda: climb(seal(body([*entries, tlv(0x00A4, b"x")]))),
            lambda: climb(seal(body([tlv(0x50, struct.pack("<I", 9)), *entries]))),
        ],
        5: [lambda: climb(flipped, later=good)],
        6: [
            lambda: climb(image(["rollout_1"])),
            lambda: climb(image(["release_1", "release_2"]), REVOKED),
            lambda: climb(seal(body(), pairs=[pair("release_1", digest, kind=0x23)])),
        ],
        7: [
            lambda: climb(seal(body(), pairs=[crossed])),
            lambda: climb(seal(body(), pairs=[pair("release_1", digest), bad_second])),
            lambda: climb(good, keyset(thresholds={"release": 2})),
        ],
        8: [
            lambda: climb(image(vid=bytes(16))),
            lambda: climb(image(epoch=0)),
            lambda: climb(image(epoch=99)),
            lambda: climb(image(revisions=b"Z")),
            lambda: climb(seal(body([*protected_entries(2)], flags=0x10))),
        ],
        9: [lambda: climb(good + b"\0")],
        10: [lambda: climb(good, later=flipped)],
    }


def stopped(attempt: Attempt) -> bool:
    try:
        attempt()
    except CodedError:
        return True
    return False


# --- the ladder without one rung ----------------------------------------------------------------------
def nothing(*_: Any) -> None:
    pass


def no_pieces(*_: Any) -> tuple[()]:
    return ()


def any_magic(read: Any, _size: int) -> Any:
    head = bytearray(32)
    read(0, head)
    return head, container.Header(struct.unpack(container.HEADER, head))


def loose_entries(area: bytes, lengths: Any) -> list[tuple[int, bytes]]:
    """Takes what fits and looks neither at the rest nor at the total."""
    found, at = [], 4
    while at + 4 <= len(area):
        kind, size = struct.unpack_from("<HH", area, at)
        found.append((kind, area[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


def any_types(found: Any, area: bytes) -> None:
    for kind, value in loose_entries(area, None):
        found.protected[kind] = value


def any_claims(header: Any, tlvs: Any, _keyset: Any, expect: Any) -> Any:
    return ladder.Verified(header, tlvs, expect.kind, 1)


OFF: dict[int, list[tuple[Any, str, Any]]] = {
    1: [(ladder, "_rung_1_magic", any_magic)],
    2: [(ladder, "_rung_2_bounds", nothing)],
    3: [(container, "TLV_BYTES_MAX", 0xFFFF), (container, "_entries", loose_entries)],
    4: [(container, "_collect_protected", any_types)],
    5: [(ladder, "_rung_5_digest", no_pieces)],
    6: [(ladder, "_rung_6_keys", nothing)],
    7: [(ladder, "_rung_7_signatures", nothing)],
    8: [(ladder, "_rung_8_claims", any_claims)],
    9: [(ladder, "_rung_9_erased", nothing)],
    10: [(ladder, "recheck", nothing)],
}


def test_the_whole_ladder_stops_all_of_them() -> None:
    climb(image())
    climb(image(["release_1", "stranger", "release_rsa"]) + b"\xff" * 50)
    for rung, attempts in corpus().items():
        assert all(stopped(one) for one in attempts), rung


@pytest.mark.parametrize("rung", sorted(OFF))
def test_without_one_rung_something_bad_climbs(rung: int, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = corpus()
    for where, name, instead in OFF[rung]:
        assert hasattr(where, name)
        monkeypatch.setattr(where, name, instead)
    assert not all(stopped(one) for one in attempts[rung])
    others = [one for other, group in attempts.items() if other != rung for one in group]
    assert sum(stopped(one) for one in others) >= len(others) - 1


def test_every_kind_still_asks_for_its_own_role(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = other(2, ["release_1"])
    asked = containers.expect(2)
    assert stopped(lambda: containers.check(manifest, None, asked))
    monkeypatch.setattr(ladder, "_rung_6_keys", nothing)
    assert not stopped(lambda: containers.check(manifest, None, asked))
