"""Spaces of fewer dimensions in which a field is learned: the principal components of both plates' data.

In the space of pixels all charges are about equally far from each other and a minibatch's field is that of single ones. In
some tens of components it is that of many. A `Space` is arrays alone: `encode` and `decode` are its two maps, `wrap` turns
a source of pictures into one of their components. What k components cannot hold is lost: `explained` is the share kept.
`own` makes a space of an encoder and a decoder of your own. NumPy on the host, no JAX.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from efm_jax.datasets.source import Choice, Source, batch

__all__ = [
    "MOST",
    "SEED",
    "Own",
    "Space",
    "check_components",
    "explained",
    "fit",
    "identity",
    "logarithm",
    "of_noise",
    "own",
    "principal_components",
    "standardized",
    "wrap",
]

SEED = 40_000
"""Seeds the samples that a space is fitted on, the same for all runs."""

MOST = 4000
"""Samples of a plate that a space is fitted on, at most."""

_PASSES = 8  # through a small set whose draws differ, as colors and mirrored pictures do
_BLOCK = 512
_AT_ONCE = 64


class Space(NamedTuple):
    """Coordinates `u = B^T (x - mean) / scale` of samples x, B orthonormal; with `log1p` of `sign(x) log(1 + |x|)`.

    Attributes:
        mean: The sample at u = 0, [D].
        basis: The directions of the components, orthonormal columns, [D, k].
        scale: Units of each component in those of the data, [k]. Where all are one number, distances in the space are those
            between the samples' projections, divided by it.
        log1p: Whether numbers enter by their logarithm, and leave by its inverse, `sign(y) (exp(|y|) - 1)`.
    """

    mean: Float32[np.ndarray, " dim"]
    basis: Float32[np.ndarray, "dim k"]
    scale: Float32[np.ndarray, " k"]
    log1p: bool = False

    @property
    def inside(self) -> tuple[int]:
        """Shape of a sample in the space."""
        return (len(self.scale),)

    def encode(self, x: Float[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n k"]:
        """Return the components of samples.

        Raises:
            ValueError: The samples do not have D dimensions.
        """
        x = _flat("x", x, len(self.mean), "dimensions of the data")
        x = logarithm(x) if self.log1p else x
        return ((x - self.mean) @ self.basis) / self.scale

    def decode(self, u: Float[np.ndarray, "n k"]) -> Float32[np.ndarray, "n dim"]:
        """Return the samples that have these components and no others.

        Raises:
            ValueError: `u` does not have k columns.
        """
        u = _flat("u", u, len(self.scale), "components")
        x = (u * self.scale) @ self.basis.T + self.mean
        return np.sign(x) * np.expm1(np.abs(x)) if self.log1p else x


def logarithm(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return `sign(x) log(1 + |x|)`: log1p of counts, and its odd continuation where a map leaves them.

    Examples:
        >>> logarithm(np.array([0.0, np.e - 1.0, 1.0 - np.e])).tolist()
        [0.0, 1.0, -1.0]
    """
    return np.sign(x) * np.log1p(np.abs(x))


def identity(dim: int) -> Space:
    """Return the space of samples as they are.

    Examples:
        >>> identity(2)._replace(log1p=True).decode(np.log([[2.0, 3.0]])).round(5).tolist()
        [[1.0, 2.0]]
    """
    one = np.ones(dim, np.float32)
    return Space(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32), one)


