"""What the fuzzer begins with: devices that ask, and containers of which each one's verdict is known.

Together the originals meet every code of the ladder, so that a mutant of any of them can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from bootloader_verify import keyset_store
from bootloader_verify.keyset import ECDSA_P256, Keyset
from bootloader_verify.ladder import Expect
from host_tools import p256_table
from tests.unit import containers
from tests.unit.containers import (
    body,
    digest_of,
    expect,
    image,
    keyset,
    keyset_container,
    other,
    pair,
    protected_entries,
    seal,
    tlv,
)
from tests.vectors import signing_DO_NOT_USE as signing

Made = TypeVar("Made")


@dataclass(frozen=True)
class Device:
    """Who is asked: a keyset and what it expects."""

    keys: Keyset
    asked: Expect


@dataclass(frozen=True)
class Original:
    name: str
    device: Device
    data: bytes
    code: str  # "" = accepted


def devices() -> dict[str, Device]:
    cid = containers.CID.hex()
    two = keyset(thresholds={"release": 2})
    old = keyset(revoked=["release_2", "stranger"], min_epoch={cid: 3})
    mine = keyset(["release_1", "release_rsa"], device_class=cid)
    return {
        "image": Device(with_tables(keyset()), expect()),
        "two": Device(two, expect()),
        "old": Device(old, expect(max_epoch=None, erased=0)),
        "class": Device(mine, expect(agent_version=(0, 9), slot_offset=0x40000)),
        "host": Device(keyset(), Expect(1)),
        "manifest": Device(keyset(), expect(2)),
        "keyset": Device(keyset(), expect(3)),
        "ticket": Device(keyset(), expect(4)),
    }


def with_tables(trusted: Keyset) -> Keyset:
    """As on a device whose base firmware has the multiples of its keys."""
    for key in trusted.keys.values():
        if key.alg == ECDSA_P256:
            key.table = p256_table.make(key.raw)
    return trusted


def _wrong_pairs() -> list[tuple[str, bytes, str]]:
    digest = digest_of(body())
    good = pair("release_1", digest)
    crossed = pair("stranger", digest, keyhash=containers.hash_of("release_1"))
    as_rsa = pair("release_1", digest, signature=bytes(384), kind=0x23)
    bad_second = pair("release_2", digest, signature=bytes(70))
    return [
        ("crossed", seal(body(), pairs=[crossed]), "BAD_SIGNATURE"),
        ("bad second", seal(body(), pairs=[good, bad_second]), "BAD_SIGNATURE"),
        ("ec as rsa", seal(body(), pairs=[as_rsa]), "ALG_MISMATCH"),
        ("no signature", seal(body(), pairs=[]), "UNSIGNED"),
    ]


def _bent() -> list[tuple[str, bytes, str]]:
    """One wrong thing each, under a good signature."""
    entries = protected_entries()
    size = sum(len(one) for one in entries) + 4
    digest = digest_of(body())
    pairs = [tlv(1, digest), pair("release_1", digest)]
    no_sha = body() + containers.area(0x6907, pairs)
    longer = pair("release_1", digest)
    at = 36  # where the signature's type and length stand, behind the KEYHASH
    longer = longer[: at + 2] + bytes([longer[at + 2] + 1, 0]) + longer[at + 4 :]
    short_salt = tlv(1, containers.hash_of("release_rsa")) + tlv(0x23, signing.pss(digest, 20))
    return [
        ("pad", image(bent={"pad": 1}), "UNSUPPORTED"),
        ("load address", image(bent={"load_addr": 0x40000}), "UNSUPPORTED"),
        ("image that does not boot", image(bent={"flags": 0x10}), "WRONG_KIND"),
        ("other revision", image(revisions=b"B,AA,a"), "WRONG_HW"),
        ("protected size", seal(body(protect_tlv_size=size + 4)), "BAD_TLV"),
        ("digest of another type", no_sha, "BAD_TLV"),
        ("entry across the end", seal(body(), pairs=[longer]), "BAD_TLV"),
        ("short salt", seal(body(), pairs=[short_salt]), "BAD_SIGNATURE"),
    ]


def _images() -> list[tuple[str, bytes, str]]:
    long = bytes(range(256)) * 9
    return [
        ("ec", image(), ""),
        ("ec in a slot", image() + b"\xff" * 300, ""),
        ("rsa", image(["release_rsa"]), ""),
        ("three", image(["release_rsa", "release_1", "release_2"]), ""),
        ("stranger first", image(["stranger", "release_1"]), ""),
        ("long", image(payload=long, bent={"hdr_size": 64}), ""),
        ("all claims", image(revisions=b"B,A", least_agent=(1, 0, 0, 0), epoch=17), ""),
        ("stranger", image(["stranger"]), "UNKNOWN_KEY"),
        ("rollout", image(["rollout_1"]), "WRONG_ROLE"),
        ("manifest in a slot", other(2), "WRONG_KIND"),
        ("kind 5", image(kind=5), "WRONG_KIND"),
        ("other vendor", image(vid=bytes(16)), "WRONG_HW"),
        ("no class", image(cid=None), "WRONG_HW"),
        ("no epoch", image(epoch=None), "BAD_EPOCH"),
        ("epoch 0", image(epoch=0), "ROLLBACK"),
        ("epoch 18", image(epoch=18), "EPOCH_JUMP"),
        ("newer agent", image(least_agent=(1, 0, 0, 1)), "DEPENDENCY"),
        ("bytes behind", image() + b"\xff\0\xff", "NOT_ERASED"),
        ("version 1", image(bent={"magic": 0x96F3B83C}), "BAD_MAGIC"),
        ("short header", image(bent={"hdr_size": 31}), "BAD_HEADER"),
        ("empty", image(payload=b""), "BAD_SIZE"),
        ("encrypted", image(bent={"flags": 4}), "UNSUPPORTED"),
        ("unknown entry", seal(body([*protected_entries(), tlv(0xA4, b"x")])), "BAD_TLV"),
        ("two epochs", seal(body([*protected_entries(), tlv(0x50, bytes(4))])), "BAD_EPOCH"),
        ("payload", image()[:40] + b"\1" + image()[41:], "BAD_HASH"),
        *_wrong_pairs(),
        *_bent(),
    ]


def _others() -> dict[str, list[tuple[str, bytes, str]]]:
    fixed = {"flags": 0x100, "load_addr": 0x40000}
    elsewhere = {"flags": 0x100, "load_addr": 0x80000}
    return {
        "two": [
            ("one of two", image(), "THRESHOLD"),
            ("two", image(["release_1", "release_rsa"]), ""),
        ],
        "old": [
            ("revoked", image(["release_2"], epoch=9), "REVOKED"),
            ("erased is zero", image(epoch=900) + bytes(40), ""),
            ("class limit", image(epoch=2), "ROLLBACK"),
        ],
        "class": [
            ("mine", image(), ""),
            ("rom fixed", image(bent=fixed), ""),
            ("rom fixed elsewhere", image(bent=elsewhere), "WRONG_HW"),
            ("other class", image(cid=bytes(16)), "WRONG_ROLE"),
        ],
        "host": [("any", image(epoch=900, revisions=b"Z", least_agent=(9, 0, 0, 0)), "")],
        "manifest": [("manifest", other(2), ""), ("image as manifest", image(), "WRONG_KIND")],
        "keyset": [
            ("keyset", other(3, ["root_1", "root_2"], containers.keyset_json()), ""),
            ("one root twice", other(3, ["root_1", "root_1"]), "THRESHOLD"),
        ],
        "ticket": [("ticket", other(4), ""), ("manifest as ticket", other(2), "WRONG_KIND")],
    }


ROOTS = ("root_1", "root_2")
CHAIN_NAMES = ("root_1", "root_2", "root_3", "release_1", "rollout_1")


def _chain() -> list[tuple[str, bytes, str]]:
    """What is offered to a device with keyset 1."""
    swapped = ("root_2", "root_3", "release_2", "rollout_1")
    return [
        ("keyset 2", keyset_container(2, ROOTS, CHAIN_NAMES), ""),
        ("other roots", keyset_container(2, ("root_1", "root_2", "root_3"), swapped), ""),
        ("revokes", keyset_container(2, ROOTS, CHAIN_NAMES, ["root_3"]), ""),
        ("keyset 1", keyset_container(1, ROOTS, CHAIN_NAMES), "KEYSET_CHAIN"),
        ("keyset 3", keyset_container(3, ROOTS, CHAIN_NAMES), "KEYSET_CHAIN"),
        ("by one", keyset_container(2, ["root_1", "root_1"], CHAIN_NAMES), "KEYSET_CHAIN"),
        ("by the old", keyset_container(2, ROOTS, swapped), "KEYSET_CHAIN"),
        ("no roots", keyset_container(2, ROOTS, ["release_1"]), "BAD_KEYSET"),
        ("an image", image(), "WRONG_KIND"),
    ]


@cache
def factory() -> bytes:
    """The container of keyset 1."""
    return _signed(lambda: keyset_container(1, ROOTS, CHAIN_NAMES))


@cache
def chain() -> tuple[Original, ...]:
    asked = Device(keyset_store.unpack(factory()), Expect(3))
    return tuple(Original(name, asked, data, code) for name, data, code in _signed(_chain))


@cache
def originals() -> tuple[Original, ...]:
    asked = devices()
    listed = _signed(lambda: {"image": _images(), **_others()})
    return tuple(
        Original(name, asked[device], data, code)
        for device, group in listed.items()
        for name, data, code in group
    )


def _signed(build: Callable[[], Made]) -> Made:
    """Run `build` with private keys at hand."""
    before, containers.signer = containers.signer, signing.sign
    try:
        return build()
    finally:
        containers.signer = before
