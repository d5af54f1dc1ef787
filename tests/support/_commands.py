"""What tests of the command line share: how a command that fails ends."""

import pytest

from efm_jax import cli


def ended(capsys, arguments) -> tuple[int, str]:
    """The status and the last words of a command that fails."""
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    return stop.value.code, capsys.readouterr().err


def failure(capsys, arguments) -> str:
    """What is said of a mistake in what the user gave."""
    code, err = ended(capsys, arguments)
    assert code == 2
    return err
