"""The keyset in force, and how the next one comes into force: THREATS 35. FORMATS section 6."""

from bootloader_verify import keyset_store
from bootloader_verify.errors import (
    ALG_MISMATCH,
    BAD_HASH,
    BAD_KEYSET,
    BAD_MAGIC,
    BAD_SIGNATURE,
    BAD_SIZE,
    FLASH_FAILED,
    FLASH_READBACK,
    KEYSET_CHAIN,
    REVOKED,
    WRONG_KIND,
    WRONG_ROLE,
    FlashError,
    VerifyError,
)
from bootloader_verify.flash import Region
from bootloader_verify.keyset_store import CONTAINER_BYTES_MAX, KeysetStore
from tests.power.flash_model import RamNor
from tests.unit import containers
from tests.unit.containers import hash_of, keyset_container, other
from tests.unit.expect import raises

BOTH = ("root_1", "root_2")
SMALL = ("root_1", "root_2", "root_3", "release_1", "rollout_1")
ROTATED = ("root_2", "root_3", "release_2", "rollout_1")
FACTORY = keyset_container(1, BOTH, SMALL)


def bench():
    return RamNor(16384, 1024, 8)


def store(flash, factory=FACTORY, tables=None):
    return KeysetStore(Region(flash, 0, flash.size_bytes), factory, tables)


def refused(code, data, flash=None):
    """Refused with that code; nothing is written, the same keyset stays in force."""
    flash = flash or bench()
    one = store(flash)
    before, version = flash.operations, one.keyset.version
    raises(VerifyError, code, one.accept, data)
    assert (flash.operations, one.keyset.version) == (before, version)
    assert store(flash).keyset.version == version


def next_one(**changes):
    made = {"version": 2, "signers": BOTH, "names": SMALL}
    made.update(changes)
    return keyset_container(**made)


# --- taken ------------------------------------------------------------------------------------------
def test_the_factorys_keyset_until_another_one_comes():
    one = store(bench())
    assert (one.keyset.version, one.damaged) == (1, False)
    assert one.keyset.find(hash_of("release_1")) is not None


def test_the_next_keyset_is_in_force_at_once_and_after_every_reset():
    flash = bench()
    one = store(flash)
    one.accept(next_one(revoked=("release_1",), names=SMALL + ("release_2",)))
    for seen in (one, store(flash), store(flash)):
        assert seen.keyset.version == 2 and not seen.damaged
        assert seen.keyset.revoked == (hash_of("release_1"),)


def test_roots_rotate_one_keyset_after_the_other():
    """N + 1 by roots 1 and 2 brings in root 3 alone with 2; N + 2 no longer needs root 1."""
    flash = bench()
    one = store(flash)
    one.accept(keyset_container(2, ("root_1", "root_2", "root_3"), ROTATED))
    raises(VerifyError, KEYSET_CHAIN, one.accept, keyset_container(3, ("root_1",), ROTATED))
    one.accept(keyset_container(3, ("root_2", "root_3"), ROTATED))
    assert store(flash).keyset.version == 3
    assert store(flash).keyset.find(hash_of("root_1")) is None


def test_a_base_firmware_with_a_newer_keyset_wins():
    flash = bench()
    store(flash).accept(next_one())
    newer = keyset_container(3, BOTH, SMALL)
    assert store(flash, newer).keyset.version == 3
    assert store(flash).keyset.version == 2


def test_both_halves_hold_it_and_a_missing_copy_is_mended_once():
    flash = bench()
    store(flash).accept(next_one())
    mended = flash.clone()
    store(mended).mend()
    assert mended.operations == 0
    flash.erase(8192, 8192)
    before = flash.operations
    one = store(flash)
    one.mend()
    assert flash.operations > before and store(flash).keyset.version == 2
    flash.erase(0, 8192)
    assert store(flash).keyset.version == 2


def test_tables_go_with_their_keys():
    tables = {hash_of("release_1"): bytes(2048)}
    flash = bench()
    one = store(flash, tables=tables)
    assert one.keyset.find(hash_of("release_1")).table == bytes(2048)
    assert one.keyset.find(hash_of("rollout_1")).table is None
    one.accept(next_one())
    for seen in (one, store(flash, tables=tables)):
        assert seen.keyset.version == 2
        assert seen.keyset.find(hash_of("release_1")).table == bytes(2048)


# --- refused ----------------------------------------------------------------------------------------
def test_t35_only_the_next_version():
    for version in (1, 3, 4, 0xFFFFFFFF):
        refused(KEYSET_CHAIN, next_one(version=version))
    flash = bench()
    data = next_one()
    store(flash).accept(data)
    refused(KEYSET_CHAIN, data, flash)
    refused(KEYSET_CHAIN, FACTORY, flash)


def test_t35_signed_only_by_the_old_one():
    """Root 3 and the stranger's successor are new: roots 1 and 2 alone do not make the new threshold."""
    refused(KEYSET_CHAIN, keyset_container(2, BOTH, ROTATED))


def test_t35_signed_only_by_the_new_one():
    flash = bench()
    factory = keyset_container(1, BOTH, ("root_1", "root_2", "release_1", "rollout_1"))
    one = store(flash, factory)
    data = keyset_container(2, ("root_2", "root_3"), ROTATED)
    raises(VerifyError, KEYSET_CHAIN, one.accept, data)
    raises(VerifyError, KEYSET_CHAIN, one.accept, keyset_container(2, ("root_3",), ROTATED))


