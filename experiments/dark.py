"""Write the dark twin of every figure that a page shows in both: `python -m experiments.dark` (`--check` only compares).

A page shows `NAME.png` in light and `NAME_dark.png` in dark, as `<picture>`. The twin is the figure with its lightness
turned round: hues stay, white becomes the dark ground.
"""

import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from experiments.tables import PAGES

GROUND = np.array([22, 25, 32], np.float32)
"""Near to that of GitHub and of the site."""
TWIN = re.compile(r'srcset="([^"]+)_dark(\.\w+)"')


def main(arguments: list[str]) -> int:
    """Write the twins; return 1 if `--check` finds one that is missing or of another figure."""
    stale = [light for light in figures() if not current(light)]
    for light in stale:
        print(("stale: " if "--check" in arguments else "wrote: ") + str(twin(light)))
        if "--check" not in arguments:
            write(light)
    return int(bool(stale) and "--check" in arguments)


def figures() -> list[Path]:
    """The figures that pages show in light and dark."""
    found = {
        (page.parent / "".join(names)).resolve() for page in PAGES for names in TWIN.findall(page.read_text())
    }
    return sorted(found)


def twin(light: Path) -> Path:
    """The place of a figure's dark twin."""
    return light.with_stem(f"{light.stem}_dark")


def dark(rgb: np.ndarray) -> np.ndarray:
    """Turn the lightness of uint8 colors [..., 3] round: `v + 255 - max - min` over r, g, b, then 0 becomes the ground.

    Examples:
        >>> import numpy as np
        >>> dark(np.uint8([[255, 255, 255], [0, 0, 0], [200, 55, 55]])).tolist()
        [[22, 25, 32], [255, 255, 255], [205, 75, 80]]
    """
    turned = rgb + (255.0 - rgb.max(-1, keepdims=True) - rgb.min(-1, keepdims=True))
    return np.round(GROUND + (1 - GROUND / 255) * turned).astype(np.uint8)


def frames(path: Path) -> list[np.ndarray]:
    """The pictures of a file, one of a png."""
    with Image.open(path) as file:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)]


def current(light: Path) -> bool:
    """Whether the twin is there and shows this figure."""
    if not twin(light).is_file():
        return False
    wanted, there = [dark(frame) for frame in frames(light)], frames(twin(light))
    # a gif has 256 colors a frame, which changes them by less than one level in the mean
    allowed = 1.0 if light.suffix == ".gif" else 0.0
    return len(wanted) == len(there) and all(
        a.shape == b.shape and np.abs(a.astype(np.float32) - b).mean() <= allowed
        for a, b in zip(wanted, there, strict=True)
    )


def write(light: Path) -> None:
    """Write the twin of a figure; an animation keeps its times."""
    first, *rest = [Image.fromarray(dark(frame)) for frame in frames(light)]
    if not rest:
        first.save(twin(light), optimize=True)
        return
    with Image.open(light) as file:
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(file)]
    first.save(twin(light), save_all=True, append_images=rest, duration=times, loop=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
