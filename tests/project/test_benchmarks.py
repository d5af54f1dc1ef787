"""The benchmarks: what they count by, and what the committed results of a machine that is not at hand must say."""

import doctest
import json
import sys
import types
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks import _counts, _hlo, _rows, gpu, million, pages, pictures, roofline, saving
from efm_jax import matching
from efm_jax._core import platforms
from efm_jax.datasets import batch
from efm_jax.models import build

PROGRAM = """
%many (a: f32[8,4], b: f32[16,4]) -> f32[8,16] {
  %a = f32[8,4]{1,0:T(8,128)} parameter(0)
  %b = f32[16,4]{1,0:T(8,128)S(1)} parameter(1)
  %c = f32[8,16]{1,0} convolution(%a, %b), dim_labels=bf_oi->bf, metadata={op_name="jit(f)/supervision/dot_general"}, \
backend_config={"estimated_cycles":"20"}
}
%none (a: f32[8,4], b: f32[16,4]) -> f32[8,16] {
  %zero = f32[8,16]{1,0} constant({...})
}
%body (p: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %p = (s32[]{:T(128)}, /*index=1*/f32[8,16]{1,0}) parameter(0)
  %k = pred[] constant(true)
  %d = f32[8,16]{1,0} conditional(%k, %p, %p), branch_computations={%many, %none}
}
%until (p: (s32[], f32[8,16])) -> pred[] {
  %q = (s32[], f32[8,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%q), index=0
  %n = s32[] constant(3)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}
%short (a: f32[8,16]) -> f32[8,16] {
  %e = f32[8,16]{1,0} parameter(0)
  %f = f32[8,16]{1,0} all-reduce(%e), to_apply=%add, backend_config={"estimated_cycles":"5"}
}
%long (a: f32[8,16]) -> f32[8,16] {
  %g = f32[8,16]{1,0} parameter(0)
  %h = f32[8,16]{1,0} all-reduce(%g), to_apply=%add, backend_config={"estimated_cycles":"500"}
}
ENTRY %main (x: f32[8,4]) -> f32[8,16] {
  %x = f32[8,4]{1,0} parameter(0)
  %y = f32[8,4]{1,0} fusion(%x), kind=kLoop, calls=%none, backend_config={"estimated_cycles":"10"}
  %w = (s32[], f32[8,16]{1,0}) while(%y), condition=%until, body=%body
  ROOT %z = f32[8,16]{1,0} conditional(%x, %w, %w), branch_computations={%long, %short}
}
"""

ON_A_GPU = """HloModule step, input_output_alias={ {0}: (1, {}, may-alias), {1}: (2, {}, may-alias) }, \
entry_computation_layout={}

%fused_transpose (p: f32[8,16]) -> f32[16,8] {
  %p = f32[8,16]{1,0} parameter(0)
  ROOT %t = f32[16,8]{1,0} transpose(%p), dimensions={1,0}
}
%body (s: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %s = (s32[], f32[8,16]{1,0}) parameter(0)
  %x = f32[8,16]{1,0} get-tuple-element(%s), index=1
  %h = (f32[8,8]{1,0}, s8[4]{0}) custom-call(%x, %x), custom_call_target="__cublas$gemm", metadata={op_name="a/dot"}, \
backend_config={"gemm_backend_config":{"precision_config":{"operand_precision":["HIGHEST","HIGHEST"]}}}
  %d = (f32[8,8]{1,0}, s8[4]{0}) custom-call(%x, %x), custom_call_target="__cublas$gemm", metadata={op_name="b/dot"}, \
backend_config={"gemm_backend_config":{"precision_config":{"operand_precision":["DEFAULT","DEFAULT"]}}}
  %n = (f32[8,8]{1,0}, s8[4]{0}) custom-call(%x, %x), custom_call_target="__cublas$gemm", \
metadata={op_name="network/dot"}, backend_config={}
}
ENTRY %main (x: f32[8,16]) -> f32[16,8] {
  %x = f32[8,16]{1,0} parameter(0)
  %w = (s32[], f32[8,16]{1,0}) while(%x), condition=%until, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %c = f32[8,16]{1,0} copy(%x)
  ROOT %transpose_fusion = f32[16,8]{1,0} fusion(%c), kind=kInput, calls=%fused_transpose
}
"""

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("module", [_counts, _hlo, roofline, saving], ids=lambda m: m.__name__)
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_products_are_counted_by_formula():
    def function(x, kernel, matrix):
        pictures = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=pictures)
        z = jax.lax.cond(x.sum() > 0, lambda y: y @ matrix, lambda y: y[..., :3], y)
        square = z[0, :3, 0]
        return jax.lax.scan(lambda carry, _: (jax.jit(jnp.matmul)(square, carry), None), square, length=7)[0]

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 5, 5, 4), (3, 3, 4, 6), (6, 3))]
    # 3x3 kernel, 4 -> 6 channels at 5x5 pixels of 2 pictures; then 6 -> 3; then seven products of 3x3 matrices
    assert _counts.flops(function, *shapes) == 2 * (50 * 9 * 4 * 6) + 2 * (50 * 6 * 3) + 7 * 2 * 27


