"""One image slot of a board: its region, its trailer, and the ladder over it."""

from bootloader_verify import container, ladder, trailer
from bootloader_verify.flash import Region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from bootloader_verify.flash import Flash
    from bootloader_verify.keyset import Keyset
    from bootloader_verify.ladder import Climb, Verified
    from bootloader_verify.trailer import TrailerState

NAMES = ("a", "b")


def region(flash: "Flash", board: "Any", name: str) -> Region:
    """The region of that name in the board's flash map."""
    offset, size_bytes = board.REGIONS[name]
    return Region(flash, offset, size_bytes)


class Slot:
    """Slot `name` ("a" or "b") of `board`, the generated module with the board's facts."""

    def __init__(self, flash: "Flash", board: "Any", name: str) -> None:
        self.name = name
        self.region = region(flash, board, "slot_" + name)
        self.layout = trailer.Layout(
            self.region.size_bytes, flash.write_bytes, flash.erase_bytes, flash.erased
        )
        self._board = board

    def state(self) -> "TrailerState":
        """What the trailer says now."""
        return trailer.parse(self.region.read, self.layout)

    def verify(
        self,
        keyset: "Keyset",
        agent_version: "tuple[int, ...]",
        min_epoch: int,
        max_epoch: "Optional[int]",
    ) -> "Verified":
        """Climb the ladder over all of the slot but its trailer, or VerifyError."""
        return ladder.finish(self.climb(keyset, agent_version, min_epoch, max_epoch))

    def climb(
        self,
        keyset: "Keyset",
        agent_version: "tuple[int, ...]",
        min_epoch: int,
        max_epoch: "Optional[int]",
    ) -> "Climb":
        """`verify`, a piece at a time (see ladder.climb).

        An image ends before the trailer's first sector; what that sector holds before the trailer's
        own fields must be erased too (THREATS 54).
        """
        expect = ladder.Expect(
            container.KIND_IMAGE,
            vid=self._board.VID,
            cid=self._board.CID,
            revision=self._board.REVISION,
            min_epoch=min_epoch,
            max_epoch=max_epoch,
            agent_version=agent_version,
            slot_offset=self.region.offset,
            erased=self.region.erased,
        )
        read, limit = self.region.read, self.layout.image_limit
        verified = yield from ladder.climb(read, limit, keyset, expect)
        ladder.check_erased(read, limit, self.layout.install, self.region.erased)
        return verified
