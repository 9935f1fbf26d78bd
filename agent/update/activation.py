"""The job's second half: wait for the charger, arm, reset, prove the new image, confirm or give up."""

from agent import manifest, protocol, states
from agent.update.gate import SETTLING, TX_IN_PROGRESS
from agent.update.health import HEALTHY, UNHEALTHY, Health
from agent.update.transfer import Transfer
from bootloader_verify import decision
from bootloader_verify.errors import CodedError, FlashError, VerifyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.update.parts import Parts

LAST_WORD_MS = 5_000  # the last status before a reset may take so long to be acknowledged
CHARGE_ON_MS = 3_600_000  # a failed trial lets a running session go on for so long


class Activation(Transfer):
    """WAITING, ARMING, REBOOTING, TRIAL, GIVING_UP and CONFIRMING, a step at a time."""

    def __init__(self, parts: "Parts", now_ms: int) -> None:
        super().__init__(parts, now_ms)
        self._health: "Health | None" = None
        self._waits_for = ""
        self._alarmed = False

    def _end(self) -> None:
        super()._end()
        self._waits_for, self._alarmed = "", False

    def _waiting(self) -> bool:
        code = self._gate.poll(self._now_ms, self._policy().require_unplugged)
        if not code:
            self._go(states.GATE_OPEN)
            return True
        self._say_deferred(code)
        return False

    def _say_deferred(self, code: str) -> None:
        """Why the charger is not interrupted, each time that it changes; once, that it is too long."""
        if code not in (SETTLING, self._waits_for):
            self._waits_for = code
            self._say(protocol.INSTALL_SCHEDULED, code)
        limit_ms = self._policy().max_deferral_s * 1000
        if 0 < limit_ms <= self._in_state_ms() and not self._alarmed:
            self._alarmed = True
            self._tell(protocol.ACTIVATION_DEFERRED, code, "")

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
        if not code and self._has_said_all():
            self._p.restart("the new image is armed")
        elif self._in_state_ms() >= LAST_WORD_MS:
            self._say_deferred(code or SETTLING)
        return False

    def _has_said_all(self) -> bool:
        return self._p.reporter.idle or self._in_state_ms() >= LAST_WORD_MS

    def _begin_trial(self) -> None:
        self._health = Health(self._p.app, self._policy().confirm_s, self._now_ms)

    def _trial(self) -> bool:
        assert self._health is not None
        verdict = self._health.poll(self._now_ms, self._link_up, self.defects)
        if verdict == HEALTHY:
            self._p.log("trial: healthy, " + self._health.detail)
            self._go(states.HEALTHY)
        elif verdict == UNHEALTHY:
            self._p.log("trial: unhealthy, " + self._health.detail)
            self._go(states.UNHEALTHY)
            if self._manifest is not None and not self._foreign:
                self._keep(self._p.journal.note, protocol.plain(self._health.detail))
        return False

    def _giving_up(self) -> bool:
        """The reset burns this attempt; the boot stage decides what comes next.

        The hold is taken, and a session that runs goes on for a while. Nothing else is waited for:
        what this image says of its contactors may be what is wrong with it.
        """
        code = self._gate.poll(self._now_ms, False)
        if code == TX_IN_PROGRESS and self._in_state_ms() < CHARGE_ON_MS:
            return False
        if self._has_said_all() or not self._link_up:
            self._p.restart("the trial is given up")
        return False

    def _stays_unconfirmed(self, err: FlashError) -> bool:
        """The only image is healthy, and flash does not keep its confirmation: giving it up would
        leave a charger without any. It runs on, told as a failure. False: there is another one."""
        if not self._p.installer.alone:
            return False
        try:
            self._p.installer.run_unconfirmed()
        except FlashError:
            return False
        if self._foreign:
            self.state = states.FAILED
            self._end()
        else:
            self._close(protocol.INSTALLATION_FAILED, err.code, "runs, but is not confirmed")
        return True

    def _confirming(self) -> bool:
        """Once image_ok is kept there is no way back: what fails behind it is told, no more."""
        try:
            self._p.installer.confirm()
        except FlashError as err:
            self._p.log("flash: {}".format(err))
            if not self._stays_unconfirmed(err):
                self._go(states.ABORT)
            return False
        try:
            self._p.installer.raise_epoch()
        except CodedError as err:
            self._tell(protocol.EPOCH_NOT_STORED, err.code, err.detail)
        self._p.reporter.facts(
            mode=decision.CONFIRMED, attempt=0, epoch=self._p.installer.least_epoch
        )
        if not self._foreign:
            self._keep(self._p.journal.close, protocol.INSTALLED, "", "")
        self._go(states.PROVED)
        assert self._p.booted.verified is not None
        version = manifest.version_text(self._p.booted.verified.version)
        self._tell(protocol.FIRMWARE_UPDATED, "", version)
        self._end()
        self._foreign = False
        return False
