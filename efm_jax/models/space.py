"""The space of a run in principal components: fitted when training begins, and kept in the run folder."""

import io
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from efm_jax._core import files
from efm_jax.datasets import Source, read_array, spaces
from efm_jax.datasets.spaces import Space
from efm_jax.models import build, configs
from efm_jax.training.hosts import Crew
from efm_jax.types import FieldLines

__all__ = ["ARRAYS", "FILE", "fitted", "load", "of_run", "opened", "pictured", "save", "validated"]

FILE = "space.npz"
ARRAYS = "mean", "basis", "scale"
"""What is kept of a space; the rest is said by the configuration."""


def of_run(folder: str | Path, data: configs.Data, pair: tuple[Source, Source], crew: Crew) -> Space | None:
    """Return the space in which a run trains, the same for all hosts: the folder's, or one fitted now and written there.

    Raises:
        ValueError: The folder holds another run, or its space cannot be read; or the data have no such space.
    """
    if not data.in_space:
        return None
    dim = int(np.prod(pair[0].shape))
    k = data.components or dim
    begun = crew.on_first(lambda: _begun(Path(folder), data, pair, dim, k))
    empty = Space(np.zeros(dim, np.float32), np.zeros((dim, k), np.float32), np.zeros(k, np.float32))
    arrays = crew.given((begun or empty)[:3])
    return Space(*arrays, log1p=data.log1p)


def fitted(data: configs.Data, pair: tuple[Source, Source]) -> Space:
    """Fit the space of a run to its training sets of P and Q.

    Raises:
        ValueError: The data have no such space.
    """
    if data.components is None and not data.standardize:
        return spaces.identity(int(np.prod(pair[0].shape)))._replace(log1p=data.log1p)
    noisy = build.is_noise(data.source), build.is_noise(data.target)
    known = [None if noise else source for noise, source in zip(noisy, pair, strict=True)]
    return spaces.fit(known[0], known[1], data.components, log1p=data.log1p)


def opened(folder: str | Path, data: configs.Data, shape: tuple[int, ...]) -> Space | None:
    """Open the space of a run that has begun, for samples of `shape`; None if it has none.

    Raises:
        ValueError: The folder's file is missing, damaged, or that of another run.
    """
    if not data.in_space:
        return None
    dim = int(np.prod(shape))
    expected = dim, data.components or dim
    return load(Path(folder) / FILE, shape=expected)._replace(log1p=data.log1p)


def pictured(lines: FieldLines, sides: tuple[Space, Space], span: tuple[float, float]) -> FieldLines:
    """Return lines in the space as lines of pictures: x decoded, z kept.

    Where the two plates are decoded differently, as noise and data are, points between are the mixture of both by height.
    """

    def decoded(points) -> jnp.ndarray:
        points = np.asarray(points)
        u, z = points[..., :-1].reshape(-1, points.shape[-1] - 1), points[..., -1:]
        x = sides[1].decode(u)
        if sides[0] is not sides[1]:
            share = np.clip((z.reshape(-1, 1) - span[0]) / (span[1] - span[0]), 0.0, 1.0)
            x = ((1.0 - share) * sides[0].decode(u) + share * x).astype(np.float32)
        return jnp.asarray(np.concatenate([x.reshape(*z.shape[:-1], -1), z], axis=-1))

    path = None if lines.path is None else decoded(lines.path)
    return lines._replace(end=decoded(lines.end), path=path)


def _begun(folder: Path, data: configs.Data, pair: tuple[Source, Source], dim: int, k: int) -> Space:
    folder.mkdir(parents=True, exist_ok=True)
    with files.exclusive(folder / "run.lock", f"the run folder {folder}"):
        if not (
            folder / "config.json"
        ).exists():  # one that an earlier start left may be that of other options
            save(folder / FILE, fitted(data, pair))
        elif not (folder / FILE).exists():
            raise ValueError(
                f"{folder} holds a run without {FILE}: it was not trained in components, or the file is lost; restore "
                "it, or choose another folder."
            )
        return load(folder / FILE, shape=(dim, k))


def save(path: str | Path, space: Space) -> None:
    """Write a space as an npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: getattr(space, name) for name in ARRAYS})
    files.write_bytes(path, buffer.getvalue())


def load(path: str | Path, *, shape: tuple[int, int] | None = None) -> Space:
    """Read a space written by `save`; nothing in the file is run.

    Args:
        path: The file.
        shape: `(D, k)` as it must be; None for any.

    Raises:
        ValueError: The file is missing, damaged or of another kind, or the space is another one.
    """
    path = Path(path)
    try:
        arrays = [read_array(path, name) for name in ARRAYS]
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: the space of the run; restore it, or train anew.") from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as a space ({error}): it is damaged or of another kind; restore it, or train anew."
        ) from None
    space = validated(Space(arrays[0], arrays[1], arrays[2]), str(path))
    if shape is not None and space.basis.shape != shape:
        raise ValueError(
            f"{path} holds {space.basis.shape[1]} components of samples with {space.basis.shape[0]} dimensions, expected "
            f"{shape[1]} of {shape[0]}: it belongs to another run; give that run's own settings, or choose another folder."
        )
    return space


def validated(space: Space, where: str) -> Space:
    """Return a space that was read, or raise ValueError if its arrays cannot be those of one."""
    mean, basis, scale = arrays = space[:3]
    fits = basis.ndim == 2 and mean.shape == basis.shape[:1] and scale.shape == basis.shape[1:]
    sound = (
        fits
        and all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
        and bool((scale > 0).all())
        and np.allclose(basis.T @ basis, np.eye(len(scale)), atol=1e-3)  # float32 over D terms
    )
    if not sound:
        raise ValueError(
            f"{where} does not hold a space (mean [D], orthonormal basis [D, k], scale [k] > 0, float32), got "
            f"{', '.join(f'{name} {array.shape}' for name, array in zip(ARRAYS, arrays, strict=True))}; restore it."
        )
    return space
