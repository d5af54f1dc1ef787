"""Networks of other libraries as a `Network`: pure functions, Flax NNX, Flax Linen, Equinox.

Each takes a model from points [n, D+1], z last, to field vectors of the same shape (Equinox: from one point [D+1]). A model
with classes, made with `num_classes`, takes integer labels as keyword `cond` too; -1 is the null label. A model that takes
`key` (or, of Linen, `deterministic` or `train`) is told whether it trains. Parameters become nested dicts of arrays, which
checkpoints and model folders keep; constants, such as integer arrays, stay with the model.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from efm_jax._core import checks
from efm_jax.networks._functional import indexed, named
from efm_jax.types import Key, Network, Params

__all__ = ["from_equinox", "from_function", "from_linen", "from_nnx"]


def from_function(
    init: Callable[[Key], Params],
    apply: Callable[..., jax.Array],
    *,
    gap: float | None = None,
    num_classes: int | None = None,
) -> Network:
    """Make a network of two pure functions.

    Args:
        init: `init(key) -> params`, a pytree of floating-point arrays.
        apply: `apply(params, points [n, D+1]) -> field [n, D+1]`; it may take keywords `key` and `cond`.
        gap: Height that the network sees as 1; None for one that does not say.
        num_classes: Number of classes; None for a network without labels.

    Raises:
        ValueError: An argument is no function, or `apply` returns another shape than that of the points.

    Examples:
        >>> import jax.numpy as jnp
        >>> network = from_function(lambda key: jnp.ones(3), lambda params, points: params * points)
        >>> network.apply(network.init(jax.random.key(0)), jnp.ones((4, 3))).shape
        (4, 3)
    """
    checks.made("init", init, "init(key) -> params")
    checks.made("apply", apply, "apply(params, points) -> field")
    if gap is not None:
        gap = checks.positive("gap", gap)
    if num_classes is not None:
        num_classes = checks.count("num_classes", num_classes)
    return Network(init, partial(_applied, apply, num_classes), gap, num_classes)


def from_nnx(
    build: Callable[[nnx.Rngs], nnx.Module], *, gap: float | None = None, num_classes: int | None = None
) -> Network:
    """Make a network of a Flax NNX module; dropout draws from the key of the step and is off without one.

    Args:
        build: `build(rngs) -> module`.
        gap: Height that the network sees as 1; None for one that does not say.
        num_classes: Number of classes; None for a network without labels.

    Raises:
        ValueError: `build` is no function, e.g. a module; or the module keeps state besides parameters, as BatchNorm does.

    Examples:
        >>> network = from_nnx(lambda rngs: nnx.Linear(3, 3, rngs=rngs))
        >>> sorted(network.init(jax.random.key(0)))
        ['bias', 'kernel']
    """
    _check_build(build, "from_nnx", "lambda rngs: MyModule(rngs=rngs)")
    return from_function(
        partial(_nnx_init, build), partial(_nnx_apply, build), gap=gap, num_classes=num_classes
    )


def from_linen(module: Any, dim: int, *, gap: float | None = None, num_classes: int | None = None) -> Network:
    """Make a network of a Flax Linen module, whose dropout draws from the collection "dropout".

    Args:
        module: The module.
        dim: Number of dimensions D of a sample.
        gap: Height that the network sees as 1; None for one that does not say.
        num_classes: Number of classes; None for a network without labels.

    Raises:
        ValueError: The module has no `init` and `apply`, or keeps state besides parameters, as BatchNorm does.

    Examples:
        >>> from flax import linen
        >>> network = from_linen(linen.Dense(3), dim=2)
        >>> network.apply(network.init(jax.random.key(0)), jnp.ones((4, 3))).shape
        (4, 3)
    """
    checks.has("module", module, ("init", "apply"), "linen.Dense(3)")
    dim = checks.count("dim", dim)
    init = partial(_linen_init, module, dim, num_classes)
    return from_function(init, partial(_linen_apply, module), gap=gap, num_classes=num_classes)


def from_equinox(
    build: Callable[[Key], Any], *, gap: float | None = None, num_classes: int | None = None
) -> Network:
    """Make a network of an Equinox module, which is called on one point; `key` is its own for each point.

    Args:
        build: `build(key) -> module`.
        gap: Height that the network sees as 1; None for one that does not say.
        num_classes: Number of classes; None for a network without labels.

    Raises:
        ValueError: `build` is no function, e.g. a module.

    Examples:
        >>> import equinox
        >>> network = from_equinox(lambda key: equinox.nn.MLP(3, 3, 8, 1, key=key), gap=6.0)
        >>> network.apply(network.init(jax.random.key(0)), jnp.ones((4, 3))).shape
        (4, 3)
    """
    _check_build(build, "from_equinox", "lambda key: MyModule(key=key)")
    init, apply = partial(_equinox_init, build), partial(_equinox_apply, build)
    return from_function(init, apply, gap=gap, num_classes=num_classes)


def _check_build(build: Any, adapter: str, example: str) -> None:
    if not callable(build) or not (isinstance(build, type) or checks.library(build) is None):
        raise ValueError(
            f"{adapter} takes a function that builds the module, got {type(build).__name__}.\n"
            f"Give it e.g. {example}, so that new parameters can be drawn."
        )


def _applied(apply: Callable, num_classes: int | None, params: Params, points, *, key=None, cond=None):
    if cond is not None and num_classes is None:
        raise ValueError(
            "cond was given to a network without classes.\nMake it with num_classes=... to use labels."
        )
    given = {"key": key}
    if num_classes is not None:
        given["cond"] = jnp.full(len(points), -1) if cond is None else cond
    field = apply(params, points, **_taken(apply, given))
    if field.shape != points.shape:
        raise ValueError(
            f"the model must return one vector for each point, {points.shape}, got {field.shape}."
        )
    return field


def _taken(function: Callable, given: dict[str, Any]) -> dict[str, Any]:
    """What a function takes of the keywords."""
    parameters = inspect.signature(function).parameters
    every = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return {name: value for name, value in given.items() if every or name in parameters}


def _nnx_init(build: Callable, key: Key) -> Params:
    _, params, _, rest = nnx.split(build(nnx.Rngs(key)), nnx.Param, nnx.RngState, ...)
    if jax.tree.leaves(rest):
        raise ValueError(_MORE_STATE.format(", ".join(sorted(nnx.to_pure_dict(rest)))))
    return named(nnx.to_pure_dict(params))


def _nnx_apply(build: Callable, params: Params, points, *, key=None, **given):
    module = build(
        nnx.Rngs(jax.random.key(0) if key is None else key)
    )  # its own parameters are never computed
    nnx.update(module, nnx.State(indexed(params)))
    module.eval() if key is None else module.train()
    return module(points, **given)


def _linen_init(module: Any, dim: int, num_classes: int | None, key: Key) -> Params:
    points, labels = jnp.zeros((1, dim + 1)), jnp.zeros(1, jnp.int32)
    given = {"deterministic": True, "train": False} | ({} if num_classes is None else {"cond": labels})
    state = dict(module.init(key, points, **_taken(_called(module), given)))
    params = state.pop("params", {})
    if state:
        raise ValueError(_MORE_STATE.format(", ".join(sorted(state))))
    return params


def _linen_apply(module: Any, params: Params, points, *, key=None, **given):
    given |= {"deterministic": key is None, "train": key is not None}
    rngs = None if key is None else {"dropout": key}
    return module.apply({"params": params}, points, rngs=rngs, **_taken(_called(module), given))


def _called(module: Any) -> Callable:
    """What keywords go to: a row of Linen modules or functions hands them to its first."""
    from flax import linen

    while isinstance(module, linen.Sequential) and module.layers:
        module = module.layers[0]
    return type(module).__call__ if isinstance(module, linen.Module) else module


def _equinox_init(build: Callable, key: Key) -> Params:
    import equinox

    arrays = equinox.filter(build(key), equinox.is_inexact_array)
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)}


def _equinox_apply(build: Callable, params: Params, points, *, key=None, **given):
    import equinox

    module = build(jax.random.key(0))  # its own parameters are never computed
    arrays, rest = equinox.partition(module, equinox.is_inexact_array)
    paths, tree = jax.tree_util.tree_flatten_with_path(arrays)
    arrays = jax.tree.unflatten(tree, [params[jax.tree_util.keystr(path)] for path, _ in paths])
    module = equinox.nn.inference_mode(equinox.combine(arrays, rest), key is None)
    given |= {"key": None if key is None else jax.random.split(key, len(points))}
    given = _taken(type(module).__call__, given)
    return jax.vmap(lambda point, given: module(point, **given))(points, given)


_MORE_STATE = (
    "the module keeps state besides its parameters, in {}; a network is a pure function.\n"
    "Use e.g. LayerNorm or GroupNorm in place of BatchNorm."
)
