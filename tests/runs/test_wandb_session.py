"""Test runs that cannot reach the W&B server, or lose it, in subprocesses with a local server."""

import base64
import hashlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fake_wandb import FakeServer, environment, metrics_of, records

from sketchembed.reporting import wandb_dashboard
from sketchembed.runs.wandb_session import unreachable

CONF = Path(__file__).parents[2] / "conf"
DOODLES = "sketchembed.data.datamodules.doodles_datamodule.DoodlesDataModule"
# Checks the connection often, and slows the training so that several checks happen.
PROGRAM = """
import sys, time
from sketchembed.runs import wandb_session as session
session.WATCH_EVERY, session.PROBE_LIMIT, session.FINISH_LIMIT = 0.3, 2.0, 3.0
from sketchembed.training.progress import Monitor
slow = Monitor.on_train_batch_end
def on_train_batch_end(self, *given, **named):
    slow(self, *given, **named)
    time.sleep(PAUSE)
Monitor.on_train_batch_end = on_train_batch_end
from sketchembed.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule

    folder = tmp_path_factory.mktemp("data")
    DoodlesDataModule(str(folder), per_class=30).prepare_store()
    return folder


@pytest.fixture
def begin(data, tmp_path):
    """A function that starts a short online training and returns its process."""

    def start(url, *options, pause=0.0):
        command = [
            *(sys.executable, "-c", PROGRAM.replace("PAUSE", str(pause)), "fit"),
            *("--config", str(CONF / "quickdraw.yaml"), "--config", str(CONF / "debug.yaml")),
            *("--data", DOODLES, "--data.init_args.folder", str(data), "--data.init_args.per_class", "30"),
            *("--trainer.accelerator", "cpu", "--run.root", "runs", "--run.wandb", "online", *options),
        ]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment(tmp_path, url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def wait_for_success(process, seconds=200):
    """Wait for a training that must succeed; return its output."""
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    return output


def lines_about_wandb(output):
    return [line for line in output.splitlines() if "W&B" in line or "wandb" in line]


@pytest.fixture
def silent_server():
    """The address of a server that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def full_server():
    """The address of a server that accepts no connection, because its queue stays full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(listening.getsockname())
        time.sleep(0.1)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for one in waiting:
            one.close()


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_server_that_answers_is_reachable(server):
    assert unreachable(server.url) == ""


def test_unreachable_servers_are_reported_within_the_limit(silent_server, full_server, monkeypatch):
    for url, why in (
        (silent_server, "does not answer"),
        (full_server, "does not answer"),
        (closed_port(), "Connection refused"),
    ):
        assert why in unreachable(url, 1.0)
    assert "does not answer" in unreachable("http://no-such-host.invalid", 2.0)
    # The limit also holds for a probe that never returns.
    returns = threading.Event()
    monkeypatch.setattr("sketchembed.runs.wandb_session._probe", lambda url, limit: returns.wait())
    assert unreachable("http://127.0.0.1", 0.2) == "http://127.0.0.1 does not answer within 0.2 s"
    returns.set()


# Opens a session and logs like a training. With `kill`, it does not finish the session.
SESSION = """
import os, signal, sys, time
from pathlib import Path
from sketchembed.runs import wandb_session as session
session.PROBE_LIMIT, session.INIT_LIMIT, session.FINISH_LIMIT = 2.0, 6.0, 3.0
mode, first, last, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
opened = session.Session(mode, Path("run"), print, name="run", project="p", id="abcd1234", resume="allow")
for step in range(first, last):
    opened.attempt(opened.run.log, {"train/loss": 1.0 / (step + 1), "trainer/global_step": step})
if how == "kill":
    time.sleep(1.5)  # lines of the last second may be lost
    os.kill(os.getpid(), signal.SIGKILL)
opened.finish()
"""


def session(tmp_path, url, mode, first=0, last=5, how="end", key="a" * 40):
    command = [sys.executable, "-c", SESSION, mode, str(first), str(last), how]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(tmp_path, url, key),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == (-9 if how == "kill" else 0), ran.stderr
    return ran.stdout + ran.stderr


def sync(tmp_path, url, folders, *options):
    """Run the printed `wandb sync` command with a server."""
    command = [str(Path(sys.executable).with_name("wandb")), "sync", *options, *map(str, folders)]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(tmp_path, url),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def logged(folder):
    """Return the history lines of a run's log as plain values."""
    lines = [record.history.item for record in records(folder) if record.HasField("history")]
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in line} for line in lines]


def artifacts_of(found):
    """Return the artifacts among the records of a log by name, except those of tables."""
    artifacts = [record.artifact for record in found if record.HasField("artifact")]
    return {artifact.name: artifact for artifact in artifacts if artifact.type != "run_table"}


def table_rows(found):
    """Return the rows of all tables of drawings in a log, sorted, without the pictures."""
    rows = []
    for artifact in (record.artifact for record in found if record.artifact.type == "run_table"):
        files = {entry.path: entry.local_path for entry in artifact.manifest.contents}
        table = json.loads(Path(files["drawings.table.json"]).read_text())
        assert table["columns"] == ["step", "class", "seen", "temperature", "input", "drawing"]
        assert {cell["path"] for row in table["data"] for cell in row[4:]} <= set(files)
        rows += [tuple(row[:4]) for row in table["data"]]
    return sorted(rows)


def sampled_rows(run):
    """Return the rows that the sample files of a run amount to."""
    files = [json.loads(file.read_text()) for file in run.glob("samples/step-*.json")]
    return sorted(
        (file["step"], item["class"], "seen" if item["seen"] else "unseen", sample["temperature"])
        for file in files
        for item in file["items"]
        for sample in item["samples"]
    )


