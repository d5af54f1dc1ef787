"""Running counts of a run, which survive a resume, and the log they are written to."""

import errno
import json
import math
import os
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import numpy as np

from efm_jax._core import files, logs
from efm_jax.training.state import StepInfo

T = TypeVar("T")


MEASURED = ("seconds", "steps_per_second", "points_per_second", "data_wait", "peak_device_bytes")
"""Entries of a line of the log that are measured; the others follow from the run's seed alone."""


class Ledger:
    """Running counts of a run: the means since the last line of the log, skipped steps, seconds spent.

    Attributes:
        loss: Loss of the last step.
        points: Points of a step; None where they are not known.
        in_row: Non-finite steps in a row up to now.
    """

    def __init__(self, meta: dict, *, skipped: int, in_row: int, points: int | None = None):
        self.loss, self.points = math.nan, points
        self.in_row = in_row
        self._skipped = skipped
        self._sums = meta.get("window", {"taken": 0, "loss": 0.0, "grad_norm": 0.0})
        self._seconds_before = meta.get("seconds", 0.0)
        self._start = time.monotonic()
        self._new, self._waited, self._last_line = 0, 0.0, self._start

    def seconds(self) -> float:
        """Wall clock spent, earlier runs included up to their last checkpoints."""
        return self._seconds_before + time.monotonic() - self._start

    def over(self, max_seconds: float | None) -> bool:
        """Whether so much time is spent."""
        return max_seconds is not None and self.seconds() >= max_seconds

    def waits(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches and count the time that each lets the loop wait."""
        coming = iter(batches)
        while True:
            began = time.monotonic()
            try:
                batch = next(coming)
            except StopIteration:
                return
            self._waited += time.monotonic() - began
            yield batch

    @property
    def waiting(self) -> float:
        """Share of the time since the last line in which the loop waited for data."""
        return self._waited / max(time.monotonic() - self._last_line, 1e-9)

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
        """The log's line."""
        now, taken = time.monotonic(), self._sums["taken"]
        rate, waited = self._new / max(now - self._last_line, 1e-9), self._waited / max(self._new, 1)
        self._new, self._waited, self._last_line = 0, 0.0, now
        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        line = {
            "step": step,
            "loss": self._sums["loss"] / taken if taken else None,
            "grad_norm": self._sums["grad_norm"] / taken if taken else None,
            "skipped": self._skipped,
            "seconds": round(self.seconds(), 3),
            "steps_per_second": round(rate, 3),
            "points_per_second": None if self.points is None else round(rate * self.points, 1),
            "data_wait": round(waited, 6),
            "peak_device_bytes": peak,
        }
        return {name: value for name, value in line.items() if value is not None or name not in MEASURED}

    def start_window(self) -> None:
        """Let the means of the next line begin here."""
        self._sums = {"taken": 0, "loss": 0.0, "grad_norm": 0.0}

    def meta(self) -> dict[str, Any]:
        """What a checkpoint must hold for a ledger to resume from it."""
        return {"window": self._sums, "seconds": self.seconds()}


_NONE: Mapping[str, Any] = MappingProxyType({})


class Log:
    """The lines of log.jsonl, and the same numbers and pictures for a board: TensorBoard, where tensorboardX is, or wandb.

    What goes wrong with either is a warning: they are for reading, and training does not need them.
    """

    def __init__(
        self, folder: Path, done: int, board: str = "tensorboard", config: Mapping[str, Any] = _NONE
    ):
        self._path, self._waiting = folder / "log.jsonl", b""
        self._keep_until(done)
        self._file = self._path.open("ab", buffering=0)  # one write a line: a reader never sees half of one
        self._board = (
            _wandb(folder, config) if board == "wandb" else _tensorboard(folder / "tensorboard", done)
        )

    def _keep_until(self, done: int) -> None:
        """Cut off the lines of steps that are to come again, and put damaged ones aside."""
        content = self._path.read_bytes() if self._path.exists() else b""
        *lines, _torn = content.split(b"\n")  # the last one is whole only if its end is
        known = [(line, logs.parsed(line)) for line in lines if line.strip()]
        kept = b"".join(line + b"\n" for line, read in known if read is not None and read["step"] <= done)
        damaged = [line for line, read in known if read is None]
        if damaged:
            aside = self._path.with_name("log.jsonl.damaged")
            with aside.open("ab") as file:
                file.write(b"".join(line + b"\n" for line in damaged))
            warnings.warn(
                f"{len(damaged)} of {len(known)} lines of {self._path} are damaged and now in {aside.name}.",
                stacklevel=2,
            )
        if kept != content:
            files.write_bytes(self._path, kept)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line, whole or not at all; one that cannot be written waits for the next."""
        self._waiting += _encode(line).encode()
        size = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(self._waiting) != len(self._waiting):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._waiting = b""
        except OSError as error:
            self._file.truncate(size)
            _warn(self._path, error)
        if self._board is not None:
            numbers = {
                name: value
                for name, value in line.items()
                if name != "step" and isinstance(value, int | float)
            }
            self._board.numbers(line["step"], numbers)

    def picture(self, step: int, picture: np.ndarray) -> None:
        """Show a picture, uint8 [height, width, 3], on the board."""
        if self._board is not None:
            self._board.picture(step, picture)

    def sync(self) -> None:
        """Push all lines to the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            _warn(self._path, error)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def opened(folder: Path, done: int, board: str, config: Mapping[str, Any]) -> "Log | NoLog":
    """The log of a run folder after `done` steps; none, with a warning, where it cannot be written."""
    try:
        return Log(folder, done, board, config)
    except OSError as error:
        _warn(folder / "log.jsonl", error)
        return NoLog()


class NoLog:
    """The log of a host that keeps none."""

    def write(self, line: dict[str, Any]) -> None:
        """Let it go."""

    def picture(self, step: int, picture: np.ndarray) -> None:
        """Let it go."""

    def sync(self) -> None:
        """Nothing to push."""

    def close(self) -> None:
        """Nothing to close."""


def _encode(line: dict[str, Any]) -> str:
    return json.dumps(line) + "\n"


def _warn(path: Path, error: OSError) -> None:
    warnings.warn(f"{path} cannot be written ({error}); training goes on.", stacklevel=3)


class _TensorBoard:
    """The numbers and pictures of a run as event files."""

    def __init__(self, writer: Any):
        self._writer = writer

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, picture: np.ndarray) -> None:
        self._writer.add_image("held_out_samples", picture, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """The numbers and pictures of a run at Weights & Biases; what fails there is said once, and training goes on."""

    def __init__(self, run: Any):
        self._run = run
        run.define_metric(
            "*", step_metric="step"
        )  # a resumed run may repeat steps, which the built-in one must not

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._log({"step": step, **values})

    def picture(self, step: int, picture: np.ndarray) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._log({"step": step, "held_out_samples": wandb.Image(picture)})

    def _log(self, values: dict[str, Any]) -> None:
        if self._run is not None:
            try:
                self._run.log(values)
            except Exception as error:
                warnings.warn(f"wandb takes no more ({error}); training goes on.", stacklevel=4)
                self._run = None

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


def _tensorboard(folder: Path, done: int) -> _TensorBoard | None:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    try:
        return _TensorBoard(SummaryWriter(str(folder), purge_step=done + 1 if done else None))
    except OSError as error:
        _warn(folder, error)
        return None


def _wandb(folder: Path, config: Mapping[str, Any]) -> _Wandb:
    """The run at wandb that goes with a folder, which keeps its id: a resumed run goes on in it."""
    logs.check_board("wandb")
    import wandb  # pyright: ignore[reportMissingImports]

    kept = folder / "wandb_id"
    if not kept.exists():
        files.write_text(kept, uuid.uuid4().hex[:8])
    offline = os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled")
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "efm_jax"),
            name=folder.absolute().name,
            id=kept.read_text().strip(),
            dir=folder,
            config=dict(config),
            resume=None if offline else "allow",
            settings=wandb.Settings(console="off"),
        )
    except Exception as error:
        raise ValueError(
            f"wandb cannot start: {error}\nLog in with `wandb login`, or set WANDB_MODE=offline and sync the run later."
        ) from error
    return _Wandb(run)
