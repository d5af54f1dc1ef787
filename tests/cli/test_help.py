"""What `efm --help` and `efm COMMAND --help` print."""

import itertools
import re

import pytest

from efm_jax import cli

METHODS = {
    method: ["train", "toy-swiss-roll", "--recipe.method", method, "--help"]
    for method in ("efm", "c2fm", "ifm", "cfm", "pfgm")
}
COMMANDS = (
    "train",
    "suggest",
    "resume",
    "reflow",
    "export",
    "translate",
    "generate",
    "evaluate",
    "compare",
    "demo",
    "doctor",
)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", [*METHODS, *COMMANDS[1:]])
def test_help_wraps_at_the_width_of_the_terminal_alone(command, columns, capsys, monkeypatch):
    """A line of a box that ends early is the last of its text: the next word would not have fitted."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        cli.main(METHODS.get(command, [command, "--help"]))
    lines = capsys.readouterr().out.splitlines()
    texts = [line[1:-1] if line[-1:] in (" ", "│") else "" for line in lines]  # those in boxes
    assert any(texts)
    for text, after in itertools.pairwise(texts):
        start = len(after) - len(after.lstrip())
        column = next(
            (m.end() for m in re.finditer(r"\S {2,}", text.rstrip())), len(text) - len(text.lstrip())
        )
        continued = after.strip() and start > 2 and start == column and text.strip()
        if continued and not after.strip().startswith("(default"):
            assert len(text.rstrip()) + 1 + len(after.split()[0]) > columns - 3, (text, after)


def test_help_hides_what_another_command_sets_and_says_each_command_in_a_line(capsys):
    for arguments in (METHODS["efm"], ["resume", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert "--reflow" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert capsys.readouterr().out.count("•") == len(COMMANDS)
