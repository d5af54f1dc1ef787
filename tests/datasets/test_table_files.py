"""Tables: the same numbers from every kind of file, names kept, what cannot be learned named, no more read than needed."""

import csv
import os
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import sparse

from efm_jax.datasets import batch, open_source, tables
from efm_jax.datasets.identity import absolute, digest
from efm_jax.datasets.tables import Reading
from efm_jax.evaluation import page

h5py = pytest.importorskip("h5py")
pa = pytest.importorskip("pyarrow")

NAMES = [f"g{k}" for k in range(12)]
KINDS = np.asarray(["drug", "control", "control"] * 20)


def counts() -> sparse.csr_array:
    """Numbers [60, 12], one in five of them above zero."""
    return sparse.random_array(
        (60, 12), density=0.2, format="csr", dtype=np.float32, rng=np.random.default_rng(0)
    )


def h5ad(path, kind="dense", matrix=None, *, names=None):
    """A file as anndata writes it, of today's layout or, `old`, as before 2020."""
    matrix = counts() if matrix is None else matrix
    names = [f"g{k}" for k in range(matrix.shape[1])] if names is None else names
    labels = np.resize(KINDS, matrix.shape[0])
    with h5py.File(path, "w") as file:
        if kind in ("csr", "csc", "old"):
            stored, group = matrix.asformat("csr" if kind == "old" else kind), file.create_group("X")
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(stored, part)
            today = {"encoding-type": f"{kind}_matrix", "shape": stored.shape}
            before = {"h5sparse_format": "csr", "h5sparse_shape": stored.shape}
            group.attrs.update(before if kind == "old" else today)
        else:
            file["X"] = matrix.toarray() if sparse.issparse(matrix) else matrix
        if kind == "old":
            obs = np.zeros(len(labels), [("index", "S8"), ("treatment", "i1")])
            obs["index"], obs["treatment"] = [f"r{k}" for k in range(len(labels))], labels == "drug"
            var = np.zeros(len(names), [("index", "S8")])
            var["index"] = names
            file["obs"], file["var"] = obs, var
            file["uns/treatment_categories"] = np.array([b"control", b"drug"])
            return path
        file["obs/_index"] = [f"r{k}" for k in range(len(labels))]
        file["obs/treatment/codes"], file["obs/treatment/categories"] = (
            (labels == "drug").astype("i1"),
            ["control", "drug"],
        )
        file["var/names"] = names
        file["var"].attrs["_index"] = "names"
    return path


def written(path, kind):
    """The counts in a file of a kind, by a writer that is not the package's."""
    x = counts().toarray()
    if kind == "csv":
        with open(path, "w", newline="") as file:
            out = csv.writer(file)
            out.writerow([*NAMES, "treatment"])
            out.writerows([*map(repr, row.tolist()), label] for row, label in zip(x, KINDS, strict=True))
    elif kind == "parquet":
        from pyarrow import parquet

        table = pa.table({**dict(zip(NAMES, x.T, strict=True)), "treatment": KINDS})
        parquet.write_table(table, path, row_group_size=7)
    else:
        h5ad(path, kind)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "dense", "csr", "csc", "old"])
def test_every_kind_of_file_gives_the_same_rows_and_columns(tmp_path, kind):
    ending = kind if kind in ("csv", "parquet") else "h5ad"
    path = written(tmp_path / f"a.{ending}", kind)
    x = counts().toarray()
    whole = tables.read(path, Reading(drop_text=True))
    np.testing.assert_array_equal(whole.x, x)
    assert whole.columns == tuple(NAMES)
    part = tables.read(f"{ending}:{path}:treatment=drug", Reading(columns=("g7", "g0", "g11")), others=True)
    np.testing.assert_array_equal(part.x, x[KINDS == "drug"][:, [7, 0, 11]])
    assert part.columns == ("g7", "g0", "g11")
    assert part.others["treatment"].tolist() == ["drug"] * 20
    assert part.told.startswith(
        f"a.{ending}, treatment = drug: 20 of 60 rows, 3 columns of numbers (g7, g0, g11); left out: 9 "
    )
    with pytest.raises(
        ValueError, match=r"no row with treatment = 'none'.\nIts values are control \(40\), drug \(20\)"
    ):
        tables.read(f"{path}:treatment=none")
    with pytest.raises(ValueError, match="no column 'treatmnt'; did you mean 'treatment'"):
        tables.read(f"{path}:treatmnt=drug")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "h5ad"])
