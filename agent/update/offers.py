"""From the bytes of an offer to a manifest that may be installed here, or to the code that says why not."""

from agent import manifest, protocol
from agent.update.journal import offer_id
from bootloader_verify import boot, container, ladder
from bootloader_verify.errors import CodedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.manifest import Device, Manifest
    from bootloader_verify.keyset import Keyset

    Buffer = bytes | bytearray | memoryview


class RefusedError(Exception):
    """`.code` is stable, `.detail` for people; `request_id` 0 while nothing of it is authentic."""

    def __init__(self, code: str, detail: str, request_id: int = 0) -> None:
        super().__init__(code + ": " + detail)
        self.code = code
        self.detail = detail
        self.request_id = request_id

    @property
    def event(self) -> str:
        """The event that tells of it: a replay is one of OCPP's security events."""
        return protocol.REPLAY_ATTEMPT if self.code == "REPLAY" else protocol.OFFER_REJECTED


def authentic(offer: "Buffer", keyset: "Keyset") -> "Manifest":
    """The well-formed manifest in a container signed by ROLLOUT, or RefusedError."""
    view = memoryview(offer)
    if len(view) > manifest.CONTAINER_BYTES_MAX:
        raise RefusedError("BAD_SIZE", "{} bytes".format(len(view)))

    def read(offset: int, buf: "bytearray | memoryview") -> None:
        buf[:] = view[offset : offset + len(buf)]

    expect = ladder.Expect(container.KIND_MANIFEST, agent_version=boot.VERSION)
    try:
        verified = ladder.check(read, len(view), keyset, expect)
        start = verified.payload_offset
        return manifest.parse(view[start : start + verified.payload_size])
    except (CodedError, manifest.ManifestError) as err:
        raise RefusedError(err.code, err.detail)


def take(offer: "Buffer", keyset: "Keyset", device: "Device") -> "Manifest":
    """An authentic manifest that this device may install now, or RefusedError."""
    found = authentic(offer, keyset)
    try:
        manifest.judge(found, device)
    except manifest.ManifestError as err:
        raise RefusedError(err.code, err.detail, found.request_id)
    return found


class Seen:
    """Knows offers that were dealt with: the broker retains and repeats them."""

    def __init__(self) -> None:
        self._refused = ""

    def before(self, offer: "Buffer", accepted: str) -> bool:
        """True for the very bytes of the last accepted (`accepted`: its id) or refused offer."""
        return offer_id(offer) in (accepted, self._refused)

    def refused(self, offer: "Buffer") -> None:
        """Remember it until the next boot."""
        self._refused = offer_id(offer)

    def forget_refused(self) -> None:
        """What was refused is looked at again when it comes again."""
        self._refused = ""
