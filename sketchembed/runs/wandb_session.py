"""A W&B run that no network failure can break: it is kept offline if the server cannot be reached."""

from __future__ import annotations

import http.client
import os
import queue
import shutil
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

# All in seconds.
PROBE_LIMIT = 8.0  # in which W&B's server must answer, including the look-up of its name
INIT_LIMIT = 20.0  # in which a server that answers must open a run
FINISH_LIMIT = 20.0  # at the end of a run, to upload what is left
FLUSH_EVERY = 1.0  # of logged values, which a killed process may lose
WATCH_EVERY = 30.0  # between two probes of the server; two failures in a row are reported


class Session:
    """An open W&B run.

    An online run is opened if the server answers and accepts the API key. Otherwise the run is kept offline,
    and one line says why and how to upload it later. A later loss of the connection is also reported in one
    line. An exception of W&B ends the tracking only.

    Args:
        mode: ``online`` or ``offline``.
        folder: parent of W&B's folder ``wandb/``.
        say: prints a line.
        options: arguments of :func:`wandb.init`.

    Raises:
        ModuleNotFoundError: if W&B is not installed.
    """

    def __init__(self, mode: str, folder: Path, say: Callable[[str], None], **options: Any) -> None:
        self.folder, self.say = folder, say
        self.run: Any = None
        self._told = False
        self._ended = threading.Event()
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        before = os.environ.get("WANDB_MODE")
        os.environ["WANDB_MODE"] = mode  # W&B reads it even if wandb.init() has the argument `mode`
        try:
            self._open(mode, options)
        except ModuleNotFoundError:
            raise
        except Exception as error:
            self._tell_once(f"W&B is not used: {_first_line(error)}")
        finally:
            del os.environ["WANDB_MODE"]
            if before is not None:
                os.environ["WANDB_MODE"] = before

    @property
    def path(self) -> Path:
        """The folder of this run, an argument of `wandb sync`."""
        path = Path(self.run.dir).parent
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

    def attempt(self, action: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Call a function that writes to the run; if it fails, report the error and end the tracking."""
        if self.run is None:
            return
        try:
            action(*args, **options)
        except Exception as error:
            path, self.run = self.path, None
            self._ended.set()
            self._tell_once(f"W&B broke off: {_first_line(error)}; what was logged before is in {path}")

    def finish(self, exit_code: int = 0) -> None:
        """Upload what is left, for at most :data:`FINISH_LIMIT` seconds, and close the run."""
        self._ended.set()
        if self.run is None:
            return
        path = self.path
        try:
            self.run.finish(exit_code=exit_code)
        except TimeoutError:
            self._tell_once(
                f"W&B cannot be reached: not everything was sent within {FINISH_LIMIT:g} s; the run is kept "
                f"in {path}, `wandb sync --include-online {path}` sends it later"
            )
        except Exception as error:
            self._tell_once(f"W&B broke off: {_first_line(error)}; what was logged before is in {path}")
        self.run = None

    def _open(self, mode: str, options: dict[str, Any]) -> None:
        import wandb

        settings = {
            "init_timeout": INIT_LIMIT / 2,  # W&B waits for twice as long
            "finish_timeout": FINISH_LIMIT,
            "finish_timeout_raises": True,
            "x_transaction_log_flush_interval": FLUSH_EVERY,
        }
        options = {"dir": str(self.folder), "settings": settings, **options}
        options["tags"] = [tag[:64] for tag in options.get("tags", ())]  # the longest that W&B accepts
        why = ""
        if mode == "online":
            why = _obstacle(wandb) or self._open_online(wandb, options)
            if not why:
                return
        self.run = wandb.init(mode="offline", **options)
        if why:
            self._tell_once(
                f"W&B cannot be reached: {why}; the run is kept offline in {self.path}, "
                f"`wandb sync {self.path}` sends it later"
            )
        else:
            self.say(
                f"wandb   offline in {self.path}; `wandb sync {self.folder}/wandb/offline-run-*` sends it"
            )

    def _open_online(self, wandb: Any, options: dict[str, Any]) -> str:
        """Open an online run; return why that failed."""
        before = set(self.folder.glob("wandb/run-*"))
        try:
            self.run = wandb.init(mode="online", **options)
        except Exception as error:
            wandb.teardown()  # otherwise W&B continues the attempt in the background
            for failed in set(self.folder.glob("wandb/run-*")) - before:
                shutil.rmtree(failed, ignore_errors=True)
            return _first_line(error)
        # It asks the server before every artifact and table, and would block while that is out of reach.
        self.run._assert_can_log_artifact = lambda artifact: None
        self.say(f"wandb   {self.run.url}")
        url = wandb.setup().settings.base_url
        threading.Thread(target=self._watch, args=(url,), name="wandb-watch", daemon=True).start()
        return ""

    def _watch(self, url: str) -> None:
        """Report when the server has been out of reach for two probes."""
        failures = 0
        while not self._ended.wait(WATCH_EVERY):
            why = unreachable(url)
            failures = failures + 1 if why else 0
            if failures == 2 and self.run is not None:
                self._tell_once(
                    f"W&B cannot be reached: {why} (since {datetime.now():%H:%M}); the run continues and "
                    f"is kept in {self.path}: missing data are sent when the connection is back, or later by "
                    f"`wandb sync --include-online {self.path}`"
                )
                return

    def _tell_once(self, line: str) -> None:
        """Print the first problem; the later ones follow from it."""
        if not self._told:
            self._told = True
            self.say(line)


def _obstacle(wandb: Any) -> str:
    """Return why no run can be opened online; empty if there is no known reason."""
    why = unreachable(wandb.setup().settings.base_url)
    if why:
        return why
    try:
        known = wandb.login(prompt=False)
    except Exception as error:
        return _first_line(error)
    return "" if known else "there is no API key; `wandb login` or WANDB_API_KEY gives one"


def unreachable(url: str, limit: float | None = None) -> str:
    """Return why a server does not answer within a limit in seconds; empty if it does, with any status."""
    limit = PROBE_LIMIT if limit is None else limit
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()
    # The look-up of a name has no timeout, so the thread may be left behind.
    threading.Thread(target=lambda: answer.put(_probe(url, limit)), daemon=True).start()
    try:
        return answer.get(timeout=limit)
    except queue.Empty:
        return f"{url} does not answer within {limit:g} s"


def _probe(url: str, limit: float) -> str:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=limit).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        return ""
    except OSError as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # W&B's own process checks certificates, with its own list
            return ""
        return f"{url} does not answer ({getattr(reason, 'strerror', None) or reason})"
    return ""


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
