"""A run resumes from another folder, with data elsewhere, with another optimizer if allowed; not with other data."""

import shutil
from dataclasses import replace

import _runs
import jax
import numpy as np
import pytest
from PIL import Image

from efm_jax import checkpoint, cli, models, runs
from efm_jax.models import configs
from efm_jax.runs import reflow_run

CONFIG = configs.Run(
    data=configs.Data("npy:p.npy", "npy:q.npy"),
    recipe=configs.EFM(gap=2.0, charges=8, num_points=8),
    network=configs.Network(kind="mlp", width=4, depth=1),
    optimizer=configs.Optimizer(warmup=0),
    sampling=configs.Sampling(solver="euler", steps=2),
    steps=4,
    save_every=2,
    log_every=2,
)
QUIET = ("--no-report", "--no-progress")

one_build = _runs.one_build  # fixture

pytestmark = pytest.mark.usefixtures("one_build")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two sets of vectors and a run of four steps on them."""
    monkeypatch.chdir(tmp_path)
    for side, name in enumerate("pq"):
        np.save(f"{name}.npy", np.random.default_rng(side).normal(size=(50, 2)).astype(np.float32))
    runs.train("run", CONFIG, progress=False)
    return tmp_path


def weights(run):
    state = models.load(run).state
    return [
        np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((state.params, state.opt_state, state.ema))
    ]


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, *QUIET])
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.smoke
def test_a_run_resumes_from_another_folder_and_with_moved_data_bit_for_bit(place, monkeypatch, capsys):
    shutil.copytree("run", "straight")
    runs.train("straight", replace(CONFIG, steps=8), progress=False)
    whole = weights("straight")

    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    cli.main(["resume", "../run", "--steps", "6", *QUIET])
    assert int(models.load("../run").state.step) == 6

    (place / "p.npy").rename("a.npy")
    (place / "q.npy").rename("b.npy")
    moved = ("--data.source", "npy:a.npy", "--data.target", "npy:b.npy")
    err = refused(capsys, "resume", "../run", "--steps", "8")
    assert "there is no file" in err
    assert "efm resume ../run --data.source SPEC" in err
    cli.main(["resume", "../run", "--steps", "8", *moved, *QUIET])
    assert weights("../run") == whole
    config = runs.read_config("../run")
    assert config["data"]["source"] == f"npy:{elsewhere / 'a.npy'}"
    (line,) = [line for line in runs.read_log("../run") if "changed" in line]
    assert line["step"] == 6
    assert line["changed"]["data.target"] == [f"npy:{place / 'q.npy'}", f"npy:{elsewhere / 'b.npy'}"]
    cli.main(["resume", "../run", "--steps", "9", *QUIET])


def test_other_data_are_refused_whatever_they_are_called(place, capsys):
    before = runs.read_config("run")
    err = refused(capsys, "resume", "run", "--steps", "6", "--data.source", "npy:q.npy")
    assert f"data.source npy:{place / 'q.npy'} holds other data than the run in run was trained on" in err
    x = np.load("q.npy")
    np.save("q.npy", x + 1)
    err = refused(capsys, "resume", "run", "--steps", "6")
    assert "data.target" in err
    assert "holds other data than the run in run was trained on" in err
    np.save("q.npy", np.concatenate([x, x[:1]]))  # of 51 samples, 41 or so are for training
    err = refused(capsys, "resume", "run", "--steps", "6", "--allow-changes")
    assert "was trained on" in err
    assert "samples of data.target" in err
    assert runs.read_config("run") == before
    assert checkpoint.latest("run/checkpoints") == 4


def test_a_run_without_digests_resumes(place, capsys):
    """Runs of older versions: relative paths, no digest."""
    state = models.load("run").state
    meta = checkpoint.read_meta("run/checkpoints")
    del meta["digests"]
    meta["config"]["data"] |= {"source": "npy:p.npy", "target": "npy:q.npy"}
    (place / "run" / "config.json").unlink()
    checkpoint.save("run/checkpoints", state, meta=meta)
    runs.train("run", replace(CONFIG, steps=5), progress=False)
    assert checkpoint.read_meta("run/checkpoints")["digests"].keys() == {"data.source", "data.target"}

    shutil.rmtree("run/checkpoints")
    checkpoint.save("run/checkpoints", state, meta=meta)
    (place / "p.npy").rename("a.npy")
    moved = ("resume", "run", "--steps", "6", "--data.source", "npy:a.npy")
    assert "another config:\n  data.source:" in refused(capsys, *moved)
    cli.main([*moved, "--allow-changes", *QUIET])
    assert int(models.load("run").state.step) == 6


def test_another_optimizer_is_refused_unless_allowed_and_then_recorded(place, capsys):
    other = (
        "resume",
        "run",
        "--steps",
        "6",
        "--optimizer.learning-rate",
        "0.5",
        "--optimizer.ema-decay",
        "0.5",
    )
    err = refused(capsys, *other)
    assert "optimizer.learning_rate: 0.0002 in the run, 0.5 now" in err
    assert "--allow-changes" in err
    before = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(models.load("run").state.params)])
    cli.main([*other, "--allow-changes", *QUIET])
    line = next(line for line in runs.read_log("run") if "changed" in line)
    changed = {"optimizer.learning_rate": [0.0002, 0.5], "optimizer.ema_decay": [0.9999, 0.5]}
    assert line == {"step": 4, "changed": changed}
    after = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(models.load("run").state.params)])
    assert np.abs(after - before).max() > 0.1  # Adam moves by the rate
    # the run is now that of the other optimizer, and says so in every checkpoint
    cli.main(["resume", "run", "--steps", "7", *QUIET])
    assert runs.read_config("run")["optimizer"]["learning_rate"] == 0.5
    # a state of another form, and other settings, are never allowed
    err = refused(
        capsys, "resume", "run", "--steps", "8", "--optimizer.weight-decay", "0.1", "--allow-changes"
    )
    assert "weight decay cannot be switched on or off in a resumed run, got 0.1 after 0.\n" in err
    assert "--init run" in err
    assert "recipe.gap: 2.0 in the run, 3.0 now" in refused(
        capsys, "resume", "run", "--recipe.gap", "3", "--allow-changes"
    )


def test_a_change_survives_a_kill_before_the_next_checkpoint(place):
    """The checkpoint that a change begins from is saved again with it."""
    changed = replace(CONFIG, optimizer=replace(CONFIG.optimizer, learning_rate=0.5), steps=4)
    runs.train("run", changed, progress=False, allow_changes=True)
    assert checkpoint.read_meta("run/checkpoints")["config"]["optimizer"]["learning_rate"] == 0.5
    runs.train("run", replace(changed, steps=6), progress=False)
    assert sum("changed" in line for line in runs.read_log("run")) == 1


def test_a_reflow_resumes_after_its_first_run_has_moved(place, capsys):
    config = reflow_run.of_run("run", steps=2, pairs=8)
    runs.train("again", config, progress=False)
    (place / "run").rename("moved")
    assert "--first FOLDER" in refused(capsys, "resume", "again", "--steps", "3")
    cli.main(["resume", "again", "--steps", "3", "--first", "moved", *QUIET])
    assert int(models.load("again").state.step) == 3
    assert runs.read_config("again")["reflow"]["run"] == str(place / "moved")
    record = place / "moved" / "checkpoints" / "000000004" / "checkpoint.json"
    record.write_text(record.read_text() + " ")  # the same, in other bytes: not the first run that it was
    assert "holds other data" in refused(capsys, "resume", "again", "--steps", "4")


@pytest.mark.slow  # compiles three steps
def test_a_run_goes_on_with_its_pictures_in_a_file_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side, name in enumerate("pq"):
        (tmp_path / name).mkdir()
        for k, pixels in enumerate(np.random.default_rng(side).integers(0, 256, (12, 2, 1, 3), np.uint8)):
            Image.fromarray(pixels).save(f"{name}/{k}.png")
    data = configs.Data("folder:p", "folder:q", cache="memory")
    config = replace(CONFIG, data=data, recipe=replace(CONFIG.recipe, charges=4))
    runs.train("straight", config, progress=False)
    runs.train("run", replace(config, steps=2), progress=False)
    on_disk = replace(config, data=replace(data, cache="./kept"))
    runs.train("run", on_disk, progress=False)
    assert weights("run") == weights("straight")
    assert len(list((tmp_path / "kept").glob("*/pictures.npy"))) == 2
    assert models.load("run").config.data.cache == str(tmp_path / "kept")  # from any folder
    models.export("run", "model")
    assert models.load("model").config.data.cache == "auto"
    for cache, told in (("dsik", "cache must be auto"), ("disk", "is for folder")):
        wrong = replace(config, data=replace(data, cache=cache))
        if cache == "disk":
            wrong = replace(CONFIG, data=replace(CONFIG.data, cache=cache))
        with pytest.raises(ValueError, match=told):
            runs.train("new", wrong, progress=False)
