"""`sketchembed report`: cached parts, a page that grows, and failures."""

import itertools
import json
import re
import time
from types import SimpleNamespace

import pytest
import torch

from sketchembed.cli import main
from sketchembed.errors import DataError
from sketchembed.evaluation import parts, report_builder
from sketchembed.evaluation.context import EvaluationContext
from sketchembed.files import progress_bar
from sketchembed.files.reading import digest
from sketchembed.hub.model_files import save
from sketchembed.hub.registry import MODEL_KEY, describe
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.networks.conv_vae import ConvVAE, ConvVAEConfig
from sketchembed.reporting.figures import drawing_as_svg, svg
from sketchembed.reporting.part import Figure, Part, Table

TINY = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    return save(SketchEmbedNet(TINY), tmp_path / "model.safetensors")


@pytest.fixture
def computed(monkeypatch):
    """Replace the real parts by three fakes, and list the fakes that are computed."""
    done = []

    def first(context: EvaluationContext, count: int = 3, words: str = "some") -> Part:
        """First things.

        Args:
            context: the model.
            count: how many.
            words: to say.
        """
        done.append("first")
        with drawing_as_svg() as plots:
            figure, axes = plots.subplots(figsize=(2, 1))
            axes.plot(range(count))
            drawn = Figure("figure-1", "A figure", svg(figure))
        table = Table("Table 1", ["model", "R²"], [["ours", 0.5]], [["theirs", 0.75]])
        return Part("first", f"First: {words}", words, [table], [drawn], values={"r2": 0.5})

    def one_shot(context: EvaluationContext, rate: float = 0.5) -> Part:
        """Second things.

        Args:
            context: the model.
            rate: of something.
        """
        done.append("one-shot")
        return Part("one-shot", "Second", values={"rate": rate})

    def last(context: EvaluationContext) -> Part:
        """Last things.

        Args:
            context: the model.
        """
        done.append("last")
        return Part("last", "Last", facts={"drawings": 3})

    monkeypatch.setattr(parts, "PARTS", parts.PARTS)
    for name in list(parts.PARTS):
        monkeypatch.delitem(parts.PARTS, name)
    for name, function in (("first", first), ("one-shot", one_shot), ("last", last)):
        monkeypatch.setitem(parts.PARTS, name, function)
    return done


def run_report(checkpoint, *options):
    main(["report", "--checkpoint", str(checkpoint), "--accelerator", "cpu", "--vae", "none", *options])


def titles(page):
    return re.findall(r"<section[^>]*><h2>(.*?)</h2>", page.read_text())


def test_report_has_all_parts_and_uses_the_default_folder(
    checkpoint, computed, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    clock = itertools.count(step=65)
    monkeypatch.setattr(parts, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    run_report(checkpoint)
    page = tmp_path / "results" / "report-model" / "report.html"
    assert computed == ["first", "one-shot", "last"]
    assert titles(page) == ["First: some", "Second", "Last"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(page.relative_to(tmp_path))
    assert printed[:2] == ["[1/3] first: First things", "[1/3] first: done in 1 min 5 s"]
    text = page.read_text()
    assert "3 of 3 parts" in text
    assert digest(checkpoint)[:16] in text
    for name in ("first.json", "first.md", "one-shot.json", "last.json", "figure-1.svg"):
        assert (page.parent / name).exists()


def test_selected_parts_follow_the_report_order(checkpoint, computed, tmp_path):
    run_report(checkpoint, "--out", str(tmp_path / "out"), "--parts", "last,first")
    assert computed == ["first", "last"]
    assert titles(tmp_path / "out" / "report.html") == ["First: some", "Last"]


def test_existing_part_is_not_recomputed(checkpoint, computed, tmp_path, capsys):
    out = ("--out", str(tmp_path / "out"))
    run_report(checkpoint, *out)
    page = (tmp_path / "out" / "report.html").read_text()
    computed.clear()
    run_report(checkpoint, *out)
    assert computed == []
    assert "[2/3] one-shot: already computed" in capsys.readouterr().out
    written = re.compile(r"written [-0-9: ]*")
    assert written.sub("", (tmp_path / "out" / "report.html").read_text()) == written.sub("", page)
    # A change of the part's options, the seed or the models recomputes it.
    run_report(checkpoint, *out, "--one-shot.rate", "0.25")
    assert computed == ["one-shot"]
    assert json.loads((tmp_path / "out" / "one-shot.json").read_text())["values"] == {"rate": 0.25}
    computed.clear()
    run_report(checkpoint, *out, "--seed", "1", "--parts", "last")
    assert computed == ["last"]
    computed.clear()
    torch.manual_seed(0)
    vae = save(ConvVAE(ConvVAEConfig(width=8, latent=6)), tmp_path / "vae.safetensors")
    run_report(checkpoint, *out, "--vae", str(vae), "--parts", "first")
    assert computed == ["first"]
    torch.manual_seed(1)
    save(SketchEmbedNet(TINY), checkpoint)
    run_report(checkpoint, *out, "--parts", "first")
    assert computed == ["first", "first"]
    computed.clear()
    run_report(checkpoint, *out, "--parts", "first", "--fresh")
    assert computed == ["first"]


def test_moved_model_reuses_its_parts(checkpoint, computed, tmp_path):
    out = ("--out", str(tmp_path / "out"))
    run_report(checkpoint, *out)
    computed.clear()
    run_report(checkpoint.rename(tmp_path / "moved.safetensors"), *out)
    assert computed == []


def test_broken_part_file_is_recomputed(checkpoint, computed, tmp_path):
    out = ("--out", str(tmp_path / "out"))
    run_report(checkpoint, *out)
    computed.clear()
    (tmp_path / "out" / "last.json").write_text('{"name": "la')
    run_report(checkpoint, *out)
    assert computed == ["last"]


def test_failed_part_gives_one_line_and_the_others_continue(
    checkpoint, computed, tmp_path, monkeypatch, capsys
):
    def lacking(context: EvaluationContext) -> Part:
        """Second things."""
        raise DataError("there is <no> data", expected="some", fix="Get it")

    whole = parts.PARTS["one-shot"]
    monkeypatch.setitem(parts.PARTS, "one-shot", lacking)
    out = ("--out", str(tmp_path / "out"))
    with pytest.raises(SystemExit) as stopped:
        run_report(checkpoint, *out)
    assert stopped.value.code == 2
    assert computed == ["first", "last"]
    page = tmp_path / "out" / "report.html"
    assert '<p class="failed" role="alert">there is &lt;no&gt; data; expected some. Get it</p>' in (
        page.read_text()
    )
    assert titles(page) == ["First: some", "Second things", "Last"]
    assert "2 of 3 parts, 1 failed" in page.read_text()
    assert capsys.readouterr().err == (
        "sketchembed: one-shot could not be computed: there is <no> data; expected some. Get it\n"
    )
    monkeypatch.setitem(parts.PARTS, "one-shot", whole)
    computed.clear()
    run_report(checkpoint, *out)
    assert computed == ["one-shot"]


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, SystemExit), (ZeroDivisionError, None)])
def test_stopped_report_resumes(error, raised, checkpoint, computed, tmp_path, monkeypatch, capsys):
    page = tmp_path / "out" / "report.html"

    def stopping(context: EvaluationContext) -> Part:
        """Second things."""
        # The page already shows the first part.
        assert "First: some" in page.read_text()
        assert "In progress since" in page.read_text()
        assert "1 of 3 parts" in page.read_text()
        raise error

    whole = parts.PARTS["one-shot"]
    monkeypatch.setitem(parts.PARTS, "one-shot", stopping)
    out = ("--out", str(tmp_path / "out"))
    with pytest.raises(raised or error) as stopped:
        run_report(checkpoint, *out)
    assert re.search(r'<p class="soft">Stopped at \d\d:\d\d\.</p>', page.read_text())
    assert "Not computed yet." in page.read_text()
    if raised:
        assert stopped.value.code == 130
        printed = capsys.readouterr().err
        assert "1 of 3 parts are finished" in printed
        assert "The same command computes the others" in printed
    monkeypatch.setitem(parts.PARTS, "one-shot", whole)
    computed.clear()
    run_report(checkpoint, *out)
    assert computed == ["one-shot", "last"]


