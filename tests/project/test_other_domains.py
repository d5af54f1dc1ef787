"""Other domains: the cells are read and parted as said, the torus is a torus, both programs run and go on."""

import dataclasses
import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments._lib import domains as _domains
from experiments._lib import linear_reader as reader
from experiments.point_cloud import __main__ as cloud_program
from experiments.point_cloud import drawing, surfaces
from experiments.point_cloud import run as cloud
from experiments.point_cloud.config import Config as CloudConfig
from experiments.single_cells import __main__ as cells_program
from experiments.single_cells import cells
from experiments.single_cells import run as single
from experiments.single_cells.config import Config as CellsConfig

SMALL = {
    "methods": ("cfm",),
    "seeds": (0,),
    "batch": 8,
    "steps": 20,
    "width": 8,
    "depth": 1,
    "evaluations": 4,
}


def blobs(dim=5, counts=(60, 24, 60), apart=8.0):
    """Three Gaussian types of cells, their middles `apart` sqrt(2) deviations from each other."""
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(3), counts)
    x = rng.standard_normal((len(kind), dim)) + apart * np.eye(3, dim)[kind]
    return cells.Cells(x.astype(np.float32), kind, ("A", "B", "C"))


# --- cells


def test_a_share_of_every_type_is_held_out_and_the_seed_says_which():
    kind = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [129, 8, 240]))
    held = cells.held_out(kind, 3, 1 / 3)
    assert [int(held[kind == k].sum()) for k in range(3)] == [43, 3, 80]
    assert (held == cells.held_out(kind, 3, 1 / 3)).all()
    assert (held != cells.held_out(kind, 4, 1 / 3)).any()


def test_the_parts_of_a_split_are_disjoint_and_all():
    data = blobs()
    part = single.split(CellsConfig(), data, "A", "C", 0)
    for kind, both in ((0, (part.x, part.x_held)), (2, (part.y, part.y_held))):
        rows = np.concatenate(both)
        assert len(np.unique(rows, axis=0)) == len(rows)
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(data.x[data.kind == kind], axis=0))


def test_without_scanpy_the_error_says_how_to_get_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps scanpy.*--file PATH"):
        cells.find()
    # a scanpy without the file
    empty = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: empty)
    with pytest.raises(FileNotFoundError, match=cells.FILE):
        cells.find()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / cells.FILE).touch()
    assert cells.find() == tmp_path / "datasets" / cells.FILE


def test_the_program_ends_with_that_error(tmp_path):
    with pytest.raises(SystemExit, match="no file"):
        cells_program.main(file=tmp_path / "none.h5ad", results=tmp_path)


@pytest.mark.parametrize("layout", ["compound", "groups"])
def test_both_layouts_of_h5ad_are_read(tmp_path, layout):
    h5py = pytest.importorskip("h5py")
    data, path = blobs(), tmp_path / "cells.h5ad"
    with h5py.File(path, "w") as file:
        if layout == "compound":
            obs = np.zeros(len(data.kind), [("index", "S4"), ("bulk_labels", "i1")])
            obs["bulk_labels"] = data.kind
            file["obs"] = obs
            obsm = np.zeros(len(data.kind), [("X_pca", "<f4", (5,))])
            obsm["X_pca"] = data.x
            file["obsm"] = obsm
            file["uns/bulk_labels_categories"] = np.array([b"A", b"B", b"C"])
        else:
            file["obs/bulk_labels/codes"] = data.kind.astype("i1")
            file["obs/bulk_labels/categories"] = ["A", "B", "C"]
            file["obsm/X_pca"] = data.x
    found = cells.read(path)
    np.testing.assert_array_equal(found.x, data.x)
    np.testing.assert_array_equal(found.kind, data.kind)
    assert found.names == data.names
    with h5py.File(path, "w") as file:
        file["obsm/X_umap"] = data.x
    with pytest.raises(ValueError, match="must hold obsm/X_pca and obs/bulk_labels"):
        cells.read(path)


def test_an_unknown_type_is_named_beside_the_known():
    with pytest.raises(ValueError, match="'A', 'B', 'C', got 'D'"):
        blobs().index("D")


# --- the reader of types


def test_the_reader_reads_types_it_was_not_taught_on():
    data = blobs(apart=2.0)
    held = cells.held_out(data.kind, 0, 0.5)
    taught = reader.train(data.x[~held], data.kind[~held], 3, decay=1e-2)
    # the best rule, the nearest middle, errs on 2 Phi(-sqrt 2) = 16 % at most; chance reads a third
    assert np.mean(taught.read(data.x[held]) == data.kind[held]) > 0.7


def test_the_reader_is_where_its_loss_is_flat():
    # of two types at -1 and 1 the weights are (-w, w), and 2 / (1 + e^2w) = 4 decay w, found by bisection
    decay, low, high = 0.05, 0.0, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if 2 / (1 + np.exp(2 * middle)) > 4 * decay * middle else (low, middle)
    x = np.array([[-1.0], [1.0]], np.float32)
    weight = reader.train(x, np.array([0, 1]), 2, decay=decay).weight
    np.testing.assert_allclose(weight, [[-low, low]], atol=1e-3)  # where 500 steps of Adam come to rest


# --- the torus


