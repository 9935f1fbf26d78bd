"""One job: its state, its manifest, what is said of it, how it ends. The tables are in states.py.

transfer.py, activation.py and updater.py build on each other from here.
"""

from agent import manifest, protocol, states
from agent.update.gate import Gate
from bootloader_verify.errors import FlashError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from agent.manifest import Artifact, Manifest
    from agent.update.parts import Parts
    from bootloader_verify.ladder import Climb, Verified


class Job:
    """`state` is one of states.STATES. `defects`: errors of ours since boot."""

    def __init__(self, parts: "Parts", now_ms: int) -> None:
        self._p = parts
        self._now_ms = now_ms
        self._since_ms = now_ms  # in this state
        self.state = states.IDLE
        self.defects = 0
        self._link_up = False
        self._manifest: "Manifest | None" = None
        self._artifacts: "list[Artifact]" = []
        self._climb: "Climb | None" = None  # the ladder over the spare slot, while VERIFYING
        self._verified: "Verified | None" = None
        self._gate = Gate(parts.app)
        self._memory_fails = 0  # steps in a row, in this state, that found no memory
        self._foreign = False  # on trial is an image that no job of ours named

    # --- transitions --------------------------------------------------------------------------
    def _can(self, event: str) -> bool:
        return (self.state, event) in states.TRANSITIONS

    def _go(self, event: str) -> None:
        self._enter(states.after(self.state, event))

    def _enter(self, state: str) -> None:
        self._p.log("update: {} -> {}".format(self.state, state))
        self.state, self._since_ms = state, self._now_ms
        self._memory_fails = 0
        self._climb = None
        word = states.STATUS_OF[state]
        if word is not None:
            self._say(word)

    def _in_state_ms(self) -> int:
        return self._now_ms - self._since_ms

    # --- words --------------------------------------------------------------------------------
    def _say(self, word: str, code: str = "", detail: str = "") -> None:
        self._p.reporter.now(
            status=word,
            request_id=self._request_id(),
            reason=protocol.reason_of(code) if code else "",
            detail=detail,
            seq=self._p.journal.seq,
            bytes_fetched=self._p.download.bytes_fetched,
            blocks_done=self._p.download.blocks.done_count,
        )

    def _tell(self, event: str, code: str, detail: str) -> None:
        """An event of this job."""
        self._p.reporter.event(event, self._request_id(), code, detail)

    def _request_id(self) -> int:
        return 0 if self._foreign else self._p.journal.request_id

    def _policy(self) -> manifest.Policy:
        """The job's, or the default one for an image that came without a job."""
        if self._manifest is not None and not self._foreign:
            return self._manifest.policy
        return manifest.Policy(manifest.DEFAULT_POLICY)

    # --- ends ---------------------------------------------------------------------------------
    def _abort(self, word: str, code: str, detail: str) -> None:
        self._go(states.ABORT)
        self._close(word, code, detail)

    def _close(self, word: str, code: str, detail: str, denied: "bytes | None" = None) -> None:
        """The job ended with a failure: journal first, then the word.

        A journal that takes no more is no reason to stay silent: after a reset the job is open
        again and ends the same way.
        """
        self.state = states.FAILED
        detail = protocol.plain(detail)
        self._keep(self._p.journal.close, word, protocol.reason_of(code), detail, denied)
        self._p.device.denied = self._p.journal.denied
        self._say(word, code, detail)
        self._tell(protocol.UPDATE_FAILED, code, detail)
        self._end()

    def _keep(self, write: "Callable[..., None]", *args: "Any") -> bool:
        """A journal write whose failure must not stop what follows. False if it failed."""
        try:
            write(*args)
            return True
        except FlashError as err:
            self._p.log("journal: {}".format(err))
            return False

    def _spoil(self) -> None:
        """What stands in the spare slot is verified and not wanted: make it no image any more."""
        if self.state not in (states.VERIFYING, states.WAITING) or self._manifest is None:
            return
        try:
            self._p.download.writer.erase_first()
        except FlashError as err:
            self._p.log("flash: {}".format(err))

    def _end(self) -> None:
        """Nothing of the job is left but the journal's record of it."""
        self._p.download.stop()
        self._gate.close()
        self._manifest = self._verified = None
        self._artifacts = []
