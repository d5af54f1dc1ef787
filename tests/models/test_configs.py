"""Configurations: they survive JSON, refuse what they do not know, and build what they say."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.datasets import batch
from efm_jax.datasets.spaces import Space
from efm_jax.models import build, configs
from efm_jax.models.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name):
    run = PRESETS[name][1]
    assert configs.from_dict(json.loads(json.dumps(configs.to_dict(run)))) == configs.complete(run)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"stepz": 3}, r"config\.stepz is not known; config has data, recipe"),
        ({"recipe": {"gapp": 3}}, r"config\.recipe\.gapp is not known"),
        ({"recipe": {"gap": "wide"}}, r"config\.recipe\.gap must be float, got 'wide'"),
        ({"recipe": {"convention": "both"}}, r"one of 'superposed', 'per_plate', got 'both'"),
        ({"network": {"multipliers": [1, 2.5]}}, r"list of whole numbers, got \[1, 2.5\]"),
        ({"steps": True}, r"config\.steps must be int, got True"),
        ({"max_seconds": "1h"}, r"float or null, got '1h'"),
        ({"data": 3}, r"config\.data must be a JSON object, got 3"),
        (
            {"recipe": {"convention": "per_plate", "law": "x", "extra": 1}, "network": [1]},
            r"must be a JSON object, got \[1\]|is an option of",  # as an old version would have written it
        ),
        (
            {"recipe": {"convention": "per_plate", "law": "x", "extra": 1, "method": []}},
            r"config\.recipe\.method must be one of efm, .*, got \[\]",
        ),
    ],
)
def test_what_is_unknown_or_misfits_is_named_with_its_place(values, told):
    with pytest.raises(ValueError, match=told):
        configs.from_dict(values)


def test_whole_numbers_serve_as_floats_and_null_as_none():
    run = configs.from_dict({"recipe": {"gap": 30}, "max_seconds": None})
    assert run.recipe.gap == 30.0
    assert isinstance(run.recipe.gap, float)
    assert run.max_seconds is None


@pytest.mark.parametrize(
    ("before", "now"), [("uniform", "linear"), ("arcsine", "sine"), ("log", "log_both"), ("logit", "logit")]
)
def test_old_names_of_heights_are_read(before, now):
    assert configs.from_dict({"recipe": {"height": before}}).recipe.height == now


def test_a_file_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff\x00")
    with pytest.raises(ValueError, match=r"config\.json is no readable JSON file"):
        configs.load(path)


@pytest.mark.parametrize("method", [[], {}, None, 1, "gravity"])
def test_a_method_that_is_none_is_named(method):
    with pytest.raises(ValueError, match=r"config\.recipe\.method must be one of efm, "):
        configs.from_dict({"recipe": {"method": method}})


def test_two_sides_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got gaussian:2 with \(2,\) and gaussian:3 with \(3,\)"):
        build.sources(configs.Data("gaussian:2", "gaussian:3"))


def test_noise_takes_the_shape_of_the_other_side():
    noise, target = build.sources(configs.Data("noise", "gaussian:3"))
    assert noise.shape == target.shape == (3,)


def test_a_unet_for_vectors_is_refused():
    with pytest.raises(ValueError, match=r"needs pictures of shape \(H, W, C\), got samples of shape \(2,\)"):
        build.network(configs.Run(network=configs.Network(kind="unet")), (2,))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["efm", "c2fm", "ifm"])
def test_flux_points_and_velocities_can_be_configured(method):
    config = configs.METHODS[method](gap=4.0, points="flux", height="logit", target="velocity", num_points=50)
    x = jnp.asarray([[0.0], [1.0]])
    batch = build.recipe(config).draw(jax.random.key(0), x, x + 1.0)
    assert (batch.target[:, -1] == 1).all()
    assert batch.points.shape == (50, 2)
    # half of all heights lie within a hundredth of a plate; the law of x is that of the method's own field
    near = jnp.minimum(batch.points[:, 1], 4.0 - batch.points[:, 1]) < 0.04
    assert 0.3 < float(near.mean()) < 0.7


@pytest.mark.parametrize("method", ["c2fm", "ifm", "cfm", "pfgm"])
def test_only_two_plates_have_a_per_plate_convention(method):
    with pytest.raises(ValueError, match=r"convention is an option of efm; config\.recipe has method, gap"):
        configs.from_dict({"recipe": {"method": method, "convention": "per_plate"}})


@pytest.mark.parametrize("coupling", ["independent", "minibatch_ot", "sinkhorn"])
@pytest.mark.parametrize("method", ["efm", "c2fm", "ifm", "cfm", "pfgm"])
def test_one_word_changes_the_method(method, coupling):
    x = jnp.asarray([[0.0], [1.0], [2.0]])
    options = {} if method == "pfgm" else {"coupling": coupling}
    recipe = build.recipe(configs.METHODS[method](gap=4.0, num_points=50, **options))
    batch = recipe.draw(jax.random.key(0), x, x + 1.0)
    assert batch.points.shape == (50, 2)
    # from x to x + 1 over a gap of 4; unit directions are scaled by sqrt(2)
    assert (batch.target[:, -1] > 0).all()
    if method == "cfm" and coupling != "independent":
        assert jnp.allclose(batch.target[:, 0].mean(), 0.25, atol=0.02)


def test_two_plates_are_safe_for_vectors_and_as_they_were_elsewhere():
    def forms(network="mlp", data=None, **recipe):
        run = configs.Run(data or configs.Data(), configs.EFM(**recipe), configs.Network(kind=network))
        done = configs.complete(run)
        return done.recipe.points, done.network.output

    assert forms() == ("defensive", "capacitor")
    assert forms(points="box") == ("box", "capacitor")
    assert forms("unet") == forms(convention="per_plate") == ("segment", "field")
    assert forms(data=configs.Data(components=8)) == ("segment", "field")
    assert forms(target="velocity") == ("segment", "flow")
    # what a saved run says stays
    saved = {"recipe": {"method": "efm", "points": "segment"}, "network": {"kind": "mlp", "output": "field"}}
    kept = configs.from_dict(saved)
    assert (kept.recipe.points, kept.network.output) == ("segment", "field")


def test_moments_of_the_data_come_with_a_run_s_parameters():
    config = configs.Run(
        data=configs.Data("moons", "eight_gaussians"),
        recipe=configs.EFM(gap=6.0, charges=8, num_points=8, coupling="independent"),
        network=configs.Network(kind="mlp", width=4, depth=1),
    )
    plates = jax.device_get(build.run(config).network.init(jax.random.key(0))["plates"])
    # by the mixture: spread^2 = 25 / 2 + 0.316 of each dimension; 10,000 samples, five errors of the mean
    assert np.abs(plates["neg"] - [0, 0, 6 + np.sqrt(12.816)]).max() < 0.2
    scaled = dataclasses.replace(config, data=dataclasses.replace(config.data, standardize=True))
    space = Space(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.full(2, 2, np.float32))
    halved = jax.device_get(build.run(scaled, space=lambda pair: space).network.init(jax.random.key(0)))
    assert np.abs(halved["plates"]["neg"] - [0, 0, 6 + np.sqrt(12.816) / 2]).max() < 0.1
    same = build.network(config, (2,)).init(jax.random.key(0))
    assert jax.tree.structure(same) == jax.tree.structure(build.run(config).network.init(jax.random.key(0)))
    other = configs.Run(recipe=configs.C2FM(gap=6.0), network=configs.Network(kind="mlp", output="capacitor"))
    with pytest.raises(ValueError, match="'capacitor' is for the directions of method 'efm'"):
        build.network(other, (2,))


def test_poisson_flow_of_the_limit_starts_at_noise_and_takes_the_whole_set(tmp_path):
    np.save(tmp_path / "y.npy", np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32))
    config = configs.Run(
        data=configs.Data("noise", f"npy:{tmp_path / 'y.npy'}"),
        recipe=configs.PFGM(extra=None, field="whole", num_points=50),
        network=configs.Network(kind="mlp"),
    )
    built = build.run(config)
    few = jnp.zeros((3, 2))
    one, other = (built.recipe.draw(jax.random.key(0), few, few + shift) for shift in (0.0, 5.0))
    np.testing.assert_array_equal(one.target, other.target)
    train = built.sources[1]
    held = [leaf for leaf in jax.tree.leaves(built.recipe.draw) if leaf.shape == (train.size, 3)]
    y = batch(train, 0, 0, 0, train.size)
    np.testing.assert_array_equal(np.sort(held[0][:, 0]), np.sort(y[:, 0]))
    x = jnp.ones((4, 2))
    for recipe in (built.recipe, build.lines_recipe(config.recipe)):
        np.testing.assert_array_equal(recipe.start(jax.random.key(0), x, False)[:, :2], x)
    assert configs.complete(config).network.output == "flow"


@pytest.mark.parametrize("extra", [None, 1, 8])
def test_poisson_flow_is_not_trained_on_data_that_it_ignores(extra):
    config = configs.Run(data=configs.Data("moons", "swiss_roll"), recipe=configs.PFGM(extra=extra))
    with pytest.raises(
        ValueError, match=r"pfgm starts at noise and would ignore P, got moons.\nSet data.source"
    ):
        build.run(config)
    build.check_noise(dataclasses.replace(config, data=configs.Data("gaussian:2", "swiss_roll")))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "output"), [("velocity", "denoiser"), ("direction", "field")])
def test_poisson_flow_of_earlier_versions_goes_by_height(target, output):
    old = {"method": "pfgm", "gap": 40.0, "extra": 8, "target": target, "gamma": 0.5}
    kept = {"kind": "mlp", "output": output, "height": "log"}
    run = configs.from_dict({"recipe": old, "network": kept, "sampling": {"clock": "log"}})
    assert (run.network.output, run.network.height, run.sampling.clock) == (output, "log", "log")
    recipe, x = build.recipe(run.recipe), jnp.zeros((8, 2))
    assert recipe.span == (40.0, 1e-3)
    unit = recipe.draw(jax.random.key(0), x, x + 1.0).target
    assert bool((unit[:, -1] == 1).all()) == (target == "velocity")
    network = build.network(run, (2,))
    field = network.apply(network.init(jax.random.key(0)), jnp.ones((5, 3)))
    # of a new network: the lines of one Gaussian of deviation 1/2 at x = z = 1, or no field
    wanted = [1 / (1 + 8 / 4)] * 2 + [1.0] if target == "velocity" else [0.0] * 3
    np.testing.assert_allclose(field, [wanted] * 5, rtol=1e-5)
    assert configs.from_dict(configs.to_dict(run)) == run


def test_a_network_of_velocities_has_height_as_its_clock():
    for output, height in (("velocity", "linear"), ("flow", "linear"), ("flow", "log")):
        config = configs.Network(kind="mlp", output=output, height=height, width=8, depth=1)
        network = build.network(configs.Run(recipe=configs.EFM(gap=6.0), network=config), (2,))
        field = network.apply(network.init(jax.random.key(0)), jnp.ones((5, 3)))
        assert (field[:, -1] == 1).all()


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5])
def test_a_seed_that_no_key_takes_is_told_before_a_step_is_timed(seed):
    with pytest.raises(ValueError, match=r"^seed must be "):
        build.run(dataclasses.replace(PRESETS["toy-swiss-roll"][1], seed=seed))


def test_a_run_shorter_than_its_warm_up_is_told_which_option_to_change():
    config = configs.Optimizer(warmup=100, cosine=True)
    with pytest.raises(
        ValueError, match=r"more than those of the warm-up, 100.*got 40; .* --optimizer\.warmup 4\."
    ):
        build.optimizer(config, 40)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_batch(name):
    # of samples of four numbers: that a step can be drawn depends on the recipe alone
    run = configs.complete(PRESETS[name][1])
    recipe = build.lines_recipe(run.recipe)
    x = jax.ShapeDtypeStruct((run.recipe.charges, 4), "float32")
    drawn = jax.eval_shape(recipe.draw, jax.random.key(0), x, x)
    assert drawn.points.shape == (run.recipe.num_points, 5)


def test_three_tasks_of_three_sizes_come_first_and_each_has_a_line():
    names = [
        f"{task}-{size}" for task in ("translate", "generate", "table") for size in ("quick", "full", "paper")
    ]
    assert [*PRESETS][:9] == names
    # a line of the help of `efm train` holds 60 letters
    assert max(len(PRESETS[name][0]) for name in names) <= 60
    same = {"translate": "paper-translation", "generate": "paper-cmnist", "table": "toy-swiss-roll"}
    for task, old in same.items():
        assert PRESETS[f"{task}-paper"][1] == PRESETS[old][1]


@pytest.mark.parametrize(
    ("recipe", "kind", "output"),
    [
        (configs.C2FM(), "mlp", "velocity"),
        (configs.C2FM(), "unet", "field"),
        (configs.C2FM(target="direction"), "mlp", "field"),
        (configs.EFM(), "mlp", "capacitor"),
        (configs.EFM(), "unet", "field"),
        (configs.EFM(target="robust"), "unet", "velocity"),
        (configs.IFM(), "unet", "flow"),
        (configs.PFGM(extra=None), "mlp", "flow"),
    ],
)
def test_the_network_has_the_form_of_the_target_that_is_learned(recipe, kind, output):
    run = configs.complete(configs.Run(recipe=recipe, network=configs.Network(kind=kind)))
    assert run.network.output == output
