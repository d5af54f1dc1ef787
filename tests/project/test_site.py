"""The site's pages of reference: every public module and name is on one, and what is generated follows the code."""

import importlib
import importlib.util
import inspect
import types
from pathlib import Path

import pytest

import efm_jax

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "_site" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_module_that_the_package_names_is_on_one_page(hooks):
    every = [getattr(efm_jax, name) for name in efm_jax.__all__]
    named = {one.__name__ for one in every if inspect.ismodule(one)}
    listed = hooks.listed_modules()
    assert len(listed) == len(set(listed))
    assert named - set(listed) == set()


def test_a_public_name_without_a_page_is_found(hooks):
    every = [
        f"{module}.{name}"
        for module in hooks.listed_modules()
        for name in importlib.import_module(module).__all__
    ]
    every += [f"{module}.{name}" for module, names in hooks.lower_modules().items() for name in names]
    assert len(every) > 400
    inventory = "\n".join(f"{name} py:function 1 a/#$ -" for name in every if name != "efm_jax.lines.trace")
    assert hooks.undocumented(inventory) == ["efm_jax.lines.trace"]


def test_a_link_out_of_the_docs_is_told_from_one_within(hooks):
    assert hooks.outside("evidence/images.md", "../../experiments/a.png") == "experiments/a.png"
    assert hooks.outside("evidence/images.md", "../play/index.html") is None


def test_the_page_of_commands_shows_each_with_its_options(hooks):
    page = hooks.command_line()
    for command, option in {"train": "--recipe.gap", "translate": "--reverse", "export": "--output"}.items():
        section = page.split(f"## efm {command}\n")[1].split("\n## ")[0]
        assert option in section


def test_a_picture_in_light_and_dark_follows_the_palette_of_the_site(hooks):
    page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri="how_to/gap.md"))
    source = '<source media="(prefers-color-scheme: dark)" srcset="../../experiments/a_dark.png">'
    picture = f'<picture>{source}<img alt="what to see" src="../../experiments/a.png"></picture>'
    shown = hooks.on_page_markdown(f"| {picture} |", page)
    light, dark = "../experiments/a.png", "../experiments/a_dark.png"
    both = f"[![what to see]({light}#only-light)]({light})[![what to see]({dark}#only-dark)]({dark})"
    assert shown == f"| {both} |"
