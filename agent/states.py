"""The life of an update: transition table, what each state says on the wire, where a reset resumes.

Pure tables, printable: `python -m agent.states`. The host imports this file to explain a device.
"""

from agent import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

# --- states -----------------------------------------------------------------------------------
IDLE = "idle"  # no open job
ACCEPTED = "accepted"  # an offer was accepted and stands in the journal
SCANNING = "scanning"  # hashing what the spare slot holds, against the index
DOWNLOADING = "downloading"  # blocks are asked for and written
PAUSED = "paused"  # the link is lost; flash keeps what it has
VERIFYING = "verifying"  # the ladder over the slot, read back from flash
WAITING = "waiting"  # verified, the gate is closed; not armed yet
ARMING = "arming"  # second look at the image, then the trailer, magic last
REBOOTING = "rebooting"  # armed; the reset waits for the status to be acknowledged
TRIAL = "trial"  # the new image runs and must prove its health
GIVING_UP = "giving_up"  # the trial failed; a reset burns this attempt
CONFIRMING = "confirming"  # image_ok, then epoch, then journal, then status
CONFIRMED = "confirmed"  # closed with Installed
FAILED = "failed"  # closed with the reason

STATES = (
    IDLE,
    ACCEPTED,
    SCANNING,
    DOWNLOADING,
    PAUSED,
    VERIFYING,
    WAITING,
    ARMING,
    REBOOTING,
    TRIAL,
    GIVING_UP,
    CONFIRMING,
    CONFIRMED,
    FAILED,
)

# --- events -----------------------------------------------------------------------------------
OFFER = "offer"  # a manifest passed every rule
START = "start"
MISSING = "missing"  # the scan met a block that has to be fetched
COMPLETE = "complete"  # every block is proved in flash, the rest of the slot is erased
LINK_DOWN = "link_down"
LINK_UP = "link_up"
ANOTHER = "another"  # this artifact cannot be had: go on with another one of the same image
DAMAGED = "damaged"  # the read-back no longer matches the index: fetch those blocks again
VERIFIED = "verified"
GATE_OPEN = "gate_open"
ARMED = "armed"
HEALTHY = "healthy"
UNHEALTHY = "unhealthy"
PROVED = "proved"  # every step of the confirmation is done
ABORT = "abort"  # cannot go on: reason in the journal
CANCEL = "cancel"

# A new valid offer replaces the job in these (AcceptedCanceled); a cancel ends it. Later ones wait.
REPLACEABLE = (ACCEPTED, SCANNING, DOWNLOADING, PAUSED, VERIFYING, WAITING)
CLOSED = (IDLE, CONFIRMED, FAILED)

TRANSITIONS = {
    (IDLE, OFFER): ACCEPTED,
    (CONFIRMED, OFFER): ACCEPTED,
    (FAILED, OFFER): ACCEPTED,
    (ACCEPTED, START): SCANNING,
    (SCANNING, MISSING): DOWNLOADING,
    (SCANNING, COMPLETE): VERIFYING,
    (SCANNING, LINK_DOWN): PAUSED,
    (SCANNING, ANOTHER): SCANNING,
    (DOWNLOADING, ANOTHER): SCANNING,
    (PAUSED, ANOTHER): PAUSED,
    (DOWNLOADING, COMPLETE): VERIFYING,
    (DOWNLOADING, LINK_DOWN): PAUSED,
    (PAUSED, LINK_UP): SCANNING,
    (PAUSED, COMPLETE): VERIFYING,
    (VERIFYING, VERIFIED): WAITING,
    (VERIFYING, DAMAGED): SCANNING,
    (WAITING, GATE_OPEN): ARMING,
    (ARMING, ARMED): REBOOTING,
    (TRIAL, HEALTHY): CONFIRMING,
    (TRIAL, UNHEALTHY): GIVING_UP,
    (CONFIRMING, PROVED): CONFIRMED,
}
for _state in REPLACEABLE:
    TRANSITIONS[(_state, OFFER)] = ACCEPTED
    TRANSITIONS[(_state, CANCEL)] = IDLE
    TRANSITIONS[(_state, ABORT)] = FAILED
TRANSITIONS[(ARMING, ABORT)] = FAILED
TRANSITIONS[(CONFIRMING, ABORT)] = GIVING_UP

# What a state says first on the wire; None: whatever was said last stays true.
STATUS_OF = {
    IDLE: None,
    ACCEPTED: protocol.DOWNLOADING,
    SCANNING: None,
    DOWNLOADING: None,
    PAUSED: None,
    VERIFYING: protocol.DOWNLOADED,
    WAITING: protocol.SIGNATURE_VERIFIED,
    ARMING: protocol.INSTALLING,
    REBOOTING: protocol.INSTALL_REBOOTING,
    TRIAL: protocol.INSTALL_REBOOTING,
    GIVING_UP: None,
    CONFIRMING: None,
    CONFIRMED: protocol.INSTALLED,
    FAILED: None,  # the outcome of the journal
}