def test_what_is_written_is_read_back(tmp_path, ending):
    x, others = counts().toarray() / 3, {"index": KINDS, "of": np.arange(60)}
    path = tables.write(tmp_path / f"new/a.{ending}", x, NAMES, others)
    found = tables.read(path, Reading(columns=tuple(NAMES)), others=True)
    np.testing.assert_array_equal(found.x, x)  # float32 is written with all its digits
    assert {name: [*values] for name, values in found.others.items() if name in others} == {
        "index": [*KINDS],
        "of": [*range(60)],
    }


TEXT = "id,name,age,income\n1,Ann,30,1e3\n2,Bob,40,\n3,Cy,50,2e3\n"


@pytest.mark.parametrize(
    ("text", "reading", "says"),
    [
        (TEXT, {}, r"1 column without numbers \(name\).\nLeave such columns out with --drop-text, .*id age inc"),
        (TEXT, {"drop_text": True}, r"misses values in 1 of 3 rows, in income.\nFill .* --drop-missing rows"),
        (TEXT, {"columns": ("age", "name")}, "no numbers in name"),
        ("a,b\n1,2\nmany,3\n", {"columns": ("a", "b")}, r"has values that are no numbers in a.\nCorrect them, or choose"),
        (TEXT, {"columns": ("age", "incom")}, "no column 'incom'; did you mean 'income'?"),
        (TEXT, {"columns": ("age", "age")}, "different ones"),
        (TEXT, {"layer": "raw/X"}, "no layers"),
        ("1,2\n3,4\n", {}, r"begins with a line of numbers: 1, 2.\nWrite the names"),
        ("a,a\n3,4\n", {}, "several columns of one name: a"),
        ("a,b\n", {}, "no rows"),
        ("a,b\nx,y\n", {"drop_text": True}, "no column of numbers: a, b"),
        ("a,b\n1,2\n3\n", {}, "no readable csv file"),
        ("", {}, "no readable csv file"),
        ("a,b\n1,inf\n", {}, "misses values in 1 of 1 rows, in b"),
        ("a,b\n1,1e300\n", {}, "misses values in 1 of 1 rows, in b"),
        ("a,b\n,1\n,2\n", {"drop_missing": "rows"}, "nothing is left"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_named(tmp_path, text, reading, says):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        tables.read(path, Reading(**reading))


def test_whole_numbers_that_are_rounded_are_told_of(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "id,age,cost,size\n100000001,30,16777216,1.5e12\n16777217,31,50000000,2.345678912345e15\n"
    )
    said = r"in id are rounded, such as 100000001 to 100000000.\n.* --columns age cost size$"
    with pytest.warns(UserWarning, match=said) as told:
        tables.read(path)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables.read(path, Reading(columns=("age", "cost", "size")))


def test_what_is_left_out_is_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("," + TEXT.replace("\n", "\n0,", 3).removesuffix("0,"))
    rows = tables.read(path, Reading(drop_text=True, drop_missing="rows"), others=True)
    assert rows.told == (
        "a.csv: 2 rows, 3 columns of numbers (id, age, income); left out: a column without a name, "
        "1 column without numbers (name), 1 row with missing values (in income)"
    )
    assert rows.x.tolist() == [[1, 30, 1000], [3, 50, 2000]]
    assert rows.others["name"].tolist() == ["Ann", "Cy"]
    columns = tables.read(path, Reading(drop_text=True, drop_missing="columns"))
    assert columns.columns == ("id", "age")
    assert "1 column with missing values (income)" in columns.told


@pytest.mark.parametrize("text", ["a;b\n1;2\n", "a\tb\n1\t2\n", "\ufeffa,b\n1,2\n", '"a","b"\r\n1,2\r\n'])
def test_commas_of_other_kinds_are_found(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    found = tables.read(path)
    assert (found.columns, found.x.tolist()) == (("a", "b"), [[1.0, 2.0]])


def test_a_column_that_begins_with_whole_numbers_may_go_on_otherwise(tmp_path):
    # pyarrow alone takes the kind of a column from the first megabyte
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "1\n" * 700_000 + "2.5\n")
    assert tables.read(path).x[-1, 0] == 2.5


def test_the_rows_of_a_source_are_split_and_its_columns_have_ranges(tmp_path):
    path = written(tmp_path / "a.csv", "csv")
    train, test = (
        open_source(path, split=split, table=Reading(columns=("g0", "g3"))) for split in ("train", "test")
    )
    assert (train.size or 0) + (test.size or 0) == 60
    assert train.columns is not None
    assert train.columns.names == ("g0", "g3")
    x = batch(train, 0, 0, 0, train.size or 0)
    np.testing.assert_array_equal([train.columns.low, train.columns.high], [x.min(axis=0), x.max(axis=0)])


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_of_a_large_file_no_more_is_read_than_needed(tmp_path, kind):
    # 4,000 x 2,000 numbers: 32 MB dense, 13 MB sparse
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((4000, 2000), density=0.2, format="csr", dtype=np.float32, rng=rng)
    path = h5ad(tmp_path / "a.h5ad", kind, matrix)
    few = Reading(columns=("g5", "g6", "g9")) if kind == "csc" else Reading()
    tracemalloc.start()
    found = tables.read(path, few, limit=None if kind == "csc" else 40)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    x = matrix.toarray()
    np.testing.assert_array_equal(found.x, x[:, [5, 6, 9]] if kind == "csc" else x[:40])
    assert most < 3e6  # 40 rows are 320 kB; names of rows and columns some 500 kB


def test_damaged_sparse_rows_are_refused(tmp_path):
    for place, value, says in (
        ("indices", 99, "outside the table"),
        ("indptr", 10**6, "sparse rows are wrong"),
    ):
        path = h5ad(tmp_path / "a.h5ad", "csr")
        with h5py.File(path, "a") as file:
            file["X"][place][-1] = value
        with pytest.raises(ValueError, match=says):
            tables.read(path)


class Trap:
    """What touches a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_nothing_in_a_file_is_run(tmp_path):
    from pyarrow import parquet

    trap = pickle.dumps(Trap(str(tmp_path / "mark")))
    parquet.write_table(
        pa.table({"a": [1.0, 2.0], "b": [trap, trap]}).replace_schema_metadata({"pandas": trap}),
        tmp_path / "a.parquet",
    )
    table = tables.read(tmp_path / "a.parquet", Reading(drop_text=True), others=True)
    assert table.columns == ("a",)
    path = h5ad(tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        file["obs/trap"] = np.asarray([np.void(trap)] * 60)
        file["uns/trap"] = np.void(trap)
    tables.read(path, others=True)
    assert not (tmp_path / "mark").exists()
    pickle.loads(trap)  # it would have
    assert (tmp_path / "mark").exists()


def test_names_of_tables_are_found_wherever_they_lie(tmp_path, monkeypatch):
    path = written(tmp_path / "a.csv", "csv")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.csv").write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert absolute("csv:a.csv:dose=1/2") == f"csv:{path}:dose=1/2"
    assert digest("csv:a.csv:of=x") == digest("csv:b/c.csv:of=x") != digest("csv:a.csv:of=y")
    assert page.short(f"csv:{path}:dose=1/2") == "a.csv:dose=1/2"
    assert open_source("a.csv:treatment=drug", split="all", table=Reading(columns=("g1",))).size == 20


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    path = written(tmp_path / "a.csv", "csv")
    import sys

    monkeypatch.delitem(sys.modules, "efm_jax.datasets._arrow", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ImportError, match=r"csv files need pyarrow, which is not installed.\npip install pyarrow"
    ):
        tables.read(path)


def test_an_h5ad_file_that_lacks_a_part_is_named(tmp_path):
    for part in ("obs/_index", "obs", "var", "X/indptr"):
        path = h5ad(tmp_path / "a.h5ad", "csr")
        with h5py.File(path, "a") as file:
            del file[part]
            if part == "obs/_index":
                del file["obs"]["treatment"]
        with pytest.raises(
            ValueError, match=r"a.h5ad is no readable h5ad file, or it is damaged \(.*\); write it again"
        ):
            tables.read(path)
