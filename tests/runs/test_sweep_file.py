"""Check sweep files against W&B's own reader, and the command lines that they give."""

import copy
import warnings
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils as agent

from sketchembed.cli.sweep import check_options, plan_sweep
from sketchembed.errors import SketchEmbedError
from sketchembed.runs.sweep_file import SweepFile
from sketchembed.runs.sweep_folder import SweepFolder, SweepRun

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sweeps.config import schema_violations_from_proposed_config as violations

    import sweeps

FILES = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))
BASE = {
    "program": "sketchembed",
    "command": ["${env}", "${program}", "fit", "--preset", "auto", "${args}"],
    "method": "grid",
    "parameters": {
        "milestones.count": {"value": 2},
        "curriculum.alpha_max": {"values": [0.0, 0.5]},
        "seed_everything": {"values": [1, 2]},
    },
}


def write_sweep(tmp_path, **changes):
    found = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_is_valid_by_the_wandb_schema(path):
    assert violations(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_fit_parses_the_command_of_the_wandb_agent(path):
    """Build the command of the first run like ``wandb agent``, with the parameters that W&B proposes."""
    config = yaml.safe_load(path.read_text())
    proposed = sweeps.next_run(copy.deepcopy(config), []).config
    values = agent.create_sweep_command_args({"args": proposed})
    values |= {"env": ["/usr/bin/env"], "program": [config["program"]], "interpreter": ["python"]}
    command = [
        word
        for part in agent.create_sweep_command(config["command"])
        for word in (values[part[2:-1]] if part.startswith("${") else [part])
    ]
    assert command[:3] == ["/usr/bin/env", "sketchembed", "fit"]
    folder = SweepFolder(Path("runs"), "agent", {"one": SweepRun("one", {}, command[3:])})
    check_options(folder)
    folder.runs["one"].words.append("--curriculum.gamma=1")
    with pytest.raises(SketchEmbedError, match="curriculum.gamma"):
        check_options(folder)


def test_sweep_files_have_the_paper_values():
    found = {path.stem: SweepFile.read(path) for path in FILES}
    assert list(found["seeds"].points().values()) == [{"seed_everything": seed} for seed in range(1, 16)]
    points = found["alpha_max"].points()
    assert [point["curriculum.alpha_max"] for point in points.values()] == [0.0, 0.25, 0.5, 0.75, 0.95]
    assert list(points) == ["alpha_max0", "alpha_max0.25", "alpha_max0.5", "alpha_max0.75", "alpha_max0.95"]
    assert {name: str(file.folder([])) for name, file in found.items()} == {
        "seeds": "runs/sweep-seeds",
        "alpha_max": "runs/sweep-alpha_max",
    }


def test_options_override_constants_but_not_swept_values(tmp_path):
    file = SweepFile.read(write_sweep(tmp_path))
    folder = plan_sweep(file, ["--preset", "cpu", "--milestones.count=3"])
    assert folder.path == Path("runs/sweep-mine")
    assert list(folder.runs) == [
        "alpha_max0-seed1",
        "alpha_max0-seed2",
        "alpha_max0.5-seed1",
        "alpha_max0.5-seed2",
    ]
    assert folder.runs["alpha_max0.5-seed2"].words == [
        *("--preset", "auto", "--milestones.count=2", "--preset", "cpu", "--milestones.count=3"),
        *("--run.root=runs/sweep-mine", "--run.name=alpha_max0.5-seed2"),
        *("--curriculum.alpha_max=0.5", "--seed_everything=2"),
    ]
    assert plan_sweep(file, ["--run.root", "elsewhere"]).path == Path("elsewhere")
    assert list(plan_sweep(file, [], count=3).runs) == list(folder.runs)[:3]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--seed_everything=3", "--seed_everything is varied by the sweep"),
        ("--run.name=mine", "--run.name is set by the sweep"),
        ("--run.resume=never", "--run.resume is set by the sweep"),
    ],
)
def test_options_set_by_the_sweep_raise(option, message, tmp_path):
    with pytest.raises(SketchEmbedError, match=message):
        plan_sweep(SweepFile.read(write_sweep(tmp_path)), [option])


def test_runs_with_long_values_get_numbers(tmp_path):
    names = {"a": {"values": [f"{'x' * 120}{number}" for number in range(3)]}}
    assert list(SweepFile.read(write_sweep(tmp_path, parameters=names)).points()) == [
        "run001",
        "run002",
        "run003",
    ]


def test_random_sweep_needs_a_number_of_runs(tmp_path):
    space = {"a": {"min": 0.0, "max": 1.0}}
    file = SweepFile.read(write_sweep(tmp_path, method="random", parameters=space))
    with pytest.raises(
        SketchEmbedError, match="without an end; expected `run_cap` in the file, or --count N"
    ):
        file.points()
    assert len(file.points(count=5)) == 5
    capped = SweepFile.read(write_sweep(tmp_path, method="random", parameters=space, run_cap=4))
    assert len(capped.points()) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "bayes"}, "has the method bayes; expected grid or random"),
        ({"method": None}, "has the method None"),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 3}},
            "early_terminate; expected none; only W&B",
        ),
        ({"parameters": None}, "no parameters"),
        ({"parameters": {"a": {"value": 1}}}, "only constant parameters"),
        ({"parameters": {"run.root": {"values": ["a", "b"]}}}, "varies run.root"),
        (
            {"parameters": {"run.root": {"value": 3}, "a": {"values": [1, 2]}}},
            "run.root 3; expected a folder",
        ),
        ({"paramters": {}}, "no setting of a sweep .*'paramters'"),
        ({"command": ["python", "train.py", "${args}"]}, "runs `python train.py"),
        ({"command": ["sketchembed", "fit"]}, "expected `\\$\\{args\\}` once"),
        ({"command": ["sketchembed", "fit", "${args_no_hyphens}"]}, "expected `\\$\\{args\\}` once"),
        ({"run_cap": 0}, "run_cap 0"),
    ],
)
def test_unsupported_sweep_gives_a_one_line_error(changes, message, tmp_path):
    with pytest.raises(SketchEmbedError, match=message) as caught:
        SweepFile.read(write_sweep(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_unreadable_file_raises(tmp_path):
    with pytest.raises(SketchEmbedError, match="cannot be read"):
        SweepFile.read(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    with pytest.raises(SketchEmbedError, match="is not valid YAML"):
        SweepFile.read(tmp_path / "bad.yaml")


def test_python_m_command_is_parsed(tmp_path):
    command = [
        "${env}",
        "${interpreter}",
        "-m",
        "sketchembed",
        "fit",
        "${args}",
        "--monitor.print_every=9",
    ]
    file = SweepFile.read(write_sweep(tmp_path, command=command))
    assert (file.before, file.after) == ([], ["--monitor.print_every=9"])
