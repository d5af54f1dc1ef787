"""Runs on tables: names and ranges kept from the file to the model and back to a file, logarithms and densities right."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from efm_jax import cli, models, training
from efm_jax.datasets import identity, spaces, split_mask, tables
from efm_jax.datasets.source import Columns
from efm_jax.datasets.tables import Reading
from efm_jax.models import _card, apply, build, configs, reports, suggestions, table_output
from efm_jax.models.model import Trained, transport
from efm_jax.models.suggestions import _pacing
from experiments.single_cells import cells

pytest.importorskip("h5py")
pytest.importorskip("pyarrow")

SHORT = [
    "--steps",
    "30",
    "--network.width",
    "16",
    "--network.depth",
    "1",
    "--recipe.charges",
    "32",
    "--no-progress",
]
SHORT += [
    "--recipe.num-points",
    "32",
    "--sampling.samples",
    "40",
    "--sampling.steps",
    "4",
    "--optimizer.warmup",
    "5",
]
SHORT += ["--recipe.coupling", "field_lines"]


def people(path, count, shift, seed=0):
    """A table of a text column and three numbers of different sizes, one column before the text and two behind it."""
    rng = np.random.default_rng(seed)
    x = np.stack(
        [
            rng.normal(40 + shift, 9, count),
            rng.lognormal(10 + shift / 20, 0.4, count),
            rng.normal(0, 1, count),
        ]
    )
    lines = [f"{age:.2f},p{k},{income:.0f},{score:.3f}" for k, (age, income, score) in enumerate(x.T)]
    path.write_text("\n".join(["age,name,income,score", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on two csv files, in their folder."""
    folder = tmp_path_factory.mktemp("tables")
    a, b = people(folder / "A.csv", 120, 0), people(folder / "B.csv", 100, 8, 1)
    cli.main(["train", str(a), str(b), "--drop-text", "--run", str(folder / "run"), *SHORT])
    return folder / "run"


@pytest.mark.smoke
def test_a_table_comes_back_under_its_names(run, tmp_path, capsys):
    source = tables.read(run.parent / "A.csv", Reading(drop_text=True))
    models.export(run, tmp_path / "model")
    results = {}
    for place, ending in ((run, "csv"), (tmp_path / "model", "h5ad"), (run, "parquet")):
        out = tmp_path / f"out.{ending}"
        cli.main(["translate", str(place), "--input", str(run.parent / "A.csv"), "--output", str(out)])
        results[ending] = tables.read(out, Reading(columns=source.columns), others=True)
    said = capsys.readouterr().out
    assert (
        "Read A.csv: 120 rows, 3 columns of numbers (age, income, score); left out: 1 column not chosen (name)"
        in said
    )
    assert "Copied as they are: name" in said
    assert "Saved 120 rows to" in said
    expected = np.asarray(transport(models.load(run), source.x).end)[:, :-1]
    for table in results.values():
        assert table.columns == ("age", "income", "score")
        # the run's average is what is exported: the same numbers but for the order of float32 sums
        np.testing.assert_allclose(table.x, expected, rtol=1e-4, atol=1e-3)
        assert table.others["name"].tolist() == [f"p{k}" for k in range(120)]
        assert set(table.others["arrived"].astype(str)) <= {"true", "True"}
    # csv and parquet keep the order of the input, h5ad has its numbers in X and the rest in obs
    first = (tmp_path / "out.csv").read_text().partition("\n")[0]
    assert first.replace('"', "") == "age,name,income,score,arrived"
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_schema(tmp_path / "out.parquet").names == [
        "age",
        "name",
        "income",
        "score",
        "arrived",
    ]
    cli.main(
        ["translate", str(run), "--input", str(tmp_path / "out.parquet"), "--output", str(tmp_path / "2.csv")]
    )
    again = (tmp_path / "2.csv").read_text().partition("\n")[0]
    assert again.replace('"', "") == "age,name,income,score,input_arrived,arrived"


