"""A W&B run that the network cannot break: kept offline where the server is out of reach, and said once."""

from __future__ import annotations

import os
import queue
import shutil
import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from sketchembed.errors import SketchEmbedError
from sketchembed.files.http import TransientError, open_url

PROBE_LIMIT = 8.0
"""Seconds in which W&B's server must answer; a name server that is gone may take longer by itself."""
INIT_LIMIT = 20.0
"""Seconds for a server that answers to open a run."""
FINISH_LIMIT = 20.0
"""Seconds at the end of a run for what has not been sent yet."""
FLUSH_EVERY = 1.0
"""Seconds of what is logged that a process killed from outside may lose."""
WATCH_EVERY = 30.0
"""Seconds between two looks whether the server is still there; two in vain are a loss."""


class Session:
    """An open W&B run.

    Online, it is opened if the server can be reached and knows who we are; else it is kept offline, and a
    line says why and how to send it later. A connection that is lost later is told once: W&B's own process
    goes on trying, and all is on the disk. Whatever W&B raises ends the tracking alone.

    Args:
        mode: ``online`` or ``offline``.
        folder: for W&B's files, which go to ``wandb/`` in it.
        say: prints a line.
        options: of :func:`wandb.init`.

    Raises:
        ModuleNotFoundError: if W&B is not installed.
    """

    def __init__(self, mode: str, folder: Path, say: Callable[[str], None], **options: Any) -> None:
        self.folder, self.say = folder, say
        self._told = False
        self._ended = threading.Event()
        # The lines here say what there is to say. Reports of W&B's own use would only be more to wait for.
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self.run: Any = None
        before = os.environ.get("WANDB_MODE")
        # W&B reads it even where it is told otherwise.
        os.environ["WANDB_MODE"] = mode
        try:
            self.run = self._open(mode, options)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # no error of W&B's may end a training
            self._tell(f"W&B is left out: {_line(error)}")
        finally:
            del os.environ["WANDB_MODE"]
            if before is not None:
                os.environ["WANDB_MODE"] = before

    @property
    def path(self) -> Path:
        """The folder of this run's files, which `wandb sync` takes."""
        path = Path(self.run.dir).parent
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

    def attempt(self, action: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Call what writes to the run; what it raises is told and ends the tracking."""
        if self.run is None:
            return
        try:
            action(*args, **options)
        except Exception as error:
            kept = f"; what was logged before is in {self.path}"
            self.run = None
            self._ended.set()
            self._tell(f"W&B broke off: {_line(error)}{kept}")

    def finish(self, exit_code: int = 0) -> None:
        """Send what is left, for at most :data:`FINISH_LIMIT` seconds, and close the run."""
        self._ended.set()
        run, late = self.run, False
        if run is None:
            return
        path = self.path

        def close() -> None:
            nonlocal late
            try:
                run.finish(exit_code=exit_code)
            except TimeoutError:
                late = True

        self.attempt(close)
        self.run = None
        if late:
            self._tell(
                f"W&B cannot be reached: not everything was sent within {FINISH_LIMIT:g} s; the run is kept "
                f"in {path}, `wandb sync --include-online {path}` sends it later"
            )

    # ---- opening -----------------------------------------------------------------------------------

    def _open(self, mode: str, options: dict[str, Any]) -> Any:
        import wandb

        before = set(self.folder.glob("wandb/run-*"))
        why = _obstacle(wandb) if mode == "online" else ""
        limits = {
            "init_timeout": INIT_LIMIT / 2,  # W&B waits for twice as long
            "finish_timeout": FINISH_LIMIT,
            "finish_timeout_raises": True,
            "x_transaction_log_flush_interval": FLUSH_EVERY,
        }
        options = {"dir": str(self.folder), "settings": limits, **options}
        if mode == "online" and not why:
            try:
                run = wandb.init(mode="online", **options)
            except Exception as error:
                why = _line(error)
                # Without this the attempt goes on in the background, and has the run's id.
                wandb.teardown()
                for failed in set(self.folder.glob("wandb/run-*")) - before:
                    shutil.rmtree(failed, ignore_errors=True)
            else:
                self.say(f"wandb   {run.url}")
                url = wandb.setup().settings.base_url
                threading.Thread(target=self._watch, args=(url,), name="wandb-watch", daemon=True).start()
                return run
        self.run = run = wandb.init(mode="offline", **options)
        if why:
            self._tell(
                f"W&B cannot be reached: {why}; the run is kept offline in {self.path}, "
                f"`wandb sync {self.path}` sends it later"
            )
        else:
            self.say(
                f"wandb   offline in {self.path}; `wandb sync {self.folder}/wandb/offline-run-*` sends it"
            )
        return run

    def _watch(self, url: str) -> None:
        """Tell when the server has been out of reach for a while."""
        failed = 0
        while not self._ended.wait(WATCH_EVERY):
            why = unreachable(url)
            failed = failed + 1 if why else 0
            if failed == 2 and self.run is not None:
                self._tell(
                    f"W&B cannot be reached: {why} (since {datetime.now():%H:%M}); the run goes on and is "
                    f"kept in {self.path}: what is missing is sent when the connection is back, or later by "
                    f"`wandb sync --include-online {self.path}`"
                )
                return

    def _tell(self, line: str) -> None:
        """Say what went wrong, the first time."""
        if not self._told:
            self._told = True
            self.say(line)


def _obstacle(wandb: Any) -> str:
    """Return why no run can be opened online; empty if nothing is known to stand in the way."""
    why = unreachable(wandb.setup().settings.base_url)
    if why:
        return why
    try:
        known = wandb.login(prompt=False)
    except Exception as error:
        return _line(error)
    return "" if known else "there is no API key; `wandb login` or WANDB_API_KEY gives one"


def unreachable(url: str, limit: float | None = None) -> str:
    """Return why a server cannot be reached; empty if it answers, whatever it says.

    Args:
        url: http or https.
        limit: seconds for all of it; :data:`PROBE_LIMIT` if not given.
    """
    limit = PROBE_LIMIT if limit is None else limit
    answer: queue.SimpleQueue[str] = queue.SimpleQueue()
    # A look-up of the name cannot be interrupted, only left behind.
    threading.Thread(target=lambda: answer.put(_probe(url, limit)), daemon=True).start()
    try:
        return answer.get(timeout=limit)
    except queue.Empty:
        return f"{url} does not answer within {limit:g} s"


def _probe(url: str, limit: float) -> str:
    begun = time.monotonic()
    try:
        open_url(url, {}, limit, method="HEAD").close()
    except TransientError as error:
        reason = getattr(error.__cause__, "reason", error.__cause__)
        # Certificates are checked by W&B's own process, against its own list.
        if error.reached or isinstance(reason, ssl.SSLError):
            return ""
        waited = f" after {time.monotonic() - begun:.0f} s" if isinstance(reason, TimeoutError) else ""
        return f"{url} does not answer ({getattr(reason, 'strerror', None) or error}{waited})"
    except SketchEmbedError:
        return ""
    return ""


def _line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
