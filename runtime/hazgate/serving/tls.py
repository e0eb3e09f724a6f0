"""The server's certificate: loaded once for HTTP, and again into the same context on a reload."""

import ssl
from collections.abc import Callable
from pathlib import Path

from hazgate.errors import BundleError
from hazgate.serving.settings import TlsTable


class Certificate:
    """The certificate that HTTP shows; it pickles before its context is made."""

    def __init__(self) -> None:
        """Start without a context."""
        self._context: ssl.SSLContext | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """The context of each connection.

        Raises:
            BundleError: none was made.
        """
        if self._context is None:
            raise BundleError("there is no certificate: call `make` first")
        return self._context

    def make(self, tls: TlsTable) -> None:
        """Make the context.

        Raises:
            BundleError: as of `check_certificate`.
        """
        # uvicorn makes its own first where it keeps TLS itself.
        if self._context is None:
            self._context = _context_of(tls)

    def keep(self, config: object, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Make uvicorn's context and remember it: an `ssl_context_factory`."""
        del config
        self._context = make()
        return self._context

    def replace(self, tls: TlsTable | None) -> None:
        """Show another certificate from the next handshake on.

        Raises:
            BundleError: as of `check_certificate`.
        """
        if self._context is not None and tls is not None:
            check_certificate(tls)
            self._context.load_cert_chain(tls.certificate_file, tls.key_file)


def check_certificate(tls: TlsTable) -> None:
    """Check that certificate and key can be read and belong together.

    Raises:
        BundleError: they do not; says which files.
    """
    _context_of(tls)


def _context_of(tls: TlsTable) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise BundleError(
            f"{tls.certificate_file} and {tls.key_file} are not a certificate with its key: "
            f"{error.strerror or error}"
        ) from error
    return context


def pem_pair(tls: TlsTable) -> tuple[bytes, bytes]:
    """Return the PEM of the key and of the certificate chain.

    Raises:
        BundleError: a file cannot be read.
    """
    try:
        return Path(tls.key_file).read_bytes(), Path(tls.certificate_file).read_bytes()
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror}") from error
