"""HTTP requests whose connection time is bounded and whose answer is checked to be a file.

Ours because `requests`, on which `pooch` builds, applies its connection timeout to every address of a host
separately, and reads the page that comes with a redirection whole, whatever its length.
"""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from functools import partial
from typing import Any

from sketchembed._version import __version__
from sketchembed.errors import DataError, SketchEmbedError

CONNECT_TIMEOUT = 5.0  # seconds for all addresses of a host together; short, as callers have a fallback
CHUNK = 1 << 16  # bytes that are read at once


class NetworkError(SketchEmbedError):
    """The server cannot be reached, refuses the request, or keeps breaking the connection."""


class TransientError(Exception):
    """A failure after which another attempt may succeed.

    If the server was not reached, more than one further attempt is pointless. `restart` says that the data
    received so far are useless.
    """

    def __init__(self, why: object, *, reached: bool = True, restart: bool = False) -> None:
        """Use `why` as the message, or the name of its type if it has no text."""
        super().__init__(str(why) or type(why).__name__)
        self.reached, self.restart = reached, restart


def open_url(url: str, headers: dict[str, str], timeout: float, method: str = "GET") -> Any:
    """Send a request and return the response, after a check of its status and content type.

    Args:
        url: http or https. Proxies are taken from the environment.
        headers: additional request headers.
        timeout: seconds to wait for the next byte.
        method: ``GET`` or ``HEAD``.

    Raises:
        TransientError: if another attempt may succeed.
        NetworkError: if the server refuses the request, or answers with a web page.
        DataError: if the file does not exist.
    """
    headers = {"User-Agent": f"sketchembed/{__version__}", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        response = urllib.request.build_opener(_Handler, _RedirectHandler).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise DataError(
                f"{url} does not exist (HTTP {error.code})",
                expected="a published file",
                fix="Check the class name and the form",
            ) from error
        if error.code in (408, 416, 429) or error.code >= 500:
            raise TransientError(f"HTTP {error.code} {error.reason}", restart=error.code == 416) from error
        raise NetworkError(
            f"{url} is refused (HTTP {error.code} {error.reason})",
            expected="a server or proxy that allows the request",
            fix="Check the network's proxy, or download the file by hand",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransientError(getattr(error, "reason", error), reached=False) from error
    try:
        refuse_page(url, response.headers.get("Content-Type", ""))
    except NetworkError:
        response.close()
        raise
    return response


def read_chunk(response: Any) -> bytes:
    """Return the next bytes, at most :data:`CHUNK`; empty at the end.

    Raises:
        TransientError: if the connection breaks.
    """
    try:
        chunk: bytes = response.read1(CHUNK)
        return chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransientError(error) from error


def content_length(response: Any) -> int | None:
    """Return the length in bytes that a response states, or None."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None


def remote_size(url: str, timeout: float) -> int | None:
    """Return the length of a file on the server in bytes, or None if the server does not state it.

    Raises:
        NetworkError: if the server cannot be reached.
        DataError: if the file does not exist.
    """
    try:
        with open_url(url, {}, timeout, method="HEAD") as response:
            return content_length(response)
    except TransientError as error:
        raise NetworkError(
            f"the size of {url} could not be read ({error})",
            expected="a network that reaches the server",
            fix="Check the network and run the command again",
        ) from error


def refuse_page(url: str, content_type: str, start: bytes = b"") -> None:
    """Raise a NetworkError for a web page, which is recognized by its content type or its first bytes."""
    page = start[:15].lstrip().lower().startswith((b"<!doctype", b"<html"))
    if page or content_type.startswith("text/html"):
        raise NetworkError(
            f"{url} returns a web page instead of the file",
            expected="the file itself",
            fix="A login page or a proxy may be in between; check with a browser",
        )


def _connect(
    address: tuple[str, int], timeout: float | None = None, source: tuple[str, int] | None = None
) -> socket.socket:
    """Connect to the first address that answers, within :data:`CONNECT_TIMEOUT` for all together."""
    deadline = time.monotonic() + CONNECT_TIMEOUT
    failure: OSError = TimeoutError(f"no answer within {CONNECT_TIMEOUT:g} s")
    for *_, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        left = deadline - time.monotonic()
        if left <= 0.1:
            break
        try:
            # Half of the remaining time, so that a silent address leaves time for the others.
            connection = socket.create_connection(place[:2], left / 2, source)  # type: ignore[arg-type]
            connection.settimeout(timeout)
            return connection
        except OSError as error:
            failure = error
    raise failure


def _connection(kind: type[http.client.HTTPConnection], *args: Any, **options: Any) -> Any:
    made: Any = kind(*args, **options)
    made._create_connection = _connect
    return made


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens connections with :func:`_connect`; certificates are checked."""

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(partial(_connection, http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(partial(_connection, http.client.HTTPSConnection), req)


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows redirections to http and https only, and never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ("https://",) if req.full_url.lower().startswith("https://") else ("https://", "http://")
        if not newurl.lower().startswith(allowed):
            raise urllib.error.HTTPError(newurl, code, f"leads to {newurl[:60]!r}", headers, fp)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        fp.close()  # otherwise urllib would read the page that comes with it, whatever its length
        return request
