"""Train, score and publish: `python -m experiments.images --data FOLDER [--task ...] [--method ...] [--seeds 0 1 2]`."""

import functools
from pathlib import Path

import tyro

from experiments._lib.workers import workers
from experiments.images import drawing
from experiments.images.config import LEVERS, METHODS, tasks
from experiments.images.run import Place, leave, perform, published


def main(
    data: Path,
    task: tuple[str, ...] = (),
    method: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    levers: bool = False,
    draw: bool = True,
    jobs: int = 1,
    folder: Path = Path("runs"),
) -> None:
    """Every method on every task at one budget; cells whose report is there are left as they are.

    Args:
        data: Folder of `mnist`, `cifar10` (with `cifar-10-batches-bin`) and `emoji` (with `noto` and `twemoji`).
        task: Which tasks; all when none is named.
        method: Which methods or levers; when none is named, those with a committed result of that task.
        seeds: Seeds of data, parameters and draws.
        levers: Pull the levers instead: single changes of a method.
        draw: Draw the pictures of seed 0 at the end, from the run folders that are there.
        jobs: Cells side by side, one thread each.
        folder: Where run folders are kept; a run that was cut short goes on.
    """
    known = tasks(data)
    chosen = task or tuple(known)
    named = method or tuple(LEVERS if levers else METHODS)
    for what, names, there in (("task", chosen, known), ("method", named, METHODS | LEVERS)):
        for name in names:
            if name not in there:
                raise SystemExit(f"no {what} {name!r}; there are {', '.join(map(repr, there))}")
    places = [
        Place(one, row, seed)
        for seed in seeds
        for one in chosen
        for row in named
        if (METHODS | LEVERS)[row].suits(known[one]) and (method or published(one, row))
    ]
    with workers(jobs) as each:
        for told in each(functools.partial(perform, data=data, root=folder), places):
            print(told, flush=True)
    for one in chosen:
        if known[one].scores == "partners":
            leave(one, known[one], folder)
    if draw:
        for one in chosen:
            drawing.draw(one, known[one], folder)


if __name__ == "__main__":
    tyro.cli(main)
