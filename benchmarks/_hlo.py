"""What an optimized program does, read from the compiler's text of it: products, collectives, estimated time.

The compiler's own totals count the body of a loop once and both branches of a conditional. Here loops are followed as
often as their counter says, and of a conditional the branch with the most products is taken, or, where no branch has
any, the one that is estimated to be over first: what a program usually does, since the exact field adds points up again
only where its error bound asks for it.

The time is the compiler's own estimate, in cycles, of every operation for which it wrote one down; collectives have none.
"""

import math
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
PRODUCTS = ("dot", "convolution")
LIBRARY = r'custom_call_target="(__cublas[^"]*|__cudnn\$conv[^"]*)"'
_FREE = (
    "parameter",
    "get-tuple-element",
    "tuple",
    "bitcast",
    "constant",
    "call",
    "conditional",
    "while",
    "async-start",
)
_FREE += (
    "async-done",
    "opt-barrier",
    "after-all",
    "copy-done",
    "all-reduce-done",
    "all-gather-done",
    "partition-id",
)

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4}
_BYTES |= {"f64": 8, "s64": 8, "u64": 8}


class Operation(NamedTuple):
    """One line of a computation."""

    name: str
    kind: str
    type: str
    rest: str
    """Operands and attributes."""

    @property
    def operands(self) -> list[str]:
        """Names of the operands."""
        return re.findall(r"%([\w.\-]+)", self.rest.split("), ", 1)[0])

    @property
    def place(self) -> str:
        """Where it comes from in the source, as jax names it."""
        return self.attribute(r'op_name="([^"]*)"') or ""

    @property
    def cycles(self) -> int:
        """The compiler's estimate of its time on a TPU; 0 where it has none."""
        return int(self.attribute(r'"estimated_cycles":"(\d+)"') or 0)

    @property
    def in_library(self) -> bool:
        """Whether a GPU's library multiplies."""
        return self.kind == "custom-call" and self.attribute(LIBRARY) is not None

    def attribute(self, pattern: str) -> str | None:
        """The first group of the pattern in the attributes."""
        found = re.search(pattern, self.rest)
        return found.group(1) if found else None

    def called(self, *attributes: str) -> list[str]:
        """Computations named by these attributes."""
        names = []
        for attribute in attributes:
            found = self.attribute(attribute + r"=(\{[^}]*\}|%[\w.\-]+)")
            names += re.findall(r"%([\w.\-]+)", found or "")
        return names


