"""No memory is no verdict: what could not be read is not called empty, and a good offer not bad.

An agent that forgets its journal takes old offers again; one that calls its own manifest malformed
ends the job. MemoryError goes up instead: the connection, or the agent, begins anew.
"""

import json

from agent import manifest
from agent.manifest import ManifestError
from agent.update import journal
from tests.unit.expect import raises
from tests.unit.test_journal import ONE, loaded, opened
from tests.unit.test_manifest import artifact, bent, fields


class Json:
    """Stands in for the module: without memory, or counting what reaches the parser."""

    def __init__(self, has_memory):
        self.has_memory = has_memory
        self.parsed = 0
        self.dumps = json.dumps

    def loads(self, text):
        self.parsed += 1
        if not self.has_memory:
            raise MemoryError
        return json.loads(text)


def with_json(module, stand_in, call, *args):
    module.json = stand_in
    try:
        return call(*args)
    finally:
        module.json = json


def test_a_journal_that_cannot_be_read_now_is_not_empty():
    flash, _ = opened()
    raises(MemoryError, None, with_json, journal, Json(False), loaded, flash)
    one, kept = loaded(flash)
    assert (one.seq, kept) == (7, ONE)


def test_a_change_without_memory_writes_nothing():
    flash, one = opened()
    before = flash.operations
    for change in (one.arming, one.reopen, lambda: one.note("x")):
        raises(MemoryError, None, with_json, journal, Json(False), change)
    assert flash.operations == before
    assert loaded(flash)[1] == ONE


def test_a_manifest_that_cannot_be_parsed_now_is_not_malformed():
    good = json.dumps(fields()).encode()
    raises(MemoryError, None, with_json, manifest, Json(False), manifest.parse, good)
    assert manifest.parse(good).seq == 10


def test_t42_what_nests_deep_or_wide_never_reaches_the_parser():
    counting = Json(True)
    for text in (b"[" * 4096, b"{" * 17, b'{"a":' * 800, b"[" * 2048 + b"]" * 2048, b"[[]," * 1024):
        err = raises(
            ManifestError,
            "BAD_MANIFEST",
            with_json,
            manifest,
            counting,
            manifest.parse,
            text,
        )
        assert err.detail == "nesting"
    assert counting.parsed == 0


def test_the_largest_manifest_does():
    full = json.dumps(bent("artifacts", [artifact()] * 4)).encode()
    assert len(manifest.parse(full).artifacts) == 4
