"""What the command line says of an error: one clear line and a fix, whatever it is."""

import os

_USAGE = (ValueError, ImportError, FloatingPointError)
_OF_A_PATH = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
_LESS_MEMORY = {
    "translate": "Translate fewer samples at once with --limit.",
    "generate": "Generate fewer samples with --count.",
    "evaluate": "Score fewer samples with --samples.",
    "reflow": "Follow fewer lines with --pairs.",
    "compare": "Compare fewer pictures with --most, or smaller ones with --size.",
    "train": "Lower --recipe.charges, --recipe.num-points, --network.width or --data.size.",
}


def explained(error: Exception, arguments: list[str]) -> tuple[str, int]:
    r"""Explain an error.

    Args:
        error: What a command raised.
        arguments: Those of the command line.

    Returns:
        The message, and the exit status: 2 for what the user gave, 1 for the rest.

    Examples:
        >>> explained(FileNotFoundError(2, "No such file or directory", "x.npy"), ["translate"])
        ('No such file or directory: x.npy', 2)
        >>> explained(MemoryError("Unable to allocate 7.28 TiB"), ["generate"])
        ('out of memory: Unable to allocate 7.28 TiB\nGenerate fewer samples with --count.', 1)
    """
    text = str(error).strip()
    if isinstance(error, UnicodeError):
        return f"a name that is not UTF-8 text: {getattr(error, 'object', text)!r}; rename it.", 2
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        command = arguments[0] if arguments else ""
        fix = _LESS_MEMORY.get(command, _LESS_MEMORY["train"])
        return f"out of memory: {_first_line(text) or 'this machine has no more'}\n{fix}", 1
    if isinstance(error, OSError) and error.strerror is not None:
        where = "" if error.filename is None else f": {error.filename}"
        return f"{error.strerror}{where}", 2 if isinstance(error, _OF_A_PATH) else 1
    if isinstance(error, (*_USAGE, OSError)):
        return text, 2
    return no_device() or _unforeseen(error, text), 1


def no_device() -> str | None:
    """Say that JAX finds no device, and why; None if it finds one."""
    import jax

    try:
        jax.devices()
    except Exception as error:  # jax raises RuntimeError for some names and AssertionError for others
        wanted = os.environ.get("JAX_PLATFORMS")
        fix = "JAX_PLATFORMS=cpu takes the CPU." if wanted else "`efm doctor` checks the installation."
        named = f" for JAX_PLATFORMS={wanted}" if wanted else ""
        return f"no device{named}: {_first_line(str(error)) or 'its plugin is not installed'}\n{fix}"
    return None


def _unforeseen(error: Exception, text: str) -> str:
    deep = "nested too deeply: " if isinstance(error, RecursionError) else ""
    return (
        f"{deep}{type(error).__name__}: {_first_line(text)}\n"
        "This was not foreseen. Add --debug to see where it happened, and report it."
    )


def _first_line(text: str) -> str:
    line = next(iter(text.splitlines()), "")
    return line if len(line) <= 300 else f"{line[:300]} ..."
