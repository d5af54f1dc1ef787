"""What `efm doctor` says to expect of a training."""

import pytest

from benchmarks import roofline
from efm_jax import _doctor
from efm_jax.models.configs import EFM, Network, Run

RECIPE = EFM(gap=10.0, charges=16, num_points=8, noise=1.0, coupling="independent")
SHAPE = (8, 8, 3)


def run_of(blocks):
    network = Network(blocks=blocks, width=16, multipliers=(1,), attention=(), patch=1, dropout=0.0)
    return Run(recipe=RECIPE, network=network)


@pytest.fixture
def two_seconds(monkeypatch):
    """A device that takes two seconds for any step, which is really taken twice."""

    def timed(take, least):
        assert all(bool(take().finite) for _ in range(2))
        return 2.0

    monkeypatch.setattr(_doctor, "_seconds", timed)


@pytest.mark.slow
def test_a_run_of_one_block_is_timed_as_it_is(two_seconds):
    assert _doctor.expected(run_of(1), SHAPE, points=2) == 0.5


@pytest.mark.slow
def test_a_longer_run_is_scaled_by_its_operations(two_seconds):
    def products(run):  # counted by formula
        work = roofline.training("float32", run, SHAPE)
        return work.network_flops + work.field_flops

    share = products(run_of(3)) / products(run_of(1)) * 8 / 2
    # XLA counts sums, norms and activations too, which grow a little less than products with the blocks
    assert _doctor.expected(run_of(3), SHAPE, points=2) == pytest.approx(0.5 / share, rel=0.15)


@pytest.mark.slow
def test_every_preset_has_its_line(capsys):
    _doctor._say_what_to_expect()
    said = capsys.readouterr().out
    assert [name for name in _doctor.EXPECTED if f"  {name}" in said] == [*_doctor.EXPECTED]
    assert said.count("steps/s here") == 2
