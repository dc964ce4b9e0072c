"""A stand-in for the W&B server that answers the requests of a run."""

import gzip
import http.server
import json
import os
import struct
import sys
import threading
import zlib


class FakeServer(http.server.ThreadingHTTPServer):
    """Accepts every request and stores what the W&B process sends: history, summary and files."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuses = False
        self.history, self.summary, self.files, self.upserts, self.views = {}, {}, {}, [], []
        self.artifacts, self.used = {}, set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def cut(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass

    def answer(self, query, variables):
        if "upsertBucket" in query:
            self.upserts.append(variables)
            project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "e"}}
            bucket = {"id": "b", "name": variables["name"], "displayName": "d", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "upsertView" in query:
            self.views.append(variables)
            return {"upsertView": {"view": {"id": "dg==", "name": variables["name"]}, "inserted": True}}
        if "RunResumeStatus" in query:
            kept = self.history.get(variables["name"])
            if kept is None:
                return {"model": {"bucket": None}}
            bucket = {
                "id": "b",
                "name": variables["name"],
                "displayName": "d",
                "summaryMetrics": json.dumps(self.summary.get(variables["name"], {})),
                "historyLineCount": len(kept),
                "logLineCount": 0,
                "eventsLineCount": 0,
                "historyTail": json.dumps([json.dumps(line) for line in kept[-1:]]),
                "eventsTail": "[]",
                "config": "{}",
                "wandbConfig": '{"t": 1}',
            }
            return {"model": {"id": "p", "name": "p", "entity": {"id": "e", "name": "e"}, "bucket": bucket}}
        if "query ArtifactType(" in query:
            return {"project": None}
        if "createArtifact(" in query:
            given = variables["input"]
            made = {"id": str(len(self.artifacts)), "state": "COMMITTED"}
            self.artifacts[made["id"]] = given
            return {"createArtifact": {"artifact": made | {"artifactSequence": {"latestArtifact": None}}}}
        if "useArtifact(" in query:
            self.used.add(variables["input"]["artifactID"])
            return {"useArtifact": {"artifact": {"id": variables["input"]["artifactID"]}}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/up/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if "viewer" in query:
            who = {"id": "u", "entity": "e", "username": "somebody", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": who}
        return {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, found, code=200):
        text = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def body(self):
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(text) if self.headers.get("Content-Encoding") == "gzip" else text

    def do_POST(self):
        body = self.body()
        if self.path == "/graphql":
            if self.server.refuses:
                self.reply({"errors": [{"message": "no"}]}, 401)
                return
            asked = json.loads(body)
            self.reply({"data": self.server.answer(asked["query"], asked.get("variables") or {})})
            return
        if self.path.endswith("/file_stream"):
            run = self.path.split("/")[-2]
            for name, part in json.loads(body).get("files", {}).items():
                lines = [json.loads(line) for line in part["content"]] if name.endswith(".jsonl") else []
                if name == "wandb-history.jsonl":
                    kept = self.server.history.setdefault(run, [])
                    kept[part["offset"] :] = lines
                if name == "wandb-summary.json":
                    self.server.summary[run] = json.loads(part["content"][-1])
        self.reply({})

    def do_PUT(self):
        self.server.files[self.path.removeprefix("/up/")] = self.body()
        self.reply({})

    def do_GET(self):
        self.reply({})

    do_HEAD = do_GET


def environment(home, url, key="a" * 40):
    """Return environment variables that direct W&B to the server `url`. W&B also reads files in `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    kept |= {"WANDB_BASE_URL": url, "HOME": str(home), "NETRC": str(home / "netrc")}
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path)} | ({"WANDB_API_KEY": key} if key else {})


def records(folder):
    """Return the records of a run's log.

    The file has a header of seven bytes and then records in LevelDB's log format. Each record is a protobuf
    message of W&B.
    """
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("run-*.wandb")
    data, at, message, found = path.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:  # the block has no room for another record header
            at += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + 7 : at + 7 + length]
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        at, message = at + 7 + length, message + part
        if kind in (1, 4):  # a complete record, or the last of several parts
            found.append(wandb_internal_pb2.Record.FromString(message))
            message = b""
    return found


def metrics_of(spec):
    """Return the names of all metrics and media in the spec of a dashboard, or in a part of it."""
    if isinstance(spec, list):
        return set().union(*map(metrics_of, spec))
    if not isinstance(spec, dict):
        return set()
    named = {key for field in ("metrics", "mediaKeys") for key in spec.get(field, [])}
    named |= {spec["xAxis"]} if "metrics" in spec and "xAxis" in spec else set()
    return named.union(*map(metrics_of, spec.values()))
