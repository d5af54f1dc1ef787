"""A space as a file: arrays without anything that could run, and nothing that is no space."""

import io
import zipfile
from pathlib import Path

import numpy as np

from efm_jax import _files
from efm_jax.spaces import Space


def save(path: str | Path, space: Space, *, fitted_on: str) -> None:
    """Write a space as an npz file, whole or not at all, with a word on what it was fitted on."""
    buffer = io.BytesIO()
    np.savez(buffer, **space._asdict(), fitted_on=np.asarray(fitted_on))
    _files.write_bytes(path, buffer.getvalue())


def load(path: str | Path, *, shape: tuple[int, int] | None = None, fitted_on: str | None = None) -> Space:
    """Read a space written by `save`; nothing in the file is run.

    Args:
        path: The file.
        shape: `(D, k)` as it must be; None for any.
        fitted_on: What it must have been fitted on; None for anything.

    Returns:
        The space.

    Raises:
        ValueError: The file is missing, damaged or of another kind, or the space is another one.
    """
    path = Path(path)
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("one array alone")
            arrays, told = [file[name] for name in Space._fields], str(file["fitted_on"])
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: the space of the run; restore it, or train anew.") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as a space ({error}): it is damaged or of another kind; restore it, or train anew."
        ) from None
    space = checked(Space(*arrays), str(path))
    if shape is not None and space.basis.shape != shape:
        raise ValueError(
            f"{path} holds {space.basis.shape[1]} components of samples with {space.basis.shape[0]} dimensions, expected "
            f"{shape[1]} of {shape[0]}: it belongs to another run; give that run's own settings, or choose another folder."
        )
    if fitted_on is not None and told != fitted_on:
        raise ValueError(
            f"{path} was fitted on {told}, this run has {fitted_on}; give the run's own data to resume, or choose another "
            "folder for a new run."
        )
    return space


def checked(space: Space, where: str) -> Space:
    """Return a space that was read, or raise ValueError if its arrays cannot be those of one."""
    mean, basis, scale = space
    fits = basis.ndim == 2 and mean.shape == basis.shape[:1] and scale.shape == basis.shape[1:]
    sound = (
        fits
        and all(array.dtype == np.float32 and np.isfinite(array).all() for array in space)
        and bool((scale > 0).all())
        and np.allclose(basis.T @ basis, np.eye(len(scale)), atol=1e-3)  # float32 over D terms
    )
    if not sound:
        raise ValueError(
            f"{where} does not hold a space (mean [D], orthonormal basis [D, k], scale [k] > 0, float32), got "
            f"{', '.join(f'{name} {array.shape}' for name, array in zip(Space._fields, space, strict=True))}; restore it."
        )
    return space
