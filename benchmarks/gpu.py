"""Compiles for an H100 without having one, and reports what the compiled program does.

    pip install "jax==0.11.2" .        # in an environment of its own, Python 3.12 or newer
    pip install --no-deps jax-cuda13-plugin==0.11.2 jax-cuda13-pjrt==0.11.2 nvidia-cuda-nvcc nvidia-nvvm
    pip install --no-deps nvidia-cuda-runtime nvidia-cuda-cupti nvidia-nvjitlink nvidia-cuda-nvrtc
    python -m benchmarks.gpu [--cards 2] [field lines train-bfloat16 train-float32 sample-bfloat16 sample-float32]

The programs are those of `benchmarks/tpu.py`, in the form that a GPU gets, and the plan that exact lines make of two sets.

A row holds `kernels` (operations that the device is asked for one by one in a
usual run, loops counted), `transposed` (how many of them transpose or copy, and their bytes, read and written), `donated`
(leaves of the state whose memory a step reuses), memory as the compiler counts it, `collectives`, and `below_float32`:
products that feed log weights and would run below float32, where the network's are left out. The program fails if there is
one. Without a card the compiler cannot try algorithms: autotuning and Triton's products are off, and a library's workspace
does not count. It takes minutes.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from benchmarks import _hlo, _rows
from benchmarks.tpu import AXIS, NETWORK, PROGRAMS
from efm_jax._core import platforms
from efm_jax.charges import far_plates
from efm_jax.fields import far_lines

TARGET = Path(__file__).with_name("h100.txtpb")
NO_CARD = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
"""What asks for a card while it compiles."""


def main() -> None:
    """Compile what is asked for, write the rows, fail if a product that feeds log weights is not float32."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    programs = {name: make for name, make in PROGRAMS.items() if name != "sharded-field"} | {"lines": lines}
    names = list(programs)
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help=f"some of {', '.join(names)}; all when none is given"
    )
    parser.add_argument("--cards", type=int, default=1, help="cards of the program")
    options = parser.parse_args()
    for name in options.what:
        if name not in names:
            parser.error(f"{name} is none of {', '.join(names)}")
    mesh, below = cards(options.cards), []
    with platforms.made_for("cuda"):
        for name in options.what or names:
            for row, function, shapes, _ in programs[name](mesh):
                found = compiled(function, shapes, evaluations=row.get("evaluations"))
                row = row | {"cards": options.cards} | found
                print(row, flush=True)
                _write(row)
                below += row["below_float32"]
    if below:
        sys.exit(f"products that feed log weights run below float32: {below}")


