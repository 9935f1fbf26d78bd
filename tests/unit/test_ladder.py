"""The ladder: THREATS 10 to 22, 27 to 29, 31, 35, 36, 46, 54, and the order of its rungs."""

import struct

from bootloader_verify import container, ladder, p256, p256_curve
from bootloader_verify.errors import (
    ALG_MISMATCH,
    BAD_EPOCH,
    BAD_HASH,
    BAD_MAGIC,
    BAD_SIGNATURE,
    BAD_SIZE,
    BAD_TLV,
    CHANGED,
    DEPENDENCY,
    EPOCH_JUMP,
    NOT_ERASED,
    REVOKED,
    ROLLBACK,
    THRESHOLD,
    UNKNOWN_KEY,
    UNSIGNED,
    WRONG_HW,
    WRONG_KIND,
    WRONG_ROLE,
    VerifyError,
)
from tests.unit import containers
from tests.unit.containers import (
    body,
    check,
    digest_of,
    expect,
    image,
    keyset,
    other,
    pair,
    protected_entries,
    seal,
    tlv,
)
from tests.unit.expect import raises


def refused(code, data, keys=None, asked=None, size=None):
    return raises(VerifyError, code, check, data, keys, asked, size)


def integer(value):
    """DER INTEGER."""
    raw = value.to_bytes(33, "big")
    while len(raw) > 1 and raw[0] == 0 and not raw[1] & 0x80:
        raw = raw[1:]
    return b"\x02" + bytes([len(raw)]) + raw


def der(r, s):
    both = integer(r) + integer(s)
    return b"\x30" + bytes([len(both)]) + both


def with_signature(make):
    """The usual image with `make(its signature)` in place of it."""
    digest = digest_of(body())
    signature = make(containers.sign("release_1", digest))
    return seal(body(), pairs=[pair("release_1", digest, signature=signature)])


# --- who signed -------------------------------------------------------------------------------------
def test_ecdsa_and_rsa_signed_images_climb():
    assert check(image()).key_ids == [containers.hash_of("release_1")]
    assert check(image(["release_rsa"])).key_ids == [containers.hash_of("release_rsa")]
    assert len(check(image(["release_rsa", "release_1", "release_2"])).key_ids) == 3


def test_t10_no_signature():
    refused(UNSIGNED, image([]))


def test_t11_any_flipped_bit_under_the_digest():
    data = image()
    for at in (len(body()) - 1, 32, 40, 20, 27, 131):
        flipped = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        refused(BAD_HASH, flipped)


def test_t12_unknown_key():
    refused(UNKNOWN_KEY, image(["stranger"]))
    refused(UNKNOWN_KEY, image(), keyset(["release_2", "root_1"]))


def test_t13_hash_of_one_key_signature_of_another():
    digest = digest_of(body())
    crossed = pair("stranger", digest, keyhash=containers.hash_of("release_1"))
    refused(BAD_SIGNATURE, seal(body(), pairs=[crossed]))
    crossed = pair("release_2", digest, keyhash=containers.hash_of("release_1"))
    refused(BAD_SIGNATURE, seal(body(), pairs=[crossed]))


def test_t14_one_valid_and_one_unknown_pair():
    check(image(["release_1", "stranger"]))
    check(image(["stranger", "release_1"]))


def test_t15_one_valid_and_one_bad_pair_of_a_known_key():
    digest = digest_of(body())
    good = pair("release_1", digest)
    bad = pair("release_2", digest, signature=containers.sign("release_1", digest))
    for pairs in ([good, bad], [bad, good], [good, good, bad], [bad, good, good]):
        refused(BAD_SIGNATURE, seal(body(), pairs=pairs))
    bad = pair("release_rsa", digest, signature=bytes(384))
    for pairs in ([good, bad], [bad, good]):
        refused(BAD_SIGNATURE, seal(body(), pairs=pairs))