ONE_LINE = re.compile(
    r"W&B cannot be reached: (.*); the run is kept offline in (\S+), `wandb sync (\S+)` sends it later"
)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("closed", "does not answer (Connection refused)"),
        ("no key", "there is no API key"),
        ("refused", "no"),
    ],
)
def test_run_without_network_or_key_is_kept_offline(how, why, server, tmp_path):
    server.refuses = how == "refused"
    url = closed_port() if how == "closed" else server.url
    output = session(tmp_path, url, "online", key=None if how == "no key" else "a" * 40)
    (line,) = output.splitlines()
    reason, folder, command = ONE_LINE.fullmatch(line).groups()
    assert why in reason
    assert command == folder
    assert [line["train/loss"] for line in logged(tmp_path / folder)] == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    # The failed attempt leaves no folder that `wandb sync` would also send.
    assert len(list(tmp_path.glob("run/wandb/*run-*"))) == 1
    server.refuses = False
    sync(tmp_path, server.url, [folder])
    assert [line["trainer/global_step"] for line in server.history["abcd1234"]] == [0, 1, 2, 3, 4]


def test_killed_and_resumed_offline_run_syncs_as_one_run(server, tmp_path):
    session(tmp_path, server.url, "offline", 0, 6, "kill")
    session(tmp_path, server.url, "offline", 4, 9)
    first, second = sorted(tmp_path.glob("run/wandb/offline-run-*"))
    assert [line["trainer/global_step"] for line in logged(first)] == [0, 1, 2, 3, 4, 5]
    assert [line["trainer/global_step"] for line in logged(second)] == [4, 5, 6, 7, 8]
    sync(tmp_path, server.url, [first, second])
    lines = server.history["abcd1234"]
    assert [line["trainer/global_step"] for line in lines] == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8]
    # W&B's own step counter continues, so that no line replaces an earlier one.
    assert [line["_step"] for line in lines] == list(range(11))
    assert server.summary["abcd1234"]["train/loss"] == 1 / 9


@pytest.mark.slow
def test_training_with_an_unresponsive_server_is_kept_offline(begin, full_server, server, tmp_path):
    output = wait_for_success(begin(full_server))
    (line,) = lines_about_wandb(output)
    reason, folder, _ = ONE_LINE.fullmatch(line).groups()
    assert "does not answer" in reason
    found = records(tmp_path / folder)
    assert list((tmp_path / folder).glob("files/media/images/samples_*.png"))
    config = {item.key: item.value_json for record in found for item in record.config.update}
    assert json.loads(config["curriculum"])["alpha_max"] == 0.5
    assert json.loads(config["data_facts"])["source"] == "doodles"
    keys = set().union(*logged(tmp_path / folder))
    # The log has every training metric of the dashboard under the same name.
    shown = metrics_of(wandb_dashboard.spec(wandb_dashboard.workspace("e", "p", "n")))
    training_metrics = {key for key in shown if not key.startswith("fewshot/")}
    assert {"samples", "trainer/global_step", "train/alpha", "val/pixel"} <= training_metrics <= keys
    run = (tmp_path / folder).parents[1]
    assert json.loads((run / "run.json").read_text())["finished"] is True
    (about,) = [record.run for record in found if record.HasField("run")]
    assert (about.job_type, list(about.tags)) == ("training", ["custom", "doodles", "sketchembednet"])
    assert table_rows(found) == sampled_rows(run)
    artifacts = artifacts_of(found)
    used = {name for name, artifact in artifacts.items() if artifact.use_after_commit}
    assert (set(artifacts) - used, used) == ({f"{run.name}-weights"}, {"doodles-data"})
    (weights,) = artifacts[f"{run.name}-weights"].manifest.contents
    (checkpoint,) = run.glob("checkpoints/step-6.ckpt")
    assert weights.digest == base64.b64encode(hashlib.md5(checkpoint.read_bytes()).digest()).decode()
    references = {entry.path: entry.ref for entry in artifacts["doodles-data"].manifest.contents if entry.ref}
    assert Path(references["points.bin"].removeprefix("file://")).is_file()
    # W&B's own reader of the log sends the same.
    sync(tmp_path, server.url, [folder])
    (history,) = server.history.values()
    assert [line["train/loss"] for line in history if "train/loss" in line] == [
        line["train/loss"] for line in logged(tmp_path / folder) if "train/loss" in line
    ]
    sent = {made["artifactCollectionName"]: id for id, made in server.artifacts.items()}
    assert {"doodles-data", f"{run.name}-weights"} <= set(sent)
    assert server.used == {sent["doodles-data"]}


@pytest.mark.slow
def test_lost_connection_is_reported_once_without_data_loss(begin, server, tmp_path):
    process = begin(server.url, "--trainer.max_steps", "20", pause=0.3)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.05)
    server.cut()
    output = wait_for_success(process)
    opened, line = lines_about_wandb(output)
    assert opened.startswith(f"wandb   {server.url}/")
    found = re.fullmatch(
        r"W&B cannot be reached: .*Connection refused.*is kept in (\S+): .* or later by `wandb sync "
        r"--include-online (\S+)`",
        line,
    )
    assert found, output
    assert found[1] == found[2]
    assert output.index(line) < output.index("step     20/20")
    steps = [line["trainer/global_step"] for line in logged(tmp_path / found[1]) if "train/loss" in line]
    assert steps == list(range(20))
    again = FakeServer()
    sync(tmp_path, again.url, [found[2]], "--include-online")
    (lines,) = again.history.values()
    assert [line["trainer/global_step"] for line in lines if "train/loss" in line] == list(range(20))
    assert any(name.startswith("media/images/samples") for name in again.files)
    again.cut()
