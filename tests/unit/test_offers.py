"""From the bytes of an offer to a manifest or a code: signature first, shape second, rules last."""

from agent import manifest, protocol
from agent.update import offers
from agent.update.journal import offer_id
from agent.update.offers import RefusedError, Seen
from tests.unit.containers import image, keyset, other
from tests.unit.expect import raises
from tests.unit.test_manifest import device

# The manifest of test_manifest.fields, spelled out: MicroPython's dicts have no order, and signatures
# are looked up by digest.
GOOD = b"""{"v":1,"seq":10,"request_id":20,"device":"CP-0001","image":{
"sha256":"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f","size":9000,
"version":"1.2.3+4","epoch":5,"vid":"000102030405060708090a0b0c0d0e0f",
"cid":"101112131415161718191a1b1c1d1e1f","revisions":["A","B"]},"artifacts":[{"encoding":"raw",
"base":null,"block_size":4096,"blocks":3,"index_sha256":[
"abababababababababababababababababababababababababababababababab"],"bytes":9000}],"policy":{
"attempts":3,"confirm_s":600,"require_unplugged":false,"allow_downgrade":false,"not_before":0,
"deadline_s":0,"max_deferral_s":0,"window":null}}"""


def offer(payload=GOOD, kind=2, names=None, **claims):
    return other(kind, names, payload, **claims)


def authentic(data):
    return offers.authentic(data, keyset())


def take(data, **changes):
    one = device()
    for name, value in changes.items():
        setattr(one, name, value)
    return offers.take(data, keyset(), one)


def refused(data, code):
    err = raises(RefusedError, code, authentic, data)
    assert err.request_id == 0 and err.event == protocol.OFFER_REJECTED
    return err


def test_a_good_one():
    assert authentic(offer()).seq == 10
    assert authentic(memoryview(offer())).request_id == 20
    assert take(offer()).device == "CP-0001"


def test_t31_only_rollout_signs_offers():
    refused(offer(names=("release_1",)), "WRONG_ROLE")
    refused(offer(names=("root_1",)), "WRONG_ROLE")
    refused(offer(names=("stranger",)), "UNKNOWN_KEY")


def test_t29_another_kind_is_no_offer():
    for kind in (3, 4):
        refused(offer(kind=kind, names=("rollout_1",)), "WRONG_KIND")
    refused(image(("rollout_1",)), "WRONG_KIND")
    refused(image(), "WRONG_KIND")


def test_t11_any_changed_byte_is_refused():
    good = offer()
    for at in range(0, len(good), 11):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        raises(RefusedError, None, authentic, bad)
    changed = bytearray(good)
    changed[40] ^= 1
    refused(changed, "BAD_HASH")


def test_t07_nothing_and_parts_of_an_offer_are_refused():
    good = offer()
    for size in list(range(0, len(good), 37)) + [len(good) - 1]:
        raises(RefusedError, None, authentic, good[:size])


def test_size_comes_before_everything():
    refused(bytes(manifest.CONTAINER_BYTES_MAX + 1), "BAD_SIZE")
    refused(bytes(manifest.CONTAINER_BYTES_MAX), "BAD_MAGIC")


def test_an_authentic_payload_may_still_be_no_manifest():
    for payload in (b"{}", b"\xff", b"[" * 100, GOOD[:-1], GOOD.replace(b'"seq":10', b'"seq":0')):
        refused(offer(payload), "BAD_MANIFEST")


def test_an_offer_may_ask_for_a_newer_agent():
    assert authentic(offer(least_agent=(0, 1, 0, 0))).seq == 10
    refused(offer(least_agent=(9, 0, 0, 0)), "DEPENDENCY")


def test_the_rules_come_behind_the_signature():
    bad = offer(names=("release_1",))
    raises(RefusedError, "WRONG_ROLE", lambda: take(bad, names=["other"]))
    err = raises(RefusedError, "WRONG_DEVICE", lambda: take(offer(), names=["other"]))
    assert err.request_id == 20 and err.event == protocol.OFFER_REJECTED


def test_t32_a_replay_is_a_security_event():
    err = raises(RefusedError, "REPLAY", lambda: take(offer(), seq=10))
    assert err.request_id == 20 and err.event == protocol.REPLAY_ATTEMPT


def test_seen_knows_the_accepted_and_the_last_refused_offer():
    seen = Seen()
    assert not seen.before(b"one", "")
    assert seen.before(b"one", offer_id(b"one")) and not seen.before(b"two", offer_id(b"one"))
    seen.refused(b"two")
    assert seen.before(memoryview(b"two"), "") and not seen.before(b"one", "")
    seen.refused(b"three")
    assert seen.before(b"three", "") and not seen.before(b"two", "")
