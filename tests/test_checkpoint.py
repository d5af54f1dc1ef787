import contextlib
import errno
import json
import os
import resource
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from efm_jax import checkpoint
from efm_jax._core import files, trees
from efm_jax.checkpoint import CheckpointError, latest, restore, save
from efm_jax.training import adam, init_state
from efm_jax.types import Network


class Odd(NamedTuple):
    """A state with a leaf of every kind."""

    step: Any
    tree: Any


def odd_state(step=5, seed=0):
    rng = np.random.default_rng(seed)
    floats = rng.integers(0, 2**32, 300, dtype=np.uint32).view(
        np.float32
    )  # any bits: NaN payloads, subnormals
    floats[:3] = [-0.0, np.inf, np.nan]
    tree = {
        "any.bits": jnp.array(floats),
        "large": jnp.array(rng.normal(size=(600, 450)).astype(np.float32)),
        "half": [jnp.arange(7, dtype=jnp.bfloat16), jnp.ones((2, 3), jnp.float16)],
        "empty": jnp.zeros((0, 4)),
        "flags": (jnp.array([True, False]), jnp.array(True)),
        "whole": jnp.arange(-3, 3, dtype=jnp.int8),
        "key": jax.random.key(seed),
        "keys": jax.random.split(jax.random.key(seed, impl="rbg"), 3),
        "raw/key": jax.random.PRNGKey(seed),
        "nothing": None,
    }
    return Odd(jnp.array(step, jnp.int32), tree)


def small_state(step=0, fill=0.0, width=3, optimizer=None):
    network = Network(
        lambda key: {"w": jnp.full((width, 2), float(fill))}, lambda params, points, **_: points
    )
    state = init_state(jax.random.key(0), network, optimizer or adam())
    return state._replace(step=jnp.array(step, jnp.int32))


def plain(leaf):
    return np.asarray(jax.random.key_data(leaf) if trees.is_key(leaf) else leaf)


def assert_same_bits(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert plain(a).tobytes() == plain(b).tobytes()


def files_of(folder):
    return sorted(path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())


# --- what goes in comes out


@pytest.mark.smoke
def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path):
    state = odd_state()
    meta = {"config": {"width": 64, "shape": (3, 2), "data": tmp_path, "name": None}, "position": 2**53 - 1}
    path = save(tmp_path, state, meta=meta)
    got, again = restore(tmp_path, odd_state(seed=9))
    assert_same_bits(got, state)
    assert path == tmp_path / "000000005"
    versions = again.pop("versions")
    assert again == {
        "config": {"width": 64, "shape": [3, 2], "data": str(tmp_path), "name": None},
        "position": 2**53 - 1,
    }
    assert versions["jax"] == jax.__version__
    assert {"python", "efm_jax", "orbax-checkpoint", "optax", "flax", "numpy"} <= versions.keys()
    # the keys draw what they would have drawn
    for name in ("key", "keys"):
        a, b = ((s.tree[name] if s.tree[name].ndim == 0 else s.tree[name][1]) for s in (got, state))
        np.testing.assert_array_equal(jax.random.normal(a, (4,)), jax.random.normal(b, (4,)))


def test_numpy_leaves_of_64_bits_come_back_bit_for_bit(tmp_path):
    wide = np.array([2**40 + 1, -7])
    tree = {
        "a": np.array([0.1, 0.2]),
        "b": jnp.array([1.0, 2.0, 3.0]),
        "c": wide,
        "d": np.full((600, 450), 0.1),
    }
    state = Odd(jnp.array(5), tree)
    save(tmp_path, state, meta={})
    assert_same_bits(restore(tmp_path, state)[0], state)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    assert_same_bits(restore(tmp_path, shapes)[0], state)


def test_restores_into_shapes_alone_and_onto_the_devices_of_like(tmp_path):
    state = small_state(3, 1.5)
    save(tmp_path, state, meta={})
    got, _ = restore(tmp_path, jax.eval_shape(lambda: state))
    assert_same_bits(got, state)
    placed = jax.device_put(state, jax.devices()[0])
    got, _ = restore(tmp_path, placed)
    assert all(leaf.committed for leaf in jax.tree.leaves(got))
    # and what is not pinned to a device stays so: a pinned state would be compiled for again
    got, _ = restore(tmp_path, state)
    assert not any(leaf.committed for leaf in jax.tree.leaves(got))


