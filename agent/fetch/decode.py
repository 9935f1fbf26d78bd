"""From the encoded bytes of a block to its decoded bytes, in bounded RAM. FORMATS section 4.

Called only with bytes whose hash matched the index. Output stops at the block's size, whatever the
stream says. Delta, delta+deflate and copy have their numbers in the format; this agent refuses
them.
"""

import io

from agent import protocol

try:
    import deflate
except ImportError:  # CPython
    import zlib  # type: ignore[import-not-found,unused-ignore]

    deflate = None  # type: ignore[assignment,unused-ignore]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUPPORTED = (protocol.RAW, protocol.DEFLATE)


class DecodeError(Exception):
    """`.code` UNSUPPORTED (an encoding that this agent has not) or BAD_BLOCK."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code + (": " + detail if detail else ""))
        self.code = code
        self.detail = detail


def _inflate_micropython(source: "Any", encoded: memoryview, out: memoryview) -> int:
    source.seek(0)
    source.write(encoded)  # the stream's own buffer, allocated once; readers must be native
    source.seek(0)
    stream = deflate.DeflateIO(source, deflate.RAW, protocol.DEFLATE_WBITS)
    done = 0
    while done < len(out):
        n = stream.readinto(out[done:])
        if not n:
            break
        done += n
    return done + len(stream.read(1))


def _inflate_cpython(source: "Any", encoded: memoryview, out: memoryview) -> int:
    stream = zlib.decompressobj(-protocol.DEFLATE_WBITS)
    decoded = stream.decompress(encoded, len(out) + 1)
    if len(decoded) <= len(out):
        out[: len(decoded)] = decoded
    return len(decoded)


_inflate = _inflate_cpython if deflate is None else _inflate_micropython
_INFLATE_ERRORS = (OSError, EOFError, ValueError) if deflate else (zlib.error,)


class Decoder:
    """Decodes blocks of at most `block_bytes_max` bytes.

    `out` (the caller's, at least that long) takes what is not used as it came.
    """

    def __init__(self, block_bytes_max: int, out: memoryview) -> None:
        self._out = out
        self._source = io.BytesIO(bytearray(block_bytes_max))

    def decode(self, encoding: int, encoded: memoryview, size_bytes: int) -> memoryview:
        """The decoded block, exactly `size_bytes` long: `encoded` itself if raw, else in `out`.

        DecodeError BAD_BLOCK when it would be shorter or longer, UNSUPPORTED for other encodings.
        """
        if encoding == protocol.RAW:
            return self._exactly(encoded, len(encoded), size_bytes)
        if encoding == protocol.DEFLATE:
            return self._exactly(self._out, self._inflated(encoded, size_bytes), size_bytes)
        raise DecodeError("UNSUPPORTED", "encoding " + str(encoding))

    def _inflated(self, encoded: memoryview, size_bytes: int) -> int:
        try:
            return _inflate(self._source, encoded, self._out[:size_bytes])
        except _INFLATE_ERRORS as err:
            raise DecodeError("BAD_BLOCK", str(err))

    def _exactly(self, found: memoryview, found_bytes: int, size_bytes: int) -> memoryview:
        if found_bytes != size_bytes:
            raise DecodeError("BAD_BLOCK", "{} bytes, not {}".format(found_bytes, size_bytes))
        return found[:size_bytes]
