"""Check that the files around the package agree with it: versions, constraints, CI, hooks and citation."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import sketchembed
from sketchembed.evaluation.models import DEFAULT_MODELS
from sketchembed.hub.packaged import MODELS
from sketchembed.training.presets import PRESETS, read_preset

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [re.fullmatch(r"([\w.-]+)==([\w.!]+)", line) for line in lines if not line.startswith("#")]
    assert all(found), "a line is not NAME==VERSION"
    return {canonicalize_name(match[1]): Version(match[2]) for match in found}


def test_constraints_have_a_fitting_version_of_every_requirement(pins):
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    requirements = [Requirement(text) for text in (*PROJECT["dependencies"], *extras)]
    wanted = {one.name: one.specifier for one in requirements if one.name not in ("sketchembed", "triton")}
    missing = [name for name in wanted if canonicalize_name(name) not in pins]
    assert not missing, "run `make clean && make constraints`"
    unfit = [name for name, specifier in wanted.items() if pins[canonicalize_name(name)] not in specifier]
    assert not unfit, "run `make clean && make constraints`"


def test_constraints_and_makefile_have_the_same_torch(pins):
    assert f"TORCH ?= torch=={pins['torch']}\n" in (ROOT / "Makefile").read_text()
    # The CUDA build of torch needs versions of its own.
    assert not [name for name in pins if name.startswith(("triton", "nvidia"))]


def test_workflow_runs_the_same_script_as_ci():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": "bash .ci/run"}
    image = re.fullmatch(r"python:(3\.\d+)-bookworm", job["container"])[1]
    assert PROJECT["requires-python"] == f">={image}"
    assert workflow["permissions"] == {"contents": "read"}


def test_hooks_are_valid_and_run_tools_of_the_environment():
    path = ROOT / ".pre-commit-config.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", path], check=True)
    (local,) = yaml.safe_load(path.read_text())["repos"]
    for hook in local["hooks"]:
        folder, name = hook["entry"].split()[0].rsplit("/", 1)
        assert folder == ".venv/bin"
        assert (Path(sys.executable).parent / name).exists()


def test_templates_name_their_fields_once():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"):
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= form.keys()
        names = [field["id"] for field in form["body"]]
        assert len(set(names)) == len(names) > 0


def test_citation_names_the_paper_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    paper = citation["preferred-citation"]
    assert paper["title"] in re.sub("[{}]", "", (ROOT / "README.md").read_text())
    assert [author["family-names"] for author in paper["authors"]] == ["Wang", "Ren", "Zemel"]


def test_changelog_has_a_section_for_this_version():
    sections = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    version = Version(sketchembed.__version__)
    wanted = f"Unreleased ({version.base_version})" if version.is_devrelease else f"{version} ("
    assert sections[0].startswith(wanted)
    assert any(section.startswith("0.1.0 (") for section in sections)


def test_wheel_excludes_the_models_that_are_marked_so():
    files = {path.stem: path.relative_to(ROOT).as_posix() for path in ROOT.glob("sketchembed/hub/weights/*")}
    files = {name: path for name, path in files.items() if path.endswith(".safetensors")}
    assert set(files) == set(MODELS)
    for name, path in files.items():
        excluded = any(fnmatch.fnmatch(path, pattern) for pattern in WHEEL["exclude"])
        assert MODELS[name].in_wheel != excluded
    # A command without a model uses one of these.
    assert all(MODELS[name].in_wheel for name in DEFAULT_MODELS.values())


def test_documented_runs_are_those_that_presets_make():
    made = set()
    for preset in PRESETS:
        source = read_preset(preset)["data"]["class_path"].removesuffix("DataModule").lower()
        made.add(f"{source}-{preset}-seed")
    texts = [path.read_text("utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))]
    named = {name for text in texts for name in re.findall(r"\bruns/([\w.-]+-seed)\d", text)}
    assert "quickdraw-cpu-seed" in named
    assert named <= made
