"""The job's first half: scan, fetch, prove, until the ladder accepts the image in the spare slot."""

from agent import protocol, states
from agent.update import install
from agent.update.job import Job
from bootloader_verify.errors import CodedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.update.parts import Parts

RESCANS_MAX = 2  # looks at a slot whose blocks are right and whose image is not


class Transfer(Job):
    """ACCEPTED, SCANNING, DOWNLOADING, PAUSED and VERIFYING, a step at a time."""

    def __init__(self, parts: "Parts", now_ms: int) -> None:
        super().__init__(parts, now_ms)
        self._accepted_ms = now_ms
        self._rescans = 0

    def _accepted(self) -> bool:
        self._rescans = 0
        if not self._artifacts:
            self._abort(protocol.DOWNLOAD_FAILED, "UNSUPPORTED", "no artifact left to decode")
            return True
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
        """Counts from the acceptance or, after a reset, from then on: there is no wall clock."""
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
        """A piece of the ladder a step: the application and the line go on meanwhile."""
        assert self._manifest is not None
        climb, self._climb = self._climb or self._p.installer.climb(self._manifest), None
        try:
            next(climb)
            self._climb = climb  # else it is used up: what raised begins anew
            return True
        except StopIteration as end:
            self._verified = end.value
        except CodedError as err:
            self._not_verified(err)
            return True
        self._p.download.stop()
        self._go(states.VERIFIED)
        return True

    def _not_verified(self, err: CodedError) -> None:
        """Damage that came after the blocks were proved is mended; all else ends the job."""
        if err.code in install.MAY_BE_DAMAGE and self._rescans < RESCANS_MAX:
            self._rescans += 1
            self._start_scan()
            self._go(states.DAMAGED)
            self._say(protocol.DOWNLOADING)
            if not self._link_up:
                self._go(states.LINK_DOWN)
            return
        word = protocol.INSTALL_VERIFICATION_FAILED
        if err.code in install.SIGNER_CODES:
            word = protocol.INVALID_SIGNATURE
            self._tell(protocol.INVALID_FIRMWARE_SIGNATURE, err.code, err.detail)
        self._spoil()
        self._abort(word, err.code, err.code + " " + err.detail)