def test_points_of_the_torus_lie_on_it_evenly():
    x = surfaces.torus(np.random.default_rng(0), 4000, 2.0, 0.7)
    assert surfaces.to_torus(x, 2.0, 0.7).max() < 1e-6  # float32
    # Kolmogorov's distance of 4,000 points exceeds 1.95 / sqrt(n) once in a thousand times
    assert surfaces.unevenness(x, 2.0, 0.7) < 1.95 / 4000**0.5
    # the mean of cos a by the law of the area is tube / (2 ring); four standard errors
    cosine = (np.hypot(x[:, 0], x[:, 1]) - 2.0) / 0.7
    assert cosine.mean() == pytest.approx(0.7 / 4, abs=4 * 0.71 / 4000**0.5)
    assert len(x) == 4000


def test_angles_drawn_evenly_are_uneven_on_the_torus():
    a, b = np.random.default_rng(0).uniform(-np.pi, np.pi, (2, 4000))
    out = 2.0 + 1.0 * np.cos(a)
    x = np.stack([out * np.cos(b), out * np.sin(b), np.sin(a)], 1)
    # the laws differ by tube sin a / (2 pi ring), 1 / 4 pi at most
    assert surfaces.unevenness(x, 2.0, 1.0) == pytest.approx(1 / (4 * np.pi), abs=1.95 / 4000**0.5)


def test_distances_to_the_torus():
    x = np.array([[2.0, 0, 0], [0, 3.0, 0], [0, 0, 0], [2.0, 0, -1.5]])
    np.testing.assert_allclose(surfaces.to_torus(x, 2.0, 0.7), [0.7, 0.3, 1.3, 0.8], atol=1e-12)


def test_the_sphere_has_its_radius_and_no_side():
    x = surfaces.sphere(np.random.default_rng(0), 4000, 2.0)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 2.0, rtol=1e-6)
    assert np.abs(x.mean(0)).max() < 4 * (2 / 3**0.5) / 4000**0.5  # four standard errors


# --- what both share


def test_effort_is_beside_the_best_assignment():
    start = np.array([[0.0], [1.0]])
    crossed = _domains.effort(start, np.array([[3.0], [2.0]]))
    # 9 + 1 against 4 + 4
    assert crossed == {"moved": 2.0, "excess": pytest.approx(0.25)}
    assert _domains.effort(start, start) == {"moved": 0.0, "excess": 0.0}


def test_an_unknown_method_is_named_beside_the_known():
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(ValueError, match="method must be one of efm"):
        _domains.carried(CellsConfig(), "gan", 0, x, x, x)


def test_single_cells_from_cells_to_table_and_on(tmp_path, monkeypatch):
    config, path = CellsConfig(pairs=(("A", "C"),), gap=4.0, scale=1.0, **SMALL), tmp_path / "table.json"
    report = single.table(config, blobs(), path)
    assert [row["way"] for row in report["rows"]] == [*single.PLAIN, "cfm"]
    still, shifted, drawn, carried = report["rows"]
    assert still["moved"] == 0.0
    assert drawn["to_nearest"] == 0.0
    # types of one shape, 8 deviations apart; of 20 cells beside 20 the kernel means differ by a few hundredths
    assert shifted["mmd"] < 0.15 < 0.5 < still["mmd"]
    assert shifted["read_as_target"] == 1.0
    assert (still["read_as_target"], shifted["reader_accuracy"]) == (0.0, 1.0)
    assert carried["evaluations"] == 4
    assert json.loads(path.read_text()) == report

    more = dataclasses.replace(config, methods=("cfm", "cfm_ot"))
    report = single.table(more, blobs(), path)
    assert report["rows"][:4] == [still, shifted, drawn, carried]
    assert [row["way"] for row in report["rows"][4:]] == ["cfm_ot"]
    monkeypatch.setattr(single, "row", lambda *_: pytest.fail("a row was made again"))
    assert single.table(more, blobs(), path)["rows"] == report["rows"]
    with pytest.raises(SystemExit, match="another configuration"):
        single.table(dataclasses.replace(more, steps=40), blobs(), path)


def test_the_cloud_from_config_to_table_and_picture(tmp_path):
    config = CloudConfig(cloud=64, held=50, **SMALL)
    cloud_program.main(config, results=tmp_path)
    rows = json.loads((tmp_path / "point_cloud.json").read_text())["rows"]
    still, fresh, carried = rows
    assert [row["way"] for row in rows] == [*cloud.PLAIN, "cfm"]
    assert fresh["off_surface_95"] < 1e-5 < still["off_surface"]
    assert (fresh["near_surface"], carried["arrived"]) == (1.0, 1.0)
    drawing.draw(config, tmp_path / "torus.png")
    assert (tmp_path / "torus.png").stat().st_size > 5000


def test_a_plan_is_made_once_of_as_many_draws_of_either_set(monkeypatch):
    name = "cfm_plan"
    method, seen = _domains.METHODS[name], []

    def plan(x, y, *, block_size):
        seen.append((x.shape, y.shape, block_size))
        return method.plan(x, y, block_size=block_size)

    monkeypatch.setitem(_domains.METHODS, name, method._replace(plan=plan))
    monkeypatch.setattr(_domains, "PAIRED", 32)
    _domains._built.cache_clear()
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    end, took = _domains.carried(CloudConfig(**SMALL), name, 0, x, x[:7] + 9, x)
    assert seen == [((32, 3), (32, 3), 32)]
    assert (end.shape, took["arrived"]) == ((20, 3), 1.0)


def test_what_is_carried_comes_from_the_seed_alone():
    config = CloudConfig(cloud=64, held=10, **SMALL)
    first, again = cloud.carried(config, "cfm", 0)[0], cloud.carried(config, "cfm", 0)[0]
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - cloud.carried(config, "cfm", 1)[0]).max() > 0.1
