"""Training on a million pictures: what it holds in memory beyond the same training on a thousand.

    python -m benchmarks.million [--count 1000000] [--steps 40] [--folder FOLDER]

Pictures of noise, 16 x 16 in color, are made in `--folder` (a temporary one unless given; 2.5 GB, removed at the end unless
given). A small U-Net learns to generate them, `--steps` steps, in a process of its own for each way and count:

- `npy`: one array in a file, mapped into memory;
- `tar`: ten tar files of png, decoded into a file of bytes at first (`--data.cache FOLDER`), which is mapped;
- `tar again`: that file is there;
- `tar, none`: the same tar files, decoded at each draw (`--data.cache none`).

`own_MiB` is the most memory of its own that the process held (RssAnon), from its start to the end of training, and
`mapped_MiB` the most of mapped files (RssFile): pages of these are the system's to take back when it needs memory.
`beyond_MiB` is `own_MiB` less that of the least count.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import _rows, pictures
from efm_jax import runs
from efm_jax.models.configs import Data, Network, Run
from efm_jax.models.presets import PRESETS

FEW = 1000
SIDE = 16
WAYS = ("npy", "tar", "tar again", "tar, none")
_SHARDS = 10
_DIFFERENT = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="pictures")
    parser.add_argument("--steps", type=int, default=40, help="steps of training")
    parser.add_argument(
        "--folder", type=Path, help="where to put pictures and runs; what is there is used again"
    )
    parser.add_argument("--way", choices=WAYS, help="train one way, print what it took, and write nothing")
    options = parser.parse_args()
    if options.way is not None:
        print(json.dumps(trained(options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        rows: list[dict[str, Any]] = []
        for count in (FEW, options.count):
            make(folder, count)
        for way in WAYS:
            few = None
            for count in (FEW, options.count):
                if way == "tar":
                    shutil.rmtree(folder / f"decoded {count}", ignore_errors=True)
                given = [f"--count={count}", f"--steps={options.steps}", f"--folder={folder}", "--way", way]
                command = [sys.executable, "-m", "benchmarks.million", *given]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                row = json.loads(printed.splitlines()[-1])
                few = row if few is None else few
                rows.append({**row, "beyond_MiB": round(row["own_MiB"] - few["own_MiB"], 1)})
                print(rows[-1], flush=True)
    print(_rows.write("million", rows))


def make(folder: Path, count: int) -> None:
    """Write the pictures as an array and as tar files, unless they are there."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (_DIFFERENT, SIDE, SIDE, 3), np.uint8)
    array, done = folder / f"{count}.npy", folder / f"{count}.made"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    mapped = np.lib.format.open_memmap(array, "w+", np.uint8, (count, SIDE, SIDE, 3))
    for first in range(0, count, _DIFFERENT):
        mapped[first : first + _DIFFERENT] = noise[: count - first]
    mapped.flush()
    contents = [_png(one) for one in noise]
    for shard in range(_SHARDS):
        with tarfile.open(folder / f"{count}-{shard}.tar", "w") as tar:
            for k in range(shard * count // _SHARDS, (shard + 1) * count // _SHARDS):
                member = tarfile.TarInfo(f"{k:07d}.png")
                member.size = len(contents[k % _DIFFERENT])
                tar.addfile(member, io.BytesIO(contents[k % _DIFFERENT]))
    done.touch()


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def configured(folder: Path, count: int, steps: int, way: str) -> Run:
    """The run: a small U-Net, 64 charges a plate, and no picture while it trains."""
    base = PRESETS["generate-pictures"][1]
    spec = f"npy:{folder}/{count}.npy" if way == "npy" else f"tar:{folder}/{count}-{{0..{_SHARDS - 1}}}.tar"
    cache = {"npy": "auto", "tar, none": "none"}.get(way, str(folder / f"decoded {count}"))
    return replace(
        base,
        data=Data("noise", spec, held_out=0.01, cache=cache),
        network=Network(
            kind="unet", width=16, multipliers=(1, 2), blocks=1, attention=(), patch=2, dropout=0.0
        ),
        optimizer=replace(base.optimizer, warmup=5),
        steps=steps,
        save_every=steps,
        log_every=10,
        picture_every=0.0,
    )


def trained(options: argparse.Namespace) -> dict[str, Any]:
    """Train one way, and say what it took."""
    config = configured(options.folder, options.count, options.steps, options.way)
    before, began = pictures.held(), time.perf_counter()
    with pictures.peak() as most, tempfile.TemporaryDirectory() as folder:
        state = runs.train(folder, config, progress=False)
        log = runs.read_log(folder)
    assert int(state.step) == options.steps
    return {
        "way": options.way,
        "count": options.count,
        "steps": options.steps,
        "bytes_MiB": round(options.count * SIDE**2 * 3 / 2**20, 1),
        "seconds": round(time.perf_counter() - began, 1),
        "training_s": round(log[-1]["seconds"], 1),
        "own_MiB": round(most["RssAnon"] - before["RssAnon"], 1),
        "mapped_MiB": round(most["RssFile"] - before["RssFile"], 1),
    }


if __name__ == "__main__":
    main()
