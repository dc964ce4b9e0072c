"""The page of model cards: purpose, data, training, scores and licence of each packaged model.

``make cards`` writes ``docs/models.md`` from the weights' headers and RESULTS.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sketchembed.files.writing import whole_file
from sketchembed.hub.model_files import PACKAGED, load_network, read_provenance
from sketchembed.hub.packaged import DATA, MODELS
from sketchembed.reporting.part import Cell, Table
from sketchembed.reporting.results_page import MODEL_COLUMNS, model_facts

ABOUT = """\
# Model cards

`sketchembed.load(NAME)` loads a model that draws, `sketchembed.load_network(NAME)` any of them. Scores are
from RESULTS.md, in percent. The wheel contains the models that are marked so. The others are only in the
repository, in `sketchembed/hub/weights`; pass the path of the file instead of the name.

**Limits.** The models were trained on a small part of the paper's data, for minutes to hours. Models of
drawings expect dark lines on white that fill the image. Players of Quick, Draw! had 20 seconds for a drawing,
so the models know the conventions and the gaps of its 300 classes. Models of photos have seen few sketches,
and their drawings are rough."""
NETWORKS = {
    "sketchembednet": "SketchEmbedNet",
    "sketch-encoder": "encoder of a SketchEmbedNet",
    "conv-vae": "Conv-VAE",
    "simclr": "SimCLR",
    "resnet": "ResNet classifier",
}
SIZES = ("encoder", "depth", "width", "latent", "classes")  # those that a card names


def model_page(results: str) -> str:
    """Return the cards of all packaged models in Markdown; `results` is the content of RESULTS.md."""
    rows: list[list[Cell]] = [
        [f"`{name}`", model.purpose, "yes" if model.in_wheel else "no"] for name, model in MODELS.items()
    ]
    table = Table("Packaged models", ["name", "purpose", "in the wheel"], rows).markdown()
    return "\n\n".join([ABOUT, table, *(model_card(name, results) for name in MODELS)]) + "\n"


def model_card(name: str, results: str) -> str:
    """Return the card of a packaged model in Markdown; see :func:`model_page`."""
    path = PACKAGED / f"{name}.safetensors"
    net, known = load_network(path), read_provenance(path)
    facts = dict(zip(MODEL_COLUMNS, model_facts(name, path), strict=True))
    config = net.config.to_dict()
    sizes = ", ".join(f"{key} {config[key]}" for key in SIZES if key in config)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    image = "RGB photos" if config["channels"] == 3 else "grey drawings"
    side = config["image_size"]
    rows: list[list[Cell]] = [
        ["input", f"{image} of {side} × {side} pixels, in [0, 1]"],
        ["network", f"{NETWORKS[net.kind]}: {sizes}; {parameters:,} parameters"],
        [
            "training data",
            f"{known['source']}: {facts['drawings']} drawings of {known['classes']} classes, digest"
            f" {facts['data digest']}",
        ],
        [
            "training",
            f"preset {facts['preset']}; seed {facts['seed']}; {facts['steps']} steps;"
            f" {facts['training time']}; version {known['version']}",
        ],
        ["file", f"{facts['size']}, SHA-256 {facts['SHA-256']}…"],
        ["licence", "MIT; data: {}, {}".format(*DATA[known["source"]])],
    ]
    purpose = MODELS[name].purpose
    parts = [
        f"## {name}",
        f"{purpose[0].upper()}{purpose[1:]}.",
        Table("", ["", ""], rows).markdown(),
        "\n".join(_scores(name, results)),
    ]
    return "\n\n".join(parts)


def _scores(name: str, results: str) -> list[str]:
    """Return a line for each section of RESULTS.md that evaluates the model, with its row if it has one."""
    lines = []
    for section in results.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        if not re.search(rf"^`sketchembed evaluate .*\b{name}(?![\w-])", text, re.MULTILINE):
            continue
        line = f"- {title}"
        if row := re.search(rf"^\| [^|*]*\({name}\) \|(.*)\|$", text, re.MULTILINE):
            header = re.search(r"^\|  \|(.*)\|$", text, re.MULTILINE)
            settings = header[1].split("|") if header else []
            cells = zip(settings, row[1].split("|"), strict=True)
            line += ": " + ", ".join(f"{key.strip()} {value.strip()}" for key, value in cells)
        lines.append(line)
    return lines


def main(results: str, out: str) -> None:
    """Write the page to the file `out`; `results` is the path of RESULTS.md."""
    page = model_page(Path(results).read_text("utf-8"))
    with whole_file(Path(out)) as file:
        file.write(page.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
