"""Who signs: a key in a file. A signer of another kind (an HSM) has the same four names.

A signer has
    alg             keyset.ECDSA_P256 or keyset.RSA3072_PSS
    public_raw      x‖y (64 bytes) or the modulus (384 bytes), big-endian
    key_id          KEYHASH of the key, 32 bytes
    sign_digest(digest)     over a SHA-256 digest that is not hashed again
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from bootloader_verify import keyset
from host_tools import files
from host_tools.errors import EXIT_USAGE, ToolError

KEY_FILE_BYTES_MAX = 16_384
_PRIVATE = b"PRIVATE" + b" KEY-----"  # in two parts: no file of the tree looks like a key
_PUBLIC = b"PUBLIC" + b" KEY-----"
_PREHASHED = utils.Prehashed(hashes.SHA256())
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)


class Signer(Protocol):
    """What `container.add_signature` needs."""

    alg: str
    public_raw: bytes
    key_id: bytes

    def sign_digest(self, digest: bytes) -> bytes: ...


class PublicKey:
    """A public key in PEM. ToolError: files.read's, NOT_A_KEY, PRIVATE_KEY, UNSUPPORTED_KEY."""

    def __init__(self, path: Path) -> None:
        data = files.read(path, KEY_FILE_BYTES_MAX, "key file")
        if _PRIVATE in data:
            text = f"{path} is a private key; give the public one (.pub.pem) instead"
            raise ToolError("PRIVATE_KEY", text, EXIT_USAGE)
        try:
            key = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ToolError("NOT_A_KEY", f"{path} is no public key in PEM", EXIT_USAGE) from error
        self.alg, self.public_raw = _raw(key, path)
        self.key_id = keyset.key_id(self.alg, self.public_raw)


class FileSigner:
    """A private key in an unencrypted PEM file. ToolError as PublicKey, and PUBLIC_KEY."""

    def __init__(self, path: Path) -> None:
        data = files.read(path, KEY_FILE_BYTES_MAX, "key file")
        if _PUBLIC in data and _PRIVATE not in data:
            text = f"{path} is a public key; signing needs the private one"
            raise ToolError("PUBLIC_KEY", text, EXIT_USAGE)
        try:
            key = serialization.load_pem_private_key(data, None)
        except TypeError as error:
            text = f"{path} is encrypted; keys with a passphrase are not supported"
            raise ToolError("ENCRYPTED_KEY", text, EXIT_USAGE) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ToolError("NOT_A_KEY", f"{path} is no private key in PEM", EXIT_USAGE) from error
        self.alg, self.public_raw = _raw(key.public_key(), path)
        self.key_id = keyset.key_id(self.alg, self.public_raw)
        self._key = key

    def sign_digest(self, digest: bytes) -> bytes:
        """Strict DER (ECDSA) or 384 bytes (RSA-PSS)."""
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(digest, ec.ECDSA(_PREHASHED))
        assert isinstance(self._key, rsa.RSAPrivateKey)
        return self._key.sign(digest, _PSS, _PREHASHED)


def _raw(key: object, path: Path) -> tuple[str, bytes]:
    """(algorithm, key bytes); only what a device verifies."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_numbers()
        return keyset.ECDSA_P256, point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == 3072:
        numbers = key.public_numbers()
        if numbers.e == keyset.RSA_EXPONENT:
            return keyset.RSA3072_PSS, numbers.n.to_bytes(384, "big")
    text = f"{path}: only P-256 and RSA-3072 (e = 65537) keys can sign for a device"
    raise ToolError("UNSUPPORTED_KEY", text, EXIT_USAGE)
