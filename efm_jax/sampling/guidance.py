r"""Guidance moves the lines of a class farther toward it, away from those of the field without a condition.

Of the conditional field $f_c$ and the unconditional one $f_\varnothing$ guidance extrapolates the *velocities* of lines,
$v = f_x / f_z$:

$$v_g = v_\varnothing + g\,(v_c - v_\varnothing),$$

g = 0 the unconditional lines, g = 1 those of the class, g > 1 beyond. Why velocities, and not fields:

- A line depends on the direction of a field only, and a trained network's length means nothing. So the outcome must not
  change when either field is multiplied by a positive function of the point. Slopes do not; sums of fields, or of
  directions, do.
- Where a velocity is an affine function of the mean of the data given the point, with coefficients that no class changes,
  the rule moves that mean: Poisson flow, $v = (x - \bar x)/z$, for every number of extra dimensions, and flow matching from
  an independent Gaussian, $v = (\bar x - x)/(L - z)$ for paths of no width. Where the noise is Gaussian, $\bar x$ is an
  affine function of the score, and the rule is classifier-free guidance itself, $s_\varnothing + g\,(s_c - s_\varnothing)$:
  the latter at every height, the former as the extra dimensions become many.
- Superposing the fields of charges, $E_\varnothing + g\,(E_c - E_\varnothing)$, would put charges of the other sign at the
  samples of other classes. With $r = E_{c,z} / E_{\varnothing,z}$ (on the chain the probability of the class at the point
  over its share) that is guidance by $g r / (1 - g + g r)$ instead of g: it needs lengths, and where $r < 1 - 1/g$, among
  the other classes, lines turn back.

For other fields (two plates, the chain, interaction fields) the velocity is no function of a score and the rule is the same
extrapolation, without a density that is known in closed form. For g other than 0 and 1 the ends of lines follow neither
distribution.

Source: Ho and Salimans (2022), "Classifier-free diffusion guidance", arXiv 2207.12598, eq. 6, whose w is g - 1; for
velocities of flow matching: Zheng et al. (2023), "Guided flows", arXiv 2311.13443.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["guided"]


def guided(
    field: Float[Array, "n dim1"], null: Float[Array, "n dim1"], guidance: float | Float[Array, ""]
) -> Float[Array, "n dim1"]:
    r"""Combine the vectors of two fields at the same points, so that lines have the velocity `v_null + g (v - v_null)`.

    With g the guidance, without a division,

    $$F = g\,|f_{\varnothing,z}|\,f_c + (1 - g)\,|f_{c,z}|\,f_\varnothing,$$

    whose slope $F_x / F_z$ is $v_g$ wherever both fields go up (or both down, and then F goes down). For a network with
    class labels use `sampling.learned_field(network, params, cond=labels, guidance=g)`.

    Args:
        field: Vectors of the field of the class, [n, D+1], any positive scale; row i may be of a class of its own.
        null: Vectors of the field without a condition at the same points, any positive scale.
        guidance: g; 0 is the null field's direction, 1 that of the class.

    Examples:
        >>> import jax.numpy as jnp
        >>> f = guided(jnp.asarray([[10.0, 5.0]]), jnp.asarray([[0.1, 0.1]]), 3.0)
        >>> round(float(f[0, 0] / f[0, 1]), 4)  # 1 + 3 (2 - 1)
        4.0
    """
    up, up_null = jnp.abs(field[:, -1:]), jnp.abs(null[:, -1:])
    # relative to the greater: products of two small z-parts would leave the range of float32
    most = jnp.maximum(jnp.maximum(up, up_null), jnp.finfo(field.dtype).tiny)
    up, up_null = up / most, up_null / most
    g = jnp.asarray(guidance, field.dtype)
    return g * up_null * field + (1.0 - g) * up * null