def test_t16_the_algorithm_is_the_keys():
    digest = digest_of(body())
    ec_as_rsa = pair("release_1", digest, signature=bytes(384), kind=container.TLV_RSA3072_PSS)
    rsa_as_ec = pair("release_rsa", digest, signature=bytes(70), kind=container.TLV_ECDSA)
    refused(ALG_MISMATCH, seal(body(), pairs=[ec_as_rsa]))
    refused(ALG_MISMATCH, seal(body(), pairs=[rsa_as_ec]))
    refused(ALG_MISMATCH, seal(body(), pairs=[pair("release_2", digest), ec_as_rsa]))


def test_t17_der_has_one_spelling():
    r, s = p256.decode_signature(containers.sign("release_1", digest_of(body())))
    assert check(with_signature(lambda _: der(r, s)))
    for wrong in (
        b"\x31" + der(r, s)[1:],
        b"\x30\x81" + der(r, s)[1:],
        der(r, s) + b"\0",
        der(r, s) + b"\0\0",
        der(r, s)[:-1],
        der(0, s),
        der(r, 0),
        der(p256_curve.N, s),
        der(r, p256_curve.N),
        der(r, s + p256_curve.N) if s + p256_curve.N < 2**256 else der(r, p256_curve.N + 1),
        bytes(70),
        b"\xff" * 72,
    ):
        if len(wrong) <= 72:
            refused(BAD_SIGNATURE, with_signature(lambda _, wrong=wrong: wrong))


def test_t17_a_padded_integer():
    r, s = p256.decode_signature(containers.sign("release_1", digest_of(body())))
    body_of = b"\x02\x22\0\0" + r.to_bytes(32, "big") + integer(s)[:33]
    refused(BAD_SIGNATURE, with_signature(lambda _: b"\x30" + bytes([len(body_of)]) + body_of))


def test_t18_the_high_s_twin_is_a_signature_too():
    r, s = p256.decode_signature(containers.sign("release_1", digest_of(body())))
    check(with_signature(lambda _: der(r, p256_curve.N - s)))


def test_t31_release_and_rollout_do_not_stand_in_for_each_other():
    refused(WRONG_ROLE, image(["rollout_1"]))
    refused(WRONG_ROLE, image(["root_1"]))
    refused(WRONG_ROLE, image(["release_1", "rollout_1"]))
    refused(WRONG_ROLE, other(2, ["release_1"]), None, expect(2))
    refused(WRONG_ROLE, other(3, ["release_1", "rollout_1"]), None, expect(3))
    refused(WRONG_ROLE, other(4, ["root_1"]), None, expect(4))


def test_a_key_of_one_class_signs_for_that_class_only():
    mine = keyset(["release_1"], device_class=containers.CID.hex())
    check(image(), mine)
    refused(WRONG_ROLE, image(cid=bytes(16)), mine, expect(cid=bytes(16)))
    refused(WRONG_ROLE, image(cid=None), mine)


def test_t35_thresholds_count_distinct_keys():
    check(other(3, ["root_1", "root_2"]), None, expect(3))
    check(other(3, ["root_3", "stranger", "root_1"]), None, expect(3))
    refused(THRESHOLD, other(3, ["root_1"]), None, expect(3))
    refused(THRESHOLD, other(3, ["root_1", "root_1"]), None, expect(3))
    refused(THRESHOLD, other(3, ["root_1", "stranger"]), None, expect(3))
    refused(THRESHOLD, image(), keyset(thresholds={"release": 2}))
    check(image(["release_1", "release_rsa"]), keyset(thresholds={"release": 2}))


def test_a_threshold_of_zero_still_asks_for_a_signature():
    refused(UNSIGNED, image([]), keyset(thresholds={"release": 0}))
    refused(UNKNOWN_KEY, image(["stranger"]), keyset(thresholds={"release": 0}))


def test_t36_a_revoked_key():
    refused(REVOKED, image(), keyset(revoked=["release_1"]))
    refused(REVOKED, image(["release_2", "release_1"]), keyset(revoked=["release_1"]))
    refused(REVOKED, image(["stranger"]), keyset(revoked=["stranger"]))
    check(image(["release_2"]), keyset(revoked=["release_1"]))