def test_arrays_go_by_their_paths_whatever_the_order(tmp_path):
    """As when fields of a class change places between saving and restoring."""
    large = np.full((600, 450), 4.0, np.float32)  # not joined with others
    saved = OrderedDict(w2=jnp.full(2, 2.0), large=large, w1=jnp.full(2, 1.0), key=jax.random.key(3))
    save(tmp_path, Odd(jnp.array(0), saved), meta={})
    zeros = OrderedDict(w1=jnp.zeros(2), key=jax.random.key(0), w2=jnp.zeros(2), large=jnp.zeros((600, 450)))
    for like in (zeros, dict(zeros)):
        got, _ = restore(tmp_path, Odd(jnp.array(0), like))
        assert_same_bits(got.tree, type(like)({name: saved[name] for name in like}))


@jax.tree_util.register_pytree_with_keys_class
class Twins:
    """Two leaves of one path."""

    def __init__(self, a, b):
        self.a, self.b = a, b

    def tree_flatten_with_keys(self):
        key = jax.tree_util.GetAttrKey("x")
        return ((key, self.a), (key, self.b)), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"step": 3}, "an attribute `step`, a whole number >= 0, got a dict without it"),
        (Odd(-1, {}), r"got state\.step = -1"),
        (Odd(jnp.array(1.5), {}), r"got state\.step = .*1\.5"),
        (Odd(np.arange(2), {}), r"got state\.step = .*\[0, 1\]"),
        (Odd(0, Twins(jnp.ones(2), jnp.zeros(2))), r"two leaves of state have the path 'tree\.x'"),
    ],
)
def test_states_that_could_not_be_found_again_are_refused(tmp_path, state, told):
    with pytest.raises(ValueError, match=told):
        save(tmp_path / "new", state, meta={})
    assert not (tmp_path / "new").exists()


def test_only_arrays_and_json_are_written(tmp_path):
    path = save(tmp_path, small_state(1), meta={"a": 1})
    assert {part.parts[0] for part in files_of(path)} == {"arrays", "checkpoint.json"}
    record = json.loads((path / "checkpoint.json").read_text())["body"]
    assert record["step"] == 1
    assert ["params['w']", [3, 2], "float32"] in record["leaves"]


def test_the_newest_few_are_kept(tmp_path):
    assert latest(tmp_path / "none") is None
    for step in (1, 2, 10, 30, 4000):
        save(tmp_path, small_state(step, step), meta={"n": step}, keep=3)
        assert latest(tmp_path) == step
    assert sorted(files.find(tmp_path)) == [10, 30, 4000]
    assert sorted(os.listdir(tmp_path)) == ["000000010", "000000030", "000004000"]
    state, meta = restore(tmp_path, small_state(), step=30)
    assert (int(state.step), meta["n"], float(state.params["w"][0, 0])) == (30, 30, 30.0)
    with pytest.raises(
        CheckpointError,
        match=r"no checkpoint of step 20 in .*; its checkpoints are of steps \[10, 30, 4000\]",
    ):
        restore(tmp_path, small_state(), step=20)


def test_a_checkpoint_of_an_earlier_step_is_kept(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path, small_state(step), meta={}, keep=3)
    path = save(tmp_path, small_state(5), meta={}, keep=3)
    assert path.is_dir()
    assert sorted(files.find(tmp_path)) == [5, 20, 30]
    save(tmp_path, small_state(6), meta={}, keep=1)
    assert sorted(files.find(tmp_path)) == [6]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    for fill in (1.0, 2.0):
        save(tmp_path, small_state(7, fill), meta={"fill": fill})
    state, meta = restore(tmp_path, small_state())
    assert meta["fill"] == float(state.params["w"][0, 0]) == 2.0
    assert os.listdir(tmp_path) == ["000000007"]


# --- damage


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def scramble(path):
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(0, len(data), 5):
        data[place] ^= 0x55
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [truncate, scramble, empty, Path.unlink], ids=lambda f: f.__name__)
def test_damage_to_any_file_is_seen_and_the_older_checkpoint_taken(tmp_path, harm):
    whole = tmp_path / "whole"
    for step in (1, 2):
        save(whole, small_state(step, step), meta={"n": step})
    inside = [name for name in files_of(whole / "000000002") if (whole / "000000002" / name).stat().st_size]
    assert len(inside) > 4
    for name in inside:
        folder = tmp_path / "copy"
        shutil.copytree(whole, folder)
        harm(folder / "000000002" / name)
        with pytest.warns(UserWarning, match=r"000000002.* Fell back to the checkpoint of step 1\."):
            state, meta = restore(folder, small_state())
        assert (int(state.step), meta["n"], float(state.params["w"][0, 0])) == (1, 1, 1.0)
        with pytest.raises(CheckpointError, match="000000002"):
            restore(folder, small_state(), step=2)
        shutil.rmtree(folder)


