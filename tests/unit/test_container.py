"""The parser that runs before anything is authenticated: THREATS 1 to 9, 19, 20."""

import struct

from bootloader_verify import container
from bootloader_verify.errors import (
    BAD_EPOCH,
    BAD_HEADER,
    BAD_MAGIC,
    BAD_SIZE,
    BAD_TLV,
    UNKNOWN_KEY,
    UNSUPPORTED,
    VerifyError,
)
from tests.unit import containers
from tests.unit.containers import area, body, check, header, image, pair, seal, tlv
from tests.unit.expect import raises

KEYHASH_AND_SIGNATURE = tlv(0x01, bytes(32)) + tlv(0x22, bytes(70))


def refused(code, data, size=None):
    return raises(VerifyError, code, check, data, None, None, size)


def unprotected(entries, magic=0x6907):
    """A container whose unprotected area is made of these entries."""
    return body() + area(magic, entries)


def sha256_entry():
    return tlv(0x10, containers.digest_of(body()))


# --- header -----------------------------------------------------------------------------------------
def test_t01_only_our_magic_is_read_any_further():
    good = image()
    for magic in (0x96F3B83C, 0xFFFFFFFF, 0, 0x96F3B83E):
        data = struct.pack("<I", magic) + good[4:]
        reads = []

        def read(offset, buf, data=data, reads=reads):
            reads.append((offset, len(buf)))
            buf[:] = data[offset : offset + len(buf)]

        from bootloader_verify import ladder

        keys, asked = containers.keyset(), containers.expect()
        raises(VerifyError, BAD_MAGIC, ladder.check, read, len(data), keys, asked)
        assert reads == [(0, 32)]


def test_t02_header_size_below_32_or_above_4096_or_outside():
    for size in (0, 1, 31, 4097, 0xFFFF):
        refused(BAD_HEADER, image(bent={"hdr_size": size}))
    refused(BAD_HEADER, header(100, 0, hdr_size=4096))
    for size in (4097, 0xFFFF):  # though there is room for it
        refused(BAD_HEADER, header(100, 0, hdr_size=size) + bytes(0x10000))


def test_header_sizes_at_both_ends_are_taken():
    for size in (32, 33, 512, 4096):
        assert check(image(bent={"hdr_size": size})).payload_offset == size


def test_t03_sizes_that_would_wrap_32_bits():
    for size in (0xFFFFFFFF, 0xFFFFFFFF - 31, 0xFFFFFFE0, 0x80000000):
        refused(BAD_SIZE, image(bent={"img_size": size}))


def test_t03_a_protected_area_that_reaches_outside():
    refused(BAD_SIZE, image(bent={"protect_tlv_size": 0xFFFF}))


def test_t04_no_payload():
    refused(BAD_SIZE, image(payload=b""))


def test_a_room_smaller_than_a_header():
    for size in range(32):
        refused(BAD_SIZE, image()[:size])


def test_t08_flags_padding_and_load_address():
    for flags in (0x1, 0x4, 0x8, 0x20, 0x200, 0x400, 0x800, 0x40, 0x80000000, 0x110):
        refused(UNSUPPORTED, image(bent={"flags": flags}))
    refused(UNSUPPORTED, image(bent={"pad": 1}))
    refused(UNSUPPORTED, image(bent={"load_addr": 0x1000}))
    refused(UNSUPPORTED, image(bent={"load_addr": 0x1000, "flags": 0x10}))


# --- the protected area -----------------------------------------------------------------------------
def test_t05_protect_tlv_size_and_the_area_must_agree():
    true_size = len(area(0x6908, containers.protected_entries()))
    for size in (0, 1, 3, 4, true_size - 1, true_size + 1, true_size + 4):
        refused(BAD_TLV, image(bent={"protect_tlv_size": size}))


def test_t05_protect_tlv_size_without_a_protected_area():
    signed = header(len(containers.PAYLOAD), 8) + containers.PAYLOAD
    refused(BAD_TLV, seal(signed))


def test_t06_entries_that_cross_the_end_or_leave_bytes_over():
    entries = containers.protected_entries()
    for stray in (b"\0", b"\0\0", b"\0\0\0"):
        refused(BAD_TLV, seal(body(entries + [stray])))
    for length in (2, 3, 5, 0xFFFF):
        crossing = struct.pack("<HH", container.TLV_KIND, length) + b"\x01"
        refused(BAD_TLV, seal(body(entries[:-1] + [crossing])))
    for length in (2, 64):  # within what the type allows, and still outside of the area
        crossing = struct.pack("<HH", container.TLV_REVISIONS, length) + b"A"
        refused(BAD_TLV, _by_a_stranger(entries + [crossing]))


