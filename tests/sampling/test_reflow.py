"""Reflow: pairs are the lines, stay row by row, and change nothing where lines are straight already."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import cli, matching, models, runs, sampling, training
from efm_jax.datasets import batch, from_pairs, spaces, with_classes
from efm_jax.fields import widths
from efm_jax.lines import fixed
from efm_jax.matching import couplings
from efm_jax.models import build, configs, seeds
from efm_jax.runs import reflow_run
from efm_jax.sampling import reflow
from efm_jax.training import feeding
from efm_jax.training.feeding import batches
from efm_jax.types import Network

ONE_STEP = fixed("euler", 1, clock="linear")
SHIFT = jnp.asarray([1.0, -2.0])


def straight(params, points, *, key=None, cond=None):
    """Straight lines x_0 -> params x_0 + SHIFT over a gap of 1, none crossing another; those beyond x = 3 turn back."""
    x, z = points[:, :-1], points[:, -1:]
    start = (x - z * SHIFT) / (1.0 + (params - 1.0) * z)
    up = jnp.where(start[:, :1] > 3.0, -1.0, 1.0)
    return jnp.concatenate([((params - 1.0) * start + SHIFT) * up, up], axis=1)


NETWORK = Network(lambda key: jnp.asarray(2.0), straight)
RECIPE = matching.cfm()
STATE = training.init_state(jax.random.key(0), NETWORK, training.adam())


def samples(n=50):
    return np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)


def test_pairs_are_the_starts_and_ends_of_lines_without_those_that_are_lost():
    x = samples()
    x[[4, 9], 0] = 5.0
    found = reflow.pairs(STATE, RECIPE, NETWORK, x, stepping=ONE_STEP)
    kept = np.delete(np.arange(50), [4, 9])
    assert found.lost == 2
    np.testing.assert_array_equal(found.x_pos, x[kept])
    lines = sampling.transport(STATE, RECIPE, NETWORK, x, stepping=ONE_STEP)
    np.testing.assert_array_equal(found.x_neg, np.asarray(lines.end)[kept, :-1])
    # one step of Euler is exact along straight lines: a product and two sums at size 6
    np.testing.assert_allclose(found.x_neg, 2 * x[kept] + np.asarray(SHIFT), atol=2e-6)


def test_backwards_the_data_are_those_of_q():
    y = samples()
    found = reflow.pairs(STATE, RECIPE, NETWORK, y, reverse=True, stepping=ONE_STEP)
    np.testing.assert_array_equal(found.x_neg, y)
    np.testing.assert_allclose(found.x_pos, (y - np.asarray(SHIFT)) / 2, atol=2e-6)


def test_batches_of_pairs_keep_them():
    x = samples()
    p, q = from_pairs(x, x + 10.0)
    for x_pos, x_neg in batches(p, q, 3, (16, 16), range(4)):
        np.testing.assert_array_equal(x_neg, x_pos + 10.0)
    one, other = batch(p, 3, 0, 0, 16), batch(p, 3, 0, 1, 16)
    assert not (one == other).all()
    # the rows of one host too, and more than there are
    np.testing.assert_array_equal(batch(q, 3, 1, 5, 64, rows=slice(3, 9)), batch(p, 3, 0, 5, 64)[3:9] + 10.0)
    with pytest.raises(ValueError, match=r"one shape, got \(50, 2\) and \(49, 2\)"):
        from_pairs(x, x[1:])


def test_pairs_in_a_space_and_by_class_are_kept():
    x, labels = samples(), np.arange(50) % 2
    pair = from_pairs(x, x + 10.0)
    twice = spaces.own(lambda x: 2 * x, lambda u: u / 2, (2,))
    p, q = (spaces.wrap(with_classes(source, labels), twice) for source in pair)
    labeling = feeding.Labeling(0.1, 2)
    feeding.check_labels(p, q, labeling, (16, 16))
    for x_pos, x_neg, _ in batches(p, q, 3, (16, 16), range(4), labeling=labeling):
        np.testing.assert_array_equal(x_neg, x_pos + 20.0)
    for other in (with_classes(pair[1], labels[::-1]), pair[1]):
        with pytest.raises(ValueError, match="rows of pairs have other labels in P than in Q"):
            feeding.check_labels(with_classes(pair[0], labels), other, labeling, (16, 16))


def test_a_straight_field_is_what_its_own_pairs_teach():
    found = reflow.pairs(STATE, RECIPE, NETWORK, samples(), stepping=ONE_STEP)
    second_recipe = matching.cfm(coupling=couplings.given(), width=widths.constant(1e-3))
    points, target, _ = second_recipe.draw(jax.random.key(1), found.x_pos, found.x_neg)
    field = straight(2.0, points)
    # points lie beside the lines by the width, at most some four deviations, and the slope of the field there is 1
    np.testing.assert_allclose(target, field, atol=6e-3)


def test_slopes_have_the_lines_of_the_field():
    def field(params, points, *, key=None, cond=None):
        return 3.0 * jnp.stack(
            [jnp.sin(points[:, 0]), jnp.cos(points[:, 1]), 0.3 + points[:, 0] ** 2], axis=1
        )

    points = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (20, 3)), jnp.float32)
    as_taught = field(None, points)
    slopes = matching.slope_network(Network(lambda key: jnp.ones(()), field)).apply(None, points)
    np.testing.assert_allclose(slopes, as_taught / as_taught[:, 2:], rtol=1e-6)
    # no steeper than the margin lets it be, and up in any case
    down = matching.slope_network(Network(lambda key: jnp.ones(()), lambda p, x, **_: -x), margin=0.1)
    assert down.apply(None, jnp.ones((1, 4))).tolist() == [[-5.0, -5.0, -5.0, 1.0]]


def test_a_state_may_begin_with_given_parameters():
    state = training.init_state(jax.random.key(0), NETWORK, training.adam(), params=jnp.asarray(7.0))
    assert float(state.params) == float(state.ema) == 7.0
    with pytest.raises(ValueError, match="params do not belong to this network"):
        training.init_state(jax.random.key(0), NETWORK, training.adam(), params=jnp.ones(3))


def test_lines_from_random_points_are_refused_and_so_are_none():
    prior = matching.pfgm()
    for reverse in (False, True):
        with pytest.raises(ValueError, match="random points"):
            reflow.pairs(STATE, prior, NETWORK, samples(), reverse=reverse)
    with pytest.raises(ValueError, match="none of 50 lines arrived"):
        reflow.pairs(STATE, RECIPE, NETWORK, samples() + 50.0, stepping=ONE_STEP)


FIRST = configs.Run(
    data=configs.Data("gaussian:2", "moons"),
    recipe=configs.CFM(charges=32, num_points=32, coupling="independent"),
    network=configs.Network(kind="mlp", width=8, depth=1, output="flow"),
    optimizer=configs.Optimizer(warmup=50),
    sampling=configs.Sampling(solver="euler", steps=1, clock="linear", samples=64),
    steps=80,
    save_every=40,
)


def folder(path, **changes):
    """A run folder whose newest checkpoint is of step 80, as far as its outside tells."""
    config = configs.from_dict(configs.to_dict(FIRST) | changes)
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(configs.to_dict(config)))
    return path


@pytest.fixture
def at_80(monkeypatch):
    monkeypatch.setattr(reflow_run.checkpoint, "latest", lambda folder: 80)


def test_the_reflow_run_keeps_the_data_and_trains_on_given_pairs(tmp_path, at_80):
    config = reflow_run.of_run(folder(tmp_path / "first"), pairs=70)
    assert config.data == FIRST.data
    assert config.reflow == configs.Reflow(str(tmp_path / "first"), 80, 70)
    assert (config.steps, config.optimizer.warmup) == (20, 2)
    assert reflow_run.asked_for(config)
    assert not reflow_run.asked_for(FIRST)
    assert configs.from_dict(configs.to_dict(config)) == configs.complete(config)
    assert "reflow" not in configs.to_dict(FIRST)
    fields = {"recipe": {"gap": 6.0}, "network": {"kind": "mlp", "output": "field"}}
    taught = folder(tmp_path / "fields", **fields)
    kept, new = reflow_run.of_run(taught), reflow_run.of_run(taught, trained=False)
    assert (kept.network.output, kept.recipe.gap) == ("slope", 6.0)
    assert (new.network.output, new.recipe.gap) == ("flow", 1.0)
    safe = reflow_run.of_run(folder(tmp_path / "safe", **fields | {"network": {"kind": "mlp"}}))
    assert safe.network.output == "capacitor_slope"
    shapes = [
        jax.tree.map(jnp.shape, jax.eval_shape(build.network(run, (2,)).init, jax.random.key(0)))
        for run in (safe, configs.load(tmp_path / "safe" / "config.json"))
    ]
    assert shapes[0] == shapes[1]


def test_its_pairs_are_lines_of_the_first_from_its_own_data(tmp_path, at_80, capsys):
    config = reflow_run.of_run(folder(tmp_path / "first"), pairs=70)
    first = models.Trained(FIRST, RECIPE, NETWORK, STATE._replace(step=jnp.asarray(80)), (2,), 0.0)
    pair = build.sources(FIRST.data)
    (p, q), initial = reflow_run.training_pairs(config, first, pair)
    drawn = batch(pair[0], seeds.REFLOW, 0, 0, 70)
    assert float(initial) == 2.0
    assert p.size == q.size == (drawn[:, 0] <= 3.0).sum()
    rows = batch(p, 0, 0, 0, 20)
    assert {tuple(row) for row in rows.tolist()} <= {tuple(row) for row in drawn.tolist()}
    np.testing.assert_allclose(batch(q, 0, 1, 0, 20), 2 * rows + np.asarray(SHIFT), atol=2e-6)
    moved = first._replace(state=STATE._replace(step=jnp.asarray(81)))
    with pytest.raises(ValueError, match="is at step 81 and was at 80"):
        reflow_run.training_pairs(config, moved, pair)
    with pytest.raises(ValueError, match="the gap stays 1, got 2"):
        reflow_run.training_pairs(
            configs.from_dict(configs.to_dict(config) | {"recipe": {"gap": 2.0}}), first, pair
        )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"recipe": {"method": "pfgm"}}, "start at random points"),
        ({"network": {"kind": "mlp", "classes": 2}}, "does not support classes"),
        (
            {"data": {"source": "gaussian:2", "target": "moons", "standardize": True, "log1p": True}},
            r"this run has data.standardize and data.log1p.\nTrain a first run with --data.no-standardize --data.no-log1p",
        ),
        (
            {"data": {"source": "gaussian:2", "target": "moons", "components": 1}},
            r"this run has data.components.\nTrain a first run with --data.components None",
        ),
        ({"network": {"kind": "mlp", "output": "velocity"}}, "--no-trained"),
    ],
)
def test_first_runs_that_do_not_serve_are_named(tmp_path, at_80, changes, told):
    with pytest.raises(ValueError, match=told):
        reflow_run.of_run(folder(tmp_path / "first", **changes))


def test_runs_without_a_checkpoint_and_pairs_of_nothing_are_named(tmp_path):
    with pytest.raises(ValueError, match="is not a run folder"):
        reflow_run.of_run(tmp_path)
    with pytest.raises(ValueError, match="holds no checkpoint yet"):
        reflow_run.of_run(folder(tmp_path / "first"))
    given = configs.from_dict({"recipe": {"coupling": "given", "method": "cfm"}})
    with pytest.raises(ValueError, match="go together"):
        reflow_run.asked_for(given)
    with pytest.raises(ValueError, match="go together"):
        reflow_run.asked_for(configs.from_dict({"reflow": {"run": "somewhere"}}))


@pytest.mark.slow
def test_the_command_trains_twice_goes_on_and_gives_away(tmp_path, capsys):
    first, run = tmp_path / "first", tmp_path / "second"
    runs.train(first, FIRST, progress=False)
    cli.main(["reflow", str(first), "--run", str(run), "--steps", "30", "--pairs", "200", "--no-progress"])
    report = json.loads((run / "report.json").read_text())
    assert (report["step"], report["config"]["reflow"]["pairs"]) == (30, 200)
    assert report["maps"]["gaussian:2 -> moons"]["evaluations"]["mean"] == 4.0
    whole = models.load(run).state.params
    half = tmp_path / "half"
    config = reflow_run.of_run(first, steps=30, pairs=200)
    runs.train(half, config, progress=False)
    # the same pairs and the same steps again
    jax.tree.map(np.testing.assert_array_equal, models.load(half).state.params, whole)
    cli.main(["export", str(run), "--output", str(tmp_path / "model")])
    assert json.loads((tmp_path / "model" / "config.json").read_text())["config"]["reflow"]["run"] == "first"
    np.save(tmp_path / "x.npy", samples(7))
    there = ["--input", f"npy:{tmp_path / 'x.npy'}", "--output", str(tmp_path / "out")]
    cli.main(["translate", str(tmp_path / "model"), *there])
    assert np.load(tmp_path / "out" / "translated.npy").shape == (7, 2)
