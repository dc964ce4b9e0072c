"""Downloads from a local server that breaks connections and returns wrong or changed files."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketchembed.data.sources.quickdraw import find_class_files, prepare_quickdraw
from sketchembed.data.sources.quickdraw_download import LineCounter, PackedCounter, download_quickdraw
from sketchembed.data.sources.quickdraw_formats import PACKED_HEADER, read_class
from sketchembed.errors import DataError, SketchEmbedError
from sketchembed.files import download as download_module
from sketchembed.files import http
from sketchembed.files.download import download
from sketchembed.files.http import NetworkError

CONTENT = np.random.default_rng(0).bytes(300_000)
quiet = {"timeout": 5.0}


class Site:
    """Files and faults of the server; successive responses stop after the numbers of bytes in `cuts`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.files: dict[str, bytes] = {"/file": CONTENT}
        self.headers: dict[str, str] = {"ETag": '"one"'}
        self.cuts: list[int | None] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.tell_length = True
        self.requests: list[tuple[str, str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.command, unquote(self.path), wanted))
        assert len(site.requests) < 20
        if self.path == "/moved":  # its body is announced but never completed
            self.send_response(302)
            self.send_header("Location", "/file")
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            self.wfile.write(b"Moved")
            return
        content = site.files.get(unquote(self.path))
        status = site.statuses.pop(0) if site.statuses else 200 if content is not None else 404
        if status != 200 or content is None:
            self.send_error(status)
            return
        start = 0
        etag = site.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else site.headers.get("Last-Modified")
        if wanted and site.ranges and self.headers.get("If-Range") == validator:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        for name, value in site.headers.items():
            self.send_header(name, value)
        if site.tell_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = site.cuts.pop(0) if site.cuts else None
        if self.command == "GET":
            with contextlib.suppress(OSError):  # the client may close the connection early
                self.wfile.write(content[start:] if cut is None else content[start : start + cut])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sketchembed.files.download.time.sleep", lambda seconds: None)
    handler = type("OneHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.site = made = Site(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def digest(content: bytes) -> str:
    return "md5=" + base64.b64encode(hashlib.md5(content).digest()).decode()


# ---- whole files -------------------------------------------------------------------------------------


def test_download_writes_the_file(site: Site, tmp_path: Path) -> None:
    place = tmp_path / "new" / "folder" / "file"
    site.headers["x-goog-hash"] = f"crc32c=AAAAAA==,{digest(CONTENT)}"
    assert download(f"{site.url}/file", place, **quiet) == place
    assert place.read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "tag", [{"ETag": '"a"'}, {"ETag": 'W/"a"', "Last-Modified": "x"}, {"Last-Modified": "x"}, {}]
)
@pytest.mark.parametrize("ranges", [True, False])
def test_download_resumes_after_every_break(site: Site, tmp_path: Path, tag: dict, ranges: bool) -> None:
    site.headers, site.ranges, site.cuts = dict(tag), ranges, [100_000, 0, 70_000]
    site.headers["x-goog-hash"] = digest(CONTENT)
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert (tmp_path / "file").read_bytes() == CONTENT
    asked = [wanted for _, _, wanted in site.requests]
    if tag and ranges:
        assert asked == [None, "bytes=100000-", "bytes=100000-", "bytes=170000-"]
    assert names(tmp_path) == ["file"]


def test_failed_download_resumes_on_the_next_call(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000] * download_module.ATTEMPTS
    with pytest.raises(
        NetworkError, match=r"/file could not be downloaded \(the connection broke after 5000 of 300000 bytes"
    ):
        download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert names(tmp_path) == ["file.part", "file.part.tag"]
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert site.requests[-1] == ("GET", "/file", "bytes=5000-")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]


