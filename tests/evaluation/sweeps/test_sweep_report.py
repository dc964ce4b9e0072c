"""`sketchembed report --sweep`: every run is evaluated once, and tables include the paper's values."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from sketchembed.cli import main
from sketchembed.data.image_set import ImageSet
from sketchembed.data.sources import omniglot_images
from sketchembed.errors import DataError
from sketchembed.evaluation.fewshot.protocol import FewShotProtocol
from sketchembed.evaluation.recognizability.predictions import DRAWN
from sketchembed.evaluation.sweeps import sweep_report
from sketchembed.evaluation.sweeps.paper_sweeps import ALPHA_MAX, OVER_STEPS, SEEDS
from sketchembed.hub.model_files import save
from sketchembed.hub.registry import MODEL_KEY, describe
from sketchembed.networks import ModelConfig, SketchEmbedNet
from sketchembed.reporting.part import Part
from sketchembed.runs.sweep_folder import SweepFolder, SweepRun

TINY = ModelConfig(width=8, latent=12, hidden=10, hyper=6, embedding=2, mixtures=3, max_length=12)


def write_run(folder, seed, milestones=()):
    torch.manual_seed(seed)
    net = SketchEmbedNet(TINY)
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, MODEL_KEY: describe(net)}, folder / "checkpoints" / "step-9.ckpt")
    for step in milestones:
        save(net, folder / "milestones" / f"step-{step}.safetensors")
    facts = {"finished": True, "max_steps": 9, "model": net.config.to_dict(), "kind": net.kind}
    (folder / "run.json").write_text(json.dumps(facts))
    lines = [
        {"step": 3, "val/loss": 2.0},
        {"step": 8, "train/loss": 1.0},
        {"step": 9, "val/loss": 1.5 + seed},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def omniglot(tmp_path, monkeypatch):
    """Replace Omniglot by twenty-four classes of noise."""
    random = np.random.default_rng(0)
    shapes = random.integers(0, 256, (24, 1, 1, 28, 28))
    images = (shapes + random.normal(0, 160, (24, 7, 1, 28, 28))).clip(0, 255).astype(np.uint8)
    data = ImageSet(
        images.reshape(-1, 1, 28, 28),
        np.repeat(np.arange(24), 7),
        [f"class{at}" for at in range(24)],
        [str(at) for at in range(24 * 7)],
        about={"data": "Omniglot", "split": "vinyals", "part": "test"},
    )
    monkeypatch.setenv("SKETCHEMBED_DATA", str(tmp_path))
    monkeypatch.setattr(omniglot_images, "load_omniglot", lambda *_: data)
    monkeypatch.setattr(omniglot_images, "select_part", lambda images, *_: images)


@pytest.fixture
def evaluated(monkeypatch):
    """Return a list that collects the checkpoints evaluated on few-shot episodes."""
    paths, run = [], FewShotProtocol.run

    def record(self, models, *rest, **options):
        paths.extend(f"{model.path.parents[1].name}/{model.path.name}" for model in models)
        return run(self, models, *rest, **options)

    monkeypatch.setattr(FewShotProtocol, "run", record)
    return paths


def write_sweep(folder, points):
    SweepFolder(
        folder, "mine", {name: SweepRun(name, point, ["x"]) for name, point in points.items()}
    ).write()
    return folder


def report(tmp_path, folder, *options):
    few = ["--settings", "5w1s,20w1s", "--episodes", "20", "--curve_episodes", "10", "--parts", "fewshot"]
    main(
        [
            "report",
            "--sweep",
            str(folder),
            "--out",
            str(tmp_path / "out"),
            "--accelerator",
            "cpu",
            *few,
            *options,
        ]
    )
    return Part.read(tmp_path / "out" / "sweep.json")


def test_seeds_are_averaged_and_no_run_is_evaluated_twice(omniglot, evaluated, tmp_path, capsys):
    folder = write_sweep(
        tmp_path / "sweep-mine", {f"seed{seed}": {"seed_everything": seed} for seed in (1, 2, 3, 4)}
    )
    for seed in (1, 2, 3):
        write_run(folder / f"seed{seed}", seed)
    sweep = SweepFolder.read(folder)
    sweep.runs["seed4"].message = "the pen is dry (exit status 2)"
    sweep.write()
    part = report(tmp_path, folder)
    assert evaluated == ["seed1/step-9.ckpt", "seed2/step-9.ckpt", "seed3/step-9.ckpt"]
    summary, runs = part.tables
    accuracies = [part.values[f"seed{seed}/20w1s"] for seed in (1, 2, 3)]
    low, high = stats.t.interval(0.95, 2, np.mean(accuracies), stats.sem(accuracies))
    row = summary.rows[0]
    assert row[:2] == ["all seeds", "3 (1 missing)"]
    assert row[3] == f"{np.mean(accuracies):.2f} ± {(high - low) / 2:.2f}"
    assert summary.rows[1][3] == f"{max(accuracies):.2f}"
    assert summary.title == "Table 9: few-shot accuracy"
    assert summary.paper == [
        ["all seeds", "15", "96.37 ± 0.12", "90.69 ± 0.20"],
        ["all seeds, best", "", "96.96", "91.67"],
    ]
    assert runs.rows[1][:5] == ["seed2", "2", "done", "1.000", "3.500"]
    assert runs.rows[3][:4] == ["seed4", "4", "failed: the pen is dry (exit status 2)", None]
    assert {figure.name for figure in part.figures} == {"sweep-accuracies", "sweep-losses"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "failed: the pen is dry" in page
    evaluated.clear()
    assert report(tmp_path, folder).values == part.values
    assert evaluated == []
    write_run(folder / "seed4", 4)
    report(tmp_path, folder)
    assert evaluated == ["seed4/step-9.ckpt"]
    evaluated.clear()
    report(tmp_path, folder, "--seed", "1")
    assert len(evaluated) == 4


def test_alpha_max_over_steps_is_compared_with_table_5(omniglot, evaluated, tmp_path):
    points = {f"alpha_max{alpha:g}": {"curriculum.alpha_max": alpha} for alpha in (0.0, 0.5)}
    folder = write_sweep(tmp_path / "sweep-mine", points)
    steps = [round(part * 9 / 12 * 100) for part in range(1, 13)]
    for seed, name in enumerate(points):
        write_run(folder / name, seed, milestones=steps)
    part = report(tmp_path, folder)
    summary, over_steps, _ = part.tables
    assert [row[:2] for row in summary.rows] == [["alpha_max 0", "1"], ["alpha_max 0.5", "1"]]
    assert summary.title == "Table 3: few-shot accuracy"
    assert summary.paper[2] == ["alpha_max 0.5", "1", None, "91.39 ± 0.31"]
    assert over_steps.columns == ["runs", *map(str, steps)]
    assert len(over_steps.rows[0]) == 13
    assert over_steps.paper[1][:3] == ["alpha_max 0.25", "89.21", "90.39"]
    # All milestones of a run hold the same network, so its scores are equal.
    assert len(set(over_steps.rows[1][1:])) == 1
    assert len(evaluated) == 2 * 13
    assert "sweep-steps" in {figure.name for figure in part.figures}


def test_alpha_max_sweep_reports_recognizability(omniglot, tmp_path, monkeypatch):
    judged = []

    def recognised(context):
        judged.append(context.model.run)
        share = 60.0 + len(judged)
        return Part("x", "X", values={f"{which}/{DRAWN}/accuracy": share for which in ("seen", "unseen")})

    monkeypatch.setattr(sweep_report, "recognizability", recognised)
    points = {f"alpha_max{alpha:g}": {"curriculum.alpha_max": alpha} for alpha in (0.0, 0.5)}
    folder = write_sweep(tmp_path / "sweep-mine", points)
    for seed, name in enumerate(points):
        write_run(folder / name, seed)
    for _ in range(2):
        table = report(tmp_path, folder, "--parts", "auto").tables[-1]
        assert table.columns[-2:] == ["recognised, seen", "recognised, unseen"]
        assert [row[-2:] for row in table.rows] == [["61.0", "61.0"], ["62.0", "62.0"]]
    assert judged == ["alpha_max0", "alpha_max0.5"]


def test_report_without_omniglot_has_losses_and_one_warning(tmp_path, monkeypatch, capsys):
    def lacking(*_):
        raise DataError("there is no Omniglot", expected="some", fix="Get it")

    monkeypatch.setenv("SKETCHEMBED_DATA", str(tmp_path))
    monkeypatch.setattr(omniglot_images, "load_omniglot", lacking)
    folder = write_sweep(
        tmp_path / "sweep-mine", {f"seed{seed}": {"seed_everything": seed} for seed in (1, 2)}
    )
    for seed in (1, 2):
        write_run(folder / f"seed{seed}", seed)
    part = report(tmp_path, folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "sketchembed: few-shot accuracy was skipped: there is no Omniglot; expected some. Get it"
    (table,) = part.tables
    assert [row[4] for row in table.rows] == ["2.500", "3.500"]
    assert table.columns == ["run", "seed", "state", "train loss", "val loss"]


def test_broken_checkpoint_does_not_stop_the_other_runs(omniglot, tmp_path, capsys):
    folder = write_sweep(
        tmp_path / "sweep-mine", {f"seed{seed}": {"seed_everything": seed} for seed in (1, 2)}
    )
    for seed in (1, 2):
        write_run(folder / f"seed{seed}", seed)
    (folder / "seed1" / "checkpoints" / "step-9.ckpt").write_bytes(b"broken")
    with pytest.raises(SystemExit) as stopped:
        report(tmp_path, folder)
    assert stopped.value.code == 2
    assert "few-shot accuracy of seed1 failed" in capsys.readouterr().err
    part = Part.read(tmp_path / "out" / "sweep.json")
    assert part.tables[0].rows[0][1] == "1 (1 missing)"


def test_missing_sweep_gives_a_clear_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["report", "--sweep", str(tmp_path / "none")])
    assert stopped.value.code == 2
    assert "holds no sweep" in capsys.readouterr().err


def test_paper_seed_tables_match_their_summary_rows():
    # Table 10 lists fifteen seeds, but its intervals are those of five.
    for table, seeds in zip(SEEDS.values(), (15, 5, 15), strict=True):
        found = np.array(table.rows)
        np.testing.assert_allclose(found.mean(0), table.means, atol=0.012)
        standard = found.std(0, ddof=1) / np.sqrt(seeds)
        np.testing.assert_allclose(1.96 * standard, table.halves, atol=0.012)
    assert {alpha: values[-1] for alpha, values in OVER_STEPS.items()} == {
        alpha: mean for alpha, (mean, _) in ALPHA_MAX.items()
    }