class Program:
    """An optimized program.

    Examples:
        >>> text = '''
        ... %body (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
        ...   %a = f32[8,16]{1,0} parameter(0)
        ...   %b = f32[4,16]{1,0} parameter(1)
        ...   %ab = f32[8,4]{1,0} convolution(%a, %b), dim_labels=bf_oi->bf, operand_precision={highest,highest}
        ... }
        ... %until (p: (s32[], f32[8,4])) -> pred[] {
        ...   %n = s32[] constant(5)
        ...   ROOT %lt = pred[] compare(%i, %n), direction=LT
        ... }
        ... ENTRY %main (x: f32[8,4]) -> f32[8,4] {
        ...   %x = f32[8,4]{1,0} parameter(0)
        ...   %w = (s32[], f32[8,4]{1,0}) while(%x), condition=%until, body=%body
        ... }'''
        >>> Program(text).products()
        [{'flops': 5120, 'times': 5, 'operands': ['f32', 'f32'], 'precision': 'highest,highest', 'place': ''}]
    """

    def __init__(self, text: str, *, rounds: int = 1, skips: float = 0.0):
        """Read the text.

        Args:
            text: What `Compiled.as_text()` returns.
            rounds: Rounds of loops that end when their data say so.
            skips: Share of the conditionals with products in one branch only that take the other.
        """
        self.rounds, self.skips = rounds, skips
        self.computations: dict[str, dict[str, Operation]] = {}
        self.entry, inside = "", {}
        for line in text.splitlines():
            begins = re.match(r"(ENTRY )?%([\w.\-]+) \(.*\{$", line.strip()) if "->" in line else None
            found = None if begins else re.match(r"\s*(?:ROOT )?%([\w.\-]+) = (.*)$", line)
            if begins:
                self.computations[begins[2]] = inside = {}
                self.entry = begins[2] if begins[1] else self.entry
            elif found:
                parts = re.match(r"(.*?) ([a-z][a-z0-9\-]*)\((.*)$", found[2])
                if parts:
                    inside[found[1]] = Operation(found[1], parts[2], parts[1], parts[3])

    def usual(self) -> Iterator[tuple[Operation, dict[str, Operation], float]]:
        """Operations of a usual run, what else is in their computation, and how often each is done."""
        yield from self._run(self.entry, 1)

    def launched(self) -> Iterator[tuple[Operation, float]]:
        """Operations of a usual run that a device is asked for one by one, and how often: what is fused is one."""
        for operation, _, times in self._run(self.entry, 1, into=("call", "async-start")):
            if operation.kind not in _FREE:
                yield operation, times

    def all_products(self) -> list[dict[str, Any]]:
        """Every product of the program once, whether it is usually done or not."""
        return [
            self._product(operation, inside)
            for inside in self.computations.values()
            for operation in inside.values()
            if operation.kind in PRODUCTS
        ]

    def products(self) -> list[dict[str, Any]]:
        """Products of a usual run: flops in all, how often, types and precision of the operands, place."""
        rows = []
        for operation, inside, times in self.usual():
            if operation.kind in PRODUCTS:
                row = self._product(operation, inside)
                rows.append({"flops": round(row.pop("flops") * times), "times": round(times), **row})
        return rows

    def collectives(self) -> list[dict[str, Any]]:
        """Collectives by kind: how often in a usual run, bytes that a device puts in; `rare` those of other branches."""
        rows = {}
        usual = {id(operation): times for operation, _, times in self.usual()}
        for inside in self.computations.values():
            for operation in inside.values():
                kind = operation.kind.removesuffix("-start")
                if kind in COLLECTIVES:
                    row = rows.setdefault(kind, {"kind": kind, "times": 0, "bytes": 0, "rare": 0})
                    times = usual.get(id(operation), 0)
                    row["times"] += round(times)
                    own = sum(size(inside[name].type) for name in operation.operands if name in inside)
                    row["bytes"] += round(times * own)
                    row["rare"] += not times
        return sorted(rows.values(), key=lambda row: row["kind"])

    def cycles(self, *scopes: str) -> dict[str, int]:
        """Estimated cycles of a usual run, in all and by scope, the first that is part of the place."""
        total = dict.fromkeys(("all", *scopes), 0)
        for operation, _, times in self.usual():
            own = operation.cycles * times
            total["all"] += own
            scope = next((s for s in scopes if s in operation.place), None)
            if scope:
                total[scope] += own
        return {scope: round(cycles) for scope, cycles in total.items()}

    def costliest(self, count: int) -> list[dict[str, Any]]:
        """Operations of a usual run that are estimated to take longest, with their share of all cycles."""
        found = sorted(self.usual(), key=lambda one: -one[0].cycles * one[2])[:count]
        total = max(self.cycles()["all"], 1)
        return [
            {"share": round(op.cycles * times / total, 4), "result": op.type.split("{")[0], "place": op.place}
            for op, _, times in found
        ]

    def cycles_of_products(self) -> int:
        """Estimated cycles of operations that multiply matrices, with what is fused into them."""
        return round(sum(op.cycles * times for op, _, times in self.usual() if self._multiplies(op)))

    def endless(self) -> int:
        """Loops of a usual run whose number of rounds is not written down; they count as one round."""
        return sum(op.kind == "while" and self._counter(op) is None for op, _, _ in self.usual())

    def _run(
        self, name: str, times: float, into: tuple[str, ...] = ("fusion", "call", "async-start")
    ) -> Iterator[tuple[Operation, dict[str, Operation], float]]:
        inside = self.computations[name]
        for operation in inside.values():
            yield operation, inside, times
            if operation.kind == "while":
                rounds = times * (self._counter(operation) or self.rounds)
                yield from self._run(operation.called("body")[0], rounds, into)
            elif operation.kind == "conditional":
                branch, share = self._branch(operation)
                yield from self._run(branch, times * share, into)
            elif operation.kind in into:
                for called in operation.called("calls", "to_apply"):
                    yield from self._run(called, times, into)

    def _multiplies(self, operation: Operation) -> bool:
        inside = operation.called("calls") if operation.kind == "fusion" else []
        return (
            operation.kind in PRODUCTS
            or operation.in_library
            or any(self._work[name][0] > 0 for name in inside)
        )

    def _branch(self, operation: Operation) -> tuple[str, float]:
        names = operation.called("branch_computations", "true_computation", "false_computation")
        multiplying = sum(self._work[name][0] > 0 for name in names)
        longest = max(names, key=lambda name: (self._work[name][0], -self._work[name][1]))
        return longest, 1 - self.skips if multiplying == 1 else 1.0

    @cached_property
    def _work(self) -> "_Work":
        return _Work(self)

    def _counter(self, loop: Operation) -> int | None:
        known = loop.attribute(r'"known_trip_count":\{"n":"(\d+)"')
        if known:
            return int(known)
        condition = self.computations[loop.called("condition")[0]].values()
        ends = [
            op.rest.split(")")[0] for op in condition if op.kind == "constant" and op.type.startswith("s32[]")
        ]
        counted = any(op.kind == "compare" and "direction=LT" in op.rest for op in condition)
        return int(ends[0]) if counted and len(ends) == 1 and len(condition) <= 5 else None

    def _product(self, operation: Operation, inside: dict[str, Operation]) -> dict[str, Any]:
        types = [inside[name].type for name in operation.operands[:2]]
        return {
            "flops": _flops(operation, types),
            "operands": [_kind_and_shape(t)[0] for t in types],
            "precision": operation.attribute(r"operand_precision=\{([^}]*)\}") or "default",
            "place": operation.place,
        }


