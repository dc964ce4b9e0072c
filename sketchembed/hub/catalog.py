"""The list of packaged models: what each is for, how good it is, and what it was trained on."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from sketchembed.hub.model_files import PACKAGED, read_provenance
from sketchembed.hub.packaged import DATA, MODELS


@dataclass(frozen=True)
class ModelInfo:
    """A model of the package, which :func:`sketchembed.load` or ``load_network`` loads by its name.

    Attributes:
        name: name of the model.
        purpose: what it is for.
        data: what it was trained on.
        size: size of the file in bytes.
        score: an accuracy, see RESULTS.md.
        licence: licence of the weights, and of the data that trained them.
    """

    name: str
    purpose: str
    data: str
    size: int
    score: str
    licence: str

    def __str__(self) -> str:
        """Return the attributes in one line."""
        return "  ".join(self.cells())

    def cells(self) -> tuple[str, ...]:
        """Return the attributes as texts, the size in MB."""
        texts = {"size": f"{self.size / 1e6:.1f} MB"}
        return tuple(texts.get(name, value) for name, value in zip(HEADS, astuple(self), strict=True))


HEADS = tuple(ModelInfo.__dataclass_fields__)


class ModelList(list[ModelInfo]):
    """A list of models that is printed as a table."""

    def __str__(self) -> str:
        """Return one line per model, below the names of the columns."""
        rows = [HEADS, *(model.cells() for model in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)


def models() -> ModelList:
    """Return the models of the package; ``print(sketchembed.models())`` shows them as a table."""
    order, found = list(MODELS), []
    for path in PACKAGED.glob("*.safetensors"):
        facts, model = read_provenance(path), MODELS.get(path.stem)
        purpose, score = (model.purpose, model.score) if model else ("", "")
        data, licence = DATA.get(facts.get("source", ""), (str(facts.get("source", "unknown")), "unknown"))
        data += f", {facts['drawings']:,} drawings" if "drawings" in facts else ""
        licence = f"MIT; data: {licence}"
        found.append(ModelInfo(path.stem, purpose, data, path.stat().st_size, score, licence))
    return ModelList(sorted(found, key=lambda model: (*order, model.name).index(model.name)))
