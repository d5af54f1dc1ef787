"""The space of a run: fitted when its training begins, kept in its folder, and pictures on both ends of its lines."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from efm_jax import _files, _space_file, build, configs, spaces
from efm_jax.datasets import Source
from efm_jax.lines import FieldLines
from efm_jax.parallel.hosts import Crew
from efm_jax.spaces import Space

FILE = "space.npz"


def of_run(folder: str | Path, data: configs.Data, pair: tuple[Source, Source], crew: Crew) -> Space | None:
    """The space in which a run is trained, the same for all hosts: the folder's own, or one fitted now and written there.

    Raises:
        ValueError: The folder holds another run, or its space cannot be read; or the data have no such space.
    """
    if data.components is None:
        return None
    dim, k = int(np.prod(pair[0].shape)), data.components
    there = crew.on_first(lambda: _begun(Path(folder), data, pair, dim, k))
    empty = Space(np.zeros(dim, np.float32), np.zeros((dim, k), np.float32), np.zeros(k, np.float32))
    return crew.given(there or empty)


def opened(folder: str | Path, data: configs.Data, shape: tuple[int, ...]) -> Space | None:
    """The space of a run that has begun, for samples of `shape`; None if it has none.

    Raises:
        ValueError: The folder's file is missing, damaged, or that of another run.
    """
    if data.components is None:
        return None
    expected = int(np.prod(shape)), data.components
    return _space_file.load(Path(folder) / FILE, shape=expected, fitted_on=_told(data))


def pictured(lines: FieldLines, sides: tuple[Space, Space], span: tuple[float, float]) -> FieldLines:
    """Lines in the space as lines of pictures: x decoded, z kept.

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
    with _files.exclusive(folder / "run.lock", f"the run folder {folder}"):
        if not (folder / FILE).exists():
            if (folder / "config.json").exists():
                raise ValueError(
                    f"{folder} holds a run without {FILE}: it was not trained in components, or the file is lost; restore "
                    "it, or choose another folder."
                )
            noisy = build.is_noise(data.source), build.is_noise(data.target)
            known = [None if noise else source for noise, source in zip(noisy, pair, strict=True)]
            space = spaces.fit(known[0], known[1], k)
            _space_file.save(folder / FILE, space, fitted_on=_told(data))
        return _space_file.load(folder / FILE, shape=(dim, k), fitted_on=_told(data))


def _told(data: configs.Data) -> str:
    return json.dumps({"source": data.source, "target": data.target, "size": data.size})