def test_the_card_names_the_columns_and_its_program_takes_a_dataframe(run, tmp_path):
    pandas = pytest.importorskip("pandas")
    card = (models.export(run, tmp_path / "shared") / "README.md").read_text()
    assert (
        "SAMPLES.csv, or a parquet or h5ad file, has the columns `age`, `income`, `score`, in any order."
        in card
    )
    program = card.partition("```python\n")[2].partition("```")[0]
    frame = pandas.read_csv(run.parent / "A.csv")
    names = {"x": frame[["score", "name", "income", "age"]]}
    exec(program.replace('"shared"', repr(str(tmp_path / "shared"))), names)
    inputs = tables.read(run.parent / "A.csv", Reading(drop_text=True))
    wanted = transport(models.load(run), inputs.x).end[:, :-1]
    np.testing.assert_allclose(names["y"][[*inputs.columns]], wanted, rtol=1e-5)  # one compiled program
    wide = {"config": {"data": {"source": "h5ad:a", "target": "h5ad:a"}}}
    wide["columns"] = {"names": [f"gene{k}" for k in range(2000)]}
    assert "`gene7`, 1,992 more (`config.json` lists all), in any order." in _card._inputs(wide, (2000,))


def test_a_report_says_where_a_file_holds_other_rows_than_were_learned(run, tmp_path):
    shutil.copy(run.parent / "A.csv", tmp_path / "moved.csv")
    people(tmp_path / "A.csv", 30, 50)
    for name, held_out in (("moved.csv", True), ("A.csv", False)):
        source = f"csv:{tmp_path / name}"
        scores = reports.evaluate(run, samples=10, round_trip=0, source=source)["maps"]
        assert [one["held_out"] for one in scores.values()] == [held_out, True]


def test_new_rows_are_drawn_from_the_data_of_the_model_alone(run, tmp_path, monkeypatch, capsys):
    model = models.export(run, tmp_path / "shared" / "mine")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    people(Path("A.csv"), 30, 50)
    before = Path("A.csv").read_bytes()
    for name in (model, run):
        if name == run:
            monkeypatch.setattr(identity, "digest", lambda spec: "another")
        with pytest.raises(SystemExit) as stop:
            cli.main(["generate", str(name), "--count", "5", "--output", "new.csv"])
        told = capsys.readouterr().err
        assert stop.value.code == 2
        assert told.startswith(f"efm: {name} was trained on other data than csv:")
        assert (
            f"\nGive rows: `efm translate {name} --input FILE.csv --output OUT.csv`, or put its own" in told
        )
        with pytest.raises(ValueError, match=r"^the model was trained on other data than csv:"):
            models.load(name).generate(5)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "work")
    assert (os.listdir(), Path("A.csv").read_bytes()) == (["A.csv"], before)
    assert "<img" not in models.load(model)._repr_html_()
    shutil.copy(run.parent / "A.csv", "A.csv")
    cli.main(["generate", str(model), "--count", "20", "--output", "new.csv"])
    held = int(split_mask(120, "test", 0.2).sum())
    assert f"Drew from {held} held-out samples of A.csv\n" in capsys.readouterr().out
    rows = tables.read("new.csv", Reading(columns=("age", "income", "score"))).x
    assert len(np.unique(rows, axis=0)) == 20
    with pytest.raises(ValueError, match=rf"at most {held}, the held-out samples of csv:A\.csv, got 99\."):
        models.load(model).generate(99)


