import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from field_cases import cases
from jax.sharding import AxisType
from reference import coulomb as reference_coulomb
from reference import error_over_tolerance

from efm_jax.charges.plates import Charges, capacitor
from efm_jax.fields import streamed
from efm_jax.parallel import sharded_field, split_charges, streamed_field

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def measured(*names: str) -> dict:
    command = [sys.executable, str(ROOT / "tests" / "support" / "_sharded_field.py"), *names]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    out = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert out.returncode == 0, out.stderr[-2000:]
    return json.loads(out.stdout)


@pytest.fixture(scope="module")
def on_devices(made_once):
    folder = made_once(
        "sharded_field", lambda folder: (folder / "told.json").write_text(json.dumps(measured()))
    )
    return json.loads((folder / "told.json").read_text())


def test_on_eight_devices_it_is_as_exact_as_on_one(on_devices):
    # the tolerance of the dense field, on every kind of case; some need sums in twice the digits across devices
    assert on_devices["battery"]["cases"] > 40
    assert on_devices["battery"]["worst"] <= 1, on_devices["battery"]["over"]


def test_either_axis_may_be_missing(on_devices):
    told = on_devices["axes"]
    assert told["charges"] <= 1
    assert told["points"] <= 1
    assert told["split"]  # a field at points that are split comes back split


def test_every_device_holds_its_share_and_what_is_sent_does_not_grow_with_the_charges(on_devices):
    told = on_devices["axes"]
    assert told["shares"] == [105]  # 420 charges on 4 devices (copied on the 2 of the other axis)
    assert told["charged"] == 420
    # of both plates V [8, 3 + 1] and reference [8], and the greatest length
    assert told["sent"] == 2 * 8 * (4 + 1) + 1


def test_the_gradient_is_that_of_a_float64_reference(on_devices):
    ours, reference = on_devices["slope"]
    assert abs(ours - reference) <= 1e-4 * abs(
        reference
    )  # float32 sums of 42 charges; differences in float64


def test_lines_of_far_plates_do_not_depend_on_the_devices(on_devices):
    # sums of 67 charges in another order, along 33 evaluations of which each may stretch what was rounded by 1 / first
    assert on_devices["far"]["worst"] <= 1e-4
    assert on_devices["far"]["others"] == 0


@pytest.mark.slow
def test_every_mesh_and_convention():
    told = measured("slow")
    gradients = {name: told.pop(name) for name in list(told) if "gradient" in name}
    assert len(told) == 28
    assert max(case["worst"] for case in told.values()) <= 1, told
    # the same float32 sums, associated otherwise
    assert max(max(apart) for apart in gradients.values()) <= 1e-5, gradients


def one_device(*names: str, kind=AxisType.Auto):
    return jax.make_mesh((1,) * len(names), names, axis_types=(kind,) * len(names))


def test_host_arrays_are_split_without_passing_through_one_device(tmp_path):
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    placed = split_charges(Charges(mapped, np.ones(5, np.float32)), one_device("charges"))
    np.testing.assert_array_equal(placed.positions, x)
    np.testing.assert_array_equal(placed.charge, np.ones(5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p, c: sharded_field(p, c, one_device("data")),
            r"charges_over must be an axis of the mesh, one of 'data'",
        ),
        (
            lambda p, c: sharded_field(p, c, one_device("charges"), points_over="charges"),
            r"split over different axes",
        ),
        (
            lambda p, c: sharded_field(p, c, one_device("charges", kind=AxisType.Explicit)),
            r"(?s)must be of AxisType.Auto, got .*axis_types=",
        ),
        (
            lambda p, c: sharded_field(p[:, :-1], c, one_device("charges")),
            r"points must have shape \[\.\.\., 3\]",
        ),
        (
            lambda p, c: sharded_field(p, c, one_device("charges"), convention="both"),
            r"convention must be one of",
        ),
        (lambda p, c: split_charges(c, one_device("charges"), over="c"), r"over must be an axis of the mesh"),
        (
            lambda p, c: split_charges(Charges(c.positions, p), one_device("charges")),
            r"charges must be positions",
        ),
    ],
)
def test_bad_meshes_and_charges_are_refused_with_a_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 3)), capacitor(jnp.zeros((4, 2)), jnp.ones((4, 2)), 2.0))


