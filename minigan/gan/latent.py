"""The geography of the latent space: ways between two z, and the z of an image.

    interpolation   lerp, slerp          (White 2016, Sampling Generative Networks)
    inversion       invert               z = argmin ‖x − G(z)‖ (Zhu et al. 2016, section 3), of the
                                         pixels that are there (Yeh et al. 2017)

Arithmetic on z needs no more than + and −: what is added is in evaluation/arithmetic.py.
"""

from __future__ import annotations

from typing import NamedTuple

from minigan.backend import backend_of
from minigan.engine import ShapeError, Tensor, frozen, no_grad
from minigan.engine.checks import whole_number
from minigan.engine.operations import sum
from minigan.nn import Module, Parameter
from minigan.optim import Adam, Scheduled, clip_weights, cosine
from minigan.system import terminal

# --- Ways between two z --------------------------------------------------------------------------


def lerp(a, b, t):
    """(1 − t) a + t b, the straight way from a (…, d) to b (…, d): arrays of one device.

    t: a number, or an array that broadcasts against (…, 1): k places as (k, 1, 1) between n pairs
    (n, d) give (k, n, d). The right way for mixtures of classes, and for uniform noise, whose cube
    it does not leave. Half-way between two of Gaussian noise ‖z‖ is some √½ of what G has seen.
    ShapeError unless a and b have one shape, TypeError unless they hold floats.
    """
    a, b, t = _alike("lerp", a, b, t)
    return (1 - t) * a + t * b


def slerp(a, b, t):
    """The way along a circle, spherical interpolation (White 2016); arguments as for `lerp`.

        u = sin((1 − t) ω) / sin ω · a / ‖a‖ + sin(t ω) / sin ω · b / ‖b‖,      ω their angle
        ((1 − t) ‖a‖ + t ‖b‖) u

    So ‖z‖ goes from ‖a‖ to ‖b‖ at an even pace, and is kept where they are equal, as they nearly
    are of Gaussian noise in many dimensions; then this is White's formula, which weighs a and b
    themselves. Vectors of one direction are the limit ω → 0, which is `lerp`. Opposite ones have no
    circle of their own and a zero vector has no direction: there it is `lerp` as well.
    """
    a, b, t = _alike("slerp", a, b, t)
    xp = backend_of(a).xp
    (p, from_length), (q, to_length) = _unit(xp, a), _unit(xp, b)
    angle = 2 * xp.arctan2(_norm(xp, p - q), _norm(xp, p + q))  # arccos has few digits at 1
    sine = xp.sin(angle)
    straight = (sine <= float(xp.finfo(a.dtype).eps) ** 0.5) | (from_length * to_length == 0)
    sine = xp.where(straight, 1, sine)
    direction = (xp.sin((1 - t) * angle) * p + xp.sin(t * angle) * q) / sine
    length = (1 - t) * from_length + t * to_length
    return xp.where(straight, (1 - t) * a + t * b, length * direction)


def _alike(what, a, b, t):
    """a and b, and t as an array of their dtype."""
    if a.shape != b.shape or not a.ndim:
        raise ShapeError(f"{what}: got shapes {a.shape} and {b.shape}, expected one and the same")
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        raise TypeError(f"{what}: got dtypes {a.dtype} and {b.dtype}, expected floats")
    return a, b, backend_of(a).asarray(t, a.dtype)


def _norm(xp, a):
    return xp.sqrt((a * a).sum(-1, keepdims=True))


def _unit(xp, a):
    """a / ‖a‖, or 0; and ‖a‖."""
    norm = _norm(xp, a)
    return a / xp.where(norm == 0, 1, norm), norm


# --- The z of an image ---------------------------------------------------------------------------


class Inversion(NamedTuple):
    """What `invert` has found for n images from k starts each: arrays on G's device."""

    z: object  # (n, latent), of the start that came nearest to the image
    error: object  # (n,), its ‖x − G(z)‖², weighed and with the penalty if there is one
    every_z: object  # (n, k, latent), the same of every start
    errors: object  # (n, k)