def test_the_report_has_a_plane_and_a_row_for_each_column(run):
    report = json.loads((run / "report.json").read_text())
    page = (run / "report.html").read_text()
    for scores, name in zip(report["maps"].values(), ("forward", "backward"), strict=True):
        assert [row["name"] for row in scores["columns"]] == ["age", "income", "score"]
        assert (run / "pictures" / f"{name}_pca.png").stat().st_size > 1000
        # of columns in units of their deviation: in plain units incomes make it thousands
        assert scores["wasserstein2"]["inputs"] < 5
        assert scores["round_trip"]["of_others"] < 5
        assert scores["round_trip"]["value"] < 5
    assert page.count('<table class="columns">') == 2
    assert "efm translate" in page
    assert "SAMPLES.csv --output OUT.csv" in page
    test = tables.read(run.parent / "A.csv", Reading(drop_text=True)).x
    held = test[split_mask(120, "test", 0.2)]
    forward = next(iter(report["maps"].values()))["columns"]
    np.testing.assert_allclose([row["inputs"]["mean"] for row in forward], held.mean(axis=0), rtol=1e-5)


def test_results_are_cut_to_the_range_of_the_data_where_asked_for(run, tmp_path, capsys):
    real = tables.read(run.parent / "B.csv", Reading(drop_text=True)).x
    command = ["translate", str(run), "--input", str(run.parent / "A.csv"), "--output"]
    cli.main([*command, str(tmp_path / "plain.csv")])
    assert "lie outside it; --clip cuts them to it" in capsys.readouterr().out
    cli.main([*command, str(tmp_path / "clipped.csv"), "--clip"])
    plain, clipped = (
        tables.read(tmp_path / f"{name}.csv", Reading(columns=("age", "income", "score"))).x
        for name in ("plain", "clipped")
    )
    low, high = real.min(axis=0), real.max(axis=0)  # the range of the training part lies in that of all
    assert ((plain < low) | (plain > high)).any()
    assert ((clipped >= low) & (clipped <= high)).all()
    inside = (plain == clipped).mean()
    assert 0.3 < inside < 1.0