class Rows:
    """Samples that only give slices of rows, and note how large, and how much the device holds at that time."""

    def __init__(self, x):
        self._x, self.shape = x, x.shape
        self.sizes, self.held = [], []

    def __getitem__(self, rows):
        part = self._x[rows]
        self.sizes.append(len(part))
        self.held.append(sum(array.nbytes for array in jax.live_arrays()))
        return part


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dim", "convention", "budget"), [(2, "superposed", 12_000), (80, "per_plate", 200_000)]
)
def test_streamed_from_the_host_it_is_as_exact_as_the_dense_field(dim, convention, budget):
    worst, sizes = {}, set()
    for case in cases(dim, 12, 12):
        sides = [case.positions[np.sign(case.charge) == sign] for sign in (1, -1)]
        rows = [Rows(np.tile(x[:, :-1], (720 // len(x), 1))) for x in sides]  # of one size, to compile once
        plates = [
            (x, float(side[0, -1]), sign) for x, side, sign in zip(rows, sides, (1.0, -1.0), strict=True)
        ]
        field = streamed_field(case.points, plates, budget=budget, convention=convention)
        truth = reference_coulomb(case.points, case.positions, case.charge, convention)
        worst[case.name] = float(error_over_tolerance(field, truth).max())  # the tolerance of the dense field
        sizes |= {size for x in rows for size in x.sizes[1:]}
    assert max(worst.values()) <= 1, worst
    assert 1 < max(sizes) < 300  # several blocks


def test_streaming_keeps_within_its_budget_and_is_as_exact_as_the_dense_field(tmp_path):
    half = np.random.default_rng(0).standard_normal((2, 10_000, 2)).astype(np.float32)
    for name, side in zip("xy", half, strict=True):
        np.save(tmp_path / f"{name}.npy", np.concatenate([side, -side]))
    x, y = (Rows(np.load(tmp_path / f"{name}.npy", mmap_mode="r")) for name in "xy")
    gap, budget = 2.0, 100_000
    # in the middle of plates that are their own mirror images: what cancels comes in different blocks
    points = np.float32([[1.0, 0.5, 0.5], [0.3, -0.2, 1.5], [1e-3, 0.0, 1e-3], [0.0, 1e-4, 1.9]])
    before = sum(array.nbytes for array in jax.live_arrays())
    field = streamed_field(points, [(x, 0.0, 1.0), (y, gap, -1.0)], budget=budget)

    block, readings = max(x.sizes) * 3 * 4, sum(x.sizes[1:]) / 20_000  # after a look at one row
    assert readings == 2
    # one block is being summed while the next is read; what a step needs besides is known from the compiler
    assert block < max(x.held + y.held) - before <= budget - block
    assert streamed._step("differences", (4, 3), "float32", 20_000, budget).bytes <= budget
    charges = [np.concatenate([side._x, np.full((20_000, 1), z)], axis=1) for side, z in ((x, 0.0), (y, gap))]
    truth = reference_coulomb(points, np.concatenate(charges), np.repeat([5e-5, -5e-5], 20_000))
    assert error_over_tolerance(field, truth).max() <= 1


@pytest.mark.parametrize(("dim", "convention"), [(2, "superposed"), (2, "per_plate"), (80, "superposed")])
def test_on_devices_and_from_the_host_the_field_holds_where_squares_overflow(dim, convention):
    rng = np.random.default_rng(dim)
    x, y = rng.standard_normal((2, 8, dim)).astype(np.float32)
    points = rng.uniform(size=(6, dim + 1)).astype(np.float32)
    for scale, far_point, far_sample in ((1e25, 1.0, 1.0), (1.0, 1e19, 1.0), (1.0, 1.0, 1e30)):
        scene = [np.float32(scale) * part for part in (points, x, y)]
        scene[0][0, 0], scene[1][0, 0] = scene[0][0, 0] * far_point, scene[1][0, 0] * far_sample
        p, a, b = scene
        # far away the two plates do not cancel
        plates = [(a, 0.0, 2.0), (b, scale, -1.0)]
        positions = np.concatenate([np.c_[part, np.full(8, z, np.float32)] for part, z, _ in plates])
        charges = Charges(positions, np.repeat([2 / 8, -1 / 8], 8).astype(np.float32))
        truth = reference_coulomb(p, *charges, convention)
        found = {
            "sharded": sharded_field(p, charges, one_device("charges"), convention=convention),
            "streamed": streamed_field(p, plates, convention=convention),
        }
        for name, field in found.items():
            # D log of the unit of 1e13 rounds besides
            assert error_over_tolerance(field, truth).max() <= 2, (name, scale, far_point, far_sample)


def test_the_shrinkage_of_a_streamed_field_is_a_length_where_squares_overflow():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 8, 2)).astype(np.float32)
    points = rng.uniform(size=(6, 3)).astype(np.float32)
    near, far = (
        streamed_field(
            np.float32(unit) * points,
            [(np.float32(unit) * x, 0.0, 1.0), (np.float32(unit) * y, unit, -1.0)],
            convention="per_plate",
            gamma=0.5 * unit,
            certified=False,
        )
        for unit in (1.0, 1e25)
    )
    # coordinates rounded anew
    np.testing.assert_allclose(far.direction, near.direction, atol=1e-5)
    np.testing.assert_allclose(far.log_magnitude, near.log_magnitude, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, x: streamed_field(p, []), r"at least one \(x, z, total\)"),
        (lambda p, x: streamed_field(p, [x]), r"plates\[0\] must be \(x \[n, D\], z, total\)"),
        (lambda p, x: streamed_field(p, [(x[0], 0.0, 1.0)]), r"shape \[n, D\].*got \(2,\)"),
        (lambda p, x: streamed_field(p[:, :2], [(x, 0.0, 1.0)]), r"points must have shape \[\.\.\., 3\]"),
        (lambda p, x: streamed_field(p, [(x.astype(int), 0.0, 1.0)]), r"plates\[0\] must hold floating"),
        (lambda p, x: streamed_field(p, [(x, 0.0, 0.0)]), r"must not be 0"),
        (
            lambda p, x: streamed_field(p, [(x, 0.0, 1.0)], budget=100),
            r"budget of 100 bytes is too small: .* need",
        ),
        (lambda p, x: jax.jit(lambda p: streamed_field(p, [(x, 0.0, 1.0)]))(p), r"cannot be traced"),
    ],
)
def test_bad_plates_and_budgets_are_refused_with_a_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((2, 3), np.float32), np.zeros((4, 2), np.float32))


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "how_to" / "scale.md").read_text()
    blocks = re.findall(r"<!-- run -->\n```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks), {})
