"""What `help()` shows of the package: public names, their docstrings, and signatures that a person can read."""

import importlib
import inspect
import pkgutil

import pytest

import efm_jax
from efm_jax.matching import points

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(efm_jax.__path__, "efm_jax.")
    if not any(part.startswith("_") for part in module.name.split("."))
)


def public() -> dict[str, object]:
    """Every public function and class by its full name."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        values = [getattr(module, each) for each in getattr(module, "__all__", ())]
        found |= {
            f"{value.__module__}.{value.__qualname__}": value
            for value in values
            if inspect.isfunction(value) or inspect.isclass(value)
        }
    return found


FUNCTIONS = {name: value for name, value in public().items() if inspect.isfunction(value)}


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_lists_its_names_and_each_has_a_docstring(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for each in module.__all__:
        value = getattr(module, each)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), each


def test_signatures_can_be_read():
    lengths = {name: len(str(inspect.signature(value))) for name, value in FUNCTIONS.items()}
    assert {name: length for name, length in lengths.items() if length >= 600} == {}
    assert len(str(inspect.signature(points.segment))) < 200


def test_no_function_has_more_than_twelve_parameters():
    counts = {name: len(inspect.signature(value).parameters) for name, value in FUNCTIONS.items()}
    assert {name: count for name, count in counts.items() if count > 12} == {}