def test_tables_that_cannot_be_written_or_read_are_refused_first(run, tmp_path, capsys):
    def told(*options: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main(["translate", *options])
        assert stop.value.code == 2
        return capsys.readouterr().err

    a, out = str(run.parent / "A.csv"), str(tmp_path / "out.csv")
    assert "is the input and would be overwritten" in told(
        str(run), "--input", a, "--output", a, "--overwrite"
    )
    (tmp_path / "out.csv").touch()
    assert "exists.\nGive another file" in told(str(run), "--input", a, "--output", out)
    (tmp_path / "few.csv").write_text("age,income\n1,2\n")
    few = str(tmp_path / "few.csv")
    assert "no column 'score'" in told(str(run), "--input", few, "--output", str(tmp_path / "new.csv"))
    np.save(tmp_path / "x.npy", np.zeros((2, 2), np.float32))
    moons = told("moons", "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "new.csv"))
    assert "have no names.\nGive a folder as output" in moons
    assert "--clip is for tables" in told(
        str(run), "--input", a, "--output", str(tmp_path / "folder"), "--clip"
    )


@pytest.mark.parametrize("drop", ["no", "columns"])
def test_values_that_the_input_misses_are_told_with_options_that_there_are(drop, run, tmp_path):
    model = shutil.copytree(run, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config["data"]["table"]["drop_missing"] = drop
    (model / "config.json").write_text(json.dumps(config))
    holed = tmp_path / "holed.csv"
    holed.write_text("age,income,score\n30,1e4,0\n,2e4,1\n")
    with pytest.raises(ValueError, match="misses values in 1 of 2 rows, in age") as told:
        apply.translate(str(model), holed, tmp_path / "out.csv")
    assert str(told.value).splitlines()[1] == (
        "Fill them in, or train without these rows, --drop-missing rows, or columns, --drop-missing columns."
    )


def test_columns_of_the_input_with_the_names_of_ours_are_kept(run, tmp_path):
    lines = (run.parent / "A.csv").read_text().splitlines()[:3]
    rows = ["arrived,input_arrived", "mon,1", "tue,2"]
    (tmp_path / "in.csv").write_text("".join(f"{a},{b}\n" for a, b in zip(lines, rows, strict=True)))
    for ending in ("csv", "h5ad"):
        saved = apply.translate(run, tmp_path / "in.csv", tmp_path / f"out.{ending}")
        others = tables.read(saved.folder, Reading(drop_text=True), others=True).others
        assert others["input_input_arrived"].tolist() == ["mon", "tue"]
        assert set(others["arrived"].astype(str)) <= {"true", "false", "True", "False"}
        assert "Column arrived of the input is called input_input_arrived" in saved.told
    numbers = tables.read(tmp_path / "out.csv", Reading(columns=("input_arrived",)))
    assert numbers.x.ravel().tolist() == [1.0, 2.0]


def test_learned_columns_with_the_names_of_ours_are_refused_in_one_table(run):
    trained = models.load(run)
    named = trained._replace(columns=(None, Columns(("age", "arrived", "score"))))
    with pytest.raises(
        ValueError,
        match=r"out.csv would have two columns arrived: .*\nGive a folder as output, or an .h5ad file",
    ):
        table_output.check("out.csv", named, [], overwrite=False)
    table_output.check("out.h5ad", named, [], overwrite=False)


def test_columns_are_matched_by_name_and_others_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n" + "0,10\n" * 4)
    (tmp_path / "b.csv").write_text("y,x\n" + "11,1\n" * 4)
    data = configs.Data(f"csv:{tmp_path}/a.csv", f"csv:{tmp_path}/b.csv")
    pair = build.sources(data)
    assert [source.columns.names for source in pair if source.columns] == [("x", "y")] * 2
    assert pair[1].columns == Columns(("x", "y"), (1.0, 11.0), (1.0, 11.0))
    (tmp_path / "b.csv").write_text("y,z\n" + "11,1\n" * 4)
    with pytest.raises(
        ValueError, match=r"a.csv has 1 column that the other table lacks \(x\).\nLearn .*: --columns y"
    ):
        build.sources(data)


def test_one_table_with_both_sides_says_which_values_it_has(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_pacing, "_timed", lambda *_: suggestions.Timing(1.0, 0.01))
    path = tmp_path / "all.csv"
    path.write_text("dose,x,y\n" + "".join(f"{'low' if k % 3 else 'high'},{k % 7},{k}\n" for k in range(90)))
    for options in (["--by", "dose"], ["--by", "dose", "--from", "low"]):
        with pytest.raises(SystemExit):
            cli.main(["suggest", str(path), *options])
        assert "The values of dose are high (30), low (60)" in capsys.readouterr().err
    cli.main(["suggest", str(path), "--by", "dose", "--from", "low", "--to", "high", "--steps", "200"])
    said = capsys.readouterr().out
    assert "P        all.csv, dose = low: 60 of 90 rows, 2 columns of numbers (x, y)" in said
    assert "Q        all.csv, dose = high: 30 of 90 rows" in said
    assert "dose=high has 30 samples" in said


def genes(path, count=200, of=2000):
    """Counts of many genes in two states, 100 of which are more active in the second one."""
    rng = np.random.default_rng(0)
    state = np.arange(count) % 2
    rate = rng.lognormal(-1, 1.5, of) * np.where(np.arange(of) < 100, 1 + 3 * state[:, None], 1)
    names = [f"gene{k}" for k in range(of)]
    return tables.write(path, rng.poisson(rate), names, {"state": np.where(state == 0, "before", "after")})


def test_counts_of_many_genes_are_learned_as_components_of_their_logarithms(tmp_path):
    path = genes(tmp_path / "cells.h5ad")
    found = suggestions.suggest(*(f"h5ad:{path}:state={state}" for state in ("before", "after")))
    assert (found.run.data.components, found.run.data.log1p, found.shape) == (50, True, (2000,))
    ages = [np.random.default_rng(0).integers(18, 90, (200, 3)).astype(np.float32)]
    for name, x in (("a", ages[0]), ("b", ages[0] - 50)):
        np.save(tmp_path / f"{name}.npy", x)
    assert not suggestions.suggest(tmp_path / "a.npy", tmp_path / "b.npy").run.data.log1p


@pytest.mark.slow
def test_two_thousand_genes_from_file_to_file(tmp_path):
    path = genes(tmp_path / "cells.h5ad")
    pair = [f"h5ad:{path}:state={state}" for state in ("before", "after")]
    cli.main(
        [
            "train",
            str(path),
            "--by",
            "state",
            "--from",
            "before",
            "--to",
            "after",
            "--run",
            str(tmp_path / "run"),
            *SHORT,
        ]
    )
    out = tmp_path / "out.h5ad"
    cli.main(
        [
            "translate",
            str(tmp_path / "run"),
            "--input",
            pair[0],
            "--output",
            str(out),
            "--clip",
            "--limit",
            "20",
        ]
    )
    table = tables.read(out, others=True)
    assert table.columns == tuple(f"gene{k}" for k in range(2000))
    assert table.x.min() >= 0.0  # clipped to counts that are there
    assert table.others["state"].tolist() == ["before"] * 20
    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["maps"]) == 2


@pytest.mark.parametrize("kind", tables.KINDS)
def test_a_model_of_a_layer_reads_any_table_with_its_columns(tmp_path, kind):
    x = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    names = [f"X_pca{k}" for k in range(1, 51)]
    given, out = tables.write(tmp_path / f"a.{kind}", x, names), tmp_path / f"out.{kind}"
    apply.translate("cells", given, out)
    mapped = tables.read(out, Reading(columns=tuple(names))).x
    ends = transport(models.load("cells"), x).end
    np.testing.assert_allclose(
        mapped, np.asarray(ends)[:, :-1], rtol=1e-5
    )  # csv keeps the shortest text of a float32


@pytest.mark.slow
def test_the_cells_of_scanpy(tmp_path, capsys):
    try:
        path = cells.find()
    except FileNotFoundError:
        pytest.skip("there is no scanpy")
    sides = ["--by", "bulk_labels", "--from", "CD14+ Monocyte", "--to", "Dendritic", "--layer", "obsm/X_pca"]
    cli.main(["train", str(path), *sides, "--run", str(tmp_path / "run"), *SHORT])
    said = capsys.readouterr().out
    assert "bulk_labels = CD14+ Monocyte: 129 of 700 rows, 50 columns of numbers (X_pca1, X_pca2," in said
    out = str(tmp_path / "out.csv")
    cli.main(
        [
            "translate",
            str(tmp_path / "run"),
            "--input",
            f"h5ad:{path}:bulk_labels=CD14+ Monocyte",
            "--output",
            out,
        ]
    )
    table = tables.read(out, Reading(drop_text=True), others=True)
    assert table.columns[:50] == tuple(f"X_pca{k}" for k in range(1, 51))
    assert table.others["bulk_labels"].tolist() == ["CD14+ Monocyte"] * 129


def model_of_one_number(source: str, **data) -> Trained:
    """An untrained field from noise to one number, of a run that learns it by units and logarithm."""
    config = configs.Run(
        data=configs.Data(source, "csv:x.csv", **data),
        recipe=configs.CFM(),
        network=configs.Network(kind="mlp", width=16, depth=2),
        sampling=configs.Sampling(solver="midpoint", steps=30),
    )
    config = configs.complete(config)
    network = build.network(config, (1,))
    params = network.init(jax.random.key(3))
    params = jax.tree.map(lambda leaf: 2.0 * leaf, params)  # bends the lines more than a new network does
    state = training.init_state(jax.random.key(0), network, build.optimizer(config.optimizer, 10))
    state = state._replace(params=params, ema=params)
    space = None
    if config.data.in_space:
        one = np.ones(1, np.float32)
        space = spaces.Space(1.5 * one, np.eye(1, dtype=np.float32), 0.5 * one, config.data.log1p)
    names = (None, Columns(("x",)))
    return Trained(config, build.lines_recipe(config.recipe), network, state, (1,), 0.0, space, None, names)


@pytest.mark.parametrize(
    ("source", "data"),
    [("gaussian:1", {}), ("noise", {"standardize": True}), ("noise", {"standardize": True, "log1p": True})],
    ids=["plain", "units", "logarithm"],
)
def test_densities_integrate_to_one_whatever_the_field_is(source, data):
    trained = model_of_one_number(source, **data)
    # the ends of lines from -6 .. 6 deviations of the noise: all of the density but 2e-9
    ends = np.asarray(transport(trained, np.array([[-6.0], [6.0]], np.float32)).end)[:, 0]
    x = np.linspace(*sorted(ends), 4001, dtype=np.float32)
    density = np.exp(trained.log_likelihood(x[:, None]))
    # float32 lines, and a trapezoid of 4,000 parts: 1e-3; without the units' factor it is 0.5
    assert abs(np.trapezoid(density, x) - 1.0) < 3e-3
    draws = np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
    mapped = np.asarray(transport(trained, draws).end)[:, 0]
    # the mean of what is drawn is that of the density, to four standard errors
    assert abs(np.trapezoid(density * x, x) - mapped.mean()) < 4 * mapped.std() / 4000**0.5


def test_a_row_whose_line_met_nan_is_written_without_a_density(tmp_path):
    trained = model_of_one_number("noise", standardize=True)
    x = np.array([[0.5], [-0.5]], np.float32)
    lines = transport(trained, x)
    lost = lines._replace(end=lines.end.at[1, 0].set(np.nan), arrived=lines.arrived.at[1].set(False))
    table_output.save(tmp_path / "out.csv", trained, x, lost, reverse=False)
    first, second = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert "nan" not in first.lower()
    assert "true" in first
    assert "false" in second


def test_there_is_no_density_where_none_is_known(run):
    trained = models.load(run)
    with pytest.raises(ValueError, match="whose density is not known; train from `noise`"):
        trained.log_likelihood(np.zeros((2, 3), np.float32))
    noisy = model_of_one_number("noise", standardize=True)
    labeled = replace(noisy.config, network=replace(noisy.config.network, classes=2))
    with pytest.raises(ValueError, match="its field is one of classes"):
        noisy._replace(config=labeled).log_likelihood(np.zeros((2, 1), np.float32))


@pytest.mark.slow
def test_noise_to_a_table_writes_densities_with_the_rows(tmp_path, capsys):
    a = people(tmp_path / "A.csv", 120, 0)
    cli.main(["train", "noise", str(a), "--drop-text", "--run", str(tmp_path / "run"), *SHORT])
    cli.main(["generate", str(tmp_path / "run"), "--count", "9", "--output", str(tmp_path / "new.csv")])
    cli.main(
        [
            "translate",
            str(tmp_path / "run"),
            "--reverse",
            "--input",
            str(a),
            "--output",
            str(tmp_path / "back.csv"),
        ]
    )
    said = capsys.readouterr().out
    assert "Column log_likelihood: natural log of the density of the result" in said
    assert "Column log_likelihood: natural log of the density of the input" in said
    trained = models.load(tmp_path / "run")
    for name, rows in (("new", 9), ("back", 120)):
        table = tables.read(
            tmp_path / f"{name}.csv", Reading(columns=("age", "income", "score", "log_likelihood"))
        )
        assert table.x.shape == (rows, 4)
    x = tables.read(a, Reading(drop_text=True)).x
    np.testing.assert_allclose(table.x[:, 3], trained.log_likelihood(x), rtol=1e-4)


def test_the_logarithm_is_undone_by_its_inverse():
    x = np.array([[0.0, 3.0, -2.0], [1e6, 0.5, 7.0]], np.float32)
    space = spaces.identity(3)._replace(log1p=True)
    np.testing.assert_allclose(space.encode(x)[x >= 0], np.log1p(x[x >= 0]), rtol=1e-6)
    np.testing.assert_allclose(space.decode(space.encode(x)), x, rtol=3e-6)  # float32 exp of numbers up to 14
    assert not spaces.of_noise(space).log1p
