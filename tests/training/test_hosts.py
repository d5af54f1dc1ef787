"""Two processes that talk over loopback train as one device does, keep one folder, and stop together."""

import json
import os
import re
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from parallel_cases import (
    CHARGES,
    COMMAND,
    STEPS,
    finite_source,
    fit,
    folder_options,
    numbers,
    parallel_options,
    start,
)
from PIL import Image
from test_devices import run_program

from efm_jax import checkpoint, cli, datasets
from efm_jax.datasets.opening import Options, opened
from efm_jax.datasets.source import Choice, chosen
from efm_jax.runs import _fit as runs
from efm_jax.runs import read_config
from efm_jax.training import _watch, hosts

PROGRAM = Path(__file__).parents[1] / "support" / "_hosts.py"


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])


def together(programs: list, patience: float) -> list[str]:
    """What two processes say; both are ended where one does not come to its end."""
    try:
        return [program.communicate(timeout=patience)[0] for program in programs]
    finally:
        for program in programs:
            program.kill()


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_compilation")]


@pytest.fixture(scope="module")
def folder(made_once):
    """The folder that two hosts have worked in, with a run of one device for them to go on with."""

    def work(folder):
        fit(folder / "parts", 2)
        (folder / "pictures").mkdir()
        rng = np.random.default_rng(0)
        for k in range(300):
            pixels = rng.integers(0, 256, (1, 2), np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / f"{k:03d}.png")
        port = free_port()
        output = together([run_program(PROGRAM, folder, str(i), port) for i in range(2)], 600)
        assert all((folder / f"told {i}.json").exists() for i in range(2)), "\n".join(output)

    return made_once("hosts", work)


@pytest.fixture(scope="module")
def told(folder):
    return [json.loads((folder / f"told {i}.json").read_text()) for i in range(2)]


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return numbers(fit(tmp_path_factory.mktemp("one") / "run"))


def test_two_hosts_compute_what_one_device_does(folder, one_device):
    got = [np.load(folder / f"straight {i}.npy") for i in range(2)]
    np.testing.assert_array_equal(*got)
    assert np.abs(one_device - numbers(start())).max() > 0.03
    # means over 32 points in four parts, magnified by Adam where a gradient is all but zero; see test_devices
    np.testing.assert_allclose(got[0], one_device, atol=1e-4)


def test_each_host_reads_and_holds_its_own_share(told):
    for index in range(2):
        assert told[index]["straight"]["read"] == [8]  # of batches of 16, at every step
        assert told[index]["straight"]["rows"] == [8 * index, 16]
        assert (
            told[index]["straight"]["held"] == [[3, 1024]] * 2
        )  # of a split state, on each of its two devices


def test_one_host_writes(folder, told):
    assert [told[i]["wrote"] for i in range(2)] == [True, False]
    assert [told[i]["straight"]["saved"] for i in range(2)] == [[2, 4, 6], []]
    assert [line["step"] for line in runs.read_log(folder / "straight")] == [2, 4, 6]
    state, meta = checkpoint.restore(folder / "straight" / "checkpoints", start())
    np.testing.assert_array_equal(numbers(state), np.load(folder / "straight 0.npy"))
    assert meta["data_position"] == STEPS


def test_a_run_moves_from_one_device_to_two_hosts_and_back(folder, told, one_device):
    assert [told[i]["parts"]["step"] for i in range(2)] == [4, 4]
    np.testing.assert_allclose(numbers(fit(folder / "parts")), one_device, atol=1e-4)


def test_a_signal_to_one_host_stops_both_at_one_step_and_saves(folder, told, one_device):
    said = [told[i]["a_signal"]["said"] for i in range(2)]
    (step,) = {checkpoint.latest(folder / "signal" / "checkpoints")}
    assert 1 <= step <= 5  # batch 4 is drawn up to two steps ahead, and a wish is heard a step later
    assert all(words.startswith("SystemExit: 143") for words in said)
    assert f"Stopped at step {step} of 50; all is saved in {folder / 'signal'}" in said[0]
    assert "saved" not in said[1]
    np.testing.assert_allclose(numbers(fit(folder / "signal")), one_device, atol=1e-4)


def test_time_that_is_over_on_one_host_stops_both(folder, told):
    said = [told[i]["the_clock"]["said"] for i in range(2)]
    step = checkpoint.latest(folder / "clock" / "checkpoints")
    assert 1 <= step <= 4
    assert f"done | 1e+06 seconds are over at step {step} of 50" in said[0]
    assert said[1] == "done | "


