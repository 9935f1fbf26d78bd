"""The manifest: its shape, the rules that judge it, and JSON that is none or odd, on both Pythons."""

import json

from agent import manifest
from agent.manifest import Device, ManifestError
from tests.unit.expect import raises

VID, CID = bytes(range(16)), bytes(range(16, 32))
DIGEST = bytes(range(32, 64))
U32 = 0xFFFFFFFF
TEXTS = (None, 5, 1.5, True, [], {})  # in place of a text
NUMBERS = (None, "1", 1.0, 1.5, True, False, [], {}, -1, U32 * 4)  # in place of a number
HEX64 = TEXTS + ("", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0x" + "0" * 62, " " * 64)
HEX32 = TEXTS + ("", "0" * 31, "0" * 33, "A" * 32, "0" * 64)


def hexed(data):
    return "".join(["{:02x}".format(byte) for byte in data])


def fields():
    """A manifest with nothing wrong in it."""
    return {
        "v": 1,
        "seq": 10,
        "request_id": 20,
        "device": "CP-0001",
        "image": {
            "sha256": hexed(DIGEST),
            "size": 9000,
            "version": "1.2.3+4",
            "epoch": 5,
            "vid": hexed(VID),
            "cid": hexed(CID),
            "revisions": ["A", "B"],
        },
        "artifacts": [artifact()],
        "policy": {
            "attempts": 3,
            "confirm_s": 600,
            "require_unplugged": False,
            "allow_downgrade": False,
            "not_before": 0,
            "deadline_s": 0,
            "max_deferral_s": 0,
            "window": None,
        },
    }


def artifact(**changes):
    made = {
        "encoding": "raw",
        "base": None,
        "block_size": 4096,
        "blocks": 3,
        "index_sha256": ["ab" * 32],
        "bytes": 9000,
    }
    made.update(changes)
    return made


def bent(path, value):
    """The good manifest with `value` at "part.field" or "field"."""
    made = fields()
    at = made
    names = path.split(".")
    for name in names[:-1]:
        at = at[0] if isinstance(at, list) else at[name]
    at = at[0] if isinstance(at, list) else at
    at[names[-1]] = value
    return made


def parsed(made):
    return manifest.parse(json.dumps(made).encode())


def refused(made):
    return raises(ManifestError, "BAD_MANIFEST", parsed, made).detail


# --- shape ------------------------------------------------------------------------------------------
def test_a_good_one():
    found = parsed(fields())
    assert (found.seq, found.request_id, found.device) == (10, 20, "CP-0001")
    assert (found.digest, found.size, found.version, found.epoch) == (DIGEST, 9000, (1, 2, 3, 4), 5)
    assert (found.vid, found.cid, found.revisions) == (VID, CID, ["A", "B"])
    one = found.artifacts[0]
    assert (one.encoding, one.block_size, one.blocks, one.bytes) == ("raw", 4096, 3, 9000)
    assert one.page_hash(0) == b"\xab" * 32 and len(one.id) == 16
    policy = found.policy
    assert (policy.attempts, policy.confirm_s, policy.window) == (3, 600, None)


def test_the_default_policy_has_every_field():
    assert set(manifest.DEFAULT_POLICY) == set(fields()["policy"])
    parsed(bent("policy", manifest.DEFAULT_POLICY))


def each_field():
    made = fields()
    for name in made:
        yield name
    for part, inner in (("image", made["image"]), ("policy", made["policy"])):
        for name in inner:
            yield part + "." + name
    for name in made["artifacts"][0]:
        yield "artifacts.0." + name


def test_every_field_is_needed():
    for path in each_field():
        made = fields()
        at = made
        names = path.split(".")
        for name in names[:-1]:
            at = at[0] if isinstance(at, list) else at[name]
        del at[names[-1]]
        assert refused(made), path


def test_unknown_fields_are_refused_everywhere():
    for path in ("x", "image.x", "artifacts.0.x", "policy.x", "V", "image."):
        assert refused(bent(path, 1)), path


# path -> what must not stand there
WRONG = {
    "v": NUMBERS + (0, 2),
    "seq": NUMBERS + (0, U32 + 1),
    "request_id": NUMBERS + (0, 0x80000000),
    "device": TEXTS + ("", ".", "..", "../x", "/etc", "a/b", "a\0", "%2e", "A" * 65, "ü", " a"),
    "image": TEXTS[:-1] + ("", [{}]),
    "artifacts": (None, 5, "", {}, [], [None], [[]], ["raw"], [5]),
    "policy": TEXTS[:-1] + ("", [{}]),
    "image.sha256": HEX64,
    "image.size": NUMBERS + (0, U32 + 1),
    "image.version": TEXTS
    + ("", "1", "1.2.3", "1.2+3", "1.2.3.4", "1.2.3+4+5", "1..3+4", "1.2.3+", "+", "a.b.c+d")
    + ("-1.2.3+4", "256.0.0+0", "0.256.0+0", "0.0.65536+0", "0.0.0+4294967296", "1.2.3+4 ")
    + (" 1.2.3+4", "1.2.3+\u0664", "1_0.2.3+4", "0.0.0+" + "0" * 30),
    "image.epoch": NUMBERS,
    "image.vid": HEX32,
    "image.cid": HEX32,
    "image.revisions": (None, 5, "A", {}, ["A"] * 9, [5], [None], [""], ["a/b"], [["A"]]),
    "artifacts.0.encoding": TEXTS + ("", "RAW", "zip", "copy"),
    "artifacts.0.base": (5, True, [], {}, "", "ab" * 32),  # raw has no base
    "artifacts.0.block_size": NUMBERS + (0, 512, 1000, 4095, 6000, 16385, 32768),
    "artifacts.0.blocks": NUMBERS + (0, 2, 4),
    "artifacts.0.index_sha256": (None, 5, "ab" * 32, {}, [], ["ab" * 32] * 2, [5], ["AB" * 32])
    + (["ab" * 31], [None], [["ab" * 32]]),
    "artifacts.0.bytes": NUMBERS + (0, U32 + 1),
    "policy.attempts": NUMBERS + (0, 4),
    "policy.confirm_s": NUMBERS + (0, 86401),
    "policy.require_unplugged": (None, 0, 1, "", "false", [], {}),
    "policy.allow_downgrade": (None, 0, 1, "", "true", [], {}),
    "policy.not_before": NUMBERS[:-1] + (U32 * 2 + 1,),
    "policy.deadline_s": NUMBERS + (366 * 86400 + 1,),
    "policy.max_deferral_s": NUMBERS + (366 * 86400 + 1,),
    "policy.window": (5, True, 1.5, [], {}),
}


def test_t41_every_field_has_one_type_and_a_range():
    assert set(WRONG) == set(each_field())
    for path, values in WRONG.items():
        for value in values:
            assert refused(bent(path, value)), (path, value)


def test_both_ends_of_every_range_are_taken():
    for path, values in (
        ("seq", (1, U32)),
        ("request_id", (1, 0x7FFFFFFF)),
        ("device", ("a", "A" * 64, "a.b_c-9")),
        ("image.version", ("0.0.0+0", "255.255.65535+4294967295", "01.2.3+4")),
        ("image.epoch", (0, U32)),
        ("image.revisions", ([], ["A"] * 8)),
        ("artifacts.0.encoding", ("raw", "deflate")),
        ("artifacts.0.bytes", (1, U32)),
        ("policy.attempts", (1, 2, 3)),
        ("policy.confirm_s", (1, 86400)),
        ("policy.require_unplugged", (True, False)),
        ("policy.not_before", (0, U32 * 2)),
        ("policy.deadline_s", (0, 366 * 86400)),
        ("policy.window", (None, "", "02:00-04:00")),
    ):
        for value in values:
            assert parsed(bent(path, value)), (path, value)


def test_blocks_and_pages_must_cover_the_image():
    for size, block, blocks, pages in (
        (1, 1024, 1, 1),
        (1024, 1024, 1, 1),
        (1025, 1024, 2, 1),
        (28 * 1024, 1024, 28, 1),
        (28 * 1024 + 1, 1024, 29, 2),
        (100_000, 16384, 7, 1),
    ):
        for off_blocks in (-1, 0, 1):
            for off_pages in (-1, 0, 1):
                made = bent("image.size", size)
                hashes = ["ab" * 32] * (pages + off_pages)
                made["artifacts"] = [
                    artifact(block_size=block, blocks=blocks + off_blocks, index_sha256=hashes)
                ]
                if off_blocks or off_pages:
                    assert refused(made)
                else:
                    assert parsed(made).artifacts[0].page_hashes == b"\xab" * 32 * pages


def test_a_base_goes_with_delta_alone():
    delta = artifact(encoding="delta", base="cd" * 32)
    assert parsed(bent("artifacts", [delta])).artifacts[0].encoding == "delta"
    for base in (None, "CD" * 32, "cd" * 31):
        assert refused(bent("artifacts", [artifact(encoding="delta", base=base)]))
    assert refused(bent("artifacts", [artifact(encoding="deflate", base="cd" * 32)]))


def test_every_artifact_is_looked_at():
    assert len(parsed(bent("artifacts", [artifact()] * 4)).artifacts) == 4
    assert refused(bent("artifacts", [artifact()] * 5))
    for place in range(4):
        made = [artifact() for _ in range(4)]
        made[place]["blocks"] = 4
        assert refused(bent("artifacts", made))


def test_size_of_the_payload():
    good = json.dumps(fields()).encode()
    full = good + b" " * (manifest.PAYLOAD_BYTES_MAX - len(good))
    assert manifest.parse(memoryview(full)).seq == 10
    for bad in (b"", full + b" "):
        assert raises(ManifestError, "BAD_MANIFEST", manifest.parse, bad).detail == "size"


def test_versions_as_text():
    for text in ("0.0.0+0", "1.2.3+4", "255.255.65535+4294967295"):
        assert manifest.version_text(manifest.parse_version(text)) == text


# --- odd JSON ---------------------------------------------------------------------------------------
# MicroPython's parser takes a good deal that CPython's refuses: missing, doubled and trailing commas,
# a missing colon, a name without a value (dropped), brackets that close the wrong kind, leading zeros,
# "1.", unknown escapes, raw control characters in texts, names that are no texts, bytes behind a NUL.
# CPython's takes NaN and Infinity. Both take 1e400 (inf) and of two equal names the last one.
# So an odd text either does not pass the schema, or it is just another spelling of a manifest that
# does: the signer signed these bytes, and nobody but the agent reads them.
GOOD = json.dumps(fields())


def outcome(payload):
    try:
        found = manifest.parse(payload if isinstance(payload, bytes) else payload.encode())
    except ManifestError as err:
        assert err.code == "BAD_MANIFEST"
        return "refused"
    return (found.seq, found.request_id, found.device, found.digest, found.epoch, found.revisions)


def same_as_good():
    return outcome(GOOD)


def spelled(old, new):
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def test_t42_odd_json_that_must_be_refused():
    for text in (
        "",
        "null",
        "[]",
        "{}",
        "5",
        '""',
        "{:}",
        "{1}",
        "{1:2, null:3, 1.5:4, true:5}",
        "[" * 4096,
        '{"a":' * 800,
        "[" * 2048 + "]" * 2048,
        GOOD[:-1],
        GOOD[1:],
        GOOD + "x",
        GOOD + GOOD[:900],
        "\ufeff" + GOOD,
        spelled('"seq": 10', '"seq": 1e400'),
        spelled('"seq": 10', '"seq": -1e400'),
        spelled('"seq": 10', '"seq": NaN'),
        spelled('"seq": 10', '"seq": Infinity'),
        spelled('"seq": 10', '"seq": 1e1'),
        spelled('"seq": 10', '"seq": 10.'),
        spelled('"seq": 10', '"seq": 10.0'),
        spelled('"seq": 10', '"seq": 1_0'),
        spelled('"seq": 10', '"seq": 0x10'),
        spelled('"seq": 10', '"seq": +10'),
        spelled('"seq": 10', '"seq": --10'),
        spelled('"seq": 10', '"seq": -0'),
        spelled('"seq": 10', '"seq": ' + "9" * 1000),
        spelled('"seq": 10', '"seq":'),
        spelled('"seq": 10', '"seq"'),
        spelled('"seq": 10', '"seq": "10"'),
        spelled('"seq": 10', '"seq": 10, "seq": "10"'),
        spelled('"seq": 10', '"seq": 10, "seq": 0'),
        spelled('"seq": 10', '"seq": 10, 1: 2'),
        spelled('"seq": 10', '"seq": 10, null: null'),
        spelled('"CP-0001"', '"CP-\n0001"'),
        spelled('"CP-0001"', '"CP-\\u0000"'),
        spelled('"CP-0001"', '"CP-\\ud800"'),
        spelled('"CP-0001"', "'CP-0001'"),
        spelled('["A", "B"]', '["A" "B"}]'),
        spelled('["A", "B"]', '["A", "B"'),
    ):
        assert outcome(text) == "refused", text[:80]


def test_t42_bytes_that_are_no_text():
    good = GOOD.encode()
    for payload in (
        b"\xff\xfe" + good,
        bytes([byte for char in good[:1500] for byte in (char, 0)]),  # UTF-16
        b"\0" + good,
        good.replace(b"CP-0001", b"CP-\xc0\xaf"),
        good.replace(b"CP-0001", b"CP-\x80"),
        good.replace(b"CP-0001", b"CP-\0"),
        bytes(4096),
        bytes([0xFF] * 4096),
    ):
        assert outcome(payload) == "refused", payload[:20]


def test_t42_odd_json_that_is_harmless():
    """Refused, or read as the very same manifest."""
    for text in (
        spelled('"seq": 10', '"seq": 9, "seq": 10'),
        spelled('"seq": 10', '"seq": 010'),
        spelled('"seq": 10', '"seq" 10'),
        spelled('"seq": 10', '"seq": 10,'),
        spelled('"seq": 10', '"s\\u0065q": 10'),
        spelled('"CP-0001"', '"\\CP-0001"'),
        spelled('["A", "B"]', '["A" "B"]'),
        spelled('["A", "B"]', '["A", "B",]'),
        spelled('["A", "B"]', '["A", "B"}'),
        GOOD[:-1] + ",}",
        GOOD[:-1] + "]",
        GOOD.replace(",", ""),
        GOOD.replace(":", ""),
        GOOD + "\0",
        GOOD + "\0{",
        "\n\t " + GOOD + "\r\n",
    ):
        assert outcome(text) in ("refused", same_as_good()), text[:80]


# --- rules ------------------------------------------------------------------------------------------
def device():
    """One that takes the good manifest."""
    one = Device(["CP-0001", "group"], VID, CID, "A", 100_000, 4096)
    one.seq, one.request_id, one.epoch = 9, 19, 5
    one.version, one.digest = (1, 2, 3, 3), bytes(32)
    return one


def judged(made=None, **changes):
    """The code of the refusal, "" if there is none."""
    one = device()
    for name, value in changes.items():
        assert hasattr(one, name)
        setattr(one, name, value)
    try:
        manifest.judge(parsed(made or fields()), one)
    except ManifestError as err:
        return err.code
    return ""


def test_a_good_one_is_taken():
    assert judged() == ""
    assert judged(bent("device", "group")) == ""


def test_each_rule_has_its_code():
    assert judged(names=["CP-0002"]) == "WRONG_DEVICE"
    assert [judged(seq=n) for n in (9, 10, 11)] == ["", "REPLAY", "REPLAY"]
    assert judged(request_id=20) == "DUPLICATE_REQUEST_ID"
    assert judged(vid=CID) == judged(cid=VID) == judged(revision="C") == "WRONG_HW"
    assert judged(bent("image.revisions", []), revision="C") == ""
    assert [judged(epoch=n) for n in (5, 6)] == ["", "ROLLBACK"]
    assert [judged(bent("image.epoch", n)) for n in (21, 22, U32)] == [
        "",
        "EPOCH_JUMP",
        "EPOCH_JUMP",
    ]
    assert judged(digest=DIGEST) == "ALREADY_INSTALLED"
    assert judged(denied=[hexed(DIGEST)]) == "DENIED"
    assert [judged(image_limit=n) for n in (9000, 8999)] == ["", "OUT_OF_STORAGE"]
    assert judged(bent("policy.not_before", 1)) == "UNSUPPORTED"
    assert judged(bent("policy.window", "")) == "UNSUPPORTED"
    assert judged(block_bytes_max=2048) == "UNSUPPORTED"


def test_t26_a_lower_version_needs_allow_downgrade_and_all_four_numbers_count():
    for running, code in (
        ((1, 2, 3, 3), ""),
        ((1, 2, 3, 4), "DOWNGRADE"),
        ((1, 2, 3, 5), "DOWNGRADE"),
        ((1, 2, 10, 0), "DOWNGRADE"),
        ((0, 255, 65535, U32), ""),
    ):
        assert judged(version=running) == code, running
        assert judged(bent("policy.allow_downgrade", True), version=running) == ""


def test_the_first_rule_that_fails_names_the_refusal():
    """Everything is wrong; one fault after the other is taken away."""
    made = bent("policy.not_before", 1)
    wrong = {
        "names": ["other"],
        "seq": 10,
        "request_id": 20,
        "vid": CID,
        "epoch": 6,
        "digest": DIGEST,
        "version": (2, 0, 0, 0),
        "denied": [hexed(DIGEST)],
        "image_limit": 1,
    }
    for name, code in (
        ("names", "WRONG_DEVICE"),
        ("seq", "REPLAY"),
        ("request_id", "DUPLICATE_REQUEST_ID"),
        ("vid", "WRONG_HW"),
        ("epoch", "ROLLBACK"),
        ("digest", "ALREADY_INSTALLED"),
        ("version", "DOWNGRADE"),
        ("denied", "DENIED"),
        ("image_limit", "OUT_OF_STORAGE"),
    ):
        assert judged(made, **wrong) == code
        del wrong[name]
    assert judged(made, **wrong) == "UNSUPPORTED"


def test_usable_keeps_the_order_of_preference():
    made = [
        artifact(encoding="delta", base="cd" * 32),
        artifact(encoding="deflate", block_size=8192, blocks=2),
        artifact(encoding="deflate", bytes=1),
        artifact(bytes=2),
    ]
    found = manifest.usable(parsed(bent("artifacts", made)), device())
    assert [one.bytes for one in found] == [1, 2]
    assert judged(bent("artifacts", made[:2])) == "UNSUPPORTED"