# --- what it says -----------------------------------------------------------------------------------
def test_t20_no_security_counter():
    refused(BAD_EPOCH, image(epoch=None))


def test_t21_epoch_below_the_stored_one_or_the_class_limit():
    refused(ROLLBACK, image(epoch=4), None, expect(min_epoch=5))
    check(image(epoch=5), None, expect(min_epoch=5))
    limits = keyset(min_epoch={containers.CID.hex(): 6})
    refused(ROLLBACK, image(epoch=5), limits, expect(min_epoch=5))
    check(image(epoch=5), keyset(min_epoch={bytes(16).hex(): 6}), expect(min_epoch=5))
    lower = keyset(min_epoch={containers.CID.hex(): 2})
    refused(ROLLBACK, image(epoch=4), lower, expect(min_epoch=5))


def test_t22_an_epoch_too_far_ahead():
    check(image(epoch=17), None, expect(max_epoch=17))
    refused(EPOCH_JUMP, image(epoch=18), None, expect(max_epoch=17))
    refused(EPOCH_JUMP, image(epoch=0xFFFFFFFF), None, expect(max_epoch=17))


def test_t27_other_hardware():
    for claims in (
        {"vid": bytes(16)},
        {"cid": bytes(16)},
        {"vid": None},
        {"cid": None},
        {"revisions": b"B"},
        {"revisions": b"AB,B"},
        {"revisions": b"a"},
        {"revisions": b","},
    ):
        refused(WRONG_HW, image(**claims))
    check(image(revisions=b"B,A"))
    check(image(revisions=b"A"))


def test_t28_a_rom_fixed_image_in_the_other_slot():
    data = image(bent={"flags": 0x100, "load_addr": 0x40000})
    check(data, None, expect(slot_offset=0x40000))
    refused(WRONG_HW, data, None, expect(slot_offset=0))
    refused(WRONG_HW, image(bent={"flags": 0x100}), None, expect(slot_offset=0x40000))


def test_t29_containers_of_another_kind():
    refused(WRONG_KIND, other(2))
    refused(WRONG_KIND, other(3, ["root_1", "root_2"]))
    refused(WRONG_KIND, other(2, ["release_1"]))
    refused(WRONG_KIND, image(), None, expect(2))
    refused(WRONG_KIND, image(["rollout_1"]), None, expect(2))
    refused(WRONG_KIND, other(4), None, expect(2))
    refused(WRONG_KIND, other(2), None, expect(3))


def test_t29_kind_and_non_bootable_flag_must_agree():
    refused(WRONG_KIND, image(bent={"flags": 0x10}))
    refused(WRONG_KIND, image(kind=None))
    refused(WRONG_KIND, image(kind=0))
    refused(WRONG_KIND, image(kind=5))
    bootable = seal(body(protected_entries(2, None, None, None)), ["rollout_1"])
    refused(WRONG_KIND, bootable, None, expect(2))


def test_every_kind_climbs_where_it_is_expected():
    for kind, names in ((2, None), (3, ["root_1", "root_2"]), (4, None)):
        assert check(other(kind, names), None, expect(kind)).kind == kind


def test_least_agent_version():
    for needed, has, fine in (
        ((1, 0, 0, 0), (1, 0, 0, 0), True),
        ((1, 0, 0, 1), (1, 0, 0, 0), False),
        ((1, 0, 1, 0), (1, 0, 0, 9), False),
        ((0, 9, 65535, 0xFFFFFFFF), (1, 0), True),
        ((2, 0, 0, 0), (10, 0, 0, 0), True),
    ):
        data = image(least_agent=needed)
        if fine:
            check(data, None, expect(agent_version=has))
        else:
            refused(DEPENDENCY, data, None, expect(agent_version=has))


def test_host_tools_may_leave_questions_open():
    check(image(epoch=900, revisions=b"Z"), None, ladder.Expect(1))
    for missing in ({"vid": None}, {"cid": None}):  # but the answer must be there
        refused(WRONG_HW, image(**missing), None, ladder.Expect(1))