def test_t35_one_key_twice_is_one_key():
    refused(KEYSET_CHAIN, next_one(signers=("root_1", "root_1")))
    refused(KEYSET_CHAIN, next_one(signers=("root_1",)))


def test_other_roles_do_not_sign_keysets():
    refused(WRONG_ROLE, next_one(signers=("root_1", "root_2", "release_1")))
    refused(WRONG_ROLE, next_one(signers=("rollout_1",)))
    refused(KEYSET_CHAIN, next_one(signers=("stranger",)))


def test_a_bad_signature_beside_enough_good_ones():
    entries = containers.protected_entries(3, None, None, None)
    text = containers.keyset_text(2, SMALL).encode()
    signed = containers.body(entries, text, flags=0x10)
    digest = containers.digest_of(signed)
    pairs = [containers.pair(name, digest) for name in BOTH]
    bad = containers.pair("root_3", digest, signature=containers.sign("root_1", digest))
    refused(BAD_SIGNATURE, containers.seal(signed, pairs=pairs + [bad]))
    odd = containers.pair("root_3", digest, signature=bytes(384), kind=0x23)
    refused(ALG_MISMATCH, containers.seal(signed, pairs=pairs + [odd]))


def test_a_root_that_the_keyset_in_force_revoked():
    flash = bench()
    store(flash).accept(next_one(revoked=("root_3",)))
    refused(REVOKED, keyset_container(3, ("root_1", "root_2", "root_3"), SMALL), flash)


def test_a_keyset_that_revokes_its_own_signer():
    refused(REVOKED, next_one(revoked=("root_1",), names=SMALL))


def test_a_threshold_that_its_keys_cannot_meet():
    """It would lock the device: nobody could sign for it any more."""
    refused(BAD_KEYSET, next_one(names=("root_1", "root_2", "rollout_1")))
    refused(BAD_KEYSET, next_one(revoked=("release_1",)))
    refused(BAD_KEYSET, next_one(root_threshold=4))


def test_what_is_no_keyset():
    good = next_one()
    refused(BAD_SIZE, b"")
    refused(BAD_SIZE, good[:31])
    refused(BAD_MAGIC, bytes(200))
    refused(BAD_HASH, good[:40] + b"!" + good[41:])
    refused(BAD_SIZE, good + bytes(CONTAINER_BYTES_MAX))
    refused(WRONG_KIND, other(2, BOTH))
    refused(BAD_KEYSET, other(3, BOTH, b'{"version": 2}'))
    for cut in range(32, len(good), 97):
        one = store(bench())
        raises(VerifyError, None, one.accept, good[:cut])


# --- flash ------------------------------------------------------------------------------------------
def test_damage_in_both_halves_is_said_and_the_factory_counts():
    flash = bench()
    store(flash).accept(next_one())
    for at in (40, 8192 + 40):
        flash.flip(at, 0x01)
    one = store(flash)
    assert one.damaged and one.keyset.version == 1
    one.accept(next_one())
    assert not one.damaged and store(flash).keyset.version == 2 and not store(flash).damaged


def test_no_single_bit_brings_an_older_keyset_back():
    flash = bench()
    store(flash).accept(next_one())
    store(flash).accept(keyset_container(3, BOTH, SMALL))
    size = len(keyset_container(3, BOTH, SMALL)) + 16
    for start in (0, 8192):
        for at in range(start, start + size, 61):
            aged = flash.clone()
            aged.flip(at, 0x10)
            assert store(aged).keyset.version == 3, at


def test_a_flash_that_does_not_keep_it_changes_nothing():
    flash = bench()
    one = store(flash)
    honest = flash.read

    def deaf(offset, buf):
        honest(offset, buf)
        if flash.operations and len(buf) > 64:
            buf[0] ^= 1

    flash.read = deaf
    raises(FlashError, FLASH_READBACK, one.accept, next_one())
    assert one.keyset.version == 1


def test_a_region_that_cannot_be_read_does_not_stop_the_boot():
    class Dead:
        size_bytes, erase_bytes, write_bytes, erased = 16384, 1024, 8, 0xFF

        def read(self, offset, buf):
            raise FlashError("READ_FAILED")

    one = KeysetStore(Dead(), FACTORY)
    assert one.damaged and one.keyset.version == 1


def test_unpack_wants_a_container():
    raises(VerifyError, BAD_SIZE, keyset_store.unpack, b"")
    raises(VerifyError, BAD_SIZE, keyset_store.unpack, FACTORY[:40])
    raises(VerifyError, BAD_MAGIC, keyset_store.unpack, bytes(64))


def test_one_copy_that_was_kept_is_enough():
    flash = bench()
    one = store(flash)
    honest = flash.program

    def once(offset, data):
        if flash.operations and flash.trace[-1][0] == "program":
            raise FlashError(FLASH_FAILED)
        honest(offset, data)

    flash.program = once
    one.accept(next_one())
    assert one.keyset.version == 2 and store(flash).keyset.version == 2
    raises(FlashError, FLASH_FAILED, store(flash).mend)
    flash.program = honest
    store(flash).mend()
    flash.erase(0, 8192)
    assert store(flash).keyset.version == 2


def test_a_cut_of_the_very_first_keyset_is_no_alarm():
    flash = bench()
    flash.program(0, next_one()[:8])
    assert not store(flash).damaged and store(flash).keyset.version == 1
    flash.program(8192, next_one()[:8])
    assert store(flash).damaged
