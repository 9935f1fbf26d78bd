"""Keysets: strict JSON, on both Pythons the same answer."""

import hashlib
import json

from bootloader_verify import keyset
from bootloader_verify.errors import BAD_KEYSET, VerifyError
from tests.unit import containers
from tests.unit.containers import hash_of, keyset_fields, keyset_json, raw
from tests.unit.expect import raises


def refused(payload):
    raises(VerifyError, BAD_KEYSET, keyset.parse, payload)


def refused_with(**changes):
    fields = keyset_fields()
    fields.update(changes)
    refused(keyset_json(fields))


def refused_key(**changes):
    """Of two RELEASE keys the first is bent: the thresholds are met without it."""
    fields = keyset_fields()
    assert fields["keys"][0]["id"] == hash_of("release_1").hex()
    fields["keys"][0].update(changes)
    refused(keyset_json(fields))


def test_a_keyset_is_what_its_fields_say():
    fields = keyset_fields()
    fields["revoked"] = ["ab" * 32]
    fields["min_epoch"] = {"00" * 16: 7}
    fields["version"] = 0xFFFFFFFF
    found = keyset.parse(keyset_json(fields))
    assert found.version == 0xFFFFFFFF
    assert len(found.keys) == 7
    assert found.revoked == (b"\xab" * 32,)
    assert found.min_epoch == {"00" * 16: 7}
    assert (found.threshold("root"), found.threshold("release")) == (2, 1)
    key = found.find(hash_of("release_rsa"))
    assert (key.alg, key.role, key.device_class) == ("rsa-3072-pss", "release", "all")
    assert (key.raw, key.signature_tlv) == (raw("release_rsa"), 0x23)
    assert found.find(hash_of("release_1")).signature_tlv == 0x22
    assert found.find(hash_of("stranger")) is None


def test_every_buffer_kind_and_white_space():
    payload = keyset_json().replace(b": ", b" :\n ")
    for one in (payload, bytearray(payload), memoryview(payload)):
        assert keyset.parse(one).version == 1


def test_ids_are_those_of_imgtool():
    """KEYHASH: SHA-256 of SubjectPublicKeyInfo (EC) and of PKCS#1 RSAPublicKey (RSA)."""
    prefix = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
    assert hash_of("root_1") == hashlib.sha256(prefix + raw("root_1")).digest()
    rsa = bytes.fromhex("3082018a0282018100") + raw("release_rsa") + bytes.fromhex("0203010001")
    assert hash_of("release_rsa") == hashlib.sha256(rsa).digest()


def test_what_is_not_a_json_object():
    for payload in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"a"',
        b"\xff\xfe",
        b"\x00",
        b"[" * 5000,
        b"[" * 3000 + b"]" * 3000,
        b"{}" * 2,
        keyset_json() + b"x",
        keyset_json()[:-1],
    ):
        refused(payload)


def test_json_that_only_one_of_the_pythons_would_take():
    """MicroPython's parser takes keys that are no strings; CPython's takes UTF-16 and a BOM."""
    refused(b'{1: 2, "version": 3, "keys": 4, "thresholds": 5, "revoked": 6}')
    refused(b'{null: 2, "version": 3}')
    text = keyset_json()
    refused(b"\xef\xbb\xbf" + text)
    refused(b"".join([bytes([b, 0]) for b in text[:2000]]))


def test_too_long():
    refused(keyset_json() + b" " * keyset.PAYLOAD_BYTES_MAX)


def test_missing_and_unknown_fields():
    for name in keyset_fields():
        fields = keyset_fields()
        del fields[name]
        refused(keyset_json(fields))
    refused_with(more=1)
    for name in keyset_fields()["keys"][0]:
        fields = keyset_fields()
        del fields["keys"][0][name]
        refused(keyset_json(fields))
    refused_key(more=1)


