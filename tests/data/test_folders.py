import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from sketchembed.data.datamodules.doodles_datamodule import DoodlesDataModule
from sketchembed.data.folders import data_folder, prepared_folder
from sketchembed.errors import DataError

NOBODY = 65534


@contextlib.contextmanager
def ordinary_user():
    """Run a block without the superuser's right to write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(user, user, user)


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def home(monkeypatch):
    """A folder that every user may enter, unlike pytest's; the user's cache is in it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for path, mode in ((home, 0o755), (home / "published", 0o755), (home / "cache", 0o777)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        monkeypatch.setenv("HOME", str(home / "cache"))
        monkeypatch.delenv("SKETCHEMBED_PREPARED", raising=False)
        yield home


@pytest.fixture
def published(home):
    """A folder of data sets, which an ordinary user can only read, with a store of doodles."""
    folder = home / "published"
    assert prepared_folder(folder) == folder / "prepared"
    DoodlesDataModule(str(folder), per_class=4).prepare_store()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_data_folder_follows_the_environment_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("SKETCHEMBED_DATA", raising=False)
    assert str(data_folder()) == "data"
    monkeypatch.setenv("SKETCHEMBED_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert str(data_folder("elsewhere")) == "elsewhere"


def test_data_are_prepared_in_the_cache_if_their_folder_is_read_only(home, published, capsys):
    before = listing(published)
    with ordinary_user():
        # Permissions that let anybody write would not be tested.
        with pytest.raises(PermissionError):
            (published / "prepared" / "a").touch()
        # The published store has the same settings, so it is opened in its place.
        store = DoodlesDataModule(str(published), per_class=4).prepare_store()
        assert store.path.resolve() == (published / "prepared" / "doodles").resolve()
        # Other settings replace the link to it, and then the store in the cache.
        for count in (5, 6):
            store = DoodlesDataModule(str(published), per_class=count).prepare_store()
            assert (home / "cache") in store.path.resolve().parents
            assert len(store) == count * len(store.class_names)
    assert listing(published) == before
    assert [path.name for path in store.path.parent.iterdir()] == ["doodles"]
    assert capsys.readouterr().err.count("published is read-only: prepared data are stored in") == 1


def test_each_read_only_folder_has_its_own_cache(home):
    folders = [home / "a" / "data", home / "b" / "data"]
    for folder in folders:
        folder.mkdir(parents=True)
        folder.chmod(0o555)  # read-only for the superuser, too
    prepared = [prepared_folder(folder) for folder in folders]
    assert prepared[0] != prepared[1]
    assert all((home / "cache") in folder.parents for folder in prepared)


def test_links_to_removed_data_are_replaced(home, published):
    with ordinary_user():
        link = prepared_folder(published) / "doodles"
        assert (link / "manifest.json").exists()
        link.unlink()
        link.symlink_to(home / "removed")
        assert (prepared_folder(published) / "doodles" / "manifest.json").exists()


def test_variable_names_the_folder_of_prepared_data(home, published, monkeypatch):
    monkeypatch.setenv("SKETCHEMBED_PREPARED", str(home / "cache" / "mine"))
    with ordinary_user():
        store = DoodlesDataModule(str(published), per_class=4).prepare_store()
    assert store.path == home / "cache" / "mine" / "doodles"
    assert not store.path.is_symlink()
    monkeypatch.setenv("SKETCHEMBED_PREPARED", str(home / "published" / "mine"))
    with (
        ordinary_user(),
        pytest.raises(DataError, match=r"published/mine, cannot be written"),
    ):
        prepared_folder(published)
