"""Pictures that are decoded whenever they are drawn: only the files of the rows asked for are opened."""

import os
from collections.abc import Callable
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


class Later(NamedTuple):
    """Pictures before anything of them is read.

    Attributes:
        names: The name of each.
        content: From a number to what is read then.
        labels: The label of each, or None.
    """

    names: list[str]
    content: Callable[[int], Path | Member]
    labels: list[str | None]


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
        self._sides = self._one(0).shape
        self.shape = (len(later.names), *self._sides)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        rows = range(len(self))[index] if isinstance(index, slice) else index
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, k in zip(found, rows, strict=True):
            place[:] = self._one(int(k))
        return found

    def _one(self, k: int) -> np.ndarray:
        content, path = self._later.content(k), os.path.join(self._where, self._later.names[k])
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