def test_version():
    for wrong in (0, -1, 2**32, 1.0, 1e300, "1", None, True, [], {}):
        refused_with(version=wrong)
    refused(keyset_json().replace(b'"version": 1', b'"version": 1e400'))
    refused(keyset_json().replace(b'"version": 1', b'"version": NaN'))


def test_key_lists():
    fields = keyset_fields()
    for wrong in ([], {}, None, "keys", 7, [1], [[]], [None], fields["keys"] * 3):
        refused_with(keys=wrong)
    refused_with(keys=fields["keys"][:1] * 2)  # a key twice
    fields["keys"] += [_made_up_key(i) for i in range(9)]
    assert len(keyset.parse(keyset_json(fields)).keys) == 16
    refused_with(keys=fields["keys"] + [_made_up_key(9)])
    fields = keyset_fields()
    again = dict(fields["keys"][0])
    again["role"] = "rollout"
    refused_with(keys=fields["keys"] + [again])  # the same key in a second role


def _made_up_key(number):
    """No point of the curve, but nobody asks that before it is to verify something."""
    xy = bytes([number]) * 64
    found = {"id": keyset.key_id("ecdsa-p256", xy).hex(), "alg": "ecdsa-p256", "key": xy.hex()}
    found.update({"role": "release", "class": "all"})
    return found


def test_fields_of_a_key():
    for wrong in (None, 1, [], {}, "ed25519", "ECDSA-P256", "", "rsa-3072-pss"):
        refused_key(alg=wrong)
    for wrong in (None, 1, [], {}, "ROOT", "ticket", ""):
        refused_key(role=wrong)
    for wrong in (None, 1, [], {}, "", "ALL", "00" * 15, "00" * 17, "0x" + "0" * 30, "AB" * 16):
        refused_key(**{"class": wrong})
    for wrong in (None, 1, [], {}, "", "00" * 63, "00" * 65, "zz" * 64, "00" * 64):
        refused_key(key=wrong)
    for wrong in (None, 1, "", "00" * 32, hash_of("release_1").hex().upper()):
        refused_key(id=wrong)


def test_thresholds():
    good = {"root": 1, "release": 1, "rollout": 1}
    for name in good:
        for wrong in (0, -1, 17, 1.0, True, None, "1", []):
            bent = dict(good)
            bent[name] = wrong
            refused_with(thresholds=bent)
        less = dict(good)
        del less[name]
        refused_with(thresholds=less)
    refused_with(thresholds=[1, 1, 1])
    for unmet in ({"root": 4}, {"release": 4}, {"rollout": 2}):  # three, three and one key
        refused_with(thresholds=dict(good, **unmet))
    refused_with(revoked=[hash_of("rollout_1").hex()])
    refused_with(revoked=[hash_of("root_1").hex(), hash_of("root_2").hex()])
    refused_with(thresholds={"root": 1, "release": 1, "rollout": 1, "ticket": 1})


def test_revoked_and_min_epoch():
    fine = keyset_fields()
    fine["revoked"] = [hash_of("root_1").hex(), hash_of("release_1").hex()]
    assert len(keyset.parse(keyset_json(fine)).revoked) == 2
    for wrong in (None, {}, "", [1], ["00" * 31], ["G0" * 32], [None], ["00" * 32] * 33):
        refused_with(revoked=wrong)
    for wrong in (None, [], 1, {"x": 1}, {"00" * 16: -1}, {"00" * 16: 2**32}, {"00" * 16: True}):
        refused_with(min_epoch=wrong)
    many = {}
    for i in range(17):
        many["{:032x}".format(i)] = 1
    refused_with(min_epoch=many)


def test_a_role_that_nobody_named_needs_one():
    assert containers.keyset().threshold("no such role") == 1


def test_fields_survive_a_round_trip_in_any_order():
    fields = keyset_fields()
    turned = {}
    for name in sorted(fields, reverse=True):
        turned[name] = fields[name]
    assert len(keyset.parse(json.dumps(turned).encode()).keys) == 7
