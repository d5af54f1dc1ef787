"""Hosts that watch each other: one that dies, stops or fails ends the others within a minute, with one line.

A process that waits for a dead one waits forever. Each says every two seconds that it lives, through the coordinator's
store of keys and values, which only private parts of jax can reach. Where they are missing, jax ends the others on its own.
"""

import contextlib
import ctypes
import json
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from efm_jax import checkpoint

EVERY = 2.0
"""Seconds between signs of life."""
PATIENCE = 25.0
"""Seconds without one after which a process is taken for dead."""
_GRACE = 5.0  # seconds for this process to fail on its own, with its own words
_PREFIX = "efm_jax/alive/"
_RUNTIME = re.compile(
    r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED|CANCELLED|FAILED_PRECONDITION)\b"
)

_sessions = 0
_watching = False


@contextlib.contextmanager
def watch(folder: Path) -> Iterator[None]:
    """End this process when another one that works on the run folder dies, stops or fails; tell others if this one fails."""
    global _sessions, _watching
    client = _client()
    if _watching or client is None:
        yield
        return
    _watching, _sessions = True, _sessions + 1
    watched = _Watch(client, folder, _sessions)
    watched.start()
    try:
        yield
    except Exception as error:
        if isinstance(error, jax.errors.JaxRuntimeError) or _RUNTIME.match(str(error)):
            watched.found.wait(PATIENCE + 2 * EVERY)  # the collective has failed: who is it?
            if watched.lost is not None:
                _end(watched.lost)
        watched.leave(f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        watched.leave(None)
        raise
    else:
        watched.leave(None)
    finally:
        _watching = False


def _client() -> Any:
    """The client of the coordinator's store; None for a process alone."""
    if jax.process_count() == 1:
        return None
    try:
        from jax._src import distributed

        client = distributed.global_state.client
        return client if hasattr(client, "key_value_dir_get") else None
    except (ImportError, AttributeError):
        return None


class _Watch:
    """Signs of life of all processes.

    Attributes:
        lost: Which process is lost, in words; None while none is.
        found: Set when one is.
    """

    def __init__(self, client: Any, folder: Path, session: int):
        self._client, self._folder, self._session = client, folder, session
        self._index, self._count = jax.process_index(), jax.process_count()
        now = time.monotonic()
        self._told = {i: ("", now) for i in range(self._count)}
        self._leaving, self.found, self.lost = threading.Event(), threading.Event(), None
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._judge)]

    def start(self) -> None:
        """Begin to give signs and to look for those of others."""
        self._abort = on_abort(self._aborted)
        for thread in self._threads:
            thread.start()

    def leave(self, error: str | None) -> None:
        """Stop watching, and say why."""
        self._leaving.set()
        self._threads[0].join(_GRACE)
        last = threading.Thread(target=self._say, args=(-1, error), daemon=True)
        last.start()
        last.join(_GRACE)
        self._abort()

    def _say(self, beat: int, error: str | None = None) -> None:
        sign = {"session": self._session, "beat": beat, "error": error}
        if self._index == 0:
            step = checkpoint.latest(self._folder / "checkpoints")
            kept = (
                "No checkpoint was written yet" if step is None else f"The checkpoint of step {step} is kept"
            )
            sign["kept"] = f"{kept} in {self._folder}"
        sign["who"] = f"process {self._index} ({os.getpid()} on {socket.gethostname()})"
        self._client.key_value_set(f"{_PREFIX}{self._index}", json.dumps(sign), allow_overwrite=True)

    def _beat(self) -> None:
        beat = 0
        while not self._leaving.wait(EVERY if beat else 0.0):
            beat += 1
            with contextlib.suppress(
                Exception
            ):  # where the coordinator is lost, the times of all signs grow old
                self._say(beat)
                for key, sign in self._client.key_value_dir_get(_PREFIX):
                    index = int(key.rpartition("/")[2])
                    if sign != self._told[index][0]:
                        self._told[index] = sign, time.monotonic()

    def _judge(self) -> None:
        before = time.monotonic()
        while not self._leaving.wait(EVERY):
            now = time.monotonic()
            if now - before > 3 * EVERY:  # this process was stopped, and has heard nothing meanwhile
                self._told = {i: (sign, now) for i, (sign, _) in self._told.items()}
            before = now
            self.lost = self._lost(now)
            if self.lost is not None:
                self.found.set()
                if not self._leaving.wait(_GRACE):
                    _end(self.lost)
                return

    def _lost(self, now: float) -> str | None:
        for index, (text, since) in self._told.items():
            sign = json.loads(text) if text else {}
            if index == self._index or (sign.get("beat") == -1 and sign["error"] is None):
                continue
            if sign.get("session") == self._session and sign["error"] is not None:
                return f"{sign['who']} failed: {' '.join(sign['error'].split())} {self._kept()}"
            if now - since > PATIENCE:
                return self._gone(index)
        return None

    def _aborted(self) -> str:
        """Name the process that jax misses: the one that was silent longest."""
        heard = {i: since for i, (_, since) in self._told.items() if i != self._index}
        silent = min(heard, key=lambda i: heard[i])
        # where the coordinator, process 0, is lost, nobody is heard any more: all fell silent at once
        return self._gone(0 if heard.get(0, math.inf) - heard[silent] < 2 * EVERY else silent)

    def _gone(self, index: int) -> str:
        text = self._told[index][0]
        who = json.loads(text)["who"] if text else f"process {index}"
        return f"{who} is gone: it gives no sign of life. {self._kept()}"

    def _kept(self) -> str:
        text = self._told[0][0]
        kept = json.loads(text)["kept"] if text else "Checkpoints are kept"
        return f"{kept}; start all processes again."


def _end(line: str) -> None:
    """End this process at once: a collective that waits for a lost process does not come back."""
    sys.stdout.flush()
    os.write(2, f"\nefm: {line}\n".encode(errors="replace"))
    os._exit(1)


def on_abort(line: Any) -> Any:
    """Say which process is lost when jax aborts, as it does when the coordinator is; return what undoes that."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return lambda: None
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = kind(lambda number: _end(line()))
    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before = set_handler(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    return lambda: set_handler(signal.SIGABRT, before) and handler