def test_changed_file_restarts_the_download(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000] * download_module.ATTEMPTS
    with pytest.raises(NetworkError):
        download(f"{site.url}/file", tmp_path / "file", **quiet)
    site.files["/file"], site.headers["ETag"] = CONTENT[::-1], '"two"'
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("held", [300_000, 300_001])
def test_too_long_part_restarts_the_download(site: Site, tmp_path: Path, held: int) -> None:
    (tmp_path / "file.part").write_bytes(bytes(held))
    (tmp_path / "file.part.tag").write_text('"one"')
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_part_without_its_tag_is_ignored(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(bytes(1000))
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_redirect_is_followed_without_reading_its_body(site: Site, tmp_path: Path) -> None:
    download(f"{site.url}/moved", tmp_path / "file", timeout=5.0)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [request[1] for request in site.requests] == ["/moved", "/file"]


def test_wrong_digest_is_retried_once_and_then_raises(site: Site, tmp_path: Path) -> None:
    site.headers["x-goog-hash"] = digest(b"something else")
    with pytest.raises(DataError, match="differs from the MD5 digest .* twice"):
        download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert len(site.requests) == 2
    assert names(tmp_path) == []
    site.headers["x-goog-stored-content-encoding"] = "gzip"  # the digest is then that of the compressed bytes
    download(f"{site.url}/file", tmp_path / "file", **quiet)


def test_corrupt_part_is_detected_by_the_digest(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(bytes(1000))
    (tmp_path / "file.part.tag").write_text('"one"')
    site.headers["x-goog-hash"] = digest(CONTENT)
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [wanted for _, _, wanted in site.requests] == ["bytes=1000-", None]


def test_server_errors_are_retried(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429, 500]
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    site.statuses = [503] * 9
    with pytest.raises(NetworkError, match="HTTP 503"):
        download(f"{site.url}/file", tmp_path / "other", **quiet)
    assert len(site.requests) == 4 + download_module.ATTEMPTS
    assert names(tmp_path) == ["file"]


def test_responses_that_are_not_the_file_raise(site: Site, tmp_path: Path) -> None:
    site.files |= {"/page": b"  <!DOCTYPE html><title>Sign in</title>", "/typed": b"hello"}
    with pytest.raises(DataError, match=r"/nothing does not exist \(HTTP 404\)"):
        download(f"{site.url}/nothing", tmp_path / "x", **quiet)
    with pytest.raises(NetworkError, match="web page instead of the file"):
        download(f"{site.url}/page", tmp_path / "x", **quiet)
    site.statuses = [403]
    with pytest.raises(NetworkError, match="refused .HTTP 403"):
        download(f"{site.url}/file", tmp_path / "x", **quiet)
    site.headers["Content-Type"] = "text/html; charset=utf-8"
    with pytest.raises(NetworkError, match="web page instead of the file") as caught:
        download(f"{site.url}/typed", tmp_path / "x", **quiet)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []
    assert len(site.requests) == 4


def test_download_without_content_length_succeeds(site: Site, tmp_path: Path) -> None:
    site.tell_length = False
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert (tmp_path / "file").read_bytes() == CONTENT


# ---- no network --------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_missing_network_raises_at_once(
    site: Site, tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host != "127.0.0.1":  # simulate a resolver that knows no host

        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr("sketchembed.files.http.socket.getaddrinfo", unknown)
    waits: list[float] = []
    monkeypatch.setattr("sketchembed.files.download.time.sleep", waits.append)
    with pytest.raises(
        NetworkError, match=r"could not be downloaded .*(refused|not known).*Check the network"
    ):
        download(f"http://{host}:{free_port()}/file", tmp_path / "deep" / "file", **quiet)
    assert sum(waits) < 1
    assert issubclass(NetworkError, SketchEmbedError)
    assert names(tmp_path) == []


def test_many_silent_addresses_time_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)

    class Silent(socket.socket):
        def connect(self, address: object) -> None:
            clock.now += self.gettimeout() or 99
            raise TimeoutError

    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))

    def many(host: str, *_: object, **__: object) -> list:
        return [place] * (1 if host == "192.0.2.1" else 50)

    monkeypatch.setattr("sketchembed.files.http.socket.getaddrinfo", many)
    monkeypatch.setattr("sketchembed.files.http.socket.socket", Silent)
    monkeypatch.setattr(http, "time", clock)
    with pytest.raises(TimeoutError):
        http._connect(("example.org", 80), 5.0)
    # Each address gets half of the remaining time, until less than 0.1 s remains.
    assert 0 <= 100 + http.CONNECT_TIMEOUT - clock.now <= 0.1


