"""The models of the package: what each is for, and how good it is."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from sketchembed.hub.model_files import PACKAGED, read_provenance

OMNIGLOT = "Omniglot 20-way 1-shot: {} %"
MINI_IMAGENET = "mini-ImageNet 5-way 1-shot: {} %"
HELD_OUT = "held-out drawings: {} %"
ABOUT = {
    "quickdraw-conv4": ("embed drawings", OMNIGLOT.format("92.59")),
    "quickdraw-drawer-conv4": ("draw, complete and vary drawings", OMNIGLOT.format("90.68")),
    "quickdraw-conv4-large": ("embed drawings; the paper's decoder", OMNIGLOT.format("92.60")),
    "quickdraw-resnet12": ("embed drawings; another encoder", OMNIGLOT.format("92.60")),
    "omniglot-conv4": ("embed characters", OMNIGLOT.format("92.80")),
    "photos-resnet12": ("embed and draw photos", MINI_IMAGENET.format("35.37")),
    "photos-traced-resnet12": ("draw contours of photos", MINI_IMAGENET.format("32.88")),
    "quickdraw-conv-vae": ("baseline: autoencoder", OMNIGLOT.format("68.26")),
    "seen-classifier": ("recognise drawings of 45 training classes", HELD_OUT.format("79.5")),
    "unseen-classifier": ("recognise drawings of 45 other classes", HELD_OUT.format("73.0")),
    "quickdraw-conv4-seed1": ("seed of table 1", OMNIGLOT.format("92.67")),
    "quickdraw-conv4-seed2": ("seed of table 1", OMNIGLOT.format("92.62")),
    "quickdraw-alpha000": ("row of table 3", OMNIGLOT.format("90.61")),
    "quickdraw-alpha025": ("row of table 3", OMNIGLOT.format("90.63")),
    "quickdraw-alpha050": ("row of table 3", OMNIGLOT.format("85.94")),
    "quickdraw-alpha075": ("row of table 3", OMNIGLOT.format("81.11")),
    "quickdraw-alpha095": ("row of table 3", OMNIGLOT.format("75.18")),
}
"""Purpose and accuracy of each model, by name; the accuracies are those of RESULTS.md."""
DATA = {
    "quickdraw": ("Quick, Draw!", "CC BY 4.0"),
    "omniglot": ("Omniglot", "MIT"),
    "sketchy": ("Sketchy", "research only"),
    "traced mini_imagenet": ("mini-ImageNet, traced", "research only"),
}
"""Name and licence of each data set, by its name in the header of a file."""


@dataclass(frozen=True)
class PackagedModel:
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


HEADS = tuple(PackagedModel.__dataclass_fields__)


class ModelList(list[PackagedModel]):
    """A list of models that is printed as a table."""

    def __str__(self) -> str:
        """Return one line per model, below the names of the columns."""
        rows = [HEADS, *(model.cells() for model in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)


def models() -> ModelList:
    """Return the models of the package; ``print(sketchembed.models())`` shows them as a table."""
    found = []
    order = list(ABOUT)
    for path in PACKAGED.glob("*.safetensors"):
        facts = read_provenance(path)
        purpose, score = ABOUT.get(path.stem, ("", ""))
        data, licence = DATA.get(facts.get("source", ""), (str(facts.get("source", "unknown")), "unknown"))
        data += f", {facts['drawings']:,} drawings" if "drawings" in facts else ""
        licence = f"MIT; data: {licence}"
        found.append(PackagedModel(path.stem, purpose, data, path.stat().st_size, score, licence))
    return ModelList(sorted(found, key=lambda model: (*order, model.name).index(model.name)))