def test_programs_are_followed_where_they_usually_go():
    program = _hlo.Program(PROGRAM, skips=0.5)
    # [8, 4] by [4, 16] three times, half of them passed over; the rare branch adds up without products
    assert [(p["flops"], p["times"]) for p in program.products()] == [(round(1.5 * 2 * 8 * 4 * 16), 2)]
    assert program.products()[0]["precision"] == "default"
    # 10 cycles before the loop, 20 in each round that is not passed over, 5 in the short one of the last branches
    assert program.cycles("supervision") == {"all": 10 + 30 + 5, "supervision": 30}
    assert program.cycles_of_products() == 30
    assert program.collectives() == [{"kind": "all-reduce", "times": 1, "bytes": 8 * 16 * 4, "rare": 1}]
    assert program.endless() == 0


def test_loops_that_data_end_go_as_many_rounds_as_said():
    program = PROGRAM.replace("direction=LT", "direction=NE")
    assert _hlo.Program(program, rounds=5).products()[0]["flops"] == 5 * 2 * 8 * 4 * 16
    assert _hlo.Program(program).endless() == 1


def test_what_a_gpu_is_asked_for_is_counted():
    row = gpu.counted(ON_A_GPU)
    # three products in each of five rounds, a copy, and one kernel of what is fused
    assert row["kernels"] == 3 * 5 + 2
    # read and written, 8 x 16 numbers of four bytes each
    assert row["transposed"] == {"count": 2, "bytes": 2 * 2 * 8 * 16 * 4}
    assert row["donated"] == 2
    assert [product["place"] for product in row["below_float32"]] == ["b/dot"]
    # two evaluations, where the loop could do five
    assert gpu.counted(ON_A_GPU, evaluations=2)["kernels"] == 3 * 2 + 2


def test_of_branches_the_one_that_a_library_multiplies_in_is_usual():
    program = """%%often (a: f32[8,8]) -> f32[8,8] {
  %%a = f32[8,8]{1,0} parameter(0)
  %%g = (f32[8,8]{1,0}, s8[4]{0}) custom-call(%%a, %%a), custom_call_target="%s"
  ROOT %%b = f32[8,8]{1,0} get-tuple-element(%%g), index=0
}
%%never (a: f32[8,8]) -> f32[8,8] {
  ROOT %%c = f32[8,8]{1,0} parameter(0)
}
ENTRY %%main (x: f32[8,8], p: pred[]) -> f32[8,8] {
  %%x = f32[8,8]{1,0} parameter(0)
  %%p = pred[] parameter(1)
  ROOT %%y = f32[8,8]{1,0} conditional(%%p, %%x, %%x), branch_computations={%%never, %%often}
}
"""
    for target, kernels in (("__cublas$gemm", 1), ("__cudnn$convForward", 1), ("other", 0)):
        assert gpu.counted(program % target)["kernels"] == kernels, target


def test_what_the_tpu_compiler_said():
    rows = json.loads((RESULTS / "tpu_v5e.json").read_text())["rows"]
    assert {row["what"] for row in rows} == {"field", "sharded field", "train", "sample"}
    assert {row["dtype"] for row in rows if row["what"] == "train"} == {"float32", "bfloat16"}
    for row in rows:
        assert row["below_float32"] == [], row["what"]
        assert row["arguments_MiB"] + row["temporary_MiB"] + row["result_MiB"] < 16 * 1024, row["what"]
        for part, ideal in row["ideal_flops"].items():
            # the compiler adds no product of its own; it counts rows of padding in gradients of convolutions
            assert row["flops"][part] <= 1.15 * ideal, (row["what"], part)