def test_silent_server_times_out(tmp_path: Path, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(NetworkError, match="timed out"):
            download(url, tmp_path / "x", timeout=0.2)


# ---- local failures ----------------------------------------------------------------------------------


def test_interrupted_download_leaves_a_resumable_part(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, chunks = download_module.read_chunk, []

    def interrupted(response: object) -> bytes:
        if len(chunks) == 2:
            raise KeyboardInterrupt
        chunks.append(read(response))
        return chunks[-1]

    monkeypatch.setattr(download_module, "read_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert names(tmp_path) == ["file.part", "file.part.tag"]
    monkeypatch.setattr(download_module, "read_chunk", read)
    download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert site.requests[-1][2] == f"bytes={sum(map(len, chunks))}-"
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_gives_a_clear_error(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, chunk: bytes) -> None:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(chunk)

    monkeypatch.setattr(download_module._Part, "write", full)
    with pytest.raises(DataError, match=r"file cannot be written \(No space left.*expected room on the disk"):
        download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert names(tmp_path) == []


def test_folder_that_cannot_be_created_gives_a_clear_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match="cannot be written"):
        download(f"{site.url}/file", tmp_path / "taken" / "file", **quiet)
    assert site.requests == []


def test_part_in_use_by_another_process_raises(site: Site, tmp_path: Path) -> None:
    with download_module._open_part(tmp_path / "file"), pytest.raises(DataError, match="by another process"):
        download(f"{site.url}/file", tmp_path / "file", **quiet)


def test_existing_file_is_kept_if_the_download_fails(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    site.cuts = [1000] * download_module.ATTEMPTS
    with pytest.raises(NetworkError):
        download(f"{site.url}/file", tmp_path / "file", **quiet)
    assert (tmp_path / "file").read_bytes() == b"old"


# ---- prefixes of files -------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 7), max_size=4), max_size=6), st.integers(1, 8), st.integers(1, 40))
def test_packed_counter_cuts_between_drawings(drawings: list, count: int, step: int) -> None:
    parts = []
    for key, strokes in enumerate(drawings):
        parts.append(PACKED_HEADER.pack(key, b"DE", 1, 0, len(strokes)))
        parts[-1] += b"".join(points.to_bytes(2, "little") + bytes(2 * points) for points in strokes)
    assert cut(PackedCounter(count), b"".join(parts), step) == (
        b"".join(parts[:count]) if len(parts) >= count else None
    )


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"") + b"\n")), st.integers(1, 8))
def test_line_counter_cuts_between_lines(lines: list, count: int) -> None:
    for step in (1, 7, 1000):
        expected = b"".join(lines[:count]) if len(lines) >= count else None
        assert cut(LineCounter(count), b"".join(lines), step) == expected


def cut(counter: LineCounter | PackedCounter, data: bytes, step: int) -> bytes | None:
    for start in range(0, len(data), step):
        if (end := counter(data[start : start + step])) is not None:
            return data[: start + end]
    return None


def test_packed_counter_bounds_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sketchembed.data.sources.quickdraw_download.PACKED_LIMIT", 1000)
    counter = PackedCounter(3)
    with pytest.raises(DataError, match="more than 1000 bytes"):
        [counter(b"\xff" * 600) for _ in range(3)]


LINES = b"".join(
    json.dumps({"key_id": str(key), "drawing": [[[0, key % 200, 7], [1, 2, 9]]]}).encode() + b"\n"
    for key in range(9000)
)


def test_prefix_download_keeps_the_first_lines(site: Site, tmp_path: Path) -> None:
    site.files["/lines"] = LINES * 20
    download(f"{site.url}/lines", tmp_path / "lines", counter=partial(LineCounter, 100), **quiet)
    assert (tmp_path / "lines").read_bytes() == b"".join(LINES.splitlines(keepends=True)[:100])
    assert names(tmp_path) == ["lines"]


def test_prefix_resumes_after_breaks_and_in_later_calls(site: Site, tmp_path: Path) -> None:
    site.files["/lines"], site.cuts = LINES, [1000] * download_module.ATTEMPTS
    with pytest.raises(NetworkError):
        download(f"{site.url}/lines", tmp_path / "lines", counter=partial(LineCounter, 500), **quiet)
    site.cuts = [20_000]
    download(f"{site.url}/lines", tmp_path / "lines", counter=partial(LineCounter, 500), **quiet)
    assert [wanted for _, _, wanted in site.requests[-2:]] == ["bytes=5000-", "bytes=25000-"]
    assert (tmp_path / "lines").read_bytes() == b"".join(LINES.splitlines(keepends=True)[:500])


