"""The numbers of a training run: how long, how much a step, how often saved and logged."""

from dataclasses import dataclass, field
from typing import Any

from efm_jax._core import checks, files
from efm_jax.models import configs, seeds
from efm_jax.models.feed import Feed
from efm_jax.runs._folder import MAY_CHANGE
from efm_jax.training import feeding

_COUNTS = (
    "steps",
    "batch_pos",
    "batch_neg",
    "save_every",
    "log_every",
    "keep",
    "max_skipped",
    "data_threads",
)


@dataclass(frozen=True)
class Plan:
    """How a run is trained, in numbers.

    Attributes:
        steps: Steps in all, those before a resume included.
        batch_pos: Positive charges a step, of all devices together.
        batch_neg: Negative charges a step, of all devices together.
        seed: Seeds parameters, training and data.
        config: What the run is, in what JSON can hold. It goes to config.json and must be the same on
            resuming, but for fields named in `may_change`.
        ema_decay: Decay of the moving average of the parameters.
        save_every: Steps between checkpoints; the last step is always saved.
        log_every: Steps between lines of the log; the last step always has one.
        keep: Checkpoints to keep.
        max_seconds: End after this much wall clock, counted over all resumes (what came after the last
            checkpoint of a killed process is not known and not counted). The state then has `step < steps`.
        max_skipped: Non-finite steps in a row after which to give up.
        shard_state: Split the state over the mesh too, see `parallel.data_parallel_step`.
        label_dropout: For a network with classes and data that have some: the share of minibatches that are of all classes
            and have no label, so that the field without a condition is learned too. None trains without labels.
        label_groups: Labels a step: its charges come in so many equal groups, each a minibatch of one class with points
            of its own, as many as the recipe's.
        data_threads: Threads that make batches ahead. With more than one, sources must be able to draw several batches at
            once, as all of `datasets` are. What is computed does not depend on it.
        pair_ahead: Pair the samples of each batch by the plan of least squared distance, in these threads. The recipe takes
            row k of P with row k of Q.
        device_noise: Let the devices draw white noise, other numbers than the host's; the same on any number of devices.
        device_data: Bytes of 8-bit pictures that each device may hold, from which it makes its batches; nothing is computed
            otherwise.
        profile: First and last step of a trace in the folder `profile`; None for none.
        may_change: Fields of `config`, with all inside them, that a resumed run may change. The log holds each change of
            one that is not in `MAY_CHANGE`.
        command: The command that resumes a run that was stopped, as its last line says; None for a call of `fit`.

    Raises:
        ValueError: A number is out of range, or JSON cannot hold `config`.

    Examples:
        >>> Plan(steps=0, batch_pos=8, batch_neg=8, seed=0)
        Traceback (most recent call last):
        ...
        ValueError: steps must be a whole number >= 1, got 0.
    """

    steps: int
    batch_pos: int
    batch_neg: int
    seed: int
    config: dict[str, Any] = field(default_factory=dict)
    ema_decay: float = 0.9999
    save_every: int = 1000
    log_every: int = 50
    keep: int = 3
    max_seconds: float | None = None
    max_skipped: int = 100
    shard_state: bool = False
    label_dropout: float | None = None
    label_groups: int = 1
    data_threads: int = 1
    pair_ahead: bool = False
    device_noise: bool = False
    device_data: int = 0
    profile: tuple[int, int] | None = None
    may_change: tuple[str, ...] = MAY_CHANGE
    command: str | None = None

    def __post_init__(self):
        for name in _COUNTS:
            object.__setattr__(self, name, checks.count(name, getattr(self, name)))
        checks.count("seed", self.seed, least=0, most=seeds.MOST)
        if self.max_seconds is not None:
            checks.positive("max_seconds", self.max_seconds)
        files.to_json("config", self.config)

    @classmethod
    def of_run(cls, config: configs.Run) -> "Plan":
        """The plan of a configured run."""
        return cls(
            steps=config.steps,
            **Feed.of_run(config)._asdict(),
            config=configs.to_dict(config),
            ema_decay=config.optimizer.ema_decay,
            save_every=config.save_every,
            log_every=config.log_every,
            max_seconds=config.max_seconds,
            shard_state=config.parallel.shard_state,
            profile=_steps_of(config.parallel.profile),
        )

    @property
    def feed(self) -> Feed:
        """How the batches of its steps are made."""
        return Feed(*(getattr(self, name) for name in Feed._fields))

    @property
    def labeling(self) -> feeding.Labeling | None:
        """How steps are labeled; None for without labels."""
        return self.feed.labeling

    def numbers(self) -> dict[str, Any]:
        """How long and how often: what may change on resuming, but not between the hosts of one run."""
        names = (*_COUNTS, "max_seconds", "shard_state")
        return {name: getattr(self, name) for name in names}

    def identity(self) -> dict[str, Any]:
        """What must be the same on resuming."""
        fit: dict[str, Any] = {"seed": int(self.seed)}
        fit |= {"batch_pos": int(self.batch_pos), "batch_neg": int(self.batch_neg)}
        fit |= {"ema_decay": float(self.ema_decay)}
        if self.label_dropout is not None:
            fit |= {"label_dropout": self.label_dropout, "label_groups": self.label_groups}
        return {"config": files.to_json("config", self.config), "fit": files.to_json("fit", fit)}


def _steps_of(text: str | None) -> tuple[int, int] | None:
    """First and last step of `FIRST:LAST`."""
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ValueError(f"profile must be FIRST:LAST, two steps, got {text!r}.\nTake e.g. --profile 20:30.")
    return int(first), int(last)