class Own(NamedTuple):
    """An encoder and a decoder of your own, see `own`.

    Attributes:
        encoder: From samples [n, *shape] to latents [n, *inside].
        decoder: From latents to samples.
        shape: Shape of a sample.
        inside: Shape of a latent.
    """

    encoder: Callable[[np.ndarray], Any]
    decoder: Callable[[np.ndarray], Any]
    shape: tuple[int, ...]
    inside: tuple[int, ...]

    def encode(self, x: Float[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n k"]:
        """Return the latents of samples, both flat.

        Raises:
            ValueError: The encoder returns another shape.
        """
        return _applied("encode", self.encoder, x, self.shape, self.inside)

    def decode(self, u: Float[np.ndarray, "n k"]) -> Float32[np.ndarray, "n dim"]:
        """Return the samples of latents, both flat.

        Raises:
            ValueError: The decoder returns another shape.
        """
        return _applied("decode", self.decoder, u, self.inside, self.shape)


def own(
    encode: Callable[[np.ndarray], Any], decode: Callable[[np.ndarray], Any], shape: Sequence[int]
) -> Own:
    """Make a space of an encoder and a decoder of your own, such as those of a pretrained autoencoder.

    Train on latents, saved as npy or through `wrap`, and give the space to `models.load`: no file ever names code to run.

    Args:
        encode: From float32 samples [n, *shape], pictures in [-1, 1], to latents [n, ...]; called with up to 64 at once.
        decode: From latents back to samples.
        shape: Shape of a sample, e.g. (64, 64, 3).

    Raises:
        ValueError: Of two samples of zeros they do not return two latents and two samples.

    Examples:
        >>> halves = own(lambda x: x / 2, lambda u: 2 * u, (4, 4, 3))
        >>> halves.inside, float(halves.encode(np.ones((1, 48))).max())
        ((4, 4, 3), 0.5)
    """
    shape = tuple(int(n) for n in shape)
    zeros = np.zeros((2, *shape), np.float32)
    inside = np.shape(encode(zeros))
    if len(inside) < 2 or inside[0] != 2 or 0 in inside:
        raise ValueError(
            f"encode must return latents [n, ...] of samples [n, ...], got {inside} of {zeros.shape}."
        )
    space = Own(encode, decode, shape, inside[1:])
    space.decode(space.encode(zeros.reshape(2, -1)))
    return space


def _applied(name: str, function: Callable, x: np.ndarray, before: tuple, after: tuple) -> np.ndarray:
    """Some rows at a time through a function of arrays."""
    x, parts = np.asarray(x, np.float32), []
    for start in range(0, len(x), _AT_ONCE):
        part = x[start : start + _AT_ONCE].reshape(-1, *before)
        y = np.asarray(function(part), np.float32)
        if y.shape != (len(part), *after):
            raise ValueError(f"{name} must return {(len(part), *after)} of {part.shape}, got {y.shape}.")
        parts.append(y.reshape(len(y), -1))
    return np.concatenate(parts)


def principal_components(
    x_pos: Float[np.ndarray, "n dim"], x_neg: Float[np.ndarray, "m dim"], k: int, *, whiten: bool = False
) -> Space:
    r"""Find the k directions in which the samples of both plates together vary most.

    Both plates weigh the same, however many samples there are of each: the directions are the leading eigenvectors of

    $$C = \tfrac12 \langle (x - c)(x - c)^T \rangle_P + \tfrac12 \langle (x - c)(x - c)^T \rangle_Q,
    \qquad c = \tfrac12 (\langle x \rangle_P + \langle x \rangle_Q),$$

    so no other k directions have a smaller mean squared error of reconstruction: the sum of the eigenvalues left out. One
    scale for all components, the root of their mean eigenvalue, makes a typical coordinate of order 1 and keeps the shape of
    the data. Ratios of distances stay, and a gap is in units of the spread of a typical component. Of each direction the
    entry of largest size is positive.

    Memory is about `4 (n + m) D + 16 min(n + m, D)^2` bytes, time the cube of that smaller side: seconds at D = 3,072.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        k: How many components, at most D and less than n + m.
        whiten: Give each component its own scale, so that all have variance 1 instead: this changes distances.

    Raises:
        ValueError: The samples do not fit each other or hold NaN, or they do not span k dimensions.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> line = rng.normal(size=(100, 1)) * [3.0, 4.0]  # samples on a line, of variance 25
        >>> space = principal_components(line[:50], line[50:], 1)
        >>> bool(np.allclose(space.basis.ravel(), [0.6, 0.8])), bool(np.allclose(space.decode(space.encode(line)), line))
        (True, True)

    Source: Pearson (1901), "On lines and planes of closest fit to systems of points in space", Phil. Mag. 2(11).
    """
    import scipy.linalg

    plates = [_samples(name, x) for name, x in (("x_pos", x_pos), ("x_neg", x_neg))]
    dim, count = plates[0].shape[1], sum(map(len, plates))
    if plates[1].shape[1] != dim:
        raise ValueError(
            f"x_pos and x_neg must have the same number of dimensions, got {[x.shape for x in plates]}."
        )
    check_components(k, dim)
    if k >= count:
        raise ValueError(
            f"{count} samples have at most {count - 1} principal components, got k = {k}; take fewer components or more "
            "samples."
        )
    mean = np.mean([x.mean(axis=0, dtype=np.float64) for x in plates], axis=0)
    rows = np.concatenate([((x - mean) / np.sqrt(2 * len(x))).astype(np.float32) for x in plates])
    few = count < dim  # samples by samples is then the smaller matrix, of the same eigenvalues
    products = _products(rows if few else rows.T)
    last = len(products) - 1
    values, vectors = scipy.linalg.eigh(
        products, subset_by_index=(last - k + 1, last), overwrite_a=True, check_finite=False
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    sound = values > 1e-10 * max(values[0], 0.0)  # float32 rows leave some 1e-14 in directions not spanned
    if not sound.all():
        raise ValueError(
            f"the samples of both plates together span {int(sound.sum())} dimensions, fewer than k = {k}; take fewer "
            "components (--data.components) or more different samples."
        )
    basis = (rows.T.astype(np.float64) @ vectors) / np.sqrt(values) if few else vectors
    largest = np.argmax(np.abs(basis), axis=0)
    basis = basis * np.sign(basis[largest, np.arange(k)])
    scale = np.sqrt(values if whiten else np.full(k, values.mean()))
    return Space(mean.astype(np.float32), basis.astype(np.float32), scale.astype(np.float32))


def standardized(x_pos: Float[np.ndarray, "n dim"], x_neg: Float[np.ndarray, "m dim"]) -> Space:
    """Return the space of samples about their mean, each number in units of its own deviation over both plates.

    Both plates weigh the same. A number that never changes keeps its unit.

    Raises:
        ValueError: The samples do not fit each other or hold NaN.

    Examples:
        >>> x = np.array([[1.0, 100.0, 7.0], [3.0, 300.0, 7.0]])
        >>> standardized(x, x).encode(x).tolist()
        [[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0]]
    """
    plates = [_samples(name, x) for name, x in (("x_pos", x_pos), ("x_neg", x_neg))]
    if plates[0].shape[1] != plates[1].shape[1]:
        raise ValueError(
            f"x_pos and x_neg must have the same number of dimensions, got {[x.shape for x in plates]}."
        )
    mean = np.mean([x.mean(axis=0, dtype=np.float64) for x in plates], axis=0)
    scale = np.sqrt(np.mean([((x - mean) ** 2).mean(axis=0) for x in plates], axis=0))
    scale[scale <= 1e-6 * np.abs(mean)] = 1.0  # float32 rounds what never changes
    return Space(mean.astype(np.float32), np.eye(len(mean), dtype=np.float32), scale.astype(np.float32))


def fit(source_pos: Source | None, source_neg: Source | None, k: int | None, *, log1p: bool = False) -> Space:
    """Find the principal components of two sources, or their units, from at most `MOST` samples of each.

    Of a finite set every sample counts alike. Where something is drawn with a sample (its color, whether it is mirrored), a
    set smaller than `MOST` is gone through up to eight times.

    Args:
        source_pos: Samples of P; None where P is white noise, which has no directions of its own.
        source_neg: Samples of Q, or None.
        k: How many components; None for all dimensions as they are, each in its own unit.
        log1p: Take them of the logarithms of the samples.

    Raises:
        ValueError: Both sides are noise, or the samples do not span k dimensions.

    Examples:
        >>> from efm_jax.datasets import toys
        >>> fit(toys.gaussian(6), toys.gaussian(6), 3).basis.shape
        (6, 3)
    """
    drawn = [
        _fitted_on(source, side) for side, source in enumerate((source_pos, source_neg)) if source is not None
    ]
    if not drawn:
        raise ValueError(
            "principal components need data on one plate at least, and both are white noise; leave components out."
        )
    if log1p:
        drawn = [logarithm(x) for x in drawn]
    space = standardized(drawn[0], drawn[-1]) if k is None else principal_components(drawn[0], drawn[-1], k)
    return space._replace(log1p=log1p)


def of_noise(space: Space) -> Space:
    """Return the same directions for a plate of white noise, which has its own mean and units: `u = B^T x`.

    Of x ~ N(0, I_D) these are N(0, I_k), noise as wide in each component as the data are in a typical one.

    Examples:
        >>> space = Space(np.ones(2, np.float32), np.eye(2, 1, dtype=np.float32), np.full(1, 5.0, np.float32))
        >>> of_noise(space).encode(np.array([[3.0, 4.0]])).tolist()
        [[3.0]]
    """
    return Space(np.zeros_like(space.mean), space.basis, np.ones_like(space.scale))


def explained(space: Space, x: Float[np.ndarray, "n dim"]) -> float:
    """Return the share of the samples' variance that the space keeps: `sum |B^T (x - <x>)|^2 / sum |x - <x>|^2`, in [0, 1].

    <x> is the mean of these samples. About it n samples spread less than about the mean of their distribution, by
    (n - 1)/n: so does either sum, and the share is right for few samples as for many. What is lost of <x> itself is no
    variance and does not count.

    Raises:
        ValueError: The samples do not fit the space, or they are all the same.

    Examples:
        >>> x = np.array([[3.0, 4.0], [-3.0, 4.0], [3.0, -4.0], [-3.0, -4.0]])
        >>> round(explained(principal_components(x, x, 1), x), 6)
        0.64
    """
    x = _samples("x", x)
    x = logarithm(x) if space.log1p else x
    away = _flat("x", x - x.mean(axis=0, dtype=np.float64), len(space.mean), "dimensions of the data")
    spread = np.sum(away**2, dtype=np.float64)
    if spread == 0.0:
        raise ValueError(f"the {len(x)} samples are all the same: there is no variance to explain.")
    # the basis is orthonormal to float32 rounding
    return min(float(np.sum((away @ space.basis) ** 2, dtype=np.float64) / spread), 1.0)


def wrap(source: Source, space: Space | Own) -> Source:
    """Return a source whose draws are the components of another's draws; classes, size and pairs are kept.

    Args:
        source: A source of samples of D dimensions.
        space: The space.

    Examples:
        >>> from efm_jax.datasets import from_array
        >>> x = np.random.default_rng(0).normal(size=(20, 4))
        >>> source, space = from_array(x), principal_components(x, x, 2)
        >>> wrap(source, space).shape, bool((batch(wrap(source, space), 0, 0, 0, 20) ==
        ...                                  space.encode(batch(source, 0, 0, 0, 20))).all())
        ((2,), True)
    """
    draw = source.draw
    encoded = partial(_encoded, space, draw)
    if isinstance(draw, Choice):
        encoded = Choice(draw.choose, partial(_encoded, space, draw.read))
    classes = source.classes
    if classes is not None:
        classes = tuple(None if one is None else wrap(one, space) for one in classes)
    return source._replace(draw=encoded, shape=space.inside, classes=classes, columns=None)


def _encoded(space: Space | Own, samples: Callable[..., np.ndarray], *arguments) -> np.ndarray:
    return space.encode(samples(*arguments))


def check_components(k: int, dim: int) -> None:
    """Raise ValueError unless samples of `dim` dimensions can have k components."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= dim:
        raise ValueError(
            f"components must be a whole number from 1 to {dim}, the dimensions of a sample, got {k!r}."
        )


def _fitted_on(source: Source, side: int) -> np.ndarray:
    if source.size is None or source.size >= MOST:
        return batch(source, SEED, side, 0, MOST)
    size = source.size
    first, again = (batch(source, SEED, side, step, size) for step in range(2))
    sums, again_sums = (np.sort(x.sum(axis=1)) for x in (first, again))
    if np.array_equal(sums, again_sums):
        return first  # the same samples in another order: nothing is drawn with them
    passes = min(_PASSES, MOST // size)
    return np.concatenate([first, *(batch(source, SEED, side, step, size) for step in range(1, passes))])


def _products(a: np.ndarray) -> np.ndarray:
    """`a a^T` in float64, a few columns at a time."""
    total = np.zeros((len(a), len(a)))
    for start in range(0, a.shape[1], _BLOCK):
        part = a[:, start : start + _BLOCK].astype(np.float64)
        total += part @ part.T
    return total


def _samples(name: str, x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    if x.ndim != 2 or 0 in x.shape or not np.isfinite(x).all():
        raise ValueError(
            f"{name} must be finite samples [n, D] with n, D >= 1, got shape {x.shape}; flatten pictures, and leave out "
            "those that hold NaN."
        )
    return x


def _flat(name: str, x: np.ndarray, columns: int, what: str) -> np.ndarray:
    x = np.asarray(x, np.float32)
    if x.ndim != 2 or x.shape[1] != columns:
        raise ValueError(f"{name} must have shape [n, {columns}], the {what} of this space, got {x.shape}.")
    return x