def test_t06_a_total_that_is_off_by_a_little():
    for delta in (-4, -3, -2, -1, 1, 2, 3, 4):
        refused(BAD_TLV, _with_total(image(), len(body()), delta))
        start = 32 + len(containers.PAYLOAD)
        refused(BAD_TLV, _with_total(image(), start, delta))


def _with_total(data, at, delta):
    magic, total = struct.unpack_from("<HH", data, at)
    return data[:at] + struct.pack("<HH", magic, total + delta) + data[at + 4 :]


def test_t06_totals_below_an_area_head():
    for total in (0, 1, 2, 3):
        start = len(body())
        data = image()
        refused(BAD_TLV, data[:start] + struct.pack("<HH", 0x6907, total) + data[start + 4 :])


def test_unknown_double_and_misplaced_entries():
    entries = containers.protected_entries()
    for kind in (0x00, 0x01, 0x10, 0x22, 0x60, 0x76, 0x80, 0x81, 0x9F, 0xA4, 0x100, 0xFFFF):
        refused(BAD_TLV, seal(body(entries + [tlv(kind, bytes(4))])))
    for again in entries[1:]:
        refused(BAD_TLV, seal(body(entries + [again])))
    for kind in (0x74, 0xA0, 0x24, 0x02, 0x11):
        refused(BAD_TLV, unprotected([sha256_entry(), tlv(kind, bytes(16))]))


# type -> (least, most) bytes, as SPEC.md has them
PROTECTED = {
    0x40: (12, 12),
    0x50: (4, 4),
    0x74: (16, 16),
    0x75: (16, 16),
    0xA0: (1, 1),
    0xA1: (1, 64),
    0xA2: (8, 8),
    0xA3: (32, 32),
}


def test_lengths_of_protected_entries():
    """Of a length that is allowed: refused no earlier than for its key."""
    for kind in PROTECTED:
        least, most = PROTECTED[kind]
        for length in (least, most):
            refused(UNKNOWN_KEY, _by_a_stranger([tlv(kind, bytes(length))]))
        code = BAD_EPOCH if kind == 0x50 else BAD_TLV
        for length in (0, least - 1, most + 1, 4 * most):
            refused(code, _by_a_stranger([tlv(kind, bytes(length))]))


def _by_a_stranger(entries):
    return seal(body(entries), pairs=[KEYHASH_AND_SIGNATURE])


def test_t20_a_security_counter_that_is_doubled_misplaced_or_of_wrong_length():
    entries = containers.protected_entries()
    refused(BAD_EPOCH, seal(body([entries[0]] + entries)))
    for length in (0, 3, 5, 8):
        refused(BAD_EPOCH, seal(body([tlv(0x50, bytes(length))] + entries[1:])))
    refused(BAD_EPOCH, unprotected([sha256_entry(), tlv(0x50, bytes(4))]))


# --- the unprotected area ---------------------------------------------------------------------------
def test_t09_sha256_must_be_there_first_once_and_whole():
    refused(BAD_TLV, unprotected([]))
    refused(BAD_TLV, unprotected([KEYHASH_AND_SIGNATURE]))
    refused(BAD_TLV, unprotected([KEYHASH_AND_SIGNATURE, sha256_entry()]))
    in_disguise = tlv(0x01, containers.digest_of(body()))
    refused(BAD_TLV, unprotected([in_disguise, KEYHASH_AND_SIGNATURE]))
    refused(BAD_TLV, unprotected([sha256_entry(), sha256_entry()]))
    refused(BAD_TLV, unprotected([sha256_entry(), sha256_entry(), KEYHASH_AND_SIGNATURE]))
    for length in (0, 31, 33, 48, 64):
        refused(BAD_TLV, unprotected([tlv(0x10, bytes(length))]))


def test_pairs_must_be_pairs():
    keyhash, signature = tlv(0x01, bytes(32)), tlv(0x22, bytes(70))
    for wrong in (
        [keyhash],
        [signature],
        [signature, keyhash],
        [keyhash, keyhash],
        [signature, signature],
        [keyhash, signature, keyhash],
        [keyhash, keyhash, signature, signature],
    ):
        refused(BAD_TLV, unprotected([sha256_entry()] + wrong))
    for length in (0, 7, 73):
        refused(BAD_TLV, unprotected([sha256_entry(), keyhash, tlv(0x22, bytes(length))]))
    for length in (383, 385):
        refused(BAD_TLV, unprotected([sha256_entry(), keyhash, tlv(0x23, bytes(length))]))
    for length in (0, 31, 33, 64):
        refused(BAD_TLV, unprotected([sha256_entry(), tlv(0x01, bytes(length)), signature]))


