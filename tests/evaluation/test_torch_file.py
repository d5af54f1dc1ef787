"""Files of weights: every tensor as it was saved, and nothing run whatever the file says."""

import pickle
import zipfile

import numpy as np
import pytest
import torch_files as files

from efm_jax.evaluation.features import read_tensors


def write(tmp_path, content: bytes):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("layout", [files.old, files.zipped])
@pytest.mark.parametrize("dtype", sorted(files.KINDS))
def test_tensors_come_back_as_saved(tmp_path, layout, dtype):
    rng = np.random.default_rng(0)
    arrays = {
        "block.0.weight": rng.integers(0, 100, (2, 3, 4)).astype(dtype),
        "turned": rng.integers(0, 100, (3, 4)).astype(dtype).T,  # torch keeps a transposed tensor's strides
        "scalar": np.asarray(7, dtype),
        "nothing": np.zeros((0, 3), dtype),
    }
    got = read_tensors(write(tmp_path, files.saved(arrays, layout)))
    assert list(got) == list(arrays)
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)


def test_views_of_one_storage_and_a_state_dict_inside(tmp_path):
    data = np.arange(12, dtype="f4")
    inner = files.tree(
        {
            "rows": files.tensor("0", "f4", 12, 2, (2, 3), (6, 1)),
            "spread": files.tensor("0", "f4", 12, 0, (4, 3), (0, 5)),  # an expanded tensor: stride 0
            "count": files.number(3),
        }
    )
    body = b"\x80\x02}" + files.text("state_dict") + inner[2:-1] + b"s."
    got = read_tensors(write(tmp_path, files.old(body, {"0": data})))
    assert sorted(got) == ["rows", "spread"]
    np.testing.assert_array_equal(got["rows"], [[2, 3, 4], [8, 9, 10]])
    np.testing.assert_array_equal(got["spread"], [[0, 5, 10]] * 4)


class Trap:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("layout", [files.old, files.zipped])
def test_nothing_in_the_file_is_run(tmp_path, protocol, layout):
    trap = tmp_path / "sprung"
    body = pickle.dumps({"weight": Trap(trap)}, protocol)
    with pytest.raises(ValueError, match=r"weights\.pth cannot be read as torch weights"):
        read_tensors(write(tmp_path, layout(body, {})))
    assert not trap.exists()
    pickle.loads(body)["weight"].close()  # the trap is a real one
    assert trap.exists()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"\x80\x02cbuiltins\neval\n(" + files.text("1") + b"tR.", "'builtins eval', which is not needed"),
        (b"\x80\x02cbuiltins\neval\n.", "asks for .builtins eval., which is not needed"),
        (b"\x80\x02}" + files.text("a") + b"K\x01s.", "no tensors by name"),
        (b"\x80\x02}((ttK\x01s.", "belongs"),  # a key other than text
        (b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.", "belongs"),  # hashing it would overflow the stack
        (
            b"\x80\x02})" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(99)) + b"K\x01s.",
            "belongs",
        ),  # 2^99 parts
        (b"\x80\x02}r\xff\xff\xff\xff.", "no tensors by name"),  # a memo of 2^32 places
        (b"\x80\x02\x82\x01.", "a pickle instruction that no file of weights needs"),
        (b"\x80\x02c__builtin__\ndict\n)\x81.", "asks for '__builtin__ dict'"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "it calls 'torch FloatStorage'"),
        (b"\x80\x02ccollections\nOrderedDict\n}b.", "belongs"),  # setting what the name remembers
        (b"\x80\x02cos\nsystem\n}b.", "asks for .os system., which is not needed"),
        (files.tree({"a": files.tensor("0", "f4", 4, 0, (10**9, 10**9), (0, 0))}), "does not fit"),
        (files.tree({"a": files.tensor("0", "f4", 4, 1, (4,), (1,))}), "does not fit"),
        (files.tree({"a": files.tensor("0", "f4", 4, 0, (4,), (-1,))}), "cannot be"),
        (files.tree({"a": files.tensor("0", "f4", 4, 0, (2, 2), (1,))}), "cannot be"),
        (files.tree({"a": files.tensor("0", "f4", 2**31 - 1, 0, (4,), (1,))}), "cut short"),
    ],
)
def test_files_that_lie_are_refused(tmp_path, body, told):
    with pytest.raises(ValueError, match=told):
        read_tensors(write(tmp_path, files.old(body, {"0": np.zeros(4, "f4")})))


def test_a_zip_that_unpacks_to_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        body = files.tree({"a": files.tensor("0", "f4", 10**6, 0, (10**6,), (1,))})
        archive.writestr("weights/data.pkl", body)
        archive.writestr("weights/data/0", bytes(4 * 10**6))
    with pytest.raises(ValueError, match="it is compressed, which torch does not do"):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        read_tensors(tmp_path / "gone.pth")


@pytest.mark.parametrize("layout", [files.old, files.zipped])
def test_damage_is_an_error_that_names_the_file(tmp_path, layout):
    good = files.saved({"a": np.arange(6, dtype="f4"), "b": np.ones((2, 2), "f4")}, layout)
    rng = np.random.default_rng(0)
    cuts = [good[:end] for end in range(0, len(good) - 1, 7)]
    for content in cuts:
        with pytest.raises(ValueError, match=r"weights\.pth cannot be read"):
            read_tensors(write(tmp_path, content))
    for _ in range(
        150
    ):  # a flipped byte may hit a number or a name, which nothing can see; it must not do anything else
        content = bytearray(good)
        content[rng.integers(len(good))] = rng.integers(256)
        try:
            assert read_tensors(write(tmp_path, bytes(content)))
        except ValueError as error:
            assert "weights.pth cannot be read" in str(error)  # noqa: PT017
