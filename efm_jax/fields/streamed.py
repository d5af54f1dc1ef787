"""The field of more charges than a device should hold: read from the host block by block, within a budget of bytes.

While the device sums over one block, the host reads the next and sends it. Two blocks are on the device at a time; a third
is sent only after the first is done. Blocks merge in log space, as the blocks of `fields.coulomb` do. The compiler says how
much memory a step needs, and blocks shrink until that fits. Points at which the fast sums cannot be trusted are summed again
in a second and third reading.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.distances import unit_of_squares
from efm_jax.fields._sums.combine_plates import checked_gamma, combination, in_unit_one
from efm_jax.fields._sums.double_float import TERMS, DoubleFloat, add, no_pulls, pulls, settled
from efm_jax.fields._sums.plates import (
    MANY_DIMENSIONS,
    PlateSums,
    by_differences,
    default_block_size,
    merge,
    no_sums,
    streamed,
)
from efm_jax.fields._sums.products import by_products
from efm_jax.types import Field

__all__ = ["Plate", "streamed_field"]

Plate: TypeAlias = tuple[Any, float, float]
"""`(x [n, D], z, total)` as `charges.plate` takes them; x is anything with a shape whose slices of rows are arrays."""


def streamed_field(
    points: Float[Array | np.ndarray, "*batch dim1"],
    plates: Sequence[Plate],
    *,
    budget: int = 2**30,
    convention: str = "superposed",
    gamma: float | None = None,
    certified: bool = True,
) -> Field:
    """Return the electric field of plates that stay on the host, as accurate as `fields.coulomb`.

    Args:
        points: Where to evaluate, (x, z) with z last, [..., D+1]; all of them on the device at once.
        plates: `(x, z, total)` each, as for `charges.plate`: samples [n, D], the height, the charge of the whole plate.
            The samples may be a NumPy array, one mapped from a file (`np.load(path, mmap_mode="r")`), or anything with
            `shape`, whose slices `x[i:j]` are floating-point arrays; only slices are read. Plates may share samples.
        budget: Bytes in use on the device at most: points, result, two blocks, and temporaries.
        convention: "superposed" or "per_plate", as in `fields.coulomb`.
        gamma: Shrinkage length of `per_plate`, as in `fields.coulomb`.
        certified: As in `fields.coulomb`; False reads everything only once.

    Returns:
        `Field(direction [..., D+1], log_magnitude [...])`. It has no derivatives and does not run under `jit`.

    Raises:
        ValueError: As `fields.coulomb` does; or points are traced, a plate is not as above, or the budget is less than the
            points, the result and a block of one row need.

    Examples:
        >>> import numpy as np
        >>> x = np.zeros((1000, 2), np.float32)
        >>> field = streamed_field(np.array([0.0, 0.0, 3.0]), [(x, 0.0, 1.0), (x, 6.0, -1.0)], budget=2**16)
        >>> [round(float(e), 6) for e in field.direction * np.exp(field.log_magnitude)]  # 2 / (4 pi 3^2)
        [0.0, 0.0, 0.017684]

    Source: Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2.
    """
    gamma = checked_gamma(gamma, convention)
    budget = checks.count("budget", budget)
    flat, shape = _flat_points(points, plates)
    if len(flat) == 0:
        return Field(flat.reshape(shape), flat[:, 0].reshape(shape[:-1]))
    ways = (
        ["products", "differences", "double_float"]
        if flat.shape[1] >= MANY_DIMENSIONS
        else ["differences", "double_float"]
    )
    combine = _combine(convention)
    none = no_sums(flat)
    unit = unit_of_squares(flat.shape[1], flat)
    sums, most = _read(ways[0], flat / unit, unit, (none, none), plates, budget)
    if (wider := unit_of_squares(flat.shape[1], most)) > unit:  # charges reach farther than the points
        unit = wider
        sums, _ = _read(ways[0], flat / unit, unit, (none, none), plates, budget)
    flat, shrinkage = flat / unit, gamma / unit
    field, trusted = combine(*sums, shrinkage)
    for way in ways[1:] if certified else []:
        again = _evened(np.flatnonzero(~np.asarray(trusted)), len(flat))
        if len(again) == 0:
            break
        before = jax.tree.map(lambda values, again=again: values[again], sums)
        after, _ = _read(way, flat[again], unit, before, plates, budget)
        sums = jax.tree.map(lambda old, new, again=again: old.at[again].set(new), sums, after)
        field, trusted = combine(*sums, shrinkage)
    field = in_unit_one(field, unit, convention)
    return Field(field.direction.reshape(shape), field.log_magnitude.reshape(shape[:-1]))


_Total: TypeAlias = PlateSums | DoubleFloat


class _Step(NamedTuple):
    """A compiled step over one block."""

    # `run(total, points, rows [k, D+1], charge, count, reference, unit) -> (total, most)` adds the first `count` rows as
    # equal charges; their greatest coordinate is there when the step is done
    run: Callable[..., tuple[_Total, Array]]
    rows: int  # k, the rows of a block
    bytes: int  # what the device holds at most while blocks go through, by the compiler's figures


def _read(
    way: str,
    points: Array,
    unit: Array,
    before: tuple[PlateSums, PlateSums],
    plates: Sequence[Plate],
    budget: int,
) -> tuple[tuple[PlateSums, PlateSums], Array]:
    """The sums over the positive and over the negative plates, from one reading of them all, and what is farthest out."""
    step = _step(way, points.shape, points.dtype.name, max(x.shape[0] for x, _, _ in plates), budget)
    start = no_pulls(points) if way == "double_float" else no_sums(points)
    # buffers of their own, which the steps reuse
    totals: list[_Total] = [jax.tree.map(jnp.copy, start) for _ in before]
    marks: deque[Array] = deque()
    most = jnp.zeros((), points.dtype)
    for side, rows, charge, count in _blocks(plates, step.rows, points.dtype):
        rows = jax.device_put(rows)
        totals[side], mark = step.run(totals[side], points, rows, charge, count, before[side].reference, unit)
        most = jnp.maximum(most, mark)
        marks.append(mark)
        if len(marks) == 2:  # the block before this one must be done with before a third is sent
            jax.block_until_ready(marks.popleft())
    plus, minus = (
        settled(sums, total) if isinstance(total, DoubleFloat) else total
        for sums, total in zip(before, totals, strict=True)
    )
    return (plus, minus), most


def _blocks(
    plates: Sequence[Plate], size: int, dtype
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """`(side, rows [size, D+1], charge, count)` of all plates; rows beyond the count repeat the last."""
    for x, z, total in plates:
        side, charge = int(total < 0), np.asarray(abs(total) / x.shape[0], dtype)
        for first in range(0, x.shape[0], size):
            part = np.asarray(x[first : first + size])
            rows = np.empty((size, x.shape[1] + 1), dtype)
            rows[: len(part), :-1], rows[len(part) :, :-1], rows[:, -1] = part, part[-1], z
            yield side, rows, charge, np.asarray(len(part), np.int32)


@lru_cache
def _step(way: str, shape: tuple[int, int], dtype: str, longest: int, budget: int) -> _Step:
    """The step with the largest blocks that keep within the budget: half of it, or half of that, and so on."""
    count, dim1 = shape
    size = np.dtype(dtype).itemsize
    held = (
        14 * count * (dim1 + 3) * size
    )  # points, results, sums of both plates, now and before, and their temporaries
    share = (budget - held) // 4
    while True:
        rows = max(1, min(longest, share // (size * dim1)))
        inner = max(1, min(rows, share // (8 * size * (count + dim1)), default_block_size(count, rows, dim1)))
        terms = max(1, min(TERMS, share // (32 * size)))
        rows = -(-longest // -(-longest // rows))  # as many blocks, of one size
        run, used = _compiled(way, shape, dtype, rows, inner, terms)
        needed = held + used + rows * dim1 * size
        if needed <= budget:
            return _Step(run, rows, needed)
        if rows == inner == terms == 1:
            raise ValueError(
                f"a budget of {budget} bytes is too small: {count} points in D+1 = {dim1} dimensions need {needed};\n"
                "raise it, or evaluate fewer points at a time."
            )
        share = share // 2


@lru_cache
def _compiled(
    way: str, shape: tuple[int, int], dtype: str, rows: int, inner: int, terms: int
) -> tuple[Callable, int]:
    """A step and the bytes that it needs with its arguments and results."""

    def run(total, points, positions, charge, count, reference, unit):
        part = jnp.where(jnp.arange(rows) < count, charge, 0)
        most = jnp.max(jnp.where(jnp.isfinite(positions), jnp.abs(positions), 0))
        if way == "double_float":
            return add(total, pulls(points, positions, part, reference, terms, unit)), most
        sum_block = by_products if way == "products" else by_differences
        return merge(total, streamed(sum_block, inner, unit)(points, positions, part)), most

    points = jax.ShapeDtypeStruct(shape, dtype)
    scalar, each = jax.ShapeDtypeStruct((), dtype), jax.ShapeDtypeStruct(shape[:1], dtype)
    total = jax.eval_shape(no_pulls if way == "double_float" else no_sums, points)
    block = jax.ShapeDtypeStruct((rows, shape[1]), dtype)
    lowered = jax.jit(run, donate_argnums=0, keep_unused=True).lower(
        total, points, block, scalar, jax.ShapeDtypeStruct((), jnp.int32), each, scalar
    )
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    if memory is None:  # not every backend says; then what `_step` sets aside must be enough
        return compiled, 0
    parts = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return compiled, parts - memory.alias_size_in_bytes


@lru_cache
def _combine(convention: str) -> Callable:
    return jax.jit(lambda plus, minus, gamma: combination(convention, gamma)(plus, minus))


def _evened(chosen: np.ndarray, most: int) -> np.ndarray:
    """Indices filled up with the last one, to few sizes, so that few steps are compiled."""
    if len(chosen) == 0:
        return chosen
    size = 16
    while size < len(chosen):
        size *= 4
    return np.pad(chosen, (0, max(min(size, most) - len(chosen), 0)), mode="edge")


def _flat_points(points: Array | np.ndarray, plates: Sequence[Plate]) -> tuple[Array, tuple[int, ...]]:
    if isinstance(points, Tracer):
        raise ValueError(
            "streamed_field reads from the host and cannot be traced;\ncall it outside of jit, grad and vmap, or take "
            "parallel.sharded_field or fields.coulomb."
        )
    points = checks.floating("points", points)
    if not plates:
        raise ValueError("plates must hold at least one (x, z, total), got none.")
    dtypes = [points.dtype, jnp.float32]
    for k, plate in enumerate(plates):
        if not isinstance(plate, tuple | list) or len(plate) != 3 or not hasattr(plate[0], "shape"):
            raise ValueError(
                f"plates[{k}] must be (x [n, D], z, total), as for charges.plate, got {type(plate)}."
            )
        x, z, total = plate
        if len(x.shape) != 2 or min(x.shape) < 1:
            raise ValueError(
                f"the samples of plates[{k}] must have shape [n, D] with n, D >= 1, got {x.shape}."
            )
        if points.ndim < 1 or points.shape[-1] != x.shape[1] + 1:
            raise ValueError(
                f"points must have shape [..., {x.shape[1] + 1}], (x, z) with z last, for the samples of plates[{k}] "
                f"{x.shape}, got {points.shape}."
            )
        dtypes.append(checks.floating(f"the samples of plates[{k}]", np.asarray(x[:1])).dtype)
        checks.finite(f"the height of plates[{k}]", z)
        if checks.finite(f"the charge of plates[{k}]", total) == 0:
            raise ValueError(f"the charge of plates[{k}] must not be 0: a plate without charge has no field.")
    points = points.astype(jnp.result_type(*dtypes))
    return points.reshape(-1, points.shape[-1]), points.shape