def test_long_part_reports_its_progress(checkpoint, computed, tmp_path, monkeypatch, capsys):
    progress = []

    def slow(context: EvaluationContext) -> Part:
        """Last things."""
        while "so far" not in "".join(progress):
            time.sleep(0.01)
            progress.append(capsys.readouterr().err)
        return Part("last", "Last")

    for name in ("EVERY", "FIRST", "POLL"):
        monkeypatch.setattr(progress_bar, name, 0.01)
    monkeypatch.setitem(parts.PARTS, "last", slow)
    run_report(checkpoint, "--out", str(tmp_path), "--parts", "last")
    assert "[1/1] last: 0:00:00 so far\n" in "".join(progress)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--parts", "frist"), "no part 'frist'.*'first'"),
        (("--parts", ""), "no part ''"),
        (("--checkpoint", "none.ckpt"), "no checkpoint at none.ckpt"),
    ],
)
def test_invalid_options_give_a_one_line_error(options, message, checkpoint, computed, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_report(checkpoint, *options)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert len(err.splitlines()) == 1


def test_page_shows_training_configuration_and_counts(computed, tmp_path):
    net = SketchEmbedNet(TINY)
    run = tmp_path / "runs" / "one <b>"
    (run / "checkpoints").mkdir(parents=True)
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, MODEL_KEY: describe(net)}, run / "checkpoints" / "step-1.ckpt")
    data = {"source": "doodles", "drawings": 7, "classes_seen": 3, "announcement": "NOT <QUICK>"}
    (run / "run.json").write_text(json.dumps({"kind": net.kind, "data": data}))
    (run / "config.yaml").write_text("model:\n  width: <8>\n")
    run_report(run, "--out", str(tmp_path / "out"), "--parts", "last")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "width: &lt;8&gt;" in text
    assert '<div class="banner" role="alert">NOT &lt;QUICK&gt;</div>' in text
    assert "Report on one &lt;b&gt;" in text
    assert "<dd>3 seen, 0 unseen</dd>" in text
    assert "last: {}" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3_700, "1 h 1 min")]
)
def test_durations_are_formatted(seconds, words):
    assert report_builder.duration(seconds) == words


@pytest.mark.slow
def test_wandb_gets_the_whole_report_as_one_run(checkpoint, computed, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_report(checkpoint, "--out", str(tmp_path / "out"))
    (run,) = (tmp_path / "out" / "wandb").glob("offline-run-*")
    (table,) = run.glob("files/media/table/first/*.json")
    assert json.loads(table.read_text())["data"] == [["ours", "0.5"], ["paper: theirs", "0.75"]]
    (figure,) = run.glob("files/media/html/first/*.html")
    assert "<svg" in figure.read_text()
    log = next(run.glob("*.wandb"))
    until = time.monotonic() + 20
    # W&B writes its log in a separate process, which may end a moment later.
    while b"one-shot/rate" not in log.read_bytes():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert b"first/r2" in log.read_bytes()
