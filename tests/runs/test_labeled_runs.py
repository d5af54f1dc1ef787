"""Runs with labels from end to end: dropout of all is training without, and samples asked of a class are of it."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from _fit import fit
from _labeled import LINEAR, NEG, OPTIMIZER, POS, RECIPE
from PIL import Image

from efm_jax import cli, models, runs
from efm_jax.datasets import Source, batch, draw_labels, open_source, split_by_name
from efm_jax.models import build, configs, loading, reports
from efm_jax.training import feeding
from efm_jax.types import Network

RNG = np.random.default_rng(0)


def test_dropout_of_every_label_is_training_without_labels_bit_for_bit(tmp_path, one_compilation):
    def trained(name: str, network: Network, pair: tuple[Source, Source], **more):
        options = {"steps": 4, "batch_pos": 8, "batch_neg": 8, "seed": 1, "config": {}, "progress": False}
        state = fit(tmp_path / name, RECIPE, network, OPTIMIZER, *pair, **options, **more)
        return jax.tree.map(np.asarray, state.params)

    without = (POS._replace(classes=None), NEG._replace(classes=None))
    unlabeled = trained("without", LINEAR, without)
    dropped = trained("dropped", LINEAR, (POS, NEG), label_dropout=1.0)
    for a, b in zip(jax.tree.leaves(unlabeled), jax.tree.leaves(dropped), strict=True):
        assert a.tobytes() == b.tobytes()
    told = trained("told", LINEAR, (POS, NEG), label_dropout=0.0)
    assert not told["rows"][-1].any()  # nothing is ever said of the null label
    assert told["rows"][:-1].any()


def test_labels_of_a_feed_follow_from_the_step():
    feed = feeding.batches(POS, NEG, 5, (4, 6), range(3, 9), labeling=feeding.Labeling(0.5, 2))
    for step, (x_pos, x_neg, labels) in zip(range(3, 9), feed, strict=True):
        np.testing.assert_array_equal(labels, draw_labels(NEG, 5, step, 2, dropout=0.5))
        np.testing.assert_array_equal(x_pos, batch(POS, 5, 0, step, 4, labels=labels))
        np.testing.assert_array_equal(x_neg, batch(NEG, 5, 1, step, 6, labels=labels))


def test_configurations_from_before_labels_are_those_without():
    plain = configs.to_dict(configs.Run())
    before = json.loads(json.dumps(plain))
    del before["network"]["classes"], before["recipe"]["label_dropout"], before["recipe"]["label_groups"]
    assert configs.canonical(before) == plain
    labeled = configs.from_dict({"network": {"classes": 3}, "recipe": {"label_groups": 2}})
    assert configs.from_dict(configs.to_dict(labeled)) == labeled
    assert configs.to_dict(labeled)["recipe"]["label_dropout"] == 0.1


TOY = ["train", "toy-two-gaussians", "--no-progress", "--recipe.charges", "64", "--recipe.num-points", "64"]
TOY += ["--network.width", "32", "--network.depth", "2", "--sampling.steps", "12", "--sampling.samples", "64"]


def failure(capsys, arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def asked(run: Path, name: str, *options: str) -> np.ndarray:
    """First coordinates of 200 samples generated with these options."""
    cli.main(["generate", str(run), "--count", "200", "--output", str(run / name), *options])
    return np.load(run / name / "generated.npy")[:, 0]


@pytest.mark.slow
def test_samples_asked_of_a_class_are_of_that_class(tmp_path, capsys):
    run = tmp_path / "run"
    flow = ["--recipe.method", "cfm", "--recipe.gap", "1", "--network.output", "flow", "--no-report"]
    flow += ["--steps", "200", "--optimizer.learning-rate", "5e-3", "--network.classes", "2"]
    cli.main([*TOY, "--run", str(run), *flow])
    trained, noise = models.load(run), RNG.normal(size=(200, 2)).astype(np.float32)
    left, right, any_class = (
        np.asarray(models.transport(trained, noise, cond=np.full(200, label)).end)[:, 0]
        for label in (0, 1, -1)
    )
    assert (left < 0).mean() >= 0.95
    assert (right > 0).mean() >= 0.95
    assert 0.2 < (any_class > 0).mean() < 0.8
    guided = asked(run, "guided", "--label", "1", "--guidance", "2")
    # what the run says is what is done where nothing is said
    own = replace(trained.config, sampling=replace(trained.config.sampling, guidance=2.0))
    of_run = models.transport(trained._replace(config=own), noise, cond=np.full(200, 1)).end
    given = models.transport(trained, noise, cond=np.full(200, 1), guidance=2.0).end
    np.testing.assert_array_equal(of_run, given)
    assert np.abs(np.asarray(given)[:, 0] - right).max() > 0.1
    assert guided.mean() > right.mean() + 1.0  # away from the other class, as extrapolation does
    of_both, of_left, of_right = (
        asked(run, name, *which)
        for name, which in (("both", ()), ("left", ("--label", "0")), ("right", ("--label", "1")))
    )
    # one seed is one draw of noise: no label asks for the classes in turn; other batches of lines round otherwise
    np.testing.assert_allclose(of_both, np.where(np.arange(200) % 2 == 0, of_left, of_right), rtol=1e-4)
    np.testing.assert_allclose(models.load(run).generate(200)[:, 0], of_both, rtol=1e-4)
    assert "must be one of the classes of this run, 0 to 1, got '2'" in failure(
        capsys, ["generate", str(run), "--count", "2", "--output", str(run / "no"), "--label", "2"]
    )


def run_of(classes: int | None, dropout: float = 0.1, **recipe) -> configs.Run:
    return configs.Run(
        data=configs.Data("gaussian:2", "two_gaussians"),
        recipe=configs.EFM(label_dropout=dropout, **recipe),
        network=configs.Network(classes=classes),
    )


@pytest.mark.parametrize(
    ("classes", "dropout", "label", "scale", "said"),
    [
        (None, 0.1, 1, 1.0, "trained without classes"),
        (None, 0.1, None, 2.0, "trained without classes"),
        (2, 0.1, None, 2.0, "goes toward a class: give a label as well, one of 0 to 1"),
        (2, 0.0, None, 1.0, "knows no field without a label"),
        (2, 0.0, 1, 2.0, "knows no field without a label"),
        (2, 0.1, -1, 1.0, "label must be one of .* 0 to 1, got -1"),
    ],
)
def test_what_a_run_cannot_be_asked_is_named(classes, dropout, label, scale, said):
    trained = models.Trained(run_of(classes, dropout), RECIPE, LINEAR, None, (2,), 0.0)
    with pytest.raises(ValueError, match=said):
        models.labels_of(trained, label, 3, guidance=scale)


@pytest.mark.parametrize(
    ("classes", "dropout", "scale"), [(None, 0.1, 2.0), (2, 0.0, 2.0), (2, 0.1, float("nan"))]
)
def test_guidance_that_nothing_can_follow_is_refused_before_training(classes, dropout, scale):
    run = replace(run_of(classes, dropout), sampling=configs.Sampling(guidance=scale))
    with pytest.raises(
        ValueError, match=r"(?s)sampling\.guidance .* network\.classes, and a recipe\.label_dropout"
    ):
        build.run(run)


@pytest.mark.slow
def test_a_field_of_charges_is_learned_class_by_class_and_reported(tmp_path):
    run = tmp_path / "run"
    field = [
        "--recipe.gap",
        "30",
        "--recipe.points",
        "flux",
        "--optimizer.learning-rate",
        "5e-3",
        "--network.output",
        "field",
    ]
    cli.main([*TOY, "--run", str(run), *field, "--steps", "1500", "--network.classes", "2"])
    assert len(json.loads((run / "report.json").read_text())["maps"]) == 2
    left, right = asked(run, "0", "--label", "0"), asked(run, "1", "--label", "1")
    # forward lines of two plates have heavy tails: some come in from far out, where a small network knows the field least
    assert (left < 0).mean() >= 0.85
    assert (right > 0).mean() >= 0.85
    x = tmp_path / "x.npy"
    np.save(x, np.zeros((3, 2), np.float32))
    cli.main(["translate", str(run), "--input", f"npy:{x}", "--output", str(run / "t"), "--label", "0"])
    assert np.load(run / "t" / "translated.npy").shape == (3, 2)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            run_of(3),
            "network.classes 3 needs data with labels of 3 classes, got gaussian:2 and two_gaussians with 2",
        ),
        (run_of(None, label_groups=2), "recipe.label_groups 2 is for a network with classes"),
        (run_of(2, field="whole"), "which labels cannot choose among"),
        (run_of(2, label_groups=3), "num_points 64 must be a multiple"),
    ],
)
def test_labels_and_data_that_do_not_go_together_are_named(config, said):
    with pytest.raises(ValueError, match=said):
        build.labeled(config, build.sources(config.data))
    assert build.labeled(run_of(2, label_groups=4), build.sources(config.data)).num_points == 16


def folder_of(root: Path, **colors: int) -> str:
    """Folders of 12 flat gray pictures, each of its own class; the specification."""
    for name, level in colors.items():
        (root / name).mkdir(parents=True)
        for k in range(12):
            Image.new("L", (4, 4), level).save(root / name / f"{k}.png")
    return f"folder:{root}"


def pictures_run(source: str, target: str, classes: int, **data) -> configs.Run:
    return configs.Run(
        data=configs.Data(source, target, gray=True, held_out=0.3, **data),
        recipe=configs.CFM(charges=8, num_points=8, coupling="independent"),
        network=configs.Network("mlp", width=8, depth=1, classes=classes),
        optimizer=configs.Optimizer(warmup=1),
        sampling=configs.Sampling("euler", 2),
        steps=2,
    )


def test_classes_of_two_sides_are_matched_by_name(tmp_path):
    p = folder_of(tmp_path / "p", ant=0, bee=50, cat=100)
    q = folder_of(tmp_path / "q", ant=150, cat=200, dog=250)
    with pytest.raises(ValueError, match=r"only in P: bee; only in Q: dog\.\nClasses are matched by name"):
        build.run(pictures_run(p, q, 3))
    assert not build.run(replace(pictures_run(p, q, 3), network=configs.Network("mlp"))).notes.get("classes")
    (tmp_path / "q" / "dog").rename(tmp_path / "q" / "bee")  # it now comes before the cat
    built = build.run(pictures_run(p, q, 3))
    assert built.notes["classes"] == ("ant", "bee", "cat")
    for label, levels in enumerate(((0, 150), (50, 250), (100, 200))):
        for side, level in enumerate(levels):
            drawn = batch(built.sources[side], 0, side, 0, 3, labels=[label])
            np.testing.assert_allclose(127.5 * (drawn + 1), np.full((3, 16), level), atol=1e-3)


def test_names_of_classes_stay_with_a_run_and_its_model(tmp_path, capsys):
    p, q = (folder_of(tmp_path / side, **{"2": 0, "10": 90, "11": 200}) for side in "pq")
    run, config = tmp_path / "run", pictures_run(p, q, 3)
    runs.train(run, config, progress=False)
    models.export(run, tmp_path / "model")
    for place in (run, tmp_path / "model"):
        trained = models.load(place)
        assert trained.class_names == ("2", "10", "11")
        assert models.labels_of(trained, "10", 2).tolist() == [1, 1]
        assert models.labels_of(trained, 2, 1).tolist() == [0]  # where names are numbers, a number is a name
        with pytest.raises(ValueError, match="one of the classes of this run, 2, 10, 11, got 'cat'"):
            models.labels_of(trained, "cat", 1)
        with pytest.raises(ValueError, match="2, 10, 11, got 0"):
            models.labels_of(trained, 0, 1)
        assert loading.class_names(place) == ("2", "10", "11")
        with pytest.raises(SystemExit):
            cli.main(["generate", str(place), "--help"])
        assert "(default: all classes: 2, 10, 11)" in " ".join(
            capsys.readouterr().out.replace("│", "").split()
        )
    assert "| classes | 2, 10, 11 |" in (tmp_path / "model" / "README.md").read_text()
    report = models.evaluate(run, features="none", samples=4, round_trip=0)
    assert report["classes"] == ["2", "10", "11"]
    assert "\nclasses 2, 10, 11\n" in reports.summary(report)
    cli.main(["generate", str(run), "--count", "2", "--output", str(tmp_path / "out"), "--label", "11"])
    assert "to one of" not in capsys.readouterr().err
    # the data may not change their classes under a run, and held-out samples may lack one
    (tmp_path / "p" / "2").rename(tmp_path / "p" / "12")
    (tmp_path / "q" / "2").rename(tmp_path / "q" / "12")
    with pytest.raises(ValueError, match=r"the run in .* was trained on"):
        runs.train(run, replace(config, steps=3), progress=False)
    with pytest.raises(ValueError, match=r"the model was trained on the classes 2, 10, 11, in this order"):
        models.evaluate(tmp_path / "model", source=p, target=q, features="none", samples=4)


def test_names_that_are_words_may_also_be_given_by_number():
    trained = models.Trained(run_of(2), RECIPE, LINEAR, None, (2,), 0.0, class_names=("ant", "bee"))
    for label, number in (("bee", 1), (1, 1), ("0", 0), (None, -1)):
        assert models.labels_of(trained, label, 1).tolist() == [number]
    for label in ("cat", 2, "-1", "9" * 5000):
        with pytest.raises(ValueError, match="one of the classes of this run, ant, bee, got"):
            models.labels_of(trained, label, 1)


def test_a_run_from_before_names_keeps_its_classes_unless_their_order_has_changed(tmp_path):
    specs = [folder_of(tmp_path / side, **{"2": 0, "10": 90}) for side in "pq"]
    pair = build.sources(configs.Data(*specs))
    assert pair[0].class_names == ("2", "10")
    with pytest.raises(
        ValueError, match=r"the run was trained on the classes 10, 2, in this order, and .* 2, 10"
    ):
        build.check_classes(configs.Data(*specs), pair, None, "the run")
    build.check_classes(configs.Data(*specs), pair, ["2", "10"], "the run")
    for side in "pq":
        (tmp_path / side / "2").rename(tmp_path / side / "02")
    build.check_classes(configs.Data(*specs), build.sources(configs.Data(*specs)), None, "the run")


def test_labels_from_one_make_no_empty_class(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(40.0)[:, None], labels=np.arange(40) % 3 + 1)
    source, test = (open_source(f"npz:{path}:x", split=split) for split in ("all", "test"))
    assert source.class_names == test.class_names == ("1", "2", "3")
    assert [one.size for one in source.classes] == [14, 13, 13]
    assert set(batch(source, 0, 0, 0, 9, labels=[0]).ravel() % 3) == {
        0.0
    }  # label 1 is that of rows 0, 3, ...


def test_an_empty_class_is_an_error(tmp_path):
    p, q = (folder_of(tmp_path / side, ant=0, bee=50) for side in "pq")
    names = [f"bee/{k}.png" for k in range(12)]
    for name, held in zip(names, split_by_name(names, "test", 0.3), strict=True):
        if not held:
            (tmp_path / "p" / name).unlink()
    with pytest.raises(ValueError, match=rf"samples of {p} hold none of the class bee"):
        build.run(pictures_run(p, q, 2))