def cards(count: int = 1) -> Mesh:
    """So many H100s as the compiler knows them, on one axis."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    jax.config.update("jax_platforms", "cpu")
    from jax.experimental import topologies

    try:
        metadata.version("jax-cuda13-plugin")
    except metadata.PackageNotFoundError:
        sys.exit(
            "benchmarks.gpu needs jax-cuda13-plugin; its first lines say how to install it, on Python 3.12 or newer."
        )
    size = f"1x1x{count}"
    found = topologies.get_topology_desc(size, "cuda", target_config=TARGET.read_text(), topology=size)
    return Mesh(np.array(found.devices), (AXIS,), axis_types=(AxisType.Auto,))


def lines(mesh: Mesh) -> Iterator[tuple]:
    """Pairs of as many samples as one plan has, by lines between plates far apart, see `couplings.lines_plan`."""
    plan = jax.jit(lambda x, y: far_lines(far_plates(x, y), x, stretch=True).partner)
    for count, dim in ((2500, 2), (50_000, 8)):
        shape = jax.ShapeDtypeStruct((count, dim), np.float32, sharding=NamedSharding(mesh, PartitionSpec()))
        row = {"what": "lines", "points": count, "charges": count, "dim": dim, "dtype": "float32"}
        yield row, plan, (shape, shape), {}


def compiled(function: Any, shapes: tuple, *, evaluations: int | None = None) -> dict[str, Any]:
    """A row of what a jitted function becomes, see `counted`."""
    began = time.perf_counter()
    ready = function.lower(*shapes).compile(NO_CARD)
    seconds, memory, text = time.perf_counter() - began, ready.memory_analysis(), ready.as_text()
    return {
        "compile_s": round(seconds, 1),
        **counted(text, evaluations=evaluations),
        "arguments_MiB": round(memory.argument_size_in_bytes / 2**20, 1),
        "temporary_MiB": round(memory.temp_size_in_bytes / 2**20, 1),
    }


def counted(text: str, *, evaluations: int | None = None) -> dict[str, Any]:
    """What a compiled program's text says.

    Loops of a sampler are bounded by more rounds than it takes. What they do most often counts as so many evaluations, the
    rest of them in proportion.
    """
    program = _hlo.Program(text)
    kinds: Counter[str] = Counter()
    moved = {"count": 0, "bytes": 0}
    operations = list(program.launched())
    share = evaluations / max(times for _, times in operations) if evaluations else 1.0
    for operation, times in operations:
        times *= share if times > 1 else 1.0
        kinds[_kind(operation)] += round(times)
        if _kind(operation) in ("copy", "transpose"):
            moved["count"] += round(times)
            moved["bytes"] += round(2 * times * _hlo.size(operation.type))
    aliases = text.partition("\n")[0].partition("input_output_alias={")[2].partition("entry_computation")[0]
    return {
        "kernels": sum(kinds.values()),
        "kinds": dict(kinds.most_common(12)),
        "transposed": moved,
        "donated": aliases.count("-alias)"),
        "collectives": program.collectives(),
        "below_float32": below_float32(program),
    }


def below_float32(program: _hlo.Program) -> list[dict[str, Any]]:
    """Products outside the network that are not of float32 at highest precision, in fusions or by a library.

    Attention's products lose their place where XLA rewrites them; they alone go over a batch of pictures.
    """
    found = []
    for inside in program.computations.values():
        for operation in inside.values():
            if not (operation.in_library or operation.kind in _hlo.PRODUCTS) or NETWORK in operation.place:
                continue
            if not operation.place and operation.attribute(r'"lhs_batch_dimensions":\["(\d)'):
                continue
            types = [inside[name].type.split("{")[0] for name in operation.operands[:2]]
            highest = len(_highest(operation)) == 2
            if not highest or not all(kind.startswith(("f32", "f64")) for kind in types):
                found.append({"operands": types, "place": operation.place, "highest": highest})
    return found


def _highest(operation: _hlo.Operation) -> list[str]:
    asked = operation.attribute(r"operand_precision=\{([^}]*)\}") or operation.attribute(
        r'"operand_precision":\[([^\]]*)\]'
    )
    return [one for one in (asked or "").lower().replace('"', "").split(",") if one == "highest"]


def _kind(operation: _hlo.Operation) -> str:
    if operation.kind == "custom-call":
        return operation.attribute(r'custom_call_target="([^"]*)"') or "custom-call"
    if operation.kind != "fusion":
        return operation.kind
    named = operation.name.split(".")[0].removesuffix("_fusion")
    return "transpose" if "transpose" in named else "copy" if named.endswith("copy") else f"fusion {named}"


def _write(row: dict[str, Any]) -> None:
    """Put the row in the place of an older one of the same sizes, or at the end."""
    path = _rows.RESULTS / "gpu_h100.json"
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    place = ("what", "dtype", "points", "charges", "lines", "cards")
    rows = {tuple(r.get(name) for name in place): r for r in (*old, row)}
    plugin = metadata.version("jax-cuda13-plugin")
    _rows.write("gpu_h100", list(rows.values()), compiled_for="H100 SXM", jax_cuda13_plugin=plugin)


if __name__ == "__main__":
    main()
