"""Certificates of selections and their workers: whoever holds them may run anything on both sides, whoever doesn't is turned away.

Dask's messages hold pickles, so that a port without certificates is a door for every local user. Both sides show the same certificate,
which is its own authority, and both check it.
"""

import ipaddress
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pelt_automl.errors import SettingsError
from pelt_automl.home import expanded

if TYPE_CHECKING:
    from distributed import Security

VARIABLE = "PELT_AUTOML_CERTIFICATES"
"""Of the environment: the folder with them."""

FILES = ("ca.pem", "cert.pem", "key.pem")
PORT = 8786
"""Where a selection listens if nothing else is said."""


BEHIND, VALID = timedelta(days=1), timedelta(days=365)
"""By how much a machine's clock may be behind that of the one that makes certificates, and how long these are valid."""


@dataclass(frozen=True)
class Certificates:
    """As PEM texts."""

    authority: str
    certificate: str
    key: str

    @staticmethod
    def temporary() -> "Certificates":
        """New ones, which nobody else has. They are valid from a day ago on, since a worker's clock may be behind, and for a year."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pelt-automl")])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BEHIND)
            .not_valid_after(now + VALID)
            .sign(key, hashes.SHA256())
        )
        own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode("ascii")
        text = made.public_bytes(serialization.Encoding.PEM).decode("ascii")
        return Certificates(text, text, own)

    @staticmethod
    def of(folder: Path | None) -> "Certificates":
        """Those in a folder, else in the one that the environment names. Raises `SettingsError` where there are none."""
        place = certificates_folder(folder)
        make = f"make some with: pelt-automl certificates DIR, and name the same ones on every machine: --certificates DIR, or ${VARIABLE}"
        if place is None:
            raise SettingsError(f"workers on other machines need certificates, since whoever reaches the port could run anything; {make}")
        try:
            return Certificates(*((place / name).read_text(encoding="ascii") for name in FILES))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it isn't PEM text"
            raise SettingsError(f"the certificates in {place} can't be read ({why}; {', '.join(FILES)} are expected); {make}") from error

    def write(self, folder: Path) -> None:
        """Into a new or empty folder, for the user alone. Raises `SettingsError` for any other: nothing is overwritten."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(folder.iterdir()):
                raise SettingsError(f"{folder} isn't empty; name a new folder, so that certificates in use aren't overwritten")
            for name, text in zip(FILES, (self.authority, self.certificate, self.key), strict=True):
                with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                    file.write(text)
        except OSError as error:
            raise SettingsError(f"certificates can't be written to {folder} ({error.strerror}); name another folder") from error

    def security(self) -> "Security":
        """For Dask: both sides show them, and nothing goes without. Raises `SettingsError` for what isn't valid."""
        import ssl

        from cryptography import x509
        from distributed import Security

        roles: Mapping[str, str] = {"cert": self.certificate, "key": self.key}
        files = {f"tls_{role}_{part}": text for role in ("scheduler", "worker", "client") for part, text in roles.items()}
        made: Security = Security(require_encryption=True, tls_ca_file=self.authority, **files)
        try:
            made.get_connection_args("worker")
            own = x509.load_pem_x509_certificate(self.certificate.encode())
        except (ssl.SSLError, ValueError, OSError) as error:
            raise SettingsError(f"these certificates can't be used: {error}. Make others with: pelt-automl certificates DIR") from error
        begin, end, now = own.not_valid_before_utc, own.not_valid_after_utc, datetime.now(UTC)
        if not begin <= now <= end:  # nobody could connect, and only the other side would be told why
            raise SettingsError(
                f"these certificates are valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, and this machine's clock says "
                f"{now:%Y-%m-%d %H:%M} UTC. Make others with pelt-automl certificates DIR, and copy them to all machines; or set the clock"
            )
        return made


def certificates_folder(folder: Path | None) -> Path | None:
    """A folder that is named, else the one that the environment names; None for neither."""
    given = folder or os.environ.get(VARIABLE)
    return expanded(given) if given else None


def listening(address: str) -> tuple[str, int]:
    """Host and port of ``tls://host:8786``. Raises `SettingsError` for anything else."""
    found = urlsplit(address)
    with suppress(ValueError):
        if found.scheme == "tls" and found.hostname and not found.path.strip("/") and not found.query and found.username is None:
            return found.hostname, PORT if found.port is None else found.port
    raise SettingsError(f"{address!r} is no address of a selection's port; tls://HOST:{PORT} is expected")


def check_findable(address: str) -> None:
    """Raises `SettingsError` for what `listening` refuses, and for all addresses of a machine at once: nobody can be told to go there."""
    host, everywhere = listening(address)[0], False
    with suppress(ValueError):  # a name
        everywhere = ipaddress.ip_address(host).is_unspecified
    if everywhere:
        raise SettingsError(f"{address} is no address that workers can find; name the one of this machine that the others reach")