# --- what stands behind it --------------------------------------------------------------------------
def test_t54_bytes_behind_the_container_are_erased():
    data = image()
    check(data + b"\xff" * 3000)
    for at in (0, 1, 1023, 1024, 2999):
        slack = bytearray(b"\xff" * 3000)
        slack[at] = 0xFE
        refused(NOT_ERASED, data + bytes(slack))
    check(data + bytes(3000), None, expect(erased=0))
    refused(NOT_ERASED, data + b"\xff" * 10, None, expect(erased=0))


# --- twice read -------------------------------------------------------------------------------------
def test_recheck_passes_what_did_not_change():
    data = image()
    ladder.recheck(containers.reader(data), check(data))


def test_t46_recheck_sees_any_change_under_the_digest():
    data = image()
    verified = check(data)
    for at in range(len(body())):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        raises(VerifyError, CHANGED, ladder.recheck, containers.reader(changed), verified)


def test_t46_parsed_bytes_are_the_hashed_bytes():
    """A flash that shows a good header, area or payload on one read and a bad one on another."""
    good = image()
    evil_entries = protected_entries(epoch=9)
    start = 32 + len(containers.PAYLOAD)
    for bent in ({"version": (9, 9, 9, 9)}, {}):  # header and TLVs, or the TLVs alone
        evil = body(evil_entries, **bent) + good[len(body()) :]
        for turn in range(1, 8):
            _climb_a_changing_flash(good, evil, turn, start)
            _climb_a_changing_flash(evil, good, turn, start)


def _climb_a_changing_flash(first, second, turn, start):
    reads = []

    def read(offset, buf):
        reads.append(offset)
        data = first if len(reads) < turn else second
        buf[:] = data[offset : offset + len(buf)]

    try:
        found = ladder.check(read, len(first), keyset(), expect())
    except VerifyError:
        return
    # Accepted only if every parsed byte was the signed one.
    assert found.epoch == 1 and found.version == (1, 2, 3, 4)
    assert struct.unpack("<I", found.tlvs[container.TLV_SEC_CNT])[0] == 1


def test_t46_a_payload_that_changes_between_check_and_jump():
    data = image()
    verified = check(data)
    evil = data[:40] + b"\x00" + data[41:]
    raises(VerifyError, CHANGED, ladder.recheck, containers.reader(evil), verified)


# --- order of the rungs -----------------------------------------------------------------------------
def test_an_earlier_rung_wins():
    """Containers with the faults of all rungs from some rung on: that rung's code comes out."""
    bad_claims = body(protected_entries(vid=bytes(16), epoch=99))
    digest = digest_of(bad_claims)
    bad = pair("release_1", digest, signature=bytes(70))
    tail = b"\0" * 8
    refused(NOT_ERASED, image() + tail)
    refused(WRONG_HW, seal(bad_claims) + tail)
    refused(BAD_SIGNATURE, seal(bad_claims, pairs=[bad]) + tail)
    unknown = pair("stranger", digest, signature=bytes(70))
    refused(UNKNOWN_KEY, seal(bad_claims, pairs=[unknown]) + tail)
    damaged = bytearray(seal(bad_claims, pairs=[unknown]) + tail)
    damaged[50] ^= 1
    refused(BAD_HASH, bytes(damaged))
    damaged[-8 - 70 - 4 - 32 - 4] = 0x77  # type of the KEYHASH entry
    refused(BAD_TLV, bytes(damaged))
    damaged[12] = 0xFF  # img_size
    damaged[15] = 0xFF
    refused(BAD_SIZE, bytes(damaged))
    damaged[0] ^= 1
    refused(BAD_MAGIC, bytes(damaged))


def test_within_rung_8_kind_comes_first():
    strange = protected_entries(kind=5, vid=bytes(16), epoch=None)
    refused(WRONG_KIND, seal(body(strange)))
    refused(WRONG_HW, seal(body(protected_entries(vid=bytes(16), epoch=None))))


def test_unknown_protected_entries_do_not_slip_by_with_a_good_signature():
    entries = protected_entries() + [tlv(0x00A4, b"x")]
    refused(BAD_TLV, seal(body(entries)))
