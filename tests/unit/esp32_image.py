"""ESP32 app images for tests, and the chip's own check of them; on both Pythons."""

import hashlib
import struct

ESP32_CHIP_ID = 0  # an S3 has 9


def app_image(seed, size=10 * 1024, chip_id=ESP32_CHIP_ID, description=0xABCD5432, hashed=1):
    """An app image of about `size` bytes, whole as esptool's elf2image makes it."""
    body = bytes([(i * 7 + seed * 31 + (i >> 8)) & 0xFF for i in range(size - size % 4)])
    segment = struct.pack("<I", description) + body
    head = struct.pack("<BBBBI", 0xE9, 1, 2, 0x20, 0x40081000)
    head += struct.pack("<B3sHBHH4sB", 0xEE, bytes(3), chip_id, 0, 0, 0xFFFF, bytes(4), hashed)
    image = head + struct.pack("<II", 0x3F400020, len(segment)) + segment
    image += bytes(15 - len(image) % 16) + bytes([_checksum(segment)])
    return image + (hashlib.sha256(image).digest() if hashed else b"")


def merged_image(first_at=0, table_at=0x7000):
    """A merged firmware.bin: second-stage bootloader, partition table, app."""
    data = bytearray(b"\xff" * 0xF000)
    loader = app_image(1, 8192, description=0x50)
    data[first_at : first_at + len(loader)] = loader
    data[table_at : table_at + 12] = (
        b"\xaa\x50" + bytes([1, 2]) + struct.pack("<II", 0x9000, 0x6000)
    )
    return bytes(data) + app_image(2)


def _checksum(data):
    """0xEF and all bytes, XORed; halves are folded onto each other, which is quick."""
    value, size = int.from_bytes(data, "big"), len(data)
    while size > 1:
        size = (size + 1) // 2
        value = value >> 8 * size ^ value & (1 << 8 * size) - 1
    return value ^ 0xEF


def image_verify(view, chip_id):
    """esp_image_verify(): structure, checksum, appended SHA-256; no signature."""
    if view[0] != 0xE9 or struct.unpack_from("<H", view, 12)[0] != chip_id or view[1] > 16:
        return False
    at, checksum = 24, 0xEF
    for _ in range(view[1]):
        if at + 8 > len(view):
            return False
        size = struct.unpack_from("<I", view, at + 4)[0]
        at += 8
        if size % 4 or at + size > len(view):
            return False
        checksum ^= _checksum(view[at : at + size]) ^ 0xEF
        at += size
    at += 16 - at % 16
    if at > len(view) or view[at - 1] != checksum:
        return False
    if view[23] != 1:
        return True
    return bytes(view[at : at + 32]) == hashlib.sha256(view[:at]).digest()