class _Work(dict):
    """Products and cycles of a usual run of a computation."""

    def __init__(self, program: Program):
        self.program = program

    def __missing__(self, name: str) -> tuple[float, float]:
        flops = cycles = 0.0
        for operation, inside, times in self.program._run(name, 1):
            cycles += times * max(operation.cycles, 1)
            if operation.kind in PRODUCTS:
                flops += times * self.program._product(operation, inside)["flops"]
            elif operation.in_library:  # its shapes are not written down as those of a product
                flops += times * size(operation.type)
        self[name] = flops, cycles
        return self[name]


def size(kind: str) -> int:
    """Bytes of a value of that type."""
    return sum(_BYTES[k] * math.prod(shape) for k, shape in _kinds_and_shapes(kind))


def _flops(operation: Operation, types: list[str]) -> int:
    """Two for each product of numbers; rows of padding count, holes between spread-out rows do not."""
    (_, left), (_, right), (_, out) = map(_kind_and_shape, (*types, operation.type))
    if operation.kind == "dot":
        contracted = operation.attribute(r"lhs_contracting_dims=\{([\d,]*)\}") or ""
        return 2 * math.prod(out) * math.prod(left[int(d)] for d in contracted.split(",") if d)
    labels = operation.attribute(r"dim_labels=\w+_(\w+)->") or ""
    into = math.prod(n for n, label in zip(right, labels, strict=True) if label != "o")
    holes = operation.attribute(r"lhs_dilate=([\dx]+)")
    return 2 * math.prod(out) * into // math.prod(int(h) for h in (holes or "1").split("x"))


def _kind_and_shape(kind: str) -> tuple[str, tuple[int, ...]]:
    return _kinds_and_shapes(kind)[0]


def _kinds_and_shapes(kind: str) -> list[tuple[str, tuple[int, ...]]]:
    found = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", kind)
    return [(k, tuple(int(n) for n in shape.split(",") if n)) for k, shape in found]
