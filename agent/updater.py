"""The life of an update on the device: events in, one bounded step at a time, effects out.

No clock, no socket, no task: `poll` is called often with the time, the session brings messages and
fetches what is to be said. The tables are in states.py; what each state does is the method of its
name here. A reset may come anywhere: `resume` finds the way back from flash alone.
"""

from agent import install, manifest, offers, protocol, states
from agent.gate import SETTLING, Gate
from agent.health import HEALTHY, UNHEALTHY, Health
from bootloader_verify import decision
from bootloader_verify.errors import CodedError, FlashError, VerifyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from agent.application import Application
    from agent.download import Download
    from agent.install import Installer
    from agent.journal import Journal
    from agent.manifest import Artifact, Device, Manifest
    from agent.report import Reporter
    from bootloader_verify.boot import Booted
    from bootloader_verify.keyset import Keyset
    from bootloader_verify.ladder import Verified

RESCANS_MAX = 2  # looks at a slot whose blocks are right and whose image is not
GOODBYE_MS = 5_000  # the last status before a reset may take so long to be acknowledged
RESTART_MS = 30_000  # a confirmed application that stopped: time to be reached by an operator


class Parts:
    """What an updater works with; all of it made once, in main."""

    def __init__(self) -> None:
        self.booted: "Booted"
        self.keyset: "Keyset"
        self.installer: "Installer"
        self.journal: "Journal"
        self.download: "Download"
        self.device: "Device"
        self.app: "Application"
        self.reporter: "Reporter"
        self.log: "Callable[[str], None]"
        self.restart: "Callable[[str], None]"  # makes outputs safe and resets; may return
        self.nonce: "Callable[[], int]"


