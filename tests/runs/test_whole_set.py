"""A training set as the charges of every step: the target, an argument of compiled steps, one option."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import coulomb as reference_coulomb

from efm_jax import cli, matching, networks, training
from efm_jax.charges.plates import Charges, capacitor, capacitor_chain
from efm_jax.datasets import Source, from_array, toys
from efm_jax.datasets.splits import split_mask
from efm_jax.matching import points
from efm_jax.models import build, configs

GAP = 3.0
RNG = np.random.default_rng(0)
WHOLE = [RNG.standard_normal((40, 2)).astype(np.float32) + shift for shift in (0.0, 2.0)]


def pair(size: int | None = None) -> tuple[Source, Source]:
    return from_array(WHOLE[0][:size]), from_array(WHOLE[1][:size])


MINIBATCH = WHOLE[0][:4], WHOLE[1][:4]


@pytest.mark.parametrize("convention", ["superposed", pytest.param("per_plate", marks=pytest.mark.slow)])
def test_the_target_is_the_field_of_the_whole_set_wherever_the_minibatch_puts_the_points(convention):
    config = configs.EFM(
        gap=GAP, convention=convention, field="whole", num_points=8, noise=1.0, coupling="independent"
    )
    batch = build.recipe(config, pair()).draw(jax.random.key(0), *MINIBATCH)

    def target(samples):
        field = reference_coulomb(batch.points, *capacitor(*samples, GAP), convention)
        length = np.sqrt(3) if convention == "superposed" else np.exp(field.log_magnitude)[:, None]
        return length * field.direction

    # the field's own bound is about 1e-5 kappa, kappa up to some tens here, times sqrt(3)
    np.testing.assert_allclose(batch.target, target(WHOLE), atol=2e-4)
    assert np.abs(batch.target - target(MINIBATCH)).max() > 0.1
    np.testing.assert_array_equal(batch.points, points.segment()(jax.random.key(0), *MINIBATCH, GAP, 8))


def test_the_charges_of_the_chain_are_the_whole_set_with_its_images():
    config = configs.C2FM(gap=GAP, field="whole", points="flux")
    (charges,) = held(build.recipe(config, pair()))
    expected = capacitor_chain(*WHOLE, GAP, tolerance=1e-3, reach=8 * GAP)
    for ours, theirs in zip(charges, expected, strict=True):  # the samples are drawn in another order
        np.testing.assert_allclose(np.sort(ours, axis=0), np.sort(theirs, axis=0), rtol=1e-6)  # of a mean


def held(recipe) -> list[Charges]:
    return jax.tree.leaves(recipe.draw, is_leaf=lambda leaf: isinstance(leaf, Charges))


def test_a_law_takes_part_with_as_many_draws_as_the_other_side_has_samples():
    config = configs.EFM(gap=GAP, field="whole")
    (charges,) = held(build.recipe(config, (toys.gaussian(2), pair(5)[1])))
    assert charges.charge.tolist() == pytest.approx([0.2] * 5 + [-0.2] * 5)
    assert {tuple(x) for x in np.asarray(charges.positions[5:, :2])} == {tuple(x) for x in WHOLE[1][:5]}


def test_charges_are_arguments_of_the_compiled_step():
    network, optimizer = networks.mlp(2, gap=GAP, width=8, depth=1), training.adam(1e-3, warmup=0)
    recipe = matching.efm(GAP, charges=capacitor(*WHOLE, GAP), points=points.segment(), num_points=4)
    step = training.make_train_step(recipe, network, optimizer)
    state = jax.eval_shape(lambda: training.init_state(jax.random.key(0), network, optimizer))
    samples = jax.ShapeDtypeStruct((4, 2), jnp.float32)
    text = step.lower(state, samples, samples).as_text()
    main = text[text.index("@main(") : text.index("{\n", text.index("@main("))]
    assert "tensor<80x3xf32>" in main
    assert 'constant dense<"' not in text  # how large constants are written


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build.recipe(configs.EFM(field="whole")),
            r"'whole' makes charges of a finite training set",
        ),
        (
            lambda: build.recipe(configs.EFM(field="whole"), (toys.moons(), toys.moons())),
            r"(?s)got distributions without end.*Take 'minibatch'",
        ),
        (
            lambda: configs.from_dict({"recipe": {"method": "ifm", "field": "whole"}}),
            r"config.recipe.field is an option of efm and c2fm and pfgm; config.recipe has method, gap",
        ),
        (
            lambda: matching.efm(GAP, charges=Charges(jnp.ones((3, 3)), jnp.ones(2))),
            r"charges must be positions \[n, D\+1\] and charge \[n\].*\(3, 3\) and \(2,\)",
        ),
        (
            lambda: matching.c2fm(GAP, charges=capacitor(*WHOLE, GAP), reach=3.0),
            r"give them to charges.capacitor_chain",
        ),
    ],
)
def test_what_has_no_whole_set_is_refused_with_the_mend(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_option_of_the_command_line(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", WHOLE[0])
    seen = []

    def fit(folder, built, plan, **_):
        seen.append((built.recipe, plan.config))
        return SimpleNamespace(step=0)

    monkeypatch.setattr("efm_jax.runs._train.fit", fit)
    options = ["--data.source", f"npy:{tmp_path / 'x.npy'}", "--recipe.field", "whole", "--no-report"]
    cli.main(["train", "toy-swiss-roll", "--run", str(tmp_path / "run"), *options])
    ((recipe, config),) = seen
    assert json.loads(json.dumps(config))["recipe"]["field"] == "whole"
    size = int(split_mask(40, "train", 0.2).sum())  # the other side is a law
    assert [leaf.shape for leaf in jax.tree.leaves(recipe.draw)] == [(2 * size, 3), (2 * size,)]
