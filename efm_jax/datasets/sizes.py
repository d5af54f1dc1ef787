"""How large the pictures of folders are, and one size for all of them."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from efm_jax.datasets import picture_files


def common_size(paths: Sequence[str | Path], *, most: int | None = None) -> int | None:
    """The side to which pictures of several folders should be cropped and resized, so that none is enlarged.

    Args:
        paths: Folders of pictures.
        most: Largest side wanted.

    Returns:
        The smallest side of all pictures, at most `most`; None if all have one size already that is not above `most`.
        Only headers are read; files whose header cannot be read do not count.

    Raises:
        FileNotFoundError: If a folder does not exist or holds no picture.
        ValueError: If no picture can be read.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as path:
        ...     Image.new("RGB", (6, 4)).save(f"{path}/a.png")
        ...     Image.new("RGB", (9, 9)).save(f"{path}/b.png")
        ...     common_size([path]), common_size([path], most=3)
        (4, 3)
    """
    sizes: set[tuple[int, int]] = set()
    for path in paths:
        root = Path(path).expanduser()
        for name in picture_files.names(root):
            try:
                with Image.open(root / name) as file:
                    sizes.add(file.size)
            except picture_files.UNREADABLE:
                continue
    if not sizes:
        raise ValueError(f"no picture in {', '.join(map(str, paths))} can be read.")
    smallest, largest = min(map(min, sizes)), max(map(max, sizes))
    if len(sizes) == 1 and (most is None or largest <= most):
        return None
    return smallest if most is None else min(smallest, most)
