"""What this package does on the accelerator at hand, in nine minutes.

    python -m benchmarks.accelerator --out FOLDER [--minutes 9] [--data FOLDER] [--tiny] [--only PART ...]

Parts, in this order: `card` (versions, rates of products and convolutions), `correctness` (the field beside float64, lines
that arrive, a training step beside the CPU's, a resumed run), `field` (beside its bare products), `steps` (training steps of
the paper's network in float32, TF32 and bfloat16, with a profile), `sampler`, and `train`: CIFAR-10 with the time that is
left, 10,000 pictures, their scores, an exported model. `--data` is the folder of the binary version of CIFAR-10
(`cifar-10-batches-bin`); without it `train` is left out.

Each part is a process of its own with a time limit, and writes its rows to `FOLDER/results.json` one by one. A call with the
same folder leaves out parts that are complete and resumes the training. `FOLDER` gets at most eight files below 16 MiB;
checkpoints and compiled programs go to `FOLDER_work`. It needs a plain JAX image: no tyro, matplotlib or tensorboardX.
`--tiny` runs all of it at small sizes on two CPU cores in under two minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Task(NamedTuple):
    """What a part is given.

    Attributes:
        out: Folder of the results.
        work: Folder for what need not be kept.
        data: Folder of CIFAR-10; None without.
        tiny: Small sizes.
        ends: When the part must be over, by `time.time`.
        add: Adds a row to the results.
    """

    out: Path
    work: Path
    data: Path | None
    tiny: bool
    ends: float
    add: Callable[[dict[str, Any]], None]

    def left(self) -> float:
        """Seconds left."""
        return self.ends - time.time()


LIMITS = {"card": 0.07, "correctness": 0.14, "field": 0.1, "steps": 0.3, "sampler": 0.1, "train": 1.0}
"""Parts in order, each with the largest share of all minutes that it may take; the last takes what is left."""


def main(arguments: list[str] | None = None) -> None:
    """Run the parts that are not complete, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all parts")
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10, cifar-10-batches-bin")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), help="these parts alone")
    parser.add_argument("--part", choices=list(LIMITS), help=argparse.SUPPRESS)
    parser.add_argument("--ends", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part:
        _run_part(options)
    else:
        _run_all(options)


def results(out: Path) -> dict[str, Any]:
    """What the parts have written so far, by name."""
    path = out / "results.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _run_all(options: argparse.Namespace) -> None:
    began = time.time()
    for name in options.only or LIMITS:
        left = 60 * options.minutes - (time.time() - began)
        if results(options.out).get(name, {}).get("complete"):
            print(f"{name}: complete already", flush=True)
            continue
        if left < 5:
            print(f"{name}: no time is left; call again", flush=True)
            break
        limit = left if options.tiny else min(left, 60 * options.minutes * LIMITS[name])
        command = [sys.executable, "-m", "benchmarks.accelerator", "--part", name]
        command += [f"--out={options.out}", f"--ends={time.time() + limit}", *["--tiny"] * options.tiny]
        command += [f"--data={options.data}"] if options.data else []
        outcome = _limited(command, limit, _environment(options))
        found = results(options.out).get(name, {"rows": []})
        if not found.get("complete"):
            _write(options.out, name, {**found, "stopped": outcome})
        seconds = time.time() - began
        print(f"{name}: {outcome}, {len(found['rows'])} rows, {seconds:.0f} s since the start", flush=True)


def _limited(command: list[str], seconds: float, environment: dict[str, str]) -> str:
    """Run a command, ended where it takes longer; return how it ended."""
    process = subprocess.Popen(command, env=environment)
    try:
        status = process.wait(seconds)
        return "done" if status == 0 else f"status {status}"
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return f"ended after its {seconds:.0f} s"


def _environment(options: argparse.Namespace) -> dict[str, str]:
    """That of a part: programs that one part compiles serve the next, and a call that resumes."""
    kept = {"JAX_COMPILATION_CACHE_DIR": str(work_folder(options.out) / "compiled")}
    if options.tiny:  # compiling is most of the work
        kept["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    return {**kept, **os.environ}


def work_folder(out: Path) -> Path:
    """The folder for what need not be kept."""
    return out.with_name(f"{out.name}_work")


def _run_part(options: argparse.Namespace) -> None:
    from benchmarks import _card_parts, _card_training, _rows

    parts = {**_card_parts.PARTS, "train": _card_training.train}
    began, rows = time.time(), []

    def entry(**more: Any) -> None:
        seconds = round(time.time() - began, 1)
        _write(
            options.out, options.part, {"seconds": seconds, "machine": _rows.machine(), **more, "rows": rows}
        )

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        print(json.dumps(row)[:600], flush=True)
        entry(complete=False)

    work = work_folder(options.out)
    work.mkdir(parents=True, exist_ok=True)
    try:
        parts[options.part](Task(options.out, work, options.data, options.tiny, options.ends, add))
    except Exception:
        entry(complete=False, failed=traceback.format_exc()[-3000:])
        raise
    entry(complete=True)


def _write(out: Path, name: str, entry: dict[str, Any]) -> None:
    """Put the part's entry into the results, whole or not at all."""
    path = out / "results.json"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({**results(out), name: entry}, indent=1) + "\n")
    draft.replace(path)


if __name__ == "__main__":
    main()