class Updater:
    """One job at a time. `state` is one of states.STATES. `defects`: errors of ours since boot."""

    def __init__(self, parts: Parts, now_ms: int) -> None:
        self._p = parts
        self._now_ms = now_ms
        self.state = states.IDLE
        self.defects = 0
        self._link_up = False
        self._manifest: "Manifest | None" = None
        self._artifacts: "list[Artifact]" = []
        self._verified: "Verified | None" = None
        self._gate = Gate(parts.app)
        self._health: "Health | None" = None
        self._seen = offers.Seen()
        self._later: "bytes | None" = None  # an offer that came when none could be taken
        self._since_ms = now_ms  # in this state
        self._accepted_ms = now_ms
        self._rescans = 0
        self._waits_for = ""
        self._alarmed = False
        self._leaving = False
        self._resume()

    # --- transitions --------------------------------------------------------------------------
    def _go(self, event: str) -> None:
        self._enter(states.after(self.state, event))

    def _enter(self, state: str) -> None:
        self._p.log("update: {} -> {}".format(self.state, state))
        self.state, self._since_ms = state, self._now_ms
        word = states.STATUS_OF[state]
        if word is not None:
            self._say(word)

    def _say(self, word: str, code: str = "", detail: str = "") -> None:
        reason = protocol.reason_of(code) if code else ""
        self._p.reporter.now(
            status=word,
            request_id=self._p.journal.request_id,
            reason=reason,
            detail=detail,
            seq=self._p.journal.seq,
            bytes_fetched=self._p.download.bytes_fetched,
            blocks_done=self._p.download.blocks.done_count,
        )

    # --- after a reset ------------------------------------------------------------------------
    def _resume(self) -> None:
        kept = self._p.journal.load()
        if kept is not None:
            self._reopen_job(kept)
        fact = self._fact()
        target = states.resume(self._p.journal.state, fact)
        self._p.log(
            "update: journal {}, {}: resumes {}".format(self._p.journal.state, fact, target)
        )
        self._p.device.seq = self._p.journal.seq
        self._p.device.request_id = self._p.journal.request_id
        self._p.device.denied = self._p.journal.denied
        if target == states.IDLE:
            self._say_last_outcome()
        elif target == states.FAILED:
            self._trial_failed(fact)
        else:
            self._resume_job(target)

    def _reopen_job(self, kept: memoryview) -> None:
        """The open job's manifest, proved again: nothing in flash is believed."""
        try:
            self._manifest = offers.authentic(kept, self._p.keyset)
            self._artifacts = manifest.usable(self._manifest, self._p.device)
        except offers.RefusedError as err:
            self._p.journal.close(protocol.DOWNLOAD_FAILED, protocol.reason_of(err.code), err.code)

    def _fact(self) -> str:
        """What boot and the spare slot's trailer say about the journal's image."""
        booted = self._p.booted
        if booted.mode == decision.TRIAL:
            return states.RUNS_TRIAL
        job, running = self._manifest, booted.verified
        if job is not None and running is not None and running.digest == job.digest:
            return states.RUNS_CONFIRMED
        spare = self._p.installer.spare.state()
        if spare.armed and spare.exhausted:
            return states.USED_UP
        return states.NOT_ARMED if spare.magic in ("erased", "bad") else states.REFUSED

    def _say_last_outcome(self) -> None:
        journal = self._p.journal
        self._p.reporter.facts(reason=journal.reason, detail=journal.detail, seq=journal.seq)
        self._p.reporter.now(status=journal.outcome or protocol.IDLE, request_id=journal.request_id)

    def _resume_job(self, target: str) -> None:
        if target == states.ACCEPTED:
            if self._p.journal.state == states.J_ARMING:
                self._p.journal.reopen()
            self._show_artifact()
        elif target == states.TRIAL:
            policy = self._policy()
            self._health = Health(self._p.app, policy.confirm_s, self._now_ms)
        self._enter(target)

    def _policy(self) -> manifest.Policy:
        job = self._manifest
        return job.policy if job is not None else manifest.Policy(manifest.DEFAULT_POLICY)

    def _trial_failed(self, fact: str) -> None:
        journal, spare = self._p.journal, self._p.installer.spare
        assert self._manifest is not None
        digest = self._manifest.digest
        if fact == states.USED_UP:
            used = "{} attempts used, none confirmed".format(spare.state().attempts_used)
            detail = journal.detail or used
            self._close(protocol.INSTALLATION_FAILED, "TRIAL_FAILED", detail, digest)
        else:
            code = self._p.booted.codes.get(spare.name, "") or "TRIAL_FAILED"
            detail = "the boot stage did not take it: " + (code or "trailer damaged")
            self._close(protocol.INSTALL_VERIFICATION_FAILED, code, detail, digest)

    # --- one step -----------------------------------------------------------------------------
    def poll(self, now_ms: int) -> bool:
        """Do one bounded piece of work; True if there is more to do at once."""
        self._now_ms = now_ms
        step = _STEPS.get(self.state)
        try:
            busy = bool(step(self)) if step is not None else False
        except FlashError as err:
            self._flash_failed(err)
            busy = False
        self._watch_application()
        return busy

    def _flash_failed(self, err: FlashError) -> None:
        self._p.log("flash: {}".format(err))
        if self.state == states.CONFIRMING:  # image_ok was not kept
            self._go(states.ABORT)
        elif (self.state, states.ABORT) in states.TRANSITIONS:
            self._abort(protocol.INSTALLATION_FAILED, err.code, err.detail)
        else:
            self.defects += 1  # a journal that takes no more

    def _watch_application(self) -> None:
        """A confirmed image whose application stopped is started again, by a reset."""
        app = self._p.app
        if app.running or not app.fault or self.state not in states.CLOSED or self._leaving:
            return
        self._leaving = True
        self._p.reporter.event(protocol.APPLICATION_STOPPED, 0, "APP_STOPPED", app.fault)
        self._since_ms = self._now_ms

    def _closed(self) -> bool:
        if self._leaving and self._now_ms - self._since_ms >= RESTART_MS:
            self._p.restart("the application had stopped")
        later, self._later = self._later, None
        if later is not None:
            self._on_offer(later)
        return False

    def _accepted(self) -> bool:
        self._rescans = 0
        self._p.download.new_job()
        self._start_scan()
        self._go(states.START)
        if not self._link_up:
            self._go(states.LINK_DOWN)
        return True

    def _start_scan(self) -> None:
        assert self._manifest is not None
        self._p.download.start(self._artifacts[0], self._manifest.size, self._p.nonce())

    def _show_artifact(self) -> None:
        if self._artifacts:
            self._p.reporter.facts(blocks=self._artifacts[0].blocks, blocks_done=0)

    def _transfer(self) -> bool:
        """SCANNING, DOWNLOADING and PAUSED: what can be done without the line is done."""
        download = self._p.download
        busy = download.step()
        if download.error is not None:
            self._artifact_failed(download.error[0], download.error[1])
            return True
        if download.complete:
            self._go(states.COMPLETE)
            return True
        if self.state == states.SCANNING and download.writing:
            self._go(states.MISSING)
        if self._deadline_passed():
            self._abort(protocol.DOWNLOAD_FAILED, "DEADLINE", "not here within deadline_s")
        elif download.blocks.scanned or download.writing:
            done = download.blocks.done_count
            self._p.reporter.progress(self._now_ms, done, download.bytes_fetched)
        return busy

    def _deadline_passed(self) -> bool:
        """Counts since the offer was accepted or, after a reset, since then: there is no clock."""
        deadline_ms = self._policy().deadline_s * 1000
        return 0 < deadline_ms <= self._now_ms - self._accepted_ms

    def _artifact_failed(self, code: str, detail: str) -> None:
        """Another artifact of the same image may do: what is in flash counts for it as well."""
        self._p.log("artifact failed: {} {}".format(code, detail))
        del self._artifacts[0]
        if not self._artifacts:
            self._abort(protocol.DOWNLOAD_FAILED, code, detail)
            return
        self._show_artifact()
        self._start_scan()
        self._go(states.ANOTHER)

    def _verifying(self) -> bool:
        assert self._manifest is not None
        try:
            self._verified = self._p.installer.verify(self._manifest)
        except CodedError as err:
            self._not_verified(err)
            return True
        self._p.download.stop()
        self._waits_for, self._alarmed = "", False
        self._go(states.VERIFIED)
        return True

    def _not_verified(self, err: CodedError) -> None:
        if err.code in install.MAY_BE_DAMAGE and self._rescans < RESCANS_MAX:
            self._rescans += 1
            self._start_scan()
            self._go(states.DAMAGED)
            return
        word = protocol.INSTALL_VERIFICATION_FAILED
        if err.code in install.SIGNER_CODES:
            word = protocol.INVALID_SIGNATURE
            self._p.reporter.event(
                protocol.INVALID_FIRMWARE_SIGNATURE,
                self._p.journal.request_id,
                err.code,
                err.detail,
            )
        self._p.download.writer.erase_first()  # not an image any more
        self._abort(word, err.code, err.detail)

    def _waiting(self) -> bool:
        code = self._gate.poll(self._now_ms, self._policy().require_unplugged)
        if not code:
            self._go(states.GATE_OPEN)
            return True
        if code not in (SETTLING, self._waits_for):
            self._waits_for = code
            self._say(protocol.INSTALL_SCHEDULED, code)
        limit_ms = self._policy().max_deferral_s * 1000
        if 0 < limit_ms <= self._now_ms - self._since_ms and not self._alarmed:
            self._alarmed = True
            request_id = self._p.journal.request_id
            self._p.reporter.event(protocol.ACTIVATION_DEFERRED, request_id, code, "")
        return False

    def _arming(self) -> bool:
        assert self._verified is not None
        self._p.journal.arming()
        try:
            self._p.installer.arm(self._verified, self._policy().attempts)
        except VerifyError as err:
            self._abort(protocol.INSTALL_VERIFICATION_FAILED, err.code, err.detail)
            return True
        self._go(states.ARMED)
        return True

    def _rebooting(self) -> bool:
        """The last look: nobody may lose their charge to this reset."""
        code = self._gate.poll(self._now_ms, False)
        said = self._p.reporter.idle or self._now_ms - self._since_ms >= GOODBYE_MS
        if not code and said:
            self._p.restart("the new image is armed")
        return False

    def _trial(self) -> bool:
        assert self._health is not None
        verdict = self._health.poll(self._now_ms, self._link_up, self.defects)
        if verdict == HEALTHY:
            self._p.log("trial: healthy, " + self._health.detail)
            self._go(states.HEALTHY)
        elif verdict == UNHEALTHY:
            self._p.log("trial: unhealthy, " + self._health.detail)
            self._go(states.UNHEALTHY)
            if self._manifest is not None:
                self._p.journal.note(self._health.detail)
        return False

    def _giving_up(self) -> bool:
        """The reset burns this attempt; the boot stage decides what comes next."""
        said = self._p.reporter.idle or self._now_ms - self._since_ms >= GOODBYE_MS
        if said or not self._link_up:
            self._p.restart("the trial is given up")
        return False

    def _confirming(self) -> bool:
        """Once image_ok is kept there is no way back: what fails behind it is told, no more."""
        self._p.installer.confirm()
        verified = self._p.booted.verified
        assert verified is not None
        request_id = self._p.journal.request_id
        try:
            self._p.installer.raise_epoch()
        except CodedError as err:
            self._p.reporter.event(protocol.EPOCH_NOT_STORED, request_id, err.code, err.detail)
        self._p.reporter.facts(
            mode=decision.CONFIRMED, attempt=0, epoch=self._p.installer.least_epoch
        )
        if self._manifest is not None:
            self._p.journal.close(protocol.INSTALLED, "", "")
        self._go(states.PROVED)
        version = manifest.version_text(verified.version)
        self._p.reporter.event(protocol.FIRMWARE_UPDATED, request_id, "", version)
        self._end_job()
        return False

    # --- ends ---------------------------------------------------------------------------------
    def _abort(self, word: str, code: str, detail: str) -> None:
        self._go(states.ABORT)
        self._close(word, code, detail)

    def _close(self, word: str, code: str, detail: str, denied: "bytes | None" = None) -> None:
        """The job ends with a failure: journal first, then the word."""
        self.state = states.FAILED
        detail = protocol.plain(detail)
        self._p.journal.close(word, protocol.reason_of(code), detail, denied)
        self._p.device.denied = self._p.journal.denied
        self._say(word, code, detail)
        request_id = self._p.journal.request_id
        self._p.reporter.event(protocol.UPDATE_FAILED, request_id, code, detail)
        self._end_job()

    def _end_job(self) -> None:
        self._p.download.stop()
        self._gate.close()
        self._manifest = self._verified = None
        self._artifacts = []

    # --- the session's handler ----------------------------------------------------------------
    def on_link(self, up: bool, now_ms: int) -> None:
        """The line came or went."""
        self._now_ms, self._link_up = now_ms, up
        if up:
            self._p.download.link_up()
            self._p.reporter.repeat()
            if self.state == states.PAUSED:
                self._go(states.LINK_UP)
        else:
            self._p.download.forget_in_flight()
            if (self.state, states.LINK_DOWN) in states.TRANSITIONS:
                self._go(states.LINK_DOWN)

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
        """Something of ours raised what nobody expected: a trial does not pass with that."""
        self.defects += 1

    def _on_offer(self, payload: "memoryview | bytes") -> None:
        if not payload or self._seen.before(payload, self._p.journal.offer):
            return
        if self.state not in states.REPLACEABLE and self.state not in states.CLOSED:
            self._later = bytes(payload)  # taken when the present job has ended
            return
        self._p.device.epoch = self._p.installer.least_epoch
        try:
            found = offers.take(payload, self._p.keyset, self._p.device)
        except offers.RefusedError as err:
            self._seen.refused(payload)
            self._p.log("offer refused: {}".format(err))
            self._p.reporter.event(err.event, err.request_id, err.code, err.detail)
            return
        self._take(found, payload)

    def _take(self, found: "Manifest", payload: "memoryview | bytes") -> None:
        replaces = self.state in states.REPLACEABLE
        self._end_job()
        self._p.journal.open(payload, found.seq, found.request_id)
        self._p.device.seq, self._p.device.request_id = found.seq, found.request_id
        self._manifest = found
        self._artifacts = manifest.usable(found, self._p.device)
        self._accepted_ms = self._now_ms
        answer = "AcceptedCanceled" if replaces else "Accepted"
        version = manifest.version_text(found.version)
        self._p.reporter.event(protocol.OFFER_ACCEPTED, found.request_id, answer, version)
        self._show_artifact()
        self._go(states.OFFER)

    def _on_command(self, payload: memoryview) -> None:
        try:
            cmd, request_id = protocol.parse_cmd(payload)
        except protocol.ProtocolError as err:
            self._p.log("command refused: {}".format(err))
            return
        if cmd == protocol.CMD_STATUS:
            self._p.reporter.repeat()
        elif self.state in states.REPLACEABLE and request_id == self._p.journal.request_id:
            self._cancel()
        else:
            code = "IN_PROGRESS" if self.state not in states.CLOSED else "INVALID"
            self._p.reporter.event(protocol.COMMAND_REJECTED, request_id, code, cmd)

    def _cancel(self) -> None:
        self._go(states.CANCEL)
        self._p.journal.close(protocol.IDLE, protocol.reason_of("CANCELED"), "")
        self._say(protocol.IDLE, "CANCELED")
        self._end_job()


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