def test_sufficient_part_sends_no_request(site: Site, tmp_path: Path) -> None:
    (tmp_path / "lines.part").write_bytes(LINES[:90_000])
    (tmp_path / "lines.part.tag").write_text('"one"')
    download(f"{site.url}/lines", tmp_path / "lines", counter=partial(LineCounter, 50), **quiet)
    assert site.requests == []
    assert (tmp_path / "lines").read_bytes() == b"".join(LINES.splitlines(keepends=True)[:50])


def test_prefix_longer_than_the_file_is_the_whole_file(site: Site, tmp_path: Path) -> None:
    site.files["/lines"], site.headers["x-goog-hash"] = LINES, digest(LINES)
    download(f"{site.url}/lines", tmp_path / "lines", counter=partial(LineCounter, 99_999), **quiet)
    assert (tmp_path / "lines").read_bytes() == LINES


# ---- Quick, Draw! ------------------------------------------------------------------------------------


def published() -> dict[str, bytes]:
    drawing = np.array([[0, 0, 0], [3, 4, 1]], dtype=np.int16)
    arrays = np.empty(2, dtype=object)
    arrays[:] = [drawing, drawing]
    npz = io.BytesIO()
    np.savez(npz, train=arrays, valid=arrays, test=arrays)
    one = PACKED_HEADER.pack(1, b"DE", 1, 0, 1) + b"\x02\x00" + bytes([0, 3, 0, 4])
    return {
        "/sketchrnn/ice cream.npz": npz.getvalue(),
        "/full/simplified/ice cream.ndjson": LINES,
        "/full/binary/ice cream.bin": one * 9000,
    }


@pytest.mark.parametrize(("form", "whole"), [("npz", 6), ("ndjson", 9000), ("bin", 9000)])
def test_classes_are_downloaded_once(
    site: Site, tmp_path: Path, form: str, whole: int, capsys: pytest.CaptureFixture
) -> None:
    site.files = published()
    options = {"form": form, "base_url": site.url, "timeout": 5.0}

    def fetch(**more: object) -> tuple[int, int]:
        before = len(site.requests)
        found = download_quickdraw(tmp_path, ["ice cream"], **options, **more)  # type: ignore[arg-type]
        assert find_class_files(tmp_path) == found
        got = read_class(found["ice cream"], "ice cream", 64)
        return len(got.drawings), sum(method == "GET" for method, _, _ in site.requests[before:])

    part = whole if form == "npz" else 300
    assert fetch(per_class=300) == (part, 1)
    assert ("downloaded whole" in capsys.readouterr().err) == (form == "npz")
    assert fetch(per_class=300) == (part, 0)
    assert fetch(per_class=20) == (part, 0)
    if form != "npz":
        assert fetch(per_class=400) == (400, 1)
    assert fetch() == (whole, 0 if form == "npz" else 1)
    assert fetch() == (whole, 0)
    store = prepare_quickdraw(find_class_files(tmp_path), tmp_path / "store", per_class=5)
    assert len(store) == 5
    assert [path for _, path, _ in site.requests if not re.search(r"/ice cream\.\w+$", path)] == []


def test_failed_class_downloads_give_clear_errors(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'ice cream'"):
        download_quickdraw(tmp_path, ["icecream"], base_url=site.url)
    with pytest.raises(DataError, match=r"cat\.npz does not exist"):
        download_quickdraw(tmp_path, ["cat"], base_url=site.url)
    with pytest.raises(DataError, match="number of drawings per class is 0"):
        download_quickdraw(tmp_path, ["cat"], form="bin", per_class=0, base_url=site.url)
    assert names(tmp_path) == []
    place = tmp_path / "quickdraw" / "binary" / "cat.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x")
    with pytest.raises(NetworkError, match="size of .* could not be read"):
        download_quickdraw(tmp_path, ["cat"], form="bin", base_url=f"http://127.0.0.1:{free_port()}")