def test_when_all_are_damaged_each_is_named(tmp_path):
    for step in (1, 2):
        save(tmp_path, small_state(step), meta={})
        truncate(tmp_path / f"00000000{step}" / "checkpoint.json")
    said = r"none of the checkpoints in .* can be read: .*000000002.*000000001.* from a copy"
    with pytest.raises(CheckpointError, match=said):
        restore(tmp_path, small_state())


def test_a_number_changed_by_hand_is_seen(tmp_path):
    path = save(tmp_path, small_state(1), meta={"seed": 1}) / "checkpoint.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(CheckpointError, match="was changed since it was written"):
        restore(tmp_path, small_state())


def test_foreign_folders_are_explained(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*; train first"):
        restore(tmp_path, small_state())
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        restore(tmp_path / "not there", small_state())
    save(tmp_path / "checkpoints", small_state(1), meta={})
    with pytest.raises(CheckpointError, match=r"did you mean .*checkpoints\?"):
        restore(tmp_path, small_state())
    (tmp_path / "100").mkdir()
    (tmp_path / "100" / "weights.bin").write_bytes(b"1234")
    with pytest.raises(
        CheckpointError, match=r"100 has no checkpoint.json: damaged, or not written by efm_jax"
    ):
        restore(tmp_path, small_state())
    assert latest(tmp_path) is None


@pytest.mark.parametrize(
    ("like", "said"),
    [
        (
            lambda: small_state(width=4),
            r"another network or .*: expected params\['w'\]: float32\[4, 2\], got float32\[3, 2\]; .*more",
        ),
        (
            lambda: small_state(optimizer=optax.sgd(0.1)),
            r"expected nothing at opt_state.*mu\['w'\].*config\.json",
        ),
        (
            lambda: small_state()._replace(key=jax.random.key(0, impl="rbg")),
            r"expected key: key<rbg>\[\], got key<fry>\[\]",
        ),
        (
            lambda: small_state()._replace(params={"w": jnp.zeros((3, 2), jnp.bfloat16)}),
            r"expected params\['w'\]: bfloat16\[3, 2\], got float32\[3, 2\]",
        ),
    ],
    ids=["shape", "optimizer", "key", "dtype"],
)
def test_a_checkpoint_of_another_network_is_no_damage_but_an_error(tmp_path, like, said):
    for step in (1, 2):
        save(tmp_path, small_state(step), meta={})
    with pytest.raises(CheckpointError, match=said):
        restore(tmp_path, like())


def test_a_format_of_the_future_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_FORMAT", 3)
    save(tmp_path, small_state(1), meta={})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 3, expected 2; read it with the version that wrote it"):
        restore(tmp_path, small_state())


def test_the_first_format_is_read(tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    def write(path, arrays):
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="process0"
        )
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as writer:
            writer.save(path.absolute(), args=ocp.args.StandardSave(arrays))
        wrote.append(set(arrays))

    wrote, state = [], odd_state()
    monkeypatch.setattr(checkpoint, "_FORMAT", 1)
    monkeypatch.setattr(checkpoint, "_write_arrays", write)
    monkeypatch.setattr(trees, "_SMALL", 200)  # the key of 300 floats was stored under its path
    save(tmp_path, state, meta={})
    monkeypatch.undo()
    assert "tree['any.bits']" in wrote[0]
    restored, _ = restore(tmp_path, jax.tree.map(jnp.zeros_like, state))
    assert_same_bits(restored, state)


def test_trained_numbers_are_not_compressed(tmp_path):
    """Compression takes as long as all the rest of a save, and random mantissas hardly shrink."""
    state = small_state(1, width=100_000)
    path = save(tmp_path, state, meta={})
    written = sum((path / name).stat().st_size for name in files_of(path))
    # all numbers are zero: compressed, they would be gone
    assert written >= sum(leaf.nbytes for leaf in jax.tree.leaves(state))


# --- writers that fail or die


@contextlib.contextmanager
def file_size_limit(size):
    """Let no file grow beyond `size` bytes: what a full disk does, by the same path through the system."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# Orbax's threads may still report to an event loop that their failure has closed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("size", [0, 300, 20_000])
def test_a_full_disk_leaves_the_older_checkpoints(tmp_path, size):
    for step in (1, 2):
        save(tmp_path, odd_state(step), meta={})
    before = files_of(tmp_path)
    with (
        file_size_limit(size),
        pytest.raises(OSError, match=r"step 3 could not be .*untouched \(steps: 1, 2\)"),
    ):
        save(tmp_path, odd_state(3), meta={}, keep=1)
    assert files_of(tmp_path) == before
    state, _ = restore(tmp_path, odd_state())
    assert_same_bits(state, odd_state(2))
    save(tmp_path, odd_state(3), meta={})
    assert latest(tmp_path) == 3


def test_no_space_left_is_told_as_such(tmp_path, monkeypatch):
    save(tmp_path, small_state(1), meta={})

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_write_arrays", full)
    with pytest.raises(OSError, match=r"No space left on device: .* takes up to .* MB") as caught:
        save(tmp_path, small_state(2), meta={})
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == ["000000001"]


def test_dying_at_any_rename_or_delete_loses_nothing(tmp_path, monkeypatch):
    """A writer that dies at its n-th rename, for all n, with a checkpoint of the same step there before."""
    rename, outcomes = Path.rename, []
    for fatal in range(10):
        folder = tmp_path / str(fatal)
        for step, fill in ((1, 1.0), (2, 2.0)):
            save(folder, small_state(step, fill), meta={})
        calls = []

        def dying(path, target, calls=calls, fatal=fatal):
            calls.append(path)
            if len(calls) > fatal:
                raise KeyboardInterrupt
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", dying)
        with contextlib.suppress(KeyboardInterrupt):
            save(folder, small_state(2, 3.0), meta={}, keep=1)
            outcomes.append("done")
        monkeypatch.undo()
        state, _ = restore(folder, small_state())
        assert int(state.step) == 2
        outcomes.append(float(state.params["w"][0, 0]))
        save(folder, small_state(5), meta={}, keep=1)
        assert os.listdir(folder) == ["000000005"]
        if "done" in outcomes:
            break
    assert outcomes[0] == outcomes[1] == 2.0  # before the new one was in place, the old one is found
    assert outcomes[-1] == 3.0
    assert "done" in outcomes


def test_what_a_dead_writer_left_is_passed_over_and_swept(tmp_path):
    save(tmp_path, small_state(1), meta={})
    shutil.copytree(tmp_path / "000000001", tmp_path / ".000000002.123.tmp")
    assert latest(tmp_path) == 1
    save(tmp_path, small_state(3), meta={})
    assert sorted(os.listdir(tmp_path)) == ["000000001", "000000003"]


def test_meta_and_keep_are_checked_before_anything_is_written(tmp_path):
    for meta, said in (
        ({"x": np.ones(2)}, "meta must hold only what JSON can"),
        ({"x": float("nan")}, "NaN"),
    ):
        with pytest.raises(ValueError, match=said):
            save(tmp_path / "new", small_state(), meta=meta)
    for keep in (0, 2.5):
        with pytest.raises(ValueError, match=f"keep must be a whole number >= 1, got {keep}"):
            save(tmp_path / "new", small_state(), meta={}, keep=keep)
    assert not (tmp_path / "new").exists()


# --- the tools below


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "config.json"
    files.write_json(path, {"a": 1})
    with file_size_limit(10), pytest.raises(OSError, match="File too large"):
        files.write_text(path, "x" * 1000)
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["config.json"]
    files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}


def test_damaged_folders_are_set_aside_but_not_lost(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, small_state(step), meta={})
    files.set_aside(tmp_path, newer_than=1)
    assert latest(tmp_path) == 1
    assert sorted(os.listdir(tmp_path)) == ["000000001", "000000002.damaged", "000000003.damaged"]


def test_trees_that_differ_are_told_in_words():
    a = trees.leaves({"x": jnp.ones(2), "y": jnp.ones(3)})
    b = trees.leaves({"x": jnp.ones(2), "z": 1.0})
    assert trees.difference(a, a) is None
    assert trees.difference(a, b) == (
        "expected ['y']: float32[3], got none there; expected nothing at ['z'], got ['z']: float32[]"
    )
