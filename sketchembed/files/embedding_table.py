"""Tables of embeddings as Parquet, NPZ and CSV files."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sketchembed.errors import ConfigError, DataError
from sketchembed.files.writing import whole_file

SUFFIXES = (".parquet", ".npz", ".csv")
EXPECTED = f"a file that `sketchembed embed` wrote: {', '.join(SUFFIXES)}"


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embeddings of files.

    Attributes:
        paths: path of each file.
        z: embeddings, float32 ``[n, features]``.
        model: SHA-256 of the weights file, in hexadecimal digits.
    """

    paths: list[str]
    z: np.ndarray
    model: str

    def write(self, path: Path) -> None:
        """Write the table; the suffix is the format, see :func:`check_suffix`.

        Parquet and CSV have a row per file with ``path`` and ``model``; z is a list in Parquet, and has the
        columns ``z0``, ``z1``, … in CSV. NPZ has the arrays ``path`` and ``z``, and the
        text ``model``.
        """
        with whole_file(path) as file:
            if path.suffix == ".parquet":
                self._write_parquet(file)
            elif path.suffix == ".npz":
                np.savez(file, path=np.array(self.paths, dtype=np.str_), z=self.z, model=np.array(self.model))
            else:
                text = io.TextIOWrapper(file, "utf-8", newline="")
                rows = csv.writer(text, lineterminator="\n")
                rows.writerow(["path", "model", *(f"z{number}" for number in range(self.z.shape[1]))])
                for name, z in zip(self.paths, self.z, strict=True):
                    rows.writerow([name, self.model, *(f"{value:.9g}" for value in z)])
                text.detach()

    def _write_parquet(self, file: BinaryIO) -> None:
        arrow = import_module("pyarrow")
        z = arrow.FixedSizeListArray.from_arrays(arrow.array(self.z.reshape(-1)), self.z.shape[1])
        columns = {"path": self.paths, "model": [self.model] * len(self.paths), "z": z}
        import_module("pyarrow.parquet").write_table(arrow.table(columns), file)

    @classmethod
    def read(cls, path: Path) -> EmbeddingTable:
        """Read a table.

        Raises:
            ConfigError: if the suffix is unknown, or the format's library is missing.
            DataError: if the file cannot be read.
        """
        check_suffix(path)
        reader = {".parquet": _read_parquet, ".npz": _read_npz, ".csv": _read_csv}[path.suffix]
        try:
            paths, models, z = reader(path)
            z = np.ascontiguousarray(z, dtype=np.float32)
            if z.ndim != 2 or not len(z) or len(paths) != len(z) or len(set(models)) != 1:
                raise ValueError("it has no rows of `path`, `model` and `z` of one model")
        except Exception as error:  # damaged files raise many types
            first = (str(error).splitlines() or [type(error).__name__])[0][:120]
            fix = "Write it again with `sketchembed embed`"
            raise DataError(f"{path} cannot be read ({first})", expected=EXPECTED, fix=fix) from error
        return cls([str(name) for name in paths], z, str(models[0]))


def check_suffix(path: Path) -> None:
    """Raise a ConfigError unless the suffix of a table is known, and the format's library is installed."""
    if path.suffix not in SUFFIXES:
        fix = "Change the end of the name"
        raise ConfigError(
            f"the table is {path}", expected=f"a name that ends in {', '.join(SUFFIXES)}", fix=fix
        )
    if path.suffix == ".parquet":
        try:
            import_module("pyarrow.parquet")
        except ImportError as error:
            raise ConfigError(
                f"{path} needs PyArrow ({error})",
                expected="PyArrow, or a name that ends in .npz or .csv",
                fix="Install it with `pip install 'sketchembed[parquet]'`",
            ) from error


def _read_parquet(path: Path) -> tuple[Any, Any, Any]:
    table = import_module("pyarrow.parquet").read_table(path, columns=["path", "model", "z"])
    z = table["z"].combine_chunks()
    values = np.asarray(z.flatten()).reshape(len(z), -1)
    return table["path"].to_pylist(), table["model"].to_pylist(), values


def _read_npz(path: Path) -> tuple[Any, Any, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["path"].tolist(), [str(arrays["model"])], arrays["z"]


def _read_csv(path: Path) -> tuple[Any, Any, Any]:
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    if head[:3] != ["path", "model", "z0"]:
        raise ValueError("its first columns are not path, model and z0")
    return (
        [row[0] for row in rows],
        [row[1] for row in rows],
        [[float(cell) for cell in row[2:]] for row in rows],
    )
