"""Fixture of the page tests: a browser."""

import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope="session")
def load_page(tmp_path_factory):
    """Return a function that loads a page in Chromium without network, for 5 s of virtual time.

    The function returns the resulting document.
    """
    found = [name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)]
    if not found:
        pytest.skip("no Chromium on this machine")
    profile = tmp_path_factory.mktemp("profile")

    def dump(page, *options):
        command = [
            *(found[0], "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"),
            *(
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={profile}",
                "--window-size=1280,1600",
            ),
            *options,
        ]
        ran = subprocess.run(
            [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        root = re.search(r"<html[^>]*>", ran.stdout)[0]
        assert 'data-ready="yes"' in root
        assert 'data-errors=""' in root
        return ran.stdout

    return dump
