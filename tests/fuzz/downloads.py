"""Fuzz downloads with a local server that returns invalid answers."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

from sketchembed.data.sources.quickdraw_download import LineCounter, PackedCounter
from sketchembed.errors import SketchEmbedError
from sketchembed.files import download, http

from .drawings import bin_seeds, ndjson_seeds
from .engine import Case, Reader
from .structured import INTEGERS, TEXTS

BODY = ndjson_seeds()[1]["cat.ndjson"]
PACKED = bin_seeds()[0]["cat.bin"]
ANSWER: dict[str, object] = {}
STATUSES = (
    100,
    200,
    200,
    200,
    204,
    206,
    206,
    301,
    302,
    303,
    304,
    307,
    308,
    400,
    403,
    404,
    410,
    416,
    429,
    500,
    503,
    999,
)


class Handler(BaseHTTPRequestHandler):
    """Sends the answer in :data:`ANSWER`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "raw" in ANSWER:
            self.wfile.write(bytes.fromhex(str(ANSWER["raw"])))
        else:
            self.send_response_only(int(str(ANSWER["status"])))
            for name, value in ANSWER["headers"].items():  # type: ignore[attr-defined]
                self.send_header(name, value)
            try:
                self.end_headers()
            except UnicodeEncodeError:
                return
            if self.command == "GET":
                self.wfile.write(bytes.fromhex(str(ANSWER["body"])))
        self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Ignores errors of clients that disconnect."""

    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        pass


@cache
def address() -> str:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def answer_seeds() -> list[Case]:
    digest = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    headers = {
        "Content-Length": str(len(BODY)),
        "ETag": '"a"',
        "x-goog-hash": f"md5={digest}",
        "Content-Type": "text/plain",
    }
    whole = {"status": 200, "headers": headers, "body": BODY.hex()}
    packed = {"status": 200, "headers": {"Content-Length": str(len(PACKED))}, "body": PACKED.hex()}
    part = b'{"a":1}\n'
    return [
        {"answer.json": json.dumps(whole).encode()},
        {"answer.json": json.dumps(packed).encode()},
        {
            "answer.json": json.dumps(whole).encode(),
            "there/cat.ndjson.part": BODY[:500],
            "there/cat.ndjson.part.tag": b'"a"',
        },
        {"answer.json": json.dumps(whole).encode(), "there/cat.ndjson": part},
    ]


def change_answer(case: Case, random: Random) -> Case:
    case = dict(case)
    answer = json.loads(case["answer.json"])
    headers, body = answer["headers"], bytes.fromhex(answer["body"])
    for _ in range(random.choice((1, 1, 2))):
        what = random.randrange(9)
        if what == 0:
            answer["status"] = random.choice(STATUSES)
            headers["Location"] = random.choice(
                (
                    "file:///etc/passwd",
                    "ftp://127.0.0.1:1/x",
                    "http://127.0.0.1:1/x",
                    "/again",
                    "//",
                    "data:,x",
                    "",
                    "http://[::",
                    "javascript:1",
                )
            )
        elif what == 1:
            headers["Content-Length"] = random.choice(
                ("", "x", "-1", "0", "1e9", *map(str, INTEGERS), str(len(body) - 3))
            )
        elif what == 2:
            headers["Content-Range"] = random.choice(
                ("bytes 500-900/901", "bytes 500-/x", "bytes */9", "x", f"bytes 500-{len(body)}/{10**30}")
            )
            answer["status"] = 206
        elif what == 3:
            body = body[: random.randrange(len(body) + 1)]
        elif what == 4:
            headers[
                random.choice(
                    (
                        "ETag",
                        "Last-Modified",
                        "x-goog-hash",
                        "Content-Type",
                        "Transfer-Encoding",
                        "Content-Encoding",
                    )
                )
            ] = random.choice(
                (
                    "chunked",
                    "gzip",
                    "text/html",
                    "md5=AAAAAAAAAAAAAAAAAAAAAA==",
                    'W/"x"',
                    '"\x7f"',
                    *(text for text in TEXTS if text.isprintable() and text.isascii()),
                )
            )
        elif what == 5:
            body = random.choice(
                (b"", b"<!DOCTYPE html><p>log in", b"\xff" * 3000, body * 40, b"\0" * 99, b"\n" * 9000)
            )
        elif what == 6 and "there/cat.ndjson.part.tag" in case:
            case["there/cat.ndjson.part.tag"] = random.choice(
                (b"", b"\xff\xfe", b"a\r\nX: y", b'"a"' * 40000, b"\0")
            )
        elif what == 7:
            raw = random.choice(
                (
                    b"",
                    b"HTTP",
                    b"HTTP/1.1 200\r\n",
                    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300,
                    b"x" * 99,
                    b"HTTP/1.1 abc\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
                    b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\nabc",
                    b"HTTP/1.1 200 OK\r\n" + b"a" * 70000,
                    b"SSH-2.0-x\r\n",
                )
            )
            answer["raw"] = raw.hex()
        else:
            headers.pop(random.choice(sorted(headers)), None) if headers else None
    answer["body"] = body.hex()
    case["answer.json"] = json.dumps(answer).encode()
    return case


def read_answer(folder: Path) -> object:
    ANSWER.clear()
    ANSWER.update(json.loads((folder / "answer.json").read_bytes()))
    url, there = f"{address()}/cat.ndjson", folder / "there" / "cat.ndjson"
    sleep, download.time.sleep = download.time.sleep, lambda _: None  # no delay between attempts
    attempts, download.ATTEMPTS = download.ATTEMPTS, 2
    fast, http.CONNECT_TIMEOUT = http.CONNECT_TIMEOUT, 1.0
    errors = []
    quick = {"timeout": 1.0}
    lines, packed = folder / "b" / "cat.ndjson", folder / "c" / "cat.bin"
    try:
        for work in (
            lambda: download.download(url, there, **quick),
            lambda: download.download(url, lines, counter=lambda: LineCounter(5), **quick),
            lambda: download.download(url, packed, counter=lambda: PackedCounter(3), **quick),
            lambda: http.remote_size(url, 1.0),
        ):
            try:
                work()
            except SketchEmbedError as error:
                errors.append(error)
    finally:
        download.time.sleep, download.ATTEMPTS, http.CONNECT_TIMEOUT = sleep, attempts, fast
    if len(errors) == 4:
        raise errors[0]
    return True


READERS = (Reader("download", answer_seeds, read_answer, change_answer),)
