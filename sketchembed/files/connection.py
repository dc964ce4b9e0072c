"""HTTP as downloads need it: quick to give up on a network that is not there, clear about all else."""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from typing import Any

from sketchembed._version import __version__
from sketchembed.errors import DataError, SketchEmbedError

CONNECT_TIMEOUT = 5.0
"""Seconds to connect, over all addresses of the host; short, as callers have something to fall back on."""
CHUNK = 1 << 16


class NetworkError(SketchEmbedError):
    """The network, or the server in it, cannot be reached, or breaks off again and again."""


class Transient(Exception):
    """A failure that another attempt may mend.

    Args:
        why: what happened.
        reached: whether the server had answered; if not, many attempts are of no use.
        restart: whether what was received so far is of no use.
    """

    def __init__(self, why: object, *, reached: bool = True, restart: bool = False) -> None:
        """Take the message from what happened."""
        super().__init__(str(why) or type(why).__name__)
        self.reached, self.restart = reached, restart


def open_url(url: str, headers: dict[str, str], timeout: float, method: str = "GET") -> Any:
    """Return the server's answer, once it is the file and no web page.

    Args:
        url: http or https.
        headers: to send.
        timeout: seconds to wait for each next byte.
        method: ``GET`` or ``HEAD``.

    Raises:
        Transient: if another attempt may help.
        NetworkError: if the server refuses, or answers with a web page.
        DataError: if there is no such file.
    """
    headers = {"User-Agent": f"sketchembed/{__version__}", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=headers, method=method)
    opener = urllib.request.build_opener(_HTTPHandler, _HTTPSHandler, _Redirects)
    try:
        response = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise DataError(
                f"{url} does not exist (HTTP {error.code})",
                expected="a published file",
                fix="Check the class name and the form",
            ) from error
        if error.code in (408, 416, 429) or error.code >= 500:
            raise Transient(f"HTTP {error.code} {error.reason}", restart=error.code == 416) from error
        raise NetworkError(
            f"{url} is refused (HTTP {error.code} {error.reason})",
            expected="a server or proxy that lets it through",
            fix="Check the network's proxy, or download the file by hand",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Transient(getattr(error, "reason", error), reached=False) from error
    try:
        refuse_page(url, response.headers.get("Content-Type", ""))
    except NetworkError:
        response.close()
        raise
    return response


def read_chunk(response: Any) -> bytes:
    """Return the next bytes, at most :data:`CHUNK`; none at the end.

    Raises:
        Transient: if the connection breaks.
    """
    try:
        chunk: bytes = response.read1(CHUNK)
        return chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Transient(error) from error


def remote_size(url: str, timeout: float) -> int:
    """Return the length of a file on the server in bytes, -1 if it does not tell.

    Raises:
        NetworkError: if the server cannot be reached.
        DataError: if there is no such file.
    """
    try:
        with open_url(url, {}, timeout, method="HEAD") as response:
            length = response.headers.get("Content-Length", "")
            return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else -1
    except Transient as error:
        raise NetworkError(
            f"{url} could not be asked for its size ({error})",
            expected="a network that reaches the server",
            fix="Check the network and run it again",
        ) from error


def refuse_page(url: str, kind: str, start: bytes = b"") -> None:
    """Refuse a web page, known by its content type or its first bytes.

    Raises:
        NetworkError: if it is one.
    """
    if kind.startswith("text/html") or start[:15].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise NetworkError(
            f"{url} is answered with a web page instead of the file",
            expected="the file itself",
            fix="A login page or a proxy may stand in between; check with a browser",
        )


def _connect(
    address: tuple[str, int], timeout: float | None = None, source: tuple[str, int] | None = None
) -> socket.socket:
    """Connect to the first address that answers, all within :data:`CONNECT_TIMEOUT`."""
    deadline = time.monotonic() + CONNECT_TIMEOUT
    failure: OSError = TimeoutError(f"no answer within {CONNECT_TIMEOUT:g} s")
    for family, kind, protocol, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        left = deadline - time.monotonic()
        if left <= 0.1:
            break
        candidate = socket.socket(family, kind, protocol)
        try:
            # Half of what is left, so that an address that swallows packets leaves time for others.
            candidate.settimeout(left / 2)
            if source:
                candidate.bind(source)
            candidate.connect(place)
            candidate.settimeout(timeout)
            return candidate
        except OSError as error:
            candidate.close()
            failure = error
    raise failure


class _HTTPConnection(http.client.HTTPConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = _connect


class _HTTPSConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = _connect


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's redirections to the web alone, and from an encrypted address to no other."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ("https://",) if req.full_url.lower().startswith("https://") else ("https://", "http://")
        if not newurl.lower().startswith(allowed):
            raise urllib.error.HTTPError(newurl, code, f"leads to {newurl[:60]!r}", headers, fp)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        # The page that comes with it would be read whole otherwise, however long the server says it is.
        fp.close()
        return request


class _HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        """Connect within the bound."""
        return self.do_open(_HTTPConnection, req)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        """Connect within the bound, with certificates checked."""
        return self.do_open(_HTTPSConnection, req)
