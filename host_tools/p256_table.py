"""The table of a trusted P-256 key: what bootloader_verify/p256_comb.py reads, 32 points in 2 KiB.

Plain textbook arithmetic with affine points, apart from the device's, so that each checks the other.
"""

from __future__ import annotations

from bootloader_verify.keyset import ECDSA_P256, ROOT, Keyset
from bootloader_verify.p256_comb import COLUMNS, ROWS
from bootloader_verify.p256_curve import P, is_on_curve

Point = tuple[int, int]
G: Point = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def make(public_key_xy: bytes) -> bytes:
    """The table of a key of 64 bytes x‖y; ValueError if that is no point of the curve."""
    x, y = int.from_bytes(public_key_xy[:32], "big"), int.from_bytes(public_key_xy[32:], "big")
    if len(public_key_xy) != 64 or not is_on_curve(x, y):
        raise ValueError("not a point of P-256")
    rows = [(x, y)]
    for _ in range(1, ROWS):
        point = rows[-1]
        for _ in range(COLUMNS):
            point = _add(point, point)
        rows.append(point)
    return b"".join(_raw(_entry(rows, index)) for index in range(1 << (ROWS - 1)))


def module(trusted: Keyset) -> str:
    """The source of the device's `factory_tables` module: the tables of the keys that sign often.

    ROOT keys sign a keyset every few years: their flash is better left free.
    """
    lines = [
        f"    {key.id!r}: {make(key.raw)!r},\n"
        for key in trusted.keys.values()
        if key.alg == ECDSA_P256 and key.role != ROOT and key.id not in trusted.revoked
    ]
    head = '"""Multiples of the trusted keys, see bootloader_verify/p256_comb.py. Generated."""\n\n'
    return head + "TABLES = {\n" + "".join(lines) + "}\n"


def _entry(rows: list[Point], index: int) -> Point:
    total = rows[-1]
    for row, (x, y) in enumerate(rows[:-1]):
        total = _add(total, (x, y if index >> row & 1 else P - y))
    return total


def _add(one: Point, two: Point) -> Point:
    """Never infinity here: every sum is an odd multiple, less than the order, of a point."""
    (x1, y1), (x2, y2) = one, two
    rise, run = (3 * (x1 * x1 - 1), 2 * y1) if one == two else (y2 - y1, x2 - x1)
    slope = rise * pow(run, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def _raw(point: Point) -> bytes:
    return point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")
