"""Check tables of embeddings against pandas, PyArrow, NumPy and the csv module."""

import csv

import numpy as np
import pytest

from sketchembed.errors import ConfigError, DataError
from sketchembed.files.embedding_table import EmbeddingTable

PATHS = ["a/cat.png", "a/dog, big.png", "ü.png"]
Z = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
TABLE = EmbeddingTable(PATHS, Z, "0f" * 32)


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
def test_table_is_read_as_it_was_written(suffix, tmp_path):
    path = tmp_path / f"z{suffix}"
    TABLE.write(path)
    again = EmbeddingTable.read(path)
    assert again.paths == PATHS
    assert again.model == TABLE.model
    assert again.z.dtype == np.float32
    assert np.array_equal(again.z, Z)
    first = path.read_bytes()
    TABLE.write(path)
    assert path.read_bytes() == first


def test_parquet_is_read_by_pandas_and_pyarrow(tmp_path):
    pandas = pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "z.parquet"
    TABLE.write(path)
    frame = pandas.read_parquet(path)
    assert frame["path"].tolist() == PATHS
    assert set(frame["model"]) == {TABLE.model}
    assert np.array_equal(np.stack(frame["z"]), Z)
    assert str(parquet.read_schema(path).field("z").type) == "fixed_size_list<element: float>[5]"


def test_csv_and_npz_need_no_other_library(tmp_path):
    TABLE.write(tmp_path / "z.csv")
    with (tmp_path / "z.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == PATHS
    assert [np.float32(row["z4"]) for row in rows] == Z[:, 4].tolist()
    TABLE.write(tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz") as arrays:
        assert arrays["path"].tolist() == PATHS
        assert str(arrays["model"]) == TABLE.model


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
@pytest.mark.parametrize("content", [b"", b"path,model\n", b"PK\x03\x04nothing", b"PAR1PAR1"])
def test_other_files_give_one_line(content, suffix, tmp_path):
    path = tmp_path / f"z{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        EmbeddingTable.read(path)
    assert "\n" not in str(caught.value)


def test_pickled_arrays_are_not_loaded(tmp_path):
    np.savez(tmp_path / "z.npz", path=np.array([{}], dtype=object), z=Z[:1], model=np.array("x"))
    with pytest.raises(DataError, match="allow_pickle=False"):
        EmbeddingTable.read(tmp_path / "z.npz")


def test_suffix_names_the_format(tmp_path):
    with pytest.raises(ConfigError, match=r"a name that ends in \.parquet, \.npz, \.csv"):
        EmbeddingTable.read(tmp_path / "z.feather")
