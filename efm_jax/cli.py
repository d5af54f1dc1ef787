"""The command `efm`: train, resume, reflow, export, translate, generate, evaluate, doctor.

Thin: each command reads its options, calls the rooms and says where the result lies. A mistake in what the user gave
ends with one line on standard error and status 2; `--help` of each command is enough to use it.
"""

import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from efm_jax.models import configs
from efm_jax.models.presets import PRESETS

if TYPE_CHECKING:
    from efm_jax.models import apply

Preset = Annotated[
    tyro.extras.subcommand_type_from_defaults(
        {name: run for name, (_, run) in PRESETS.items()},
        {name: text for name, (text, _) in PRESETS.items()},
        prefix_names=False,
    ),
    tyro.conf.arg(name=""),
]

Output = Annotated[Path, tyro.conf.arg(aliases=("--out",))]

_ONE_DEVICE = configs.Parallel()

_OF_RUNS = ("step", "source", "target", "samples", "round_trip")
_OF_FOLDERS = ("held_out", "size", "most", "seed", "partners", "skip_unreadable")
"""Options of `evaluate` that mean something for a run or model, and for two folders."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    commands = {
        "train": train,
        "resume": resume,
        "reflow": reflow,
        "export": export,
        "translate": translate,
        "generate": generate,
        "evaluate": evaluate,
        "doctor": doctor,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="efm",
            description="Electrostatic field matching: learn the field between two sets of samples, follow its lines.",
            args=arguments,
            config=(tyro.conf.CascadeSubcommandArgs,),
        )
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        print(f"efm: {_said(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # training catches its own, and saves
        print("efm: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def train(config: Preset, run: Path, *, report: bool = True, progress: bool = True) -> None:
    """Train a preset in a run folder; the same command goes on with what the folder holds.

    Args:
        config: The preset; every field of it can be given as an option.
        run: The run folder.
        report: Transport held-out samples at the end, draw pictures and write report.json.
        progress: Show a progress bar.
    """
    _train(run, config, report=report, progress=progress)


def resume(
    run: Path,
    /,
    *,
    parallel: configs.Parallel = _ONE_DEVICE,
    report: bool = True,
    progress: bool = True,
) -> None:
    """Go on with a run folder, from its own config.json.

    Args:
        run: The run folder; several hosts must all see it.
        parallel: The devices and hosts to go on with, whatever they were before.
        report: Transport held-out samples at the end, draw pictures and write report.json.
        progress: Show a progress bar.
    """
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is not a run folder: it holds no config.json; train one with `efm train`.")
    config = replace(configs.load(run / "config.json"), parallel=parallel)
    _train(run, config, report=report, progress=progress)


def reflow(
    first: Path,
    /,
    *,
    run: Path,
    steps: int | None = None,
    pairs: int = 10_000,
    reverse: bool = False,
    trained: bool = True,
    report: bool = True,
    progress: bool = True,
) -> None:
    """Train a second field on the lines of a first one, for lines that are nearly straight and need few steps.

    Args:
        first: The run folder of the first training.
        run: The run folder of the second; `efm resume` goes on with it.
        steps: Training steps; a quarter of the first's by default.
        pairs: Lines followed, once, from samples of the training set; those that do not arrive are left out.
        reverse: Follow them from Q to P.
        trained: Begin with the parameters of the first run; else with new ones.
        report: Transport held-out samples at the end, draw pictures and write report.json.
        progress: Show a progress bar.
    """
    from efm_jax.runs import second_run

    config = second_run.of_run(first, steps=steps, pairs=pairs, reverse=reverse, trained=trained)
    _train(run, config, report=report, progress=progress)


def export(
    run: Path,
    /,
    output: Output,
    *,
    weights: Literal["average", "last"] = "average",
    license: str | None = None,
) -> None:
    """Make of a run a model folder to give away: weights as safetensors, config.json, a model card.

    Args:
        run: The run folder.
        output: The model folder to write; it must not be there yet.
        weights: The moving average of the parameters, or the last ones.
        license: What the card says of the license.
    """
    from efm_jax.models import model_folder

    written = model_folder.export(run, output, weights=weights, license=license)
    print(f"wrote {written}: read its README.md" + ("" if license else " and write a license into it"))


def translate(
    run: Path | None = None,
    /,
    *,
    input: str,
    output: Path,
    model: Path | None = None,
    reverse: bool = False,
    limit: int | None = None,
    label: int | None = None,
    guidance: float = 1.0,
    fit: Literal["crop", "pad"] = "crop",
    own_size: bool = False,
    overwrite: bool = False,
) -> None:
    """Carry samples of P to Q along the lines of a trained field, one picture or row each.

    Pictures may have any size: they are cropped at the center, or padded, and resized to that of the field; where training
    cut their middle out before (data.crop), so is theirs, and they must not be smaller. Those that cannot be read, or are no
    png, jpg, jpeg, webp or bmp, are named and left out, and the status is then 1; so it is where no line arrived.

    Args:
        run: The run folder.
        input: Samples as a specification, e.g. `folder:PATH`, `digits:3`, `npz:PATH:KEY`; the path of a folder or of one
            picture alone will do.
        output: Folder for the outcome: pictures as png, anything else as `translated.npy`; `lines.json` says which lines
            arrived.
        model: A model folder made by `efm export`, or the name of a model that comes with efm_jax, instead of a run.
        reverse: Carry Q to P instead.
        limit: At most so many samples.
        label: Of a run with classes: the class whose field they follow.
        guidance: Scale of guidance toward the label: 1 is the class as learned, more exaggerates it.
        fit: Crop pictures at the center as training does, or take all of them: pad those of another aspect than the field's
            by their border pixels and cut the margin off again, so that nothing of them is lost.
        own_size: Write pictures at the size they were given in.
        overwrite: Replace files of the same names in the output folder, whoever wrote them; without it only those of runs
            before.
    """
    from efm_jax.models import apply

    written = apply.translate(
        _given(run, model),
        input,
        output,
        reverse=reverse,
        limit=limit,
        label=label,
        guidance=guidance,
        fit=fit,
        own_size=own_size,
        overwrite=overwrite,
    )
    for why, names in (("cannot be read", written.skipped), ("of a kind not taken", written.other)):
        if names:
            print(f"efm: left out, {why}: {', '.join(names)}", file=sys.stderr)
    _tell_lines(written, left_out=bool(written.skipped or written.other))


def generate(
    run: Path | None = None,
    /,
    *,
    count: int,
    output: Path,
    model: Path | None = None,
    seed: int = 0,
    label: int | None = None,
    guidance: float = 1.0,
    overwrite: bool = False,
) -> None:
    """Draw fresh samples of P and carry them to Q; for fields whose P is white noise or another law.

    Args:
        run: The run folder.
        count: How many.
        output: Folder for the outcome: pictures as png, anything else as `generated.npy`; `lines.json` says which lines
            arrived.
        model: A model folder made by `efm export`, or the name of a model that comes with efm_jax, instead of a run.
        seed: Seeds the draw.
        label: Of a run with classes: the class to draw.
        guidance: Scale of guidance toward the label: 1 is the class as learned, more exaggerates it.
        overwrite: Replace files of the same names in the output folder, whoever wrote them; without it only those of runs
            before.
    """
    from efm_jax.models import apply

    written = apply.generate(
        _given(run, model), count, output, seed=seed, label=label, guidance=guidance, overwrite=overwrite
    )
    _tell_lines(written)


def evaluate(
    run: Path | None = None,
    /,
    *,
    model: Path | None = None,
    step: int | None = None,
    source: str | None = None,
    target: str | None = None,
    samples: int | None = None,
    round_trip: int = 100,
    a: Path | None = None,
    b: Path | None = None,
    held_out: Path | None = None,
    features: str | None = None,
    size: int | None = None,
    most: int = 10_000,
    seed: int = 0,
    partners: bool = False,
    skip_unreadable: bool = False,
    cache: Path | None = None,
    output: Path | None = None,
) -> None:
    """Score a run or a model on held-out samples, or the pictures of one folder beside those of another.

    A run: report.json and pictures in its folder. A model, or a run on other data: the scores, and with `--output` report
    and pictures in a folder. Two folders: a table, and with `--output` report and table as files.

    Args:
        run: The run folder.
        model: Instead of a run: a model folder made by `efm export`, or the name of a model that comes with efm_jax.
        step: Of a run: the checkpoint of this step; the newest by default. Its report goes to `step_N` in the run folder.
        source: Of a run or model: P as a specification, where it is not what its configuration says.
        target: Of a run or model: Q likewise.
        samples: Of a run or model: samples to transport; its own number by default.
        round_trip: Of a run or model: samples at most that are carried there and back, where that can be; 0 for none.
        a: Instead of a run: folder of the pictures judged.
        b: Folder of real pictures to compare them with.
        held_out: Folder of real pictures that were not trained on; by default a random half of `b`.
        features: What sees the pictures: `efficientnet` (EfficientNet-Lite0, needs the extra `metrics`), `digits`, the digit
            reader, or `inception:FILE`, FID's network with the weights of a file. Of a run that is not of digits,
            EfficientNet-Lite0 where it is installed, unless `none`.
        size: Side to which all pictures of the folders are cropped and resized; by default the smallest found.
        most: Pictures used of each folder at most.
        seed: Seeds the split and the choice.
        partners: Pictures of `a` and `b` of the same name belong together: also tell how near they are, and whether
            nearer than to all others.
        skip_unreadable: Leave out pictures that cannot be read, and name them in the report.
        cache: Folder that keeps features of pictures seen before; ~/.cache/efm_jax/features by default.
        output: Where the report of two folders goes, e.g. report.json, its table beside it as report.md; of a run or model,
            a folder.
    """
    given = dict(locals())
    if sum(folder is not None for folder in (run, model, a)) != 1 or (a is None) != (b is None):
        raise ValueError(
            "give either a run folder, or two folders of pictures as --a FOLDER --b FOLDER, or a model as --model FOLDER."
        )
    for name in _OF_FOLDERS if a is None else _OF_RUNS:
        if given[name] != inspect.signature(evaluate).parameters[name].default:
            meant = "two folders, --a and --b" if a is None else "a run or a model"
            raise ValueError(f"--{name.replace('_', '-')} is for {meant}; leave it out here.")
    from efm_jax.models import scored

    if a is None or b is None:
        asked = {"samples": samples, "features": features, "source": source, "target": target}
        _tell(*scored.one(run, model, step, cache, {**asked, "output": output, "round_trip": round_trip}))
        return
    policy = {"size": size, "on_error": "skip" if skip_unreadable else "raise", "most": most, "seed": seed}
    scored.folders(a, b, held_out, features, policy, partners=partners, cache=cache, output=output)


def doctor() -> None:
    """Show versions and devices, and what is missing with the line that mends it."""
    from efm_jax import _doctor as room

    raise SystemExit(room.report())


def _given(run: Path | None, model: Path | None) -> Path:
    given = [folder for folder in (run, model) if folder is not None]
    if len(given) != 1:
        raise ValueError(f"give a run folder or --model FOLDER, one of them, got {len(given)}.")
    return given[0]


def _tell_lines(written: "apply.Written", *, left_out: bool = False) -> None:
    """Say what was written and what did not arrive; the status is 1 where nothing did or something was left out."""
    missed = written.missed
    said = f"; {len(missed)} did not, {written.folder / 'lines.json'} says which" if missed else ""
    print(
        f"wrote {written.carried} samples to {written.folder}, {written.arrived} of their lines arrived{said}"
    )
    if missed:
        more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
        print(f"efm: did not arrive: {', '.join(missed[:3])}{more}", file=sys.stderr)
    if left_out or not written.arrived:
        raise SystemExit(1)


def _train(run: Path, config: configs.Run, *, report: bool, progress: bool) -> None:
    from efm_jax import runs
    from efm_jax.models import reports
    from efm_jax.training import hosts

    where = config.parallel
    hosts.join(where.coordinator, where.processes, where.process_index)
    if hosts.first():
        print(f"training in {run}", flush=True)
    runs.train(run, config, progress=progress)
    if report and hosts.first():
        _tell(reports.destination(run), reports.evaluate(run))
    hosts.wait("the report")  # a process that leaves early takes the others with it


def _tell(folder: Path | None, report: dict) -> None:
    from efm_jax.models import reports

    print(reports.summary(report))
    if folder is not None:
        print(f"report {folder / 'report.json'}")
        if (folder / "pictures").is_dir():
            print(f"pictures {folder / 'pictures'}")


def _said(error: Exception) -> str:
    """What went wrong, of the system's errors with the path but without their number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"


if __name__ == "__main__":
    main()
