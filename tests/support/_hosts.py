"""One of two processes that train together, as a program: `python _hosts.py INDEX PORT FOLDER`.

Each has two virtual CPU devices. What happened comes into FOLDER/told INDEX.json, states of both as arrays beside it. The
runs lie in FOLDER; process 1 looks for them in a folder where nothing must appear.
"""

import contextlib
import functools
import io
import json
import os
import signal
import sys
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import numpy as np
from jax.experimental import multihost_utils
from parallel_cases import (
    CHARGES,
    COMMAND,
    STEPS,
    finite_source,
    fit,
    folder_options,
    numbers,
    parallel_options,
)

from efm_jax import checkpoint, cli, parallel
from efm_jax.runs import _fit as runs
from efm_jax.runs import _journal
from efm_jax.training import hosts

INDEX, PORT, FOLDER = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
MINE = FOLDER if INDEX == 0 else FOLDER / "nothing here"


def said(work) -> str:
    """How a piece of work ended: the error's name and words, and what went to standard error."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            work()
    except BaseException as error:
        return f"{type(error).__name__}: {error} | {told.getvalue()}"
    return f"done | {told.getvalue()}"


def on(name: str, steps: int = STEPS, **more):
    return fit(MINE / name, steps, mesh=parallel.data_mesh(), **more)


def keep(name: str, state) -> None:
    """Put the numbers of a state beside what is told; all hosts must ask for them."""
    parts = multihost_utils.process_allgather([state.params, state.ema, state.opt_state], tiled=True)
    np.save(FOLDER / f"{name} {INDEX}.npy", numbers(parts))


def straight() -> dict:
    read, saved = [], []
    source = finite_source(0.0, read=read)
    state = on("straight", pos=source, shard_state=True, on_save=lambda state: saved.append(int(state.step)))
    held = state.params["first"]
    keep("straight", state)
    return {
        "read": sorted(set(read)),
        "saved": saved,
        "held": [list(shard.data.shape) for shard in held.addressable_shards],
        "rows": [hosts.local_rows(parallel.data_mesh(), CHARGES).start, CHARGES],
    }


def parts() -> dict:
    """Two hosts go on with the run of one device."""
    state = on("parts", 4)
    keep("parts", state)
    return {"step": int(state.step)}


def a_signal() -> dict:
    """SIGTERM comes to the host that does not keep the folder, while it draws a batch."""

    def hook(count):
        if INDEX == 1 and count == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    return {"said": said(lambda: on("signal", 50, pos=finite_source(0.0, hook=hook), save_every=50))}


def the_clock() -> dict:
    """Time is over on one host alone."""
    seconds = _journal.Ledger.seconds
    _journal.Ledger.seconds = lambda self: 1e9 if INDEX == 1 and self._sums["taken"] >= 1 else 0.0
    try:
        return {"said": said(lambda: on("clock", 50, max_seconds=1e6, save_every=50))}
    finally:
        _journal.Ledger.seconds = seconds


def other_options() -> dict:
    return {"said": said(lambda: on("apart", config={"a": INDEX}, seed=5 + INDEX))}


def a_full_disk() -> dict:
    """The host that writes cannot."""

    def full(*args):
        raise OSError(28, "No space left on device")

    write, checkpoint._write_arrays = checkpoint._write_arrays, full
    try:
        return {"said": said(lambda: on("full"))}
    finally:
        checkpoint._write_arrays = write


def another_run() -> dict:
    """The folder holds another run, which only the host that keeps it can see."""
    return {"said": said(lambda: on("straight", config={"a": 2}))}


def no_mesh() -> dict:
    return {"said": said(lambda: fit(MINE / "no mesh")), "few": said(lambda: hosts.meeting(2))}


def the_command() -> dict:
    """`efm train`, started as it is on two machines."""
    cli.main(["train", *COMMAND, "--run", str(MINE / "command"), *parallel_options(INDEX, PORT)])
    return {}


def pictures_on_demand() -> dict:
    """`efm train` on pictures that are decoded when they are drawn, and the files that it opens."""
    pictures, opened = FOLDER / "pictures", []

    def note(event, arguments):
        if event == "open" and str(arguments[0]).startswith(str(pictures)):
            opened.append(Path(arguments[0]).name)

    sys.addaudithook(note)
    options = [*folder_options(pictures, "none"), *parallel_options(INDEX, PORT)]
    cli.main(["train", *COMMAND, *options, "--run", str(MINE / "on demand")])
    return {"opened": opened}


def texts() -> dict:
    crew = hosts.crew(parallel.data_mesh())
    state = {
        "a": np.array([-0.0, np.nan, 1e-42], np.float32) * (1 + INDEX),
        "b": np.zeros((0, 2)),
        "key": jax.random.key(INDEX),
    }
    given = crew.given(state)
    return {
        "everyones": crew.everyones("é" * INDEX + "x"),
        "given": np.asarray(given["a"]).view(np.uint32).tolist(),
        "key": jax.random.key_data(given["key"]).tolist(),
        "polls": [crew.poll(INDEX * n) for n in (3, 2, 0)] + [crew.agreed(7 - INDEX)],
    }


if __name__ == "__main__":
    runs.data_parallel_step = functools.cache(
        parallel.data_parallel_step
    )  # runs of one recipe share one compilation
    works = [
        the_command,
        pictures_on_demand,
        straight,
        parts,
        a_signal,
        the_clock,
        other_options,
        a_full_disk,
        another_run,
        no_mesh,
        texts,
    ]
    result = {work.__name__: work() for work in works}
    result["wrote"] = MINE.exists()
    (FOLDER / f"told {INDEX}.json").write_text(json.dumps(result))
    hosts.wait()
