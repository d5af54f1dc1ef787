"""Pictures and films as files, the colors of both plates, and the plane in which many dimensions are drawn."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from efm_jax._core import files

SOURCE = "#3b6fb6"
"""Color of samples of P."""
TARGET = "#c44e52"
"""Color of samples of Q."""
END = "#2e8b57"
"""Color of the ends of lines."""
LOST = "#999999"
_ALIKE = 4.0
"""Ranges that differ by no more than this are shown at one scale."""


def projected(
    lines: Float[np.ndarray, "t k dim1"],
    source: Float[np.ndarray, "n dim"],
    target: Float[np.ndarray, "m dim"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project lines and samples of more than two dimensions to the plane of the samples' first two principal components.

    Args:
        lines: Positions along each line, z last, [t, k, D+1].
        source: Samples of P, [., D].
        target: Samples of Q, [., D].

    Returns:
        Lines [t, k, 3], samples [., 2] and [., 2]; all unchanged for D <= 2.

    Examples:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(50, 4)) * [0.0, 3.0, 0.0, 1.0]
        >>> lines, p, q = projected(np.zeros((3, 5, 5)), x, x)
        >>> lines.shape, bool(np.allclose(np.linalg.norm(p[0] - p[1]), np.linalg.norm(x[0] - x[1])))
        ((3, 5, 3), True)
    """
    if source.shape[1] <= 2:
        return lines, source, target
    both = np.concatenate([source[:500], target[:500]]).astype(np.float64)
    mean = both.mean(axis=0)
    plane = np.linalg.svd(both - mean, full_matrices=False)[2][:2].T
    flat = np.concatenate([(lines[..., :-1] - mean) @ plane, lines[..., -1:]], axis=-1)
    return flat, (source - mean) @ plane, (target - mean) @ plane


def limits(samples: Float[np.ndarray, "n dim"]) -> tuple[Float[np.ndarray, "dim 2"], bool]:
    """Return the limits of axes that show samples, and whether the axes have one scale: not where ranges differ much.

    Args:
        samples: What is shown, [n, D].

    Examples:
        >>> samples = np.array([[0.0, 0.0], [1.0, 100.0]])
        >>> limits(samples)[0].tolist(), limits(samples)[1]
        ([[-0.08, 1.08], [-8.0, 108.0]], False)
    """
    ranges = np.ptp(samples, axis=0)
    one = bool(ranges.max() <= _ALIKE * ranges[ranges > 0].min(initial=np.inf))
    reach = 0.08 * (ranges.max() if one else np.where(ranges > 0, ranges, 1.0)) + 1e-6 * one
    return np.stack([samples.min(axis=0) - reach, samples.max(axis=0) + reach], axis=1), one


def save_png(path: str | Path, array: UInt8[np.ndarray, "height width *rgb"]) -> None:
    """Write a picture as png, whole or not at all; folders are made as needed.

    Args:
        path: File to write; an existing one is replaced only by a complete new one.
        array: uint8, [height, width] gray or [height, width, 3] RGB.

    Raises:
        ValueError: If the array is not such a picture or the name does not end in .png.

    Examples:
        >>> import numpy as np, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_png(f"{folder}/a.png", np.zeros((2, 3, 3), np.uint8))
        ...     [p.name for p in pathlib.Path(folder).iterdir()]
        ['a.png']
    """
    write(path, png(array))


def png(array: UInt8[np.ndarray, "height width *rgb"]) -> bytes:
    """Return a picture as the bytes of a png file; see `save_png`."""
    array = np.asarray(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(
            f"a picture must be uint8 of shape [h, w] or [h, w, 3], got {array.dtype} {array.shape}; "
            "make one with drawing.grid."
        )
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save_film(
    path: str | Path, frames: list[UInt8[np.ndarray, "height width 3"]], *, seconds: float = 2.5
) -> None:
    """Write frames as an animation that repeats, whole or not at all; the first and the last stay for a second.

    Args:
        path: File to write, ending in .webp or .gif.
        frames: The frames, all of one size.
        seconds: How long the way takes.

    Raises:
        ValueError: There is no frame, or the name has another ending.

    Examples:
        >>> import numpy as np, tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_film(f"{folder}/a.webp", [np.full((8, 8, 3), v, np.uint8) for v in (0, 120, 250)])
        ...     Image.open(f"{folder}/a.webp").n_frames
        3
    """
    kind = film_kind(path)
    if not frames:
        raise ValueError("a film needs at least one frame, got 0 frames.")
    step = max(round(1000 * seconds / len(frames)), 20)
    times = [1000, *[step] * (len(frames) - 2), 1000][: len(frames)]
    first, *rest = map(Image.fromarray, frames)
    buffer = io.BytesIO()
    best = {"quality": 80, "method": 2} if kind == ".webp" else {}
    first.save(buffer, kind[1:].upper(), save_all=True, append_images=rest, duration=times, loop=0, **best)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, buffer.getvalue())


def film_kind(path: str | Path) -> str:
    """The kind of a film by its name, or ValueError."""
    kind = Path(path).suffix.lower()
    if kind not in (".webp", ".gif"):
        raise ValueError(f"a film is written as .webp or .gif, got {Path(path).name!r}.")
    return kind


def write(path: str | Path, content: bytes) -> None:
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"pictures are written as .png, got {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, content)