def test_hosts_with_other_options_are_told_what_differs(told):
    for index in range(2):
        said = told[index]["other_options"]["said"]
        assert "ValueError: processes 0 and 1 were given different runs:" in said
        assert (
            "config.a: 0 on process 0, 1 on process 1\n  fit.seed: 5 on process 0, 6 on process 1\n" in said
        )


def test_what_fails_on_the_first_host_ends_all(told):
    for work, error, words in (
        ("a_full_disk", "OSError", "No space left on device: the checkpoint of step 2 could not be written"),
        ("another_run", "ValueError", "has another config:\n  a: 1 in the run, 2 now"),
    ):
        said = [told[i][work]["said"] for i in range(2)]
        assert said[0].startswith(f"{error}: ")
        assert said[1].startswith(f"ValueError: process 0 could not go on: {error}: ")
        assert all(words in word for word in said)


def test_hosts_without_a_mesh_over_all_of_them_are_refused(told):
    for index in range(2):
        assert "2 processes need a mesh over all their devices" in told[index]["no_mesh"]["said"]
        assert "devices must be all 4 of the 2 hosts, got 2" in told[index]["no_mesh"]["few"]


def test_what_hosts_tell_each_other_arrives_as_it_was(told):
    for index in range(2):
        got = told[index]["texts"]
        assert got["everyones"] == ["x", "éx"]
        sent = np.array(
            [-0.0, np.nan, 1e-42], np.float32
        )  # a sum over hosts would lose the sign and subnormals
        assert got["given"] == sent.view(np.uint32).tolist()
        assert got["key"] == jax.random.key_data(jax.random.key(0)).tolist()
        assert got["polls"] == [0, 3, 2, 7]  # the answer to the question before; the last at once


def test_the_command_trains_on_two_hosts(folder, tmp_path):
    cli.main(["train", *COMMAND, "--run", str(tmp_path / "one")])
    assert read_config(folder / "command") == read_config(tmp_path / "one")
    assert checkpoint.latest(folder / "command" / "checkpoints") == 4
    losses = [runs.read_log(run)[-1]["loss"] for run in (folder / "command", tmp_path / "one")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # means over 16 points, 4 steps, float32


@pytest.mark.parametrize("index", [0, 1])
def test_a_host_opens_the_files_of_its_own_rows_alone(folder, told, index):
    """Each as often as it is drawn; besides, 64 files tell which data they are, and the first the size."""
    config = read_config(folder / "on demand")
    seed, held_out = config["seed"], config["data"]["held_out"]
    options = Options(gray=True, held_out=held_out, cache="none")  # rows are those of all files
    source = opened(f"folder:{folder / 'pictures'}", options)
    half = CHARGES // 2
    rows = [chosen(source, seed, 1, step, CHARGES)[0] for step in range(4)]
    own = Counter(f"{k:03d}.png" for row in rows for k in row[half * index :][:half])
    files = Counter(told[index]["pictures_on_demand"]["opened"])
    assert own <= files
    beside = files - own
    assert beside.total() == 64 + 1
    assert beside["000.png"] == 1 + 1


def test_hosts_that_decode_when_they_draw_have_the_losses_of_one_process(folder, tmp_path):
    options = folder_options(folder / "pictures", "memory")
    cli.main(["train", *COMMAND, *options, "--run", str(tmp_path / "one")])
    losses = [runs.read_log(run)[-1]["loss"] for run in (folder / "on demand", tmp_path / "one")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # means over 16 points, 4 steps, float32


# --- reading one's own rows


@pytest.mark.parametrize("name", ["array", "pictures", "mirrored", "digits", "law"])
def test_shares_of_a_batch_are_the_batch(name):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (50, 4, 4, 3), np.uint8)
    source = {
        "array": lambda: datasets.from_array(rng.normal(size=(50, 3))),
        "pictures": lambda: datasets.from_pictures(pictures),
        "mirrored": lambda: datasets.from_pictures(pictures, flip=True),
        "digits": lambda: datasets.colored(pictures[..., 0], size=6),
        "law": lambda: datasets.toys.moons(),
    }[name]()
    whole = datasets.batch(source, 3, 1, 7, 24)
    shares = [datasets.batch(source, 3, 1, 7, 24, rows=slice(start, start + 8)) for start in (0, 8, 16)]
    np.testing.assert_array_equal(np.concatenate(shares), whole)
    assert isinstance(source.draw, Choice) is (name != "law")


def test_of_a_finite_set_only_the_share_is_read():
    read = []
    datasets.batch(finite_source(0.0, read=read), 0, 0, 0, 24, rows=slice(8, 12))
    assert read == [4]


# --- joining


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((None, 2, 0), "need a coordinator: HOST:PORT of process 0, or 'auto'"),
        (("here:1", None, 0), "coordinator 'here:1' needs processes and process_index, got None and 0"),
        (("here:1", 2, 2), "process_index must be from 0 to 1 for 2 processes, got 2"),
    ],
)
def test_options_that_do_not_go_together_are_named(given, said):
    with pytest.raises(ValueError, match=said):
        hosts.join(*given)