@pytest.mark.parametrize(
    "recipe", [matching.efm(6.0), matching.efm(6.0, convention="per_plate"), matching.c2fm(6.0)]
)
def test_products_that_feed_log_weights_ask_for_the_highest_precision(recipe):
    sample = jax.ShapeDtypeStruct((16, 96), jnp.float32)
    # the origin that coordinates are taken from, a mean of positions, is cut to half its digits: any rounding will do
    found = [p for p in _counts.products(recipe.draw, jax.random.key(0), sample, sample) if not p.with_vector]
    assert len(found) >= 2
    assert {product.dtype for product in found} == {"float32"}
    assert {product.precision for product in found} == {"highest"}


def test_what_the_compiler_for_an_h100_said():
    rows = json.loads((RESULTS / "gpu_h100.json").read_text())["rows"]
    assert {(row["what"], row["cards"]) for row in rows} >= {("field", 1), ("train", 1), ("train", 2)}
    assert all(row["below_float32"] == [] for row in rows)
    steps = {row["dtype"]: row for row in rows if row["what"] == "train" and row["cards"] == 1}
    assert {row["dtype"] for row in rows if row["what"] == "sample"} == set(steps) == {"float32", "bfloat16"}
    for row in steps.values():
        check_step(row)


def check_step(row):
    """What the training step of the paper's network has come to."""
    assert row["kernels"] <= 1800  # 3,662 with arrays of parameters apart and norms in two passes
    assert row["donated"] <= 64  # 1,926
    work = roofline.training(row["dtype"])
    assert row["transposed"]["bytes"] <= 0.05 * work.bytes  # a third
    assert row["collectives"] == []
    assert row["below_float32"] == []


@pytest.mark.slow
def test_the_step_compiled_for_an_h100_today():
    if not any(found.metadata["Name"] == "jax-cuda13-plugin" for found in metadata.distributions()):
        pytest.skip("benchmarks/gpu.py says how to install the compiler")
    with platforms.made_for("cuda"):
        row, step, shapes, _ = next(gpu.PROGRAMS["train-bfloat16"](gpu.cards()))
        check_step(row | gpu.compiled(step, shapes))


def test_usual_pages_are_those_of_a_process_that_was_told_nothing(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")  # as the page on speed advises
    monkeypatch.setattr(sys, "argv", ["pages"])
    monkeypatch.setattr(_rows, "write", lambda *_: None)
    found = []
    monkeypatch.setattr(
        pages.subprocess, "check_output", lambda command, env: found.append(env) or b'{"wall_ms": 1.0}'
    )
    pages.main()
    assert [env.get("GLIBC_TUNABLES") for env in found] == [None, "glibc.malloc.hugetlb=1"]


def test_pictures_are_decoded_anew_and_are_those_that_were_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(_rows, "write", lambda *_: None)
    seen = []

    def run(command, **_):
        given = dict(part.removeprefix("--").split("=") for part in command if "=" in part)
        folder = Path(given["folder"])
        side, count = Image.open(next(folder.glob("p/0/*.png"))).width, len(list(folder.glob("*/*/*.png")))
        seen.append((command[-1], side, count, (folder / "file").exists()))
        (folder / "file").mkdir(exist_ok=True)
        return types.SimpleNamespace(stdout='[{"charges": 1}]')

    monkeypatch.setattr(pictures.subprocess, "run", run)
    for side, count in ((4, 20), (4, 20), (6, 40)):
        monkeypatch.setattr(
            sys, "argv", ["pictures", f"--side={side}", f"--count={count}", f"--folder={tmp_path}"]
        )
        pictures.main()
        assert seen[-3:] == [
            ("memory", side, count, seen[-3][-1]),
            ("disk", side, count, False),
            ("disk again", side, count, True),
        ]


def test_a_million_pictures_train_within_a_gibibyte_beyond_a_thousand():
    rows = json.loads((RESULTS / "million.json").read_text())["rows"]
    assert {row["way"] for row in rows if row["count"] == 10**6} == {*million.WAYS}
    assert max(row["beyond_MiB"] for row in rows) < 1024


def test_the_pictures_of_a_million_are_the_same_in_every_way(tmp_path):
    million.make(tmp_path, 30)
    plain, *others = (
        build.sources(million.configured(tmp_path, 30, 5, way).data, split="all")[1] for way in million.WAYS
    )
    for one in others:
        np.testing.assert_array_equal(batch(one, 0, 1, 0, 12), batch(plain, 0, 1, 0, 12))
