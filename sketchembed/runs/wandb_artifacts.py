"""W&B artifacts, whose lineage leads from prepared data over a training and its weights to scores.

The content of an artifact determines its version. An evaluation that uses the weights of a training therefore
uses the version that the training has logged, also if both were offline and are sent later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sketchembed.files.reading import read_text
from sketchembed.files.serialization import parse_json
from sketchembed.runs.provenance import provenance

LONGEST = 100  # characters in the name of an artifact; W&B accepts 128


def use(run: Any, artifact: Any) -> None:
    """Record that a W&B run has read an artifact.

    `run.use_artifact` does the same with a new artifact, but refuses runs that are offline, and waits for the
    server otherwise.
    """
    run._log_artifact(artifact, is_user_created=True, use_after_commit=True)


def data_artifact(facts: Mapping[str, Any]) -> Any:
    """Return the artifact of prepared data: their facts, and references to the files with their digests.

    `facts` are those of the data module. The data are not uploaded. The same data in another folder are the
    same version.
    """
    import wandb
    from wandb.sdk.artifacts.artifact_manifest_entry import ArtifactManifestEntry

    plain = {key: value for key, value in facts.items() if value is not None}
    name = _valid_name(f"{plain.get('source', 'unknown')}-data")
    artifact = wandb.Artifact(name, "dataset", metadata=plain)
    with artifact.new_file("data.json") as file:
        kept = {key: value for key, value in plain.items() if key != "folder"}
        json.dump(kept, file, indent=1, default=str)
    folder = Path(str(plain.get("folder", "no folder")))
    with suppress(ValueError, KeyError):  # only stores have a manifest
        for part, digest in parse_json(read_text(folder / "manifest.json"))["digests"].items():
            path = (folder / part).resolve()
            # `add_reference` would read the whole file for another digest.
            size, uri = path.stat().st_size, path.as_uri()
            artifact.manifest.add_entry(ArtifactManifestEntry(path=part, digest=digest, ref=uri, size=size))
    return artifact


def weights_artifact(file: Path) -> Any:
    """Return the artifact of a checkpoint or weights file, with its provenance."""
    import wandb

    run = file.parents[1].name if file.parent.name == "checkpoints" else file.stem
    known = {key: value for key, value in provenance(file).items() if key != "config"}
    artifact = wandb.Artifact(_valid_name(f"{run}-weights"), "model", metadata=known)
    artifact.add_file(str(file), policy="immutable", skip_cache=True)  # not copied
    return artifact


def scores_artifact(name: str, files: Sequence[Path]) -> Any:
    """Return the artifact of the files with the results of an evaluation."""
    import wandb

    artifact = wandb.Artifact(_valid_name(f"{name}-scores"), "evaluation")
    for file in files:
        artifact.add_file(str(file))
    return artifact


def _valid_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII)[-LONGEST:]
