"""Commands that train: train, resume, reflow."""

import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from efm_jax.cli._options import Number, RunFolder, optional
from efm_jax.cli._reports import print_report
from efm_jax.models import configs, presets


def train(
    config: configs.Run,
    *,
    run: Annotated[Path | None, optional("RUN", "runs/PRESET")] = None,
    preset: Annotated[str, tyro.conf.Suppress] = "PRESET",
    report: bool = True,
    progress: bool = True,
) -> None:
    """Train a preset; `efm train A B` trains on two sets of data.

    Args:
        config: The preset; every field of it is an option.
        run: Run folder to write; one that holds this run is resumed. The default is a new folder.
        preset: Its name.
        report: Score held-out samples at the end, draw pictures and write report.html.
        progress: Show a progress bar.
    """
    train_in(new_run(config, preset) if run is None else run, config, report=report, progress=progress)


def resume(
    run: RunFolder,
    /,
    *,
    config: configs.Run,
    first: Annotated[Path | None, optional("RUN", "where it was")] = None,
    allow_changes: bool = False,
    report: bool = True,
    progress: bool = True,
) -> None:
    """Resume a run from its folder.

    Args:
        run: Run folder; several hosts must all see it.
        config: The run; length, saving, sampling, devices and the place of the same data may change.
        first: Of a reflow: run folder of the first training, which has moved.
        allow_changes: Allow another optimizer too; the log records the change.
        report: Score held-out samples at the end, draw pictures and write report.html.
        progress: Show a progress bar.
    """
    if first is not None:
        config = replace(config, reflow=replace(config.reflow, run=str(first.resolve())))
    train_in(run, config, report=report, progress=progress, allow_changes=allow_changes)


def reflow(
    first: RunFolder,
    /,
    *,
    run: Path,
    steps: Annotated[int | None, optional("N", "a quarter of the first run's")] = None,
    pairs: Annotated[int, Number] = 10_000,
    reverse: bool = False,
    trained: bool = True,
    report: bool = True,
    progress: bool = True,
) -> None:
    """Train a second field on the lines of a first one, so that its lines need few steps.

    Args:
        first: Run folder of the first training.
        run: Run folder of the second training; `efm resume` resumes it.
        steps: Training steps.
        pairs: Lines to follow, from samples of the training set; lines that do not arrive are left out.
        reverse: Follow lines from Q to P.
        trained: Start from the parameters of the first run, not from new ones.
        report: Score held-out samples at the end, draw pictures and write report.html.
        progress: Show a progress bar.
    """
    from efm_jax.runs import reflow_run

    config = reflow_run.of_run(first, steps=steps, pairs=pairs, reverse=reverse, trained=trained)
    train_in(run, config, report=report, progress=progress)


def new_run(config: configs.Run, *specs: str) -> Path:
    """Name a new run folder after a preset or two sets of data, and say where an earlier run of the same is.

    Raises:
        ValueError: Several hosts train: each would name a folder of its own.
    """
    from efm_jax.models import suggestions

    folder, earlier = suggestions.new_folder(*specs), suggestions.earlier_run(*specs)
    if config.parallel.coordinator is not None:
        raise ValueError(
            f"several hosts train in one run folder, and --run is missing.\nGive it on every host: --run {folder}"
        )
    if earlier is not None:
        print(
            f"{earlier} holds an earlier run; `efm resume {shlex.quote(str(earlier))}` resumes it.",
            file=sys.stderr,
        )
    return folder


def train_in(
    run: Path, config: configs.Run, *, report: bool, progress: bool, allow_changes: bool = False
) -> None:
    """Train in a run folder, or resume what it holds, on all hosts; the first one reports."""
    from efm_jax import runs
    from efm_jax.models import reports
    from efm_jax.training import hosts

    where = config.parallel
    str(run.absolute()).encode()  # a checkpoint is written by a library that takes UTF-8 alone
    if report:
        reports.check_run_folder(run)
    hosts.join(where.coordinator, where.processes, where.process_index)
    with hosts.watch(run):
        if hosts.first():
            runs.as_begun(run, config, allow_changes=allow_changes)
            print(f"Training in {run}", flush=True)
        check = partial(reports.check, config) if report else None
        runs.train(run, config, progress=progress, allow_changes=allow_changes, check=check)
        if report and hosts.first():
            try:
                print_report(reports.destination(run), reports.evaluate(run))
            except Exception:
                print(
                    f"The run is trained and saved in {run}, but its report failed; `efm evaluate {run}` makes it.",
                    file=sys.stderr,
                )
                raise
        elif hosts.first():
            print(f"Saved in {run}; `efm evaluate {shlex.quote(str(run))}` makes its report.")
        hosts.wait("the report")  # a process that leaves early takes the others with it


def take_presets(arguments: list[str]) -> None:
    """Let `train` take the presets with the method that the arguments name, and name its run folder after the preset."""
    of_preset = arguments[:1] == ["train"] and {*arguments[1:2]} <= {*presets.PRESETS}
    chosen = presets.named(arguments if of_preset else ())
    kind = tyro.extras.subcommand_type_from_defaults(
        {name: run for name, (_, run) in chosen.items()},
        {name: text for name, (text, _) in chosen.items()},
        prefix_names=False,
    )
    name = next((text for text in arguments if text in chosen), "PRESET")
    train.__annotations__["config"] = Annotated[kind, arg(name="")]
    train.__annotations__["run"] = Annotated[Path | None, optional("RUN", f"runs/{name}")]
    train.__kwdefaults__ = {**(train.__kwdefaults__ or {}), "preset": name}


def take_run(arguments: list[str]) -> None:
    """Let `resume` take the configuration of the run that the arguments name, and `--help` show it."""
    from efm_jax.models import loading

    places = (
        [text for text in arguments[1:] if not text.startswith("-")] if arguments[:1] == ["resume"] else []
    )
    run = next((Path(text) for text in places if (Path(text) / "config.json").is_file()), None)
    if run is None or loading.is_model(run):
        if places:
            why = "it is a model" if run is not None else "it holds no config.json"
            raise ValueError(f"{run or places[0]} is not a run folder: {why}.\nTrain a run with `efm train`.")
        config = configs.Run()
    else:
        config = configs.load(run / "config.json")
    resume.__annotations__["config"] = Annotated[configs.Run, arg(name="")]
    resume.__kwdefaults__ = {**(resume.__kwdefaults__ or {}), "config": config}