def test_areas_in_the_wrong_order_or_with_the_wrong_magic():
    for magic in (0x6908, 0x6906, 0, 0xFFFF):
        refused(BAD_TLV, unprotected([sha256_entry()], magic))
    entries = containers.protected_entries()
    signed = header(len(containers.PAYLOAD), len(area(0, entries))) + containers.PAYLOAD
    refused(BAD_TLV, seal(signed + area(0x6907, entries)))


def test_t19_more_than_four_pairs_and_areas_beyond_2_kib():
    pairs = [KEYHASH_AND_SIGNATURE] * 5
    refused(BAD_TLV, unprotected([sha256_entry()] + pairs))
    refused(BAD_TLV, unprotected([sha256_entry()] + [KEYHASH_AND_SIGNATURE] * 17))
    empty = [tlv(0x00A9, b"")] * 600
    refused(BAD_TLV, seal(body(empty)))
    huge = body() + struct.pack("<HH", 0x6907, 0xFFFF)
    refused(BAD_TLV, huge + bytes(0xFFFB), None)


def test_t19_both_areas_together_have_2_kib():
    """A protected area that takes all of it leaves no room for a signature."""
    entries = [tlv(container.TLV_REVISIONS, b"A" * 64)]
    filler = container.TLV_BYTES_MAX - len(area(0x6908, entries))
    signed = body(entries + [tlv(0x00A9, bytes(filler - 4))])
    assert len(signed) - 32 - len(containers.PAYLOAD) == container.TLV_BYTES_MAX
    refused(BAD_TLV, seal(signed))


def test_t19_no_more_than_2_kib_of_both_areas_is_read():
    """Whatever their totals say: time and memory are bounded before a type is looked at."""
    for first, second in ((1024, 1028), (4, 2048), (2044, 8), (4, 0xFFF0), (2052, 4), (0xFFF0, 4)):
        filler = tlv(0x00A9, bytes(first - 8)) if first > 4 else b""
        signed = header(100, first) + bytes(100) + area(0x6908, [filler])
        data = signed + struct.pack("<HH", 0x6907, second) + bytes(second - 4)
        read = [0]

        def count(offset, buf, data=data, read=read):
            read[0] += len(buf)
            buf[:] = data[offset : offset + len(buf)]

        found = container.parse_header(data)
        raises(VerifyError, BAD_TLV, container.walk, count, found, len(data))
        heads = 2 * container.AREA_BYTES  # each is read once more, with its area
        assert read[0] <= heads + (first if first <= 2048 else 0), (first, second)


def test_four_pairs_are_taken():
    digest = containers.digest_of(body())
    stranger = pair("stranger", digest)
    assert len(check(seal(body(), pairs=[stranger] * 3 + [pair("release_1", digest)])).key_ids) == 4


# --- whole containers -------------------------------------------------------------------------------
def test_a_container_is_what_its_fields_say():
    data = image()
    found = check(data, size=len(data) + 0)
    assert found.version == (1, 2, 3, 4)
    assert (found.payload_offset, found.payload_size) == (32, len(containers.PAYLOAD))
    assert found.end == len(data)
    assert (found.kind, found.epoch) == (1, 1)
    assert (found.vid, found.cid) == (containers.VID, containers.CID)
    assert found.digest == containers.digest_of(body())


def test_t07_truncated_at_any_byte():
    data = image()
    for size in range(len(data)):
        raises(VerifyError, None, check, data[:size])


def test_t07_cut_in_a_slot_the_rest_erased():
    data = image()
    for size in range(0, len(data), 3):
        raises(VerifyError, None, check, data[:size] + b"\xff" * (1024 - size))


def test_areas_are_read_once_and_a_second_answer_is_refused():
    """The area's head is read twice by need: both answers must be the same."""
    data = image()
    start = len(body())
    seen = []

    def read(offset, buf):
        buf[:] = data[offset : offset + len(buf)]
        seen.append(offset)
        if offset == start and seen.count(start) == 2:
            buf[0] ^= 1

    found = container.parse_header(data)
    raises(VerifyError, BAD_TLV, container.walk, read, found, len(data))
