"""Pictures that are decoded whenever they are drawn: only the files of the rows asked for are opened."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Member(NamedTuple):
    """A picture inside a plain tar file: its bytes lie together.

    Attributes:
        path: The tar file.
        offset: Where its bytes begin.
        size: How many they are.
    """

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Read them, and nothing else of the file."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


Content = Path | Member | bytes
Contents = Callable[[Sequence[int]], Iterable[tuple[int, Content]]]


class Later(NamedTuple):
    """Pictures before anything of them is read.

    Attributes:
        names: The name of each.
        contents: From numbers of pictures to what is read then, in any order, each with its place among the numbers.
        labels: The label of each, or None.
    """

    names: list[str]
    contents: Contents
    labels: list[str | None]


def each(content: Callable[[int], Path | Member]) -> Contents:
    """Contents found one by one.

    Examples:
        >>> [*each(lambda k: Path(f"{k}.png"))([7, 5])]
        [(0, PosixPath('7.png')), (1, PosixPath('5.png'))]
    """
    return lambda numbers: ((place, content(k)) for place, k in enumerate(numbers))


class OnDemand:
    """Pictures [n, H, W, C], uint8, read by an array of indices or a slice."""

    def __init__(
        self,
        where: str,
        later: Later,
        decode: Callable[[Path | bytes], tuple[np.ndarray, Any]],
    ):
        self._where, self._later, self._decode = where, later, decode
        self._sides: tuple[int, ...] | None = None
        [(_, first)] = later.contents([0])
        self._sides = self._decoded(0, first).shape
        self.shape = (len(later.names), *self._sides)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        rows = range(len(self))[index] if isinstance(index, slice) else [int(k) for k in index]
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, content in self._later.contents(rows):
            found[place] = self._decoded(rows[place], content)
        return found

    def _decoded(self, k: int, content: Content) -> np.ndarray:
        path = os.path.join(self._where, self._later.names[k])
        try:
            picture, _ = self._decode(content.read() if isinstance(content, Member) else content)
        except (ValueError, OSError) as error:
            why = error.__cause__ or error
            raise ValueError(f"{path} cannot be read as a picture ({why}); remove or repair it.") from error
        if self._sides not in (None, picture.shape):
            tall, wide = self._sides[:2]
            raise ValueError(
                f"pictures differ in size: the first is {wide} x {tall} and {path} is {picture.shape[1]} x "
                f"{picture.shape[0]} pixels; give size= (--data.size) to crop and resize them all."
            )
        return picture
