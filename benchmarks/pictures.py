"""A folder of pictures larger than memory: what feeding it costs, in memory and pictures a second, beside what a step needs.

    python -m benchmarks.pictures [--count 50000] [--side 32] [--folder FOLDER]

`--count` pictures of noise are made in `--folder` (a temporary one unless given) and fed to a run that nobody trains:
its threads (`training.feeding`) draw batches of both sides, without the devices. Each way is a process of its own:
`memory`, all in one array; `disk`, decoded into a file for the first time; `disk again`, the file is there. `own_MiB` is
the most memory of its own that the process held beyond what it held before it opened the data, `mapped_MiB` the most of
mapped files, which the system takes back when it needs memory. Rates are by the clock, and by the time of a core, which
other work on the machine changes little. `needed_per_s` is what the steps of `train_step`'s quick case take.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import _rows
from efm_jax.datasets.opening import Options, opened
from efm_jax.training import feeding

WAYS = ("memory", "disk", "disk again")
CHARGES = (64, 256)
BATCHES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50_000, help="pictures in all; half belong to each side")
    parser.add_argument("--side", type=int, default=32, help="height and width of a picture")
    parser.add_argument("--threads", type=int, default=1, help="threads that draw batches")
    parser.add_argument(
        "--folder", type=Path, help="where to put pictures and file; pictures that are there are used again"
    )
    parser.add_argument("--way", choices=WAYS, help="measure one way, print it, and write nothing")
    options = parser.parse_args()
    if options.way is not None:
        print(json.dumps(measured(options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = (options.folder or Path(temporary)) / f"{options.count} of {options.side}"
        make(options.folder, options.count, options.side)
        given = [f"--{name}={getattr(options, name)}" for name in ("count", "side", "threads", "folder")]
        rows = []
        for way in WAYS:
            if way == "disk":
                shutil.rmtree(options.folder / "file", ignore_errors=True)
            command = [sys.executable, "-m", "benchmarks.pictures", *given, "--way", way]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rows += json.loads(printed.splitlines()[-1])
            print(rows[-1])
    steps = json.loads((_rows.RESULTS / "train_step.json").read_text())["rows"]
    quick = next(row for row in steps if row["case"] == "quick")
    for row in rows:
        row["needed_per_s"] = round(2 * row["charges"] * quick["steps_per_s"])
    print(_rows.write("pictures", rows))


def make(folder: Path, count: int, side: int) -> None:
    """Pictures of noise, half of them in either folder, in ten folders of classes each."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (256, side, side, 3), np.uint8)

    def save(k: int) -> None:
        path = folder / "pq"[k % 2] / str(k // 2 % 10) / f"{k}.png"
        if not path.exists():
            picture = np.roll(noise[k % 256], k // 256)  # all differ
            Image.fromarray(picture).save(path, compress_level=1)

    for name in "pq":
        for label in range(10):
            (folder / name / str(label)).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(save, range(count)):
            pass


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One way: opening the data, then feeding."""
    cache = "memory" if options.way == "memory" else str(options.folder / "file")
    bytes_in_all = options.count * options.side**2 * 3
    before, rows = held(), []
    with peak() as most:
        began, cpu = time.perf_counter(), time.process_time()
        pair = [
            opened(f"folder:{options.folder / name}", Options(cache=cache, held_out=0.01)) for name in "pq"
        ]
        opening = {"open_s": time.perf_counter() - began, "open_cpu_s": time.process_time() - cpu}
        for charges in CHARGES:
            feed = feeding.batches(
                pair[0], pair[1], 0, (charges, charges), range(BATCHES), threads=options.threads
            )
            began, cpu = time.perf_counter(), time.process_time()
            for x, y in feed:
                assert x.shape == y.shape == (charges, math.prod(pair[0].shape))
            pictures = 2 * charges * BATCHES
            rows.append(
                {
                    "way": options.way,
                    "count": options.count,
                    "side": options.side,
                    "charges": charges,
                    "threads": options.threads,
                    **{name: round(value, 2) for name, value in opening.items()},
                    "pictures_per_s": round(pictures / (time.perf_counter() - began)),
                    "pictures_per_core_s": round(pictures / (time.process_time() - cpu)),
                }
            )
    memory = {
        "decoded_MiB": bytes_in_all / 2**20,
        "own_MiB": most["RssAnon"] - before["RssAnon"],
        "mapped_MiB": most["RssFile"] - before["RssFile"],
    }
    return [{**row, **{name: round(value, 1) for name, value in memory.items()}} for row in rows]


def held() -> dict[str, float]:
    """MiB of this process in memory: its own, and of files (Linux)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")}


@contextmanager
def peak() -> Iterator[dict[str, float]]:
    """The most that `held` says while the block runs, looked at every 20 ms."""
    most, over = held(), threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for name, value in held().items():
                most[name] = max(most[name], value)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    main()