ALONE = """
import sys
from efm_jax import cli
from efm_jax.training import hosts
hosts._JOINING = 3
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("index", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_host_whose_partner_never_comes_says_so(index, tmp_path):
    (tmp_path / "alone.py").write_text(ALONE)
    port = free_port()
    arguments = ["train", *COMMAND, *parallel_options(index, port), "--run"]
    program = run_program(tmp_path / "alone.py", tmp_path / "run", *arguments)
    output, _ = program.communicate(timeout=120)
    said = [line for line in output.splitlines() if line.startswith("efm: ")]
    assert said == [f"efm: not all 2 joined at localhost:{port} within 3 s."], output
    assert program.returncode == 1
    assert not (tmp_path / "run").exists()


def test_more_devices_than_there_are_is_a_mistake_of_the_command(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", *COMMAND, "--run", str(tmp_path / "run"), "--parallel.devices", "99"])
    assert stop.value.code == 2
    assert "devices must be between 1 and " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# --- minutes


EFM = "import sys; from efm_jax import cli; cli.main(sys.argv[1:])"


def command(index: int, port: str, folder: Path, *options: str):
    """`efm train` as one of two processes."""
    program = folder / "efm.py"
    program.write_text(EFM)
    arguments = ["train", *options, *parallel_options(index, port), "--run"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return run_program(program, folder / f"run{index}", *arguments)


@pytest.mark.slow
def test_the_first_host_reports_while_the_other_waits(tmp_path):
    options = [option for option in COMMAND if option != "--no-report"]
    options += ["--sampling.samples", "64", "--sampling.steps", "5"]
    port = free_port()
    programs = [command(i, port, tmp_path, *options) for i in range(2)]
    output = together(programs, 600)
    assert [program.returncode for program in programs] == [0, 0], output
    assert json.loads((tmp_path / "run0" / "report.json").read_text())["step"] == 4
    assert not (tmp_path / "run1").exists()
    assert "pictures" in output[0]
    assert "training in" not in output[1]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL 0", "SIGKILL 1", "SIGSTOP 0", "SIGSTOP 1"])
def test_a_host_that_dies_or_stops_ends_the_other_within_a_minute(tmp_path, how):
    name, victim = how.split()
    port = free_port()
    options = [*COMMAND, "--steps", "1000000"]
    programs = [command(i, port, tmp_path, *options) for i in range(2)]
    checkpoints = tmp_path / "run0" / "checkpoints"
    try:
        began = time.monotonic()
        while checkpoint.latest(checkpoints) is None and time.monotonic() - began < 300:
            time.sleep(0.5)
        time.sleep(2 * _watch.EVERY)  # the sign of life that tells of it
        programs[int(victim)].send_signal(getattr(signal, name))
        began = time.monotonic()
        output = programs[1 - int(victim)].communicate(timeout=120)[0]
        seconds = time.monotonic() - began
    finally:
        for program in programs:
            program.kill()
    assert seconds < 60
    assert programs[1 - int(victim)].returncode == 1
    last = output.strip().splitlines()[-1]
    assert last.startswith(f"efm: process {victim} ({programs[int(victim)].pid} on ")
    assert re.search(r"is gone: .* The checkpoint of step \d+ is kept in ", last)


@pytest.mark.slow
def test_an_error_on_one_host_ends_the_other_too(tmp_path):
    """Data that only one host lacks: the other must not wait for ever, and learns why."""
    np.save(tmp_path / "some.npy", np.zeros((64, 2), np.float32))
    port = free_port()
    sources = [tmp_path / "some.npy", tmp_path / "none.npy"]
    programs = [command(i, port, tmp_path, *COMMAND, "--data.source", f"npy:{sources[i]}") for i in range(2)]
    output = together(programs, 240)
    assert all(program.returncode != 0 for program in programs), output
    assert "none.npy" in output[1]
    assert re.search(
        r"efm: process 1 \(.*\) failed: FileNotFoundError: there is no file .*none\.npy", output[0]
    )
