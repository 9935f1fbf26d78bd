"""Mutants of the two signature algorithms: encodings, ranges, the curve."""

from __future__ import annotations

from tests.mutate.mutants import Of

_TESTS = ("tests/unit/test_p256.py", "tests/properties/test_p256.py")
_p = Of("bootloader_verify/p256.py", *_TESTS)
_c = Of("bootloader_verify/p256_curve.py", *_TESTS)
_t = Of("bootloader_verify/p256_comb.py", *_TESTS)
_r = Of(
    "bootloader_verify/rsa_pss.py",
    "tests/unit/test_rsa_pss.py",
    "tests/properties/test_rsa_pss.py",
)

MUTANTS = [
    # --- p256.py ---
    _p(
        "key-length",
        "length of the key",
        "if len(public_key_xy) != KEY_BYTES or len(digest)",
        "if len(digest)",
    ),
    _p(
        "digest-length",
        "length of the digest",
        "if len(public_key_xy) != KEY_BYTES or len(digest) != DIGEST_BYTES:",
        "if len(public_key_xy) != KEY_BYTES:",
    ),
    _p(
        "digest",
        "T11 the digest is what is signed",
        'int.from_bytes(digest, "big") * w % N',
        "w % N",
    ),
    _p(
        "table",
        "a damaged table says no to nothing",
        "if table is not None and _x_is(p256_comb.sum_of_products(u1, u2, table), r):\n        return True",
        "if table is not None:\n        return _x_is(p256_comb.sum_of_products(u1, u2, table), r)",
    ),
    _p("der-short", "T17 too short", "if len(der) < 8 or der[0]", "if der[0]"),
    _p("der-tag", "T17 SEQUENCE", "der[0] != 0x30 or", ""),
    _p("der-length", "T17 length of the SEQUENCE", " or der[1] != len(der) - 2:", ":"),
    _p("der-rest", "T17 nothing behind s", "if s is None or at != len(der):", "if s is None:"),
    _p("der-end", "T17 an INTEGER's head inside", "if at + 3 > len(der) or der[at]", "if der[at]"),
    _p("der-integer", "T17 INTEGER", " or der[at] != 0x02:", ":"),
    _p("der-negative", "T17 no negative integer", "if der[at] & 0x80 or (size", "if (size"),
    _p(
        "der-minimal",
        "T17 minimal integers",
        " or (size > 1 and der[at] == 0 and not der[at + 1] & 0x80):",
        ":",
    ),
    _p("zero", "T17 r and s above 0", "if 0 < value < N else", "if value < N else"),
    _p("range", "T17 r and s below n", "if 0 < value < N else", "if 0 < value else"),
    _p("point", "the key is a point of the curve", "if is_on_curve(x, y) else None", ""),
    _p(
        "x-above-n",
        "x of the sum may lie above n",
        "return r + N < P and x == (r + N) * zz % P",
        "return False",
    ),
    _p(
        "x-wraps",
        "and is not taken mod p twice",
        "return r + N < P and x == (r + N) * zz % P",
        "return x == (r + N) * zz % P",
    ),
    # --- p256_curve.py, p256_comb.py ---
    _c("x-reduced", "one spelling of x", "return x < P and y < P and (y", "return y < P and (y"),
    _c("y-reduced", "one spelling of y", "return x < P and y < P and (y", "return x < P and (y"),
    _c(
        "equation",
        "the curve's equation",
        "return x < P and y < P and (y * y - x * (x * x - 3) - B) % P == 0",
        "return x < P and y < P",
    ),
    _c.off("add-infinity", "adding to infinity", "if z1 == 0:"),
    _c.off("add-same-x", "adding a point to itself or its negative", "if h == 0:"),
    _c(
        "add-opposite",
        "a point and its negative",
        "return INFINITY if r else double(point)",
        "return double(point)",
    ),
    _c("add-same", "a point twice", "return INFINITY if r else double(point)", "return INFINITY"),
    _t("same-x", "a column of one point twice", "if gap == 0:", "if False:"),
    _t("product", "left out of the product", "        if gap:\n", "        if True:\n"),
    _t("even", "even scalars", "if not k & 1:", "if False:"),
    # --- rsa_pss.py ---
    _r(
        "least-modulus",
        "a modulus with room for the encoding",
        "if size < _LEAST_BYTES or len(digest)",
        "if len(digest)",
    ),
    _r(
        "signature-length",
        "length of the signature",
        "len(digest) != _HASH_BYTES or len(signature) != size:",
        "len(digest) != _HASH_BYTES:",
    ),
    _r("top-bit", "top bit of the modulus", "if not modulus[0] & 0x80 or s >= n:", "if s >= n:"),
    _r(
        "range",
        "signature below the modulus",
        "if not modulus[0] & 0x80 or s >= n:",
        "if not modulus[0] & 0x80:",
    ),
    _r(
        "trailer",
        "PSS trailer 0xBC",
        "if encoded[-1] != _TRAILER or encoded[0] & 0x80:",
        "if encoded[0] & 0x80:",
    ),
    _r(
        "high-bit",
        "PSS bit above the modulus",
        "if encoded[-1] != _TRAILER or encoded[0] & 0x80:",
        "if encoded[-1] != _TRAILER:",
    ),
    _r.off("one", "PSS 0x01 before the salt", "if db[zeros] != 1:"),
    _r.off("zeros", "PSS zeros", "if db[i]:"),
    _r("salt", "PSS salt of 32 bytes", "_SALT_BYTES = 32", "_SALT_BYTES = 31"),
    _r(
        "hash",
        "PSS hash",
        "return hashlib.sha256(bytes(8) + digest + bytes(db[zeros + 1 :])).digest() == h",
        "return True",
    ),
    _r(
        "digest-bound",
        "T11 the digest is what is signed",
        "bytes(8) + digest + bytes(",
        "bytes(8) + bytes(32) + bytes(",
    ),
]
