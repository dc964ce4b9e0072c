"""Check the structure of the package: subpackages, length of files and functions, unique names."""

import ast
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sketchembed"
SUBPACKAGES = {
    *("cli", "data", "evaluation", "files", "hub", "networks", "raster", "reporting"),
    *("runs", "sketch", "training"),
}
TOP_LEVEL_FILES = {"__init__.py", "__main__.py", "_version.py", "errors.py", "losses.py", "py.typed"}
MODULES = sorted(PACKAGE.rglob("*.py"))
SUFFIXES = (".py", ".cpp", ".hpp", ".js", ".css", ".html")


def lines_of(path):
    return len(path.read_text("utf-8").splitlines())


def trees():
    for path in MODULES:
        yield path, ast.parse(path.read_text("utf-8"))


def test_top_level_holds_only_the_expected_names():
    assert {path.relative_to(PACKAGE).parts[0] for path in MODULES if path.parent != PACKAGE} == SUBPACKAGES
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == TOP_LEVEL_FILES


def test_package_keeps_its_line_budget():
    budget = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["sketchembed"]["max_lines"]
    lines = sum(lines_of(path) for path in PACKAGE.rglob("*") if path.suffix in SUFFIXES)
    assert lines <= budget


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    assert lines_of(path) <= 400
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, functions):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is longer than 60 lines"


def test_shapes_are_checked_in_every_module_that_states_them(pytestconfig):
    checked = tuple(pytestconfig.getoption("jaxtyping_packages").split(","))
    for path in MODULES:
        if "from jaxtyping import" in path.read_text("utf-8"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert any(f"{name}.".startswith(f"{package}.") for package in checked), name


def test_module_and_class_names_are_unique():
    modules = Counter(path.name for path in MODULES if not path.name.startswith("__"))
    classes = Counter(
        node.name for _, tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    for counter in (modules, classes):
        assert not [name for name, count in counter.items() if count > 1]