class _Latent(Module):
    """z as parameters, for the optimiser."""

    def __init__(self, z):
        self.z = Parameter(z)


def invert(
    G: Module,
    x,
    starts,
    *told,
    steps=300,
    rate=0.1,
    prior=0.0,
    weight=None,
    penalty=None,
    bound: float | None = None,
    progress=False,
) -> Inversion:
    """z = argmin ‖x − G(z)‖² + λ ‖z‖² for images, from several starts each, by Adam (Zhu et al.
    2016, section 3; Creswell and Bharath 2016).

    The valley has side valleys, so one start is not enough: all are descended side by side, and
    that which ends nearest to the image, ‖x − G(z)‖², counts.

    G       in evaluation mode, or ValueError; it stays as it is
    x       images (n, …) as G draws them, an array on G's device
    starts  (n, k, latent), the z to begin at
    told    what G is told beside z, arrays (n, …)
    rate    the first one; it falls along a cosine to 0
    prior   λ, a number or a schedule of the step. With σ² for λ this is the most probable z, if
            z ~ N(0, 1) and x is G(z) with noise N(0, σ²) in each pixel. A λ that falls to 0, as
            `linear_decay(λ, steps, start=0)`, keeps z among what G has seen and doesn't bias it.
    weight  of each pixel's square, an array (n, …) that broadcasts against x: 0 where x is unknown,
            and the rest of G(z) fills the hole (Yeh et al. 2017)
    penalty a function of G(z) to numbers (n,), added to the distance: with λ ln(1 − D(G(z))),
            their prior, z goes to where D takes the whole image for real. That of every start is
            asked at once, so D is to be in evaluation mode
    bound   z stays in [−bound, bound]: right for uniform noise, which has no ‖z‖² prior. To clip
            Gaussian noise would forbid what G has seen.

    ShapeError unless x, starts, told and the weight have as many rows.
    """
    whole_number("invert: steps", steps, 1)
    if G.training:
        raise ValueError("invert: G is in training: call eval() first")
    told = (*told, *([] if weight is None else [weight]))
    if starts.ndim != 3 or {len(x)} != {len(part) for part in (starts, *told)}:
        shapes = [part.shape for part in (x, starts, *told)]
        raise ShapeError(f"invert: got shapes {shapes}, expected (n, …), (n, k, latent), (n, …) …")
    backend = backend_of(starts)
    (n, k, latent), xp = starts.shape, backend.xp
    owner = xp.arange(n * k) // k
    x, *told = (Tensor(part[owner]) for part in (x, *told))
    weight = None if weight is None else told.pop()
    latents = _Latent(starts.reshape(n * k, latent).copy())
    optimizer, shrink = Adam(latents, cosine(rate, steps)), Scheduled(prior, backend)

    def distances():
        """‖x − G(z)‖² of each z, weighed and with the penalty."""
        made = G(latents.z, *told)
        gap = made - x
        squares = gap * gap if weight is None else gap * gap * weight
        apart = sum(squares, tuple(range(1, gap.ndim)))
        return apart if penalty is None else apart + penalty(made)

    def step():
        shrink.advance()
        with frozen(G):
            loss = sum(distances()) + sum(latents.z * latents.z) * shrink.value
            optimizer.descend(loss)
        if bound is not None:
            clip_weights(latents, bound)

    step = backend.capture(step)
    with terminal.bar(total=steps, unit="step", disable=not progress, desc="inversion") as bar:
        for _ in range(steps):
            step()
            bar.update()
    with no_grad():
        errors = distances().data.reshape(n, k)
    z = latents.z.detach().data.reshape(n, k, latent)
    best = xp.arange(n), errors.argmin(axis=1)
    return Inversion(z[best], errors[best], z, errors)
