"""The life of an update on the device: events in, one bounded step at a time, effects out.

No clock, no socket, no task: `poll` is called often with the time, the session brings messages and
fetches what is to be said. A reset may come anywhere: `_resume` finds the way back from flash alone.
"""

from agent import manifest, protocol, states
from agent.update import offers
from agent.update.activation import Activation
from bootloader_verify import decision
from bootloader_verify.errors import CodedError, FlashError
from bootloader_verify.trailer import SET, TrailerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.manifest import Manifest
    from agent.update.parts import Parts

    Buffer = bytes | memoryview

MEMORY_FAILS_MAX = 20  # a second, at the session's pace
RESTART_MS = 30_000  # a confirmed application that stopped: time to be reached by an operator


class Updater(Activation):
    """One job at a time; the handler of a session (session.py)."""

    def __init__(self, parts: "Parts", now_ms: int) -> None:
        super().__init__(parts, now_ms)
        self._seen = offers.Seen()
        self._later: "bytes | None" = None  # an offer that came when none could be taken
        self._app_stopped_ms: "int | None" = None
        self._resume()

    # --- after a reset ------------------------------------------------------------------------
    def _settle_keyset(self) -> None:
        store = self._p.keyset_store
        if store is None:
            return
        if store.damaged:
            detail = "keyset {} of the base firmware counts".format(store.keyset.version)
            self._p.reporter.event(protocol.KEYSET_DAMAGED, 0, "KEYSET_DAMAGED", detail)
        try:
            store.mend()
        except FlashError as err:
            self._p.reporter.event(protocol.KEYSET_NOT_STORED, 0, err.code, err.detail)

    def _settle_epoch(self) -> None:
        if self._p.booted.epoch is None:
            self._p.reporter.event(protocol.EPOCH_DAMAGED, 0, "EPOCH_DAMAGED", "both copies")
        try:
            self._p.installer.settle_epoch()
        except CodedError as err:
            self._p.reporter.event(protocol.EPOCH_NOT_STORED, 0, err.code, err.detail)
        self._p.reporter.facts(epoch=self._p.installer.least_epoch)

    def _resume(self) -> None:
        self._settle_keyset()
        self._settle_epoch()
        journal, device = self._p.journal, self._p.device
        kept = self._loaded()
        if kept is not None:
            self._reopen(kept)
        device.seq, device.request_id = journal.seq, journal.request_id
        device.denied = journal.denied
        fact = self._fact()
        target = states.resume(journal.state, fact)
        self._p.log("update: journal {}, {}: resumes {}".format(journal.state, fact, target))
        if target == states.IDLE:
            self._say_last_outcome()
        elif target == states.FAILED:
            self._trial_failed(fact)
        else:
            self._resume_job(target, fact)

    def _loaded(self) -> "memoryview | None":
        """The open job's manifest. A journal that cannot be read is told and counts as empty: seq
        is forgotten, but a charger that takes no update any more would be the worse harm."""
        try:
            return self._p.journal.load()
        except FlashError as err:
            self._p.reporter.event(protocol.JOURNAL_DAMAGED, 0, err.code, err.detail)
            return None

    def _reopen(self, kept: memoryview) -> None:
        """The open job's manifest, proved again: nothing in flash is believed."""
        try:
            self._manifest = offers.authentic(kept, self._p.keyset)
            self._artifacts = manifest.usable(self._manifest, self._p.device)
        except offers.RefusedError as err:
            reason = protocol.reason_of(err.code)
            self._keep(self._p.journal.close, protocol.DOWNLOAD_FAILED, reason, err.code)

    def _fact(self) -> str:
        """What boot and the spare slot's trailer say about the journal's image."""
        booted, job = self._p.booted, self._manifest
        is_job_s = job is not None and booted.verified is not None
        is_job_s = is_job_s and booted.verified.digest == job.digest  # type: ignore[union-attr]
        if booted.mode == decision.TRIAL:
            return states.RUNS_TRIAL if is_job_s else states.RUNS_OTHER
        if is_job_s:
            confirmed = booted.state is not None and booted.state.confirmed
            return states.RUNS_CONFIRMED if confirmed else states.RUNS_UNARMED
        spare = self._spare_state()
        if spare.armed and spare.exhausted:
            return states.USED_UP
        return states.REFUSED if spare.magic == SET else states.NOT_ARMED

    def _spare_state(self) -> TrailerState:
        try:
            return self._p.installer.spare.state()
        except FlashError:
            return TrailerState()  # it cannot be read: nothing is armed there

    def _say_last_outcome(self) -> None:
        journal = self._p.journal
        self._p.reporter.now(
            status=journal.outcome or protocol.IDLE,
            request_id=journal.request_id,
            reason=journal.reason,
            detail=journal.detail,
            seq=journal.seq,
        )

    def _resume_job(self, target: str, fact: str) -> None:
        self._foreign = fact == states.RUNS_OTHER
        if target == states.ACCEPTED:
            if self._p.journal.state == states.J_ARMING:
                self._keep(self._p.journal.reopen)
            self._show_artifact()
        elif target == states.WAITING:
            self._verified = self._p.installer.arm_running_instead()
        elif target == states.TRIAL:
            self._begin_trial()
        self._enter(target)

    def _trial_failed(self, fact: str) -> None:
        """Only an image that was tried and failed is denied from now on: power cuts and damage are
        not its fault. What the boot stage did not take is disarmed, or it might be taken later; what
        failed is no image any more, or a note that comes late could give it an attempt back."""
        if fact == states.REFUSED:
            self._p.installer.disarm()
            code = self._p.booted.codes.get(self._p.installer.spare.name, "")
            detail = "the boot stage did not take it: " + (code or "trailer damaged")
            word = protocol.INSTALL_VERIFICATION_FAILED
            self._close(word, code or "TRIAL_FAILED", detail)
            return
        spare = self._spare_state()
        assert self._manifest is not None
        denied = self._manifest.digest if spare.attempts_used >= spare.attempts else None
        used = "{} of {} attempts used in {} boots, none confirmed"
        used = used.format(spare.attempts_used, spare.attempts, spare.boots)
        if self._p.booted.slot is not None:  # else it may be the last image there is
            self._p.installer.spoil()
        detail = self._p.journal.detail or used
        self._close(protocol.INSTALLATION_FAILED, "TRIAL_FAILED", detail, denied)

    # --- one step -----------------------------------------------------------------------------
    def poll(self, now_ms: int) -> bool:
        """Do one bounded piece of work; True if there is more to do at once."""
        self._now_ms = now_ms
        try:
            busy = _STEPS[self.state](self)
        except FlashError as err:
            self._flash_failed(err)
            busy = False
        except MemoryError as err:
            self._memory_failed(err)
            busy = False
        self._watch_application()
        return busy

    def _flash_failed(self, err: FlashError) -> None:
        self._p.log("flash: {}".format(err))
        if self.state == states.ARMING:  # a trailer that reads back today may read well tomorrow
            self._p.installer.disarm()
        if self._can(states.ABORT):
            self._abort(protocol.INSTALLATION_FAILED, err.code, err.detail)
        else:
            self.defects += 1

    def _memory_failed(self, err: MemoryError) -> None:
        """The application may have it for a moment; if it keeps it, the job ends, not the charger."""
        self._p.log("memory: {}".format(err))
        self.defects += 1
        self._memory_fails += 1
        if self._memory_fails >= MEMORY_FAILS_MAX and self._can(states.ABORT):
            fetching = self.state in (states.SCANNING, states.DOWNLOADING, states.PAUSED)
            word = protocol.DOWNLOAD_FAILED if fetching else protocol.INSTALLATION_FAILED
            self._abort(word, "OUT_OF_MEMORY", "in state " + self.state)

    def _closed(self) -> bool:
        self._gate.close()  # again, should the application not have heard it
        later, self._later = self._later, None
        if later is not None:
            self._on_offer(later)
        return False

    def _watch_application(self) -> None:
        """A confirmed image whose application stopped is started again, by a reset. A download that
        runs meanwhile loses nothing by it."""
        app = self._p.app
        if app.running or not app.fault or not self._can(states.OFFER):
            return
        if self._app_stopped_ms is None:
            self._app_stopped_ms = self._now_ms
            self._p.reporter.event(protocol.APPLICATION_STOPPED, 0, "APP_STOPPED", app.fault)
        elif self._now_ms - self._app_stopped_ms >= RESTART_MS:
            self._p.restart("the application had stopped")

    # --- the session's handler ----------------------------------------------------------------
    def on_link(self, up: bool, now_ms: int) -> None:
        """The line came or went."""
        self._now_ms, self._link_up = now_ms, up
        if up:
            self._p.download.link_up()
            self._p.reporter.repeat()
        else:
            self._p.download.forget_in_flight()
        event = states.LINK_UP if up else states.LINK_DOWN
        if self._can(event):
            self._go(event)

    def on_message(self, leaf: str, payload: memoryview) -> None:
        """A message for us; the view is used during the call only."""
        if leaf == protocol.DATA:
            self._p.download.on_data(payload, self._now_ms)
        elif leaf == protocol.OFFER:
            self._on_offer(payload)
        elif leaf == protocol.CMD:
            self._on_command(payload)

    def next_message(self) -> "tuple[str, Any, int, bool] | None":
        """The next thing to publish, or None."""
        message = self._p.reporter.next_message()
        if message is not None:
            return message
        if self.state not in (states.SCANNING, states.DOWNLOADING):
            return None
        request = self._p.download.next_get(self._now_ms)
        return None if request is None else (protocol.GET, request, 0, False)

    def sent(self, leaf: str) -> None:
        """The broker has it."""
        if leaf in (protocol.STATUS, protocol.EVENT):
            self._p.reporter.sent()

    def on_defect(self) -> None:
        """Something of ours raised what nobody expected: a trial without a broker fails by that."""
        self.defects += 1

    # --- offers and commands ------------------------------------------------------------------
    def _on_offer(self, payload: "Buffer") -> None:
        if not payload or self._seen.before(payload, self._p.journal.offer):
            return
        if not self._can(states.OFFER):
            self._later = bytes(payload)  # taken when the present job has ended
            return
        self._p.device.epoch = self._p.installer.least_epoch
        try:
            found = offers.take(payload, self._p.keyset, self._p.device)
            self._take(found, payload)
        except offers.RefusedError as err:
            self._seen.refused(payload)
            self._refuse(err.event, err.request_id, err.code, err.detail)
        except FlashError as err:  # the journal takes no more; offered again, it is tried again
            self._refuse(protocol.OFFER_REJECTED, found.request_id, err.code, err.detail)

    def _refuse(self, event: str, request_id: int, code: str, detail: str) -> None:
        self._p.log("offer refused: {}: {}".format(code, detail))
        self._p.reporter.event(event, request_id, code, detail)

    def _take(self, found: "Manifest", payload: "Buffer") -> None:
        answer = "Accepted" if self.state in states.CLOSED else "AcceptedCanceled"
        self._p.journal.open(payload, found.seq, found.request_id)
        self._spoil()
        self._end()
        self._p.device.seq, self._p.device.request_id = found.seq, found.request_id
        self._manifest = found
        self._artifacts = manifest.usable(found, self._p.device)
        self._accepted_ms = self._now_ms
        self._tell(protocol.OFFER_ACCEPTED, answer, manifest.version_text(found.version))
        self._show_artifact()
        self._go(states.OFFER)

    def _on_command(self, payload: memoryview) -> None:
        try:
            cmd, request_id = protocol.parse_cmd(payload)
        except protocol.ProtocolError as err:
            self._p.log("command refused: {}".format(err))
            return
        try:
            self._obey(cmd, request_id)
        except FlashError as err:  # nothing changed in flash: a job that is open goes on
            self._p.reporter.event(protocol.COMMAND_REJECTED, request_id, err.code, cmd)

    def _obey(self, cmd: str, request_id: int) -> None:
        if cmd == protocol.CMD_STATUS:
            self._p.reporter.repeat()
        elif cmd == protocol.CMD_ALLOW:
            self._allow(request_id)
        elif self._can(states.CANCEL) and request_id == self._p.journal.request_id:
            self._cancel()
        else:
            code = "NO_SUCH_JOB" if self.state in states.CLOSED else "IN_PROGRESS"
            self._p.reporter.event(protocol.COMMAND_REJECTED, request_id, code, cmd)

    def _allow(self, request_id: int) -> None:
        """An operator's word that what failed here may be tried once more."""
        self._p.journal.allow()
        self._p.device.denied = self._p.journal.denied
        self._seen.forget_refused()
        self._p.reporter.event(protocol.IMAGES_ALLOWED, request_id, "", "")

    def _cancel(self) -> None:
        """Back to idle; what the slot holds is no image that boots, but counts for a later job."""
        self._p.journal.close(protocol.IDLE, protocol.reason_of("CANCELED"), "")
        self._spoil()
        self._go(states.CANCEL)
        self._say(protocol.IDLE, "CANCELED")
        self._end()


_STEPS = {
    states.IDLE: Updater._closed,
    states.CONFIRMED: Updater._closed,
    states.FAILED: Updater._closed,
    states.ACCEPTED: Updater._accepted,
    states.SCANNING: Updater._transfer,
    states.DOWNLOADING: Updater._transfer,
    states.PAUSED: Updater._transfer,
    states.VERIFYING: Updater._verifying,
    states.WAITING: Updater._waiting,
    states.ARMING: Updater._arming,
    states.REBOOTING: Updater._rebooting,
    states.TRIAL: Updater._trial,
    states.GIVING_UP: Updater._giving_up,
    states.CONFIRMING: Updater._confirming,
}
