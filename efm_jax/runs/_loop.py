"""The steps of a run, each counted and logged and some of them saved, until the last one or a request to stop."""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax
from tqdm import tqdm

from efm_jax import checkpoint
from efm_jax._core import durations
from efm_jax.runs import _journal
from efm_jax.runs._plan import Plan
from efm_jax.training.state import StepInfo, TrainState

MEASURED_SECONDS = 2.0
"""Time after compilation over which the rate of the first steps is measured."""
LONG_SECONDS = 2 * 3600.0
"""A training that will take longer is warned of."""


class Books:
    """Ledger, log and progress bar of a run, after `done` steps.

    Attributes:
        rate: Seconds that the first step took, with its compilation, and seconds a step after that; None until it is known.
    """

    rate: tuple[float, float] | None = None

    def __init__(self, ledger: _journal.Ledger, log: _journal.Log | _journal.NoLog, bar: tqdm, done: int):
        self.ledger, self.log, self.done = ledger, log, done
        self._bar, self._since, self._began = bar, 0.0, time.monotonic()

    def enter(self, step: int, info: StepInfo, plan: Plan) -> None:
        """Enter a step; waits until the device has done it."""
        self.ledger.add(info)
        waiting = self.ledger.waiting
        more = f", waits {waiting:.0%} for data" if waiting >= 0.02 else ""
        self._bar.set_postfix_str(f"loss={self.ledger.loss:.4g}{more}", refresh=False)
        if step == self.done + 1:  # what compilation took says nothing of the steps to come
            self._bar.unpause()
            self._bar.initial = step
            self._since = time.monotonic()
        elif self.rate is None and time.monotonic() - self._since >= MEASURED_SECONDS:
            seconds = (time.monotonic() - self._since) / (step - self.done - 1)
            self.rate = self._since - self._began, seconds
            if not self._bar.disable:
                tqdm.write(forecast(seconds, plan.steps - step, plan.max_seconds), file=sys.stderr)
        self._bar.update()
        if step % plan.log_every == 0 or step == plan.steps:
            self.log.write(self.ledger.line(step))
        if step % plan.log_every == 0:
            self.ledger.start_window()


def take(
    state: TrainState,
    step_fn: Callable[..., tuple[TrainState, StepInfo]],
    batches: Iterable[tuple],
    books: Books,
    plan: Plan,
    *,
    save: Callable[[TrainState], None],
    settle: Callable[[], None],
    watch: Callable[[int, TrainState], object] | None = None,
    wish_to_stop: Callable[[], bool],
    folder: Path,
    relaid: Callable[[int], tuple[Callable, Plan] | None],
) -> tuple[TrainState, int]:
    """Take the steps that are left, each entered in the books while the device works on the next; return the last.

    `save` is called with the state at the steps that are saved, `settle` before a look at what is saved, `watch` with each
    step and its state. `wish_to_stop` is asked once a step: the step under way is finished and saved. `relaid` is asked
    once, after the step at which the rate is known: it may return another step and plan to go on with, and all is saved
    then. FloatingPointError if `plan.max_skipped` steps in a row were not finite.
    """

    def enter(step: int, info: StepInfo) -> None:
        books.enter(step, info, plan)
        if books.ledger.in_row >= plan.max_skipped:
            settle()
            raise FloatingPointError(_not_finite(folder, step, books.ledger.in_row))

    step, before, asked = books.done, None, False
    with contextlib.closing(_Profile(folder / "profile", plan.profile)) as profile:
        for step, batch in enumerate(books.ledger.waits(batches), start=books.done + 1):
            profile.before(step)
            with jax.profiler.StepTraceAnnotation("step", step_num=step):
                state, info = step_fn(state, *batch)
            profile.after(step, info)
            if before is not None:
                enter(*before)
            before = step, info
            if watch is not None:
                watch(step, state)
            new = None
            if books.rate is not None and not asked:
                asked, new = True, relaid(step)
                step_fn, plan = new or (step_fn, plan)
            stop = wish_to_stop() or step == plan.steps
            if stop or new or step % plan.save_every == 0:
                enter(*before)
                before = None
                if stop or not books.ledger.in_row:  # bad steps must not push out the last good checkpoint
                    save(state)
            if stop:
                break
        else:  # the data have ended
            if before is not None:
                enter(*before)
                save(state)
    return state, step


class _Profile:
    """Writes a trace of some steps, for TensorBoard or xprof."""

    def __init__(self, folder: Path, steps: tuple[int, int] | None):
        self._folder, (self._first, self._last) = folder, steps or (0, 0)
        self._running = False

    def before(self, step: int) -> None:
        """Begin before the first of them."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, info: StepInfo) -> None:
        """End when the device has done the last of them."""
        if step == self._last:
            jax.block_until_ready(info)
            self.close()

    def close(self) -> None:
        """End, where the run has ended before."""
        if self._running:
            jax.profiler.stop_trace()
            self._running = False


def progress_bar(done: int, steps: int, shown: bool) -> tqdm:
    """The bar of steps; one that is not shown counts nothing."""
    often = 0.5 if sys.stderr.isatty() else 30.0  # seconds between updates: a log file wants few
    return tqdm(
        total=steps,
        initial=done,
        unit="step",
        disable=not shown,
        dynamic_ncols=True,
        mininterval=often,
        postfix="compiling",
    )


def forecast(seconds: float, left: int, most: float | None = None) -> str:
    """Say how long `left` steps of so many seconds take; warn of more than two hours, unless the run ends before.

    Examples:
        >>> forecast(0.31, 1500)
        '0.31 s a step, 1,500 steps to go: about 8 min.'
        >>> print(forecast(20.7, 50_000))
        20.7 s a step, 50,000 steps to go: about 12 days.
        Ctrl-C stops and keeps what is trained. Fewer --steps, a smaller --data.size or --network.width, or a GPU shorten it.
    """
    total = seconds * left
    text = f"{seconds:.3g} s a step, {left:,} steps to go: about {durations.in_words(total)}."
    if min(total, most or math.inf) > LONG_SECONDS:
        text += (
            "\nCtrl-C stops and keeps what is trained. Fewer --steps, a smaller --data.size or --network.width, or a GPU "
            "shorten it."
        )
    return text


def _not_finite(folder: Path, step: int, in_row: int) -> str:
    kept = checkpoint.latest(folder / "checkpoints")
    held = (
        "no checkpoint was written yet"
        if kept is None
        else f"the checkpoint of step {kept} is kept in {folder}"
    )
    return (
        f"loss, gradient or update was not finite for {in_row} steps in a row, up to step {step}; {held}. "
        "Look for NaN or huge values in the data, lower the learning rate or clip the gradient, and start in "
        "a new folder."
    )


class Signals:
    """What came in while signals were deferred.

    Attributes:
        caught: Number of the signal, or None.
    """

    caught: int | None = None


@contextlib.contextmanager
def deferred() -> Iterator[Signals]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one acts as it always would. Ignored ones stay ignored."""
    signals, before = Signals(), {}

    def catch(number, frame):
        signals.caught = number
        for changed, handler in before.items():
            signal.signal(changed, handler)
        with contextlib.suppress(OSError):  # not print: the handler may run in the middle of one
            os.write(2, b"\nStopping: finishing this step and saving; once more to quit at once.\n")

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, catch)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
