"""What a run begins with: the weights of another one, and a word on its learning rate."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from efm_jax import checkpoint, training
from efm_jax._core import trees
from efm_jax.models import build, configs
from efm_jax.models.loading import load
from efm_jax.runs import _folder
from efm_jax.training import hosts
from efm_jax.training.optimizer import schedule
from efm_jax.types import Params


def initial(folder: Path, config: configs.Run, built: build.Built) -> Params | None:
    """The averaged weights that a new run begins with; None for new ones, and for a run that has begun.

    Raises:
        ValueError: There is no such run or model, or its network is another one.
    """
    if config.init is None or checkpoint.latest(folder / "checkpoints") is not None:
        return None
    if config.reflow.run is not None:
        raise ValueError("a reflow begins with the weights of its first run; leave init out.")
    other = load(config.init)
    there, here = configs.complete(other.config), configs.complete(config)
    apart = _folder.differences(
        {"network": asdict(there.network), "data": {"components": there.data.components}},
        {"network": asdict(here.network), "data": {"components": here.data.components}},
        "there",
        "here",
        free=("dropout", "dtype"),
    )
    if here.data.in_space:
        apart.append("  data.components, data.standardize, data.log1p: each run has a space of its own")
    params = training.ema_params(other.state)
    arrays = trees.difference(
        trees.leaves(jax.eval_shape(built.network.init, jax.random.key(0))), trees.leaves(params)
    )
    if arrays and not apart:
        shape = built.notes["shape"]
        apart = [f"  samples of shape {list(other.shape)} there, {shape} here: {arrays}"]
    if apart:
        listed = "\n".join(apart)
        raise ValueError(
            f"the weights of init {config.init} are of another network:\n{listed}\nGive this run the same one."
        )
    return params


def noise(folder: Path, config: configs.Run, crew: hosts.Crew) -> Literal["host", "device"]:
    """Who draws white noise: as the configuration says; else as in the run of the folder; else the device, if no CPU."""

    def by_device() -> bool:
        if config.data.noise is not None:
            return config.data.noise == "device"
        if (folder / "config.json").is_file():
            return configs.canonical(_folder.read_config(folder)).get("data", {}).get("noise") == "device"
        return jax.default_backend() != "cpu"

    return "device" if crew.agreed(int(crew.on_first(by_device) or False)) else "host"


def announce(folder: Path, config: configs.Run) -> None:
    """Say what other steps do to a cosine, and that no clock moves its end.

    Raises:
        ValueError: Weight decay is switched on or off, which changes the form of the optimizer's state.
    """
    meta = checkpoint.read_meta(folder / "checkpoints")
    decay = (
        ((meta or {}).get("config") or {})
        .get("optimizer", {})
        .get("weight_decay", config.optimizer.weight_decay)
    )
    if bool(decay) != bool(config.optimizer.weight_decay):
        raise ValueError(
            f"weight decay cannot be switched on or off in a resumed run, got {config.optimizer.weight_decay:g} after "
            f"{decay:g}.\nBegin a new run with the weights of this one: --init {folder}"
        )
    if not config.optimizer.cosine:
        return
    if meta is None:
        if config.max_seconds is not None:
            print(
                f"The learning rate falls to 0 at step {config.steps}, or earlier, with max_seconds: that step is set when "
                "the first ones have been timed.",
                flush=True,
            )
        return
    done, before = meta.get("data_position", 0), meta.get("config", {}).get("steps", config.steps)
    if (schedule := meta.get("schedule")) is not None:
        if schedule["limits"] == {"steps": config.steps, "max_seconds": config.max_seconds}:
            return
        before = schedule["ends"]
    if before != config.steps > done:
        old, new = _rate(config, before, done), _rate(config, config.steps, done)
        print(
            f"The cosine now ends at step {config.steps}, not {before}: at step {done} the learning rate goes from "
            f"{old:.3g} to {new:.3g}, and falls to 0 from there.",
            flush=True,
        )


def conclude(folder: Path, config: configs.Run, step: int) -> None:
    """Say how far a cosine has come in a run that the clock has ended."""
    meta = checkpoint.read_meta(folder / "checkpoints") or {}
    ends = (meta.get("schedule") or {"ends": config.steps})["ends"]
    if config.optimizer.cosine and step < ends:
        share = _rate(config, ends, step) / config.optimizer.learning_rate
        print(
            f"The learning rate is still {share:.0%} of its largest: its cosine ends at step {ends}. For one that "
            f"ends with the time, train a new run with --steps {step}.",
            flush=True,
        )


def _rate(config: configs.Run, steps: int, step: int) -> float:
    optimizer = config.optimizer
    return np.asarray(
        schedule(optimizer.learning_rate, warmup=optimizer.warmup, cosine_steps=steps)(step)
    ).item()
