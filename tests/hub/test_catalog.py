import re
from pathlib import Path

import sketchembed
from sketchembed.hub.catalog import ModelInfo
from sketchembed.hub.model_files import PACKAGED
from sketchembed.hub.packaged import MODELS

RESULTS = (Path(__file__).parents[2] / "RESULTS.md").read_text("utf-8")


def rows(head):
    """Return the rows of the first table of RESULTS.md after a heading, as lists of cells."""
    table = RESULTS.split(head, 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_models_lists_every_file_with_a_purpose():
    found = sketchembed.models()
    assert {model.name for model in found} == {path.stem for path in PACKAGED.glob("*.safetensors")}
    assert found[0].name == "quickdraw-conv4"
    for model in found:
        assert model.purpose
        assert model.size == (PACKAGED / f"{model.name}.safetensors").stat().st_size
        assert model.licence.startswith("MIT; data: ")


def test_data_and_scores_are_those_of_the_results():
    trained = {row[0]: row for row in rows("**Models**")}
    scores = {}
    for head, column in (("(table 3)", 1), ("(tables 1, 9, 10 and 13)", 3), ("(table 2)", 1)):
        for row in rows(head):
            if name := re.search(r"\((.*)\)", row[0]):
                scores.setdefault(name[1], row[column].split(" ")[0])
    ((seen, unseen),) = [row[1:3] for row in rows("(table 4)") if row[0] == "Real drawings, held out"]
    scores |= {"seen-classifier": seen.split(" ")[0], "unseen-classifier": unseen.split(" ")[0]}
    for model in sketchembed.models():
        assert model.data.endswith(f", {trained[model.name][3]} drawings")
        assert model.score.endswith(f": {scores[model.name]} %"), model.name
    assert set(MODELS) <= set(scores)


def test_models_print_as_a_table():
    lines = str(sketchembed.models()).splitlines()
    assert lines[0].split() == ["name", "purpose", "data", "size", "score", "licence"]
    places = {line.index("MB") for line in lines[1:]}
    assert len(places) == 1
    model = ModelInfo("a", "draw", "mine", 1_500_000, "good", "MIT")
    assert str(model) == "a  draw  mine  1.5 MB  good  MIT"