# --- resume after a reset ---------------------------------------------------------------------
# What the journal may say. Everything before the trailer is written resumes by scanning the slot.
J_CLOSED, J_OPEN, J_ARMING = "closed", "open", "arming"
JOURNAL_STATES = (J_CLOSED, J_OPEN, J_ARMING)

# What boot and the spare slot's trailer say about the journal's image.
RUNS_TRIAL = "runs_on_trial"  # the boot stage started a trial of this job's image
RUNS_OTHER = "runs_other_trial"  # it started a trial of an image that no job of ours named
RUNS_CONFIRMED = "runs_confirmed"  # this job's image runs and image_ok is set
RUNS_UNARMED = (
    "runs_unarmed"  # this job's image runs as a last resort: never tried, never confirmed
)
NOT_ARMED = "not_armed"  # another image runs; the spare slot's magic is erased or torn
USED_UP = "used_up"  # another image runs; the spare slot is armed, no attempt is left
REFUSED = "refused"  # another image runs; the spare slot is armed, the boot stage did not take it
FACTS = (RUNS_TRIAL, RUNS_OTHER, RUNS_CONFIRMED, RUNS_UNARMED, NOT_ARMED, USED_UP, REFUSED)

RESUME = {
    (J_CLOSED, RUNS_TRIAL): (TRIAL, "cannot be (a closed job names no image); prove it anyway"),
    (J_CLOSED, RUNS_OTHER): (TRIAL, "an image put there without a job is proved like any other"),
    (J_CLOSED, RUNS_UNARMED): (IDLE, "cannot be (a closed job names no image)"),
    (J_CLOSED, RUNS_CONFIRMED): (IDLE, "steady state; the last outcome is said again"),
    (J_CLOSED, NOT_ARMED): (IDLE, "steady state"),
    (J_CLOSED, USED_UP): (IDLE, "a failed trial that was reported already"),
    (J_CLOSED, REFUSED): (IDLE, "not ours: left there by hand"),
    (J_OPEN, RUNS_TRIAL): (TRIAL, "cannot be (the journal says arming first); prove it anyway"),
    (J_OPEN, RUNS_OTHER): (TRIAL, "put there by hand: prove it; the job waits for the next boot"),
    (J_OPEN, RUNS_UNARMED): (WAITING, "cut before it was armed, and the only one: arm it, try it"),
    (J_OPEN, RUNS_CONFIRMED): (CONFIRMING, "the same image came by another way: close the job"),
    (J_OPEN, NOT_ARMED): (ACCEPTED, "scan the slot, fetch what is missing"),
    (J_OPEN, USED_UP): (ACCEPTED, "trailer of an older image; it is erased before the first block"),
    (J_OPEN, REFUSED): (ACCEPTED, "trailer of an older image; it is erased before the first block"),
    (J_ARMING, RUNS_TRIAL): (TRIAL, "the reset went well"),
    (J_ARMING, RUNS_OTHER): (TRIAL, "put there by hand: prove it; the job waits for the next boot"),
    (J_ARMING, RUNS_UNARMED): (WAITING, "image_ok is torn, and it is the only one: try it again"),
    (J_ARMING, RUNS_CONFIRMED): (CONFIRMING, "cut between image_ok and the journal: finish"),
    (J_ARMING, NOT_ARMED): (ACCEPTED, "cut while arming: verify and arm again"),
    (J_ARMING, USED_UP): (FAILED, "rolled back: every attempt failed"),
    (J_ARMING, REFUSED): (FAILED, "the boot stage refused what was armed"),
}


class StateError(Exception):
    """An event that its state does not know: a defect of the agent, never of its input."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(event + " in " + state)
        self.code = "BAD_TRANSITION"
        self.detail = event + " in " + state


def after(state: str, event: str) -> str:
    """The state that follows; StateError if the table has no such row."""
    try:
        return TRANSITIONS[(state, event)]
    except KeyError:
        raise StateError(state, event)


def resume(journal_state: str, fact: str) -> str:
    """Where a reset re-enters: RESUME for what the journal says and what boot found."""
    return RESUME[(journal_state, fact)][0]


def table_lines() -> "Iterable[str]":
    """Both tables as text, one row a line."""
    yield "{:12} {:12} -> {}".format("state", "event", "next (says)")
    for state in STATES:
        for (source, event), target in TRANSITIONS.items():
            if source == state:
                says = STATUS_OF[target]
                yield "{:12} {:12} -> {}{}".format(
                    source, event, target, " (" + says + ")" if says else ""
                )
    yield ""
    yield "{:12} {:16} -> {}".format("journal", "boot and trailer", "resumes in")
    for journal_state in JOURNAL_STATES:
        for fact in FACTS:
            target, why = RESUME[(journal_state, fact)]
            yield "{:12} {:16} -> {:12} {}".format(journal_state, fact, target, why)


if __name__ == "__main__":
    for _line in table_lines():
        print(_line)
