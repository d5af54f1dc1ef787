"""Running counts of a run, which survive a resume, and the log they are written to."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import jax

from efm_jax._core import files, logs
from efm_jax.training.state import StepInfo


class Ledger:
    """Running counts of a run: the means since the last line of the log, skipped steps, seconds spent.

    Attributes:
        loss: Loss of the last step.
        in_row: Non-finite steps in a row up to now.
    """

    def __init__(self, meta: dict, *, skipped: int, in_row: int):
        self.loss = math.nan
        self.in_row = in_row
        self._skipped = skipped
        self._sums = meta.get("window", {"taken": 0, "loss": 0.0, "grad_norm": 0.0})
        self._seconds_before = meta.get("seconds", 0.0)
        self._start = time.monotonic()
        self._new, self._last_line = 0, self._start

    def seconds(self) -> float:
        """Wall clock spent, earlier runs included up to their last checkpoints."""
        return self._seconds_before + time.monotonic() - self._start

    def over(self, max_seconds: float | None) -> bool:
        """Whether so much time is spent."""
        return max_seconds is not None and self.seconds() >= max_seconds

    def add(self, info: StepInfo) -> None:
        """Count a step; waits until the device has done it."""
        loss, grad_norm, finite = jax.device_get(info)
        self.loss = float(loss)
        self._new += 1
        if not finite:
            self._skipped += 1
            self.in_row += 1
            return
        self.in_row = 0
        self._sums["taken"] += 1
        self._sums["loss"] += float(loss)
        self._sums["grad_norm"] += float(grad_norm)

    def line(self, step: int) -> dict[str, Any]:
        """The log's line: all but the last two entries follow from the run's seed alone."""
        now, taken = time.monotonic(), self._sums["taken"]
        rate = self._new / max(now - self._last_line, 1e-9)
        self._new, self._last_line = 0, now
        return {
            "step": step,
            "loss": self._sums["loss"] / taken if taken else None,
            "grad_norm": self._sums["grad_norm"] / taken if taken else None,
            "skipped": self._skipped,
            "seconds": round(self.seconds(), 3),
            "steps_per_second": round(rate, 3),
        }

    def start_window(self) -> None:
        """Let the means of the next line begin here."""
        self._sums = {"taken": 0, "loss": 0.0, "grad_norm": 0.0}

    def meta(self) -> dict[str, Any]:
        """What a checkpoint must hold for a ledger to resume from it."""
        return {"window": self._sums, "seconds": self.seconds()}


class Log:
    """The lines of log.jsonl and, where tensorboardX is installed, the same numbers for TensorBoard."""

    def __init__(self, path: Path, tensorboard: Path, done: int):
        lines = [line for line in logs.read(path) if line["step"] <= done]
        text = "".join(_encode(line) for line in lines)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            files.write_text(path, text)
        self._file = path.open("ab", buffering=0)  # one write a line: a reader never sees half of one
        self._board = _board(tensorboard, done)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line, whole or not at all."""
        size = self._file.seek(0, os.SEEK_END)
        try:
            encoded = _encode(line).encode()
            if self._file.write(encoded) != len(encoded):
                raise OSError(
                    f"log.jsonl: a line of {len(encoded)} bytes could not be written; free disk space"
                )
        except OSError:
            self._file.truncate(size)
            raise
        if self._board is not None:
            for name, value in line.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Push all lines to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


class NoLog:
    """The log of a host that keeps none."""

    def write(self, line: dict[str, Any]) -> None:
        """Let it go."""

    def sync(self) -> None:
        """Nothing to push."""

    def close(self) -> None:
        """Nothing to close."""


def _encode(line: dict[str, Any]) -> str:
    return json.dumps(line) + "\n"


def _board(folder: Path, done: int) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None)
