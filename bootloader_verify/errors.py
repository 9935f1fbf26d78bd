"""Every code that the verifier can give. A code is stable: tools, tests and operators match on it."""

# What is wrong with the container itself.
BAD_MAGIC = "BAD_MAGIC"  # no container, or one of another format version
BAD_HEADER = "BAD_HEADER"
BAD_SIZE = "BAD_SIZE"  # empty, or larger than the place where it stands
BAD_TLV = "BAD_TLV"
UNSUPPORTED = "UNSUPPORTED"  # a flag, field or algorithm outside of our profile
BAD_HASH = "BAD_HASH"
NOT_ERASED = "NOT_ERASED"  # bytes behind the container
# Who signed it.
UNSIGNED = "UNSIGNED"
UNKNOWN_KEY = "UNKNOWN_KEY"
REVOKED = "REVOKED"
WRONG_ROLE = "WRONG_ROLE"
ALG_MISMATCH = "ALG_MISMATCH"
BAD_SIGNATURE = "BAD_SIGNATURE"
THRESHOLD = "THRESHOLD"  # too few distinct keys
# What it says, and whether it is meant for this device.
WRONG_KIND = "WRONG_KIND"
WRONG_HW = "WRONG_HW"
BAD_EPOCH = "BAD_EPOCH"  # the epoch is missing or malformed
ROLLBACK = "ROLLBACK"
EPOCH_JUMP = "EPOCH_JUMP"
DEPENDENCY = "DEPENDENCY"  # needs a newer agent or boot verifier
BAD_KEYSET = "BAD_KEYSET"
KEYSET_CHAIN = "KEYSET_CHAIN"  # not the next keyset, or not signed by this one and by itself
# Storage.
READ_FAILED = "READ_FAILED"
CHANGED = "CHANGED"  # other bytes on the second read
FLASH_RANGE = "FLASH_RANGE"
FLASH_ALIGN = "FLASH_ALIGN"
FLASH_REWRITE = "FLASH_REWRITE"  # a write unit that is not erased
FLASH_READBACK = "FLASH_READBACK"
FLASH_FAILED = "FLASH_FAILED"  # the chip said no
FLASH_UNSUPPORTED = "FLASH_UNSUPPORTED"  # this base firmware cannot do what the port needs
RECORD_TOO_LARGE = "RECORD_TOO_LARGE"
NOT_ARMED = "NOT_ARMED"  # a confirmation for what is no trial
BASE_REFUSED = "BASE_REFUSED"  # no base firmware for this chip


class CodedError(Exception):
    """Base: `.code` is one of the constants above, `.detail` is for people and holds no secret."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code + (": " + detail if detail else ""))
        self.code = code
        self.detail = detail


class VerifyError(CodedError):
    """A container, keyset or epoch is not acceptable."""


class FlashError(CodedError):
    """The storage refused an operation or did not keep what was written."""
