"""Multiples of a fixed point of P-256 by a table of 2 KiB: Lim and Lee's comb with signed digits.

A scalar k is written as 258 digits of +1 and -1 (k odd; else k + N), in 6 rows of 43 columns. The
table holds, for every pattern of signs of a column whose top digit is +1,

    entry[i] = 2^215·Q ± 2^172·Q ± … ± 2^0·Q      bit r of i set: + in row r (0..4), 32 entries x‖y

so a whole column is one entry or its negative, and k·Q takes 42 doublings instead of 256. The table
of a trusted key is made on the host and is frozen beside the key (host_tools/p256_table.py).
"""

from bootloader_verify.p256_base import TABLE as BASE_TABLE
from bootloader_verify.p256_curve import INFINITY, N, P, add, double, inverse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bootloader_verify.p256_curve import Affine, Jacobian

ROWS = 6
COLUMNS = 43
_DIGITS = ROWS * COLUMNS
_ENTRY_BYTES = 64
_COORDINATE_BYTES = 32
TABLE_BYTES = _ENTRY_BYTES << (ROWS - 1)
_TOP = 1 << (ROWS - 1)  # the sign of a column
_INDEX = _TOP - 1
_NEGATIVE = 0x80
_SCALAR_BYTES = 33


def columns(k: int) -> bytearray:
    """One byte a column of k (0 <= k < N): index of its entry, _NEGATIVE if that is subtracted."""
    if not k & 1:
        k += N  # the same multiple, and odd
    # A digit of -1 is a bit 0, one of +1 a bit 1, of (k + 2^258 - 1) / 2.
    bits = ((k + (1 << _DIGITS) - 1) >> 1).to_bytes(_SCALAR_BYTES, "big")
    found = bytearray(COLUMNS)
    for i in range(_DIGITS):
        if bits[_SCALAR_BYTES - 1 - (i >> 3)] >> (i & 7) & 1:
            found[i % COLUMNS] |= 1 << i // COLUMNS
    for j in range(COLUMNS):
        pattern = found[j]
        found[j] = pattern & _INDEX if pattern & _TOP else ~pattern & _INDEX | _NEGATIVE
    return found


def entry(table: bytes, column: int) -> "Affine":
    """The point of one column."""
    at = (column & _INDEX) * _ENTRY_BYTES
    middle = at + _COORDINATE_BYTES
    y = int.from_bytes(table[middle : at + _ENTRY_BYTES], "big")
    return int.from_bytes(table[at:middle], "big"), P - y if column & _NEGATIVE else y


def sum_of_products(u1: int, u2: int, table: bytes) -> "Jacobian":
    """u1·G + u2·Q, `table` being Q's: 43 columns of 25 multiplications and 23 reductions.

    The two points of each column are added as affine ones, which takes an inversion, and one
    inversion serves all columns: the inverse of a product, taken apart from its end (Montgomery).
    """
    ours, theirs = columns(u1), columns(u2)
    products, product = _products(ours, theirs, table)
    rest = inverse(product, P)
    point = INFINITY
    for j in range(COLUMNS - 1, -1, -1):
        if point[2]:
            point = double(point)
        one, two = entry(BASE_TABLE, ours[j]), entry(table, theirs[j])
        gap = two[0] - one[0]
        if gap == 0:  # the same point or its negative: left out of the product
            point = add(add(point, one), two)
            continue
        at = j * _COORDINATE_BYTES
        before = int.from_bytes(products[at : at + _COORDINATE_BYTES], "big")
        point = add(point, _chord(one, two, rest * before % P))
        rest = rest * gap % P
    return point


def _products(ours: bytearray, theirs: bytearray, table: bytes) -> "tuple[bytearray, int]":
    """(32 bytes a column: product of the gaps between the x-coordinates below it, all of them).

    Bytes, not integers: those would take three times as much of the heap.
    """
    products = bytearray(COLUMNS * _COORDINATE_BYTES)
    product = 1
    for j in range(COLUMNS):
        at = j * _COORDINATE_BYTES
        products[at : at + _COORDINATE_BYTES] = product.to_bytes(_COORDINATE_BYTES, "big")
        gap = entry(table, theirs[j])[0] - entry(BASE_TABLE, ours[j])[0]
        if gap:
            product = product * gap % P
    return products, product


def _chord(one: "Affine", two: "Affine", gap_inverse: int) -> "Affine":
    """one + two for points with different x."""
    slope = (two[1] - one[1]) * gap_inverse % P
    x = (slope * slope - one[0] - two[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P
