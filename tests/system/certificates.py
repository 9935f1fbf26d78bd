"""Certificates of a test, made while it runs: a CA, a broker, devices. Worth nothing: DO_NOT_USE.

Brokers and Python want PEM, the device DER; `issue` writes both beside each other.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER
_PKCS8 = serialization.PrivateFormat.PKCS8
_SEC1 = serialization.PrivateFormat.TraditionalOpenSSL
_NO_PASSWORD = serialization.NoEncryption()


@dataclass(frozen=True)
class Issued:
    """Four files of one key and its certificate."""

    cert: Path
    key: Path
    cert_der: Path
    key_der: Path


class Authority:
    """A CA with a P-256 key; its certificate is in `issued`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = _named(f"{name} DO_NOT_USE")
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = _begun(self._name, self._name, self._key.public_key(), 1).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.issued = _write(folder, name, certificate.sign(self._key, hashes.SHA256()), self._key)

    def issue(
        self, common_name: str, host: str = "", address: str = "", days: int = 1, file: str = ""
    ) -> Issued:
        """A certificate for `common_name`; `days` negative: it has ended already."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _begun(_named(common_name), self._name, key.public_key(), days)
        names: list[x509.GeneralName] = [x509.DNSName(host)] if host else []
        if address:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return _write(self.folder, file or common_name, certificate, key)


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - datetime.timedelta(days=1))
        .not_valid_after(end)
    )


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> Issued:
    stem = str(folder / f"{name}-DO_NOT_USE")
    made = Issued(
        Path(f"{stem}.pem"),
        Path(f"{stem}.key.pem"),
        Path(f"{stem}.der"),
        Path(f"{stem}.key.der"),
    )
    made.cert.write_bytes(certificate.public_bytes(_PEM))
    made.cert_der.write_bytes(certificate.public_bytes(_DER))
    made.key.write_bytes(key.private_bytes(_PEM, _PKCS8, _NO_PASSWORD))
    made.key_der.write_bytes(key.private_bytes(_DER, _SEC1, _NO_PASSWORD))
    return made
