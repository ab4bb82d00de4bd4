"""Every layer, once: for what is asked of all of them alike, and the definitions in plain loops."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from checks import fill

from minigan import nn
from minigan.backend import cpu


class Layer(NamedTuple):
    """How a layer is made, the shape of its input, and what it is.

    reference: its values as a function of (x, *weights) in NumPy; None where that is not all they
    depend on, as on a generator's stream or on what was computed before.
    labels: how many labels there are, for a layer whose input is labels and not numbers.
    domain: what its input's numbers are like, away from what makes differences lie; see `fill`.
    """

    make: Callable
    shape: tuple[int, ...]
    reference: Callable | None = None
    labels: int | None = None
    domain: str = "nonzero"

    def input(self, seed=0, dtype="float64"):
        """The same input at every call: an array."""
        if self.labels:
            return np.random.default_rng(seed).integers(0, self.labels, self.shape)
        return fill(self.shape, self.domain, seed).astype(dtype)

    def default(self):
        """The layer on the CPU, the same at every call."""
        return self.make(cpu.generator(0))


# --- The definitions, in loops -------------------------------------------------------------------


def linear(x, w, b=0.0):
    y = np.empty((*x.shape[:-1], w.shape[1]))
    for index in np.ndindex(y.shape):
        y[index] = sum(a * c for a, c in zip(x[index[:-1]], w[:, index[-1]], strict=True))
    return y + b


def maxout(pieces):
    def reference(x, w, b=0.0):
        y = linear(x, w, b)
        units = y.shape[-1] // pieces
        best = np.empty((*y.shape[:-1], units))
        for *index, i in np.ndindex(best.shape):
            best[(*index, i)] = max(y[(*index, j * units + i)] for j in range(pieces))
        return best

    return reference


def conv(stride, padding):
    def reference(x, w, b=0.0):
        (kh, kw, _, filters), (sh, sw), (ph, pw) = w.shape, stride, padding
        x = np.pad(x, [(0, 0), (ph, ph), (pw, pw), (0, 0)])
        rows, columns = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
        y = np.empty((len(x), rows, columns, filters))
        for n, i, j, k in np.ndindex(y.shape):
            y[n, i, j, k] = (x[n, i * sh : i * sh + kh, j * sw : j * sw + kw] * w[..., k]).sum()
        return y + b

    return reference


def conv_transpose(stride, padding):
    def reference(x, w, b=0.0):
        (kh, kw, filters, _), (sh, sw), (ph, pw) = w.shape, stride, padding
        n, h, width, _ = x.shape
        y = np.zeros((n, (h - 1) * sh + kh, (width - 1) * sw + kw, filters))
        for m, i, j, u, v, k in np.ndindex(n, h, width, kh, kw, filters):
            y[m, i * sh + u, j * sw + v, k] += (x[m, i, j] * w[u, v, k]).sum()
        return y[:, ph : y.shape[1] - ph, pw : y.shape[2] - pw] + b

    return reference


def norm(groups):
    """γ (x − μ) / √(σ² + ε) + β; groups(index) says which values share their statistics."""

    def reference(x, scale, shift):
        members = {}
        for index in np.ndindex(x.shape):
            members.setdefault(groups(index), []).append(index)
        y = np.empty(x.shape)
        for group in members.values():
            values = [x[index] for index in group]
            mean = math.fsum(values) / len(values)
            variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
            for index in group:
                r = (x[index] - mean) / math.sqrt(variance + 1e-5)
                y[index] = scale[index[-1]] * r + shift[index[-1]]
        return y

    return reference


def pixel_norm(x):
    y = np.empty(x.shape)
    for index in np.ndindex(x.shape[:-1]):
        square = math.fsum(v * v for v in x[index]) / x.shape[-1]
        y[index] = [v / math.sqrt(square + 1e-8) for v in x[index]]
    return y


def elementwise(f):
    return np.vectorize(f, otypes=[float])


def repeat(x, fh, fw):
    y = np.empty((len(x), x.shape[1] * fh, x.shape[2] * fw, x.shape[3]))
    for n, i, j, c in np.ndindex(y.shape):
        y[n, i, j, c] = x[n, i // fh, j // fw, c]
    return y


def mirrored(x, p, q):
    """Each pixel's place as it is seen in mirrors at the edges, by walking there and back."""

    def walk(start, n):
        way = [*range(n), *range(n - 2, 0, -1)]
        return way[start % len(way)]

    _, h, w, _ = x.shape
    rows, columns = ([walk(i, n) for i in range(-k, n + k)] for k, n in ((p, h), (q, w)))
    return np.array([[[image[i, j] for j in columns] for i in rows] for image in x])


def closeness_by_loops(x, weight):
    """o_ib, the mean over j ≠ i of exp(−‖M_ib − M_jb‖₁), one pair at a time."""
    n, (_, kernels, _) = len(x), weight.shape
    out = np.zeros((n, kernels))
    for i in range(n):
        for j in range(n):
            for b in range(kernels):
                difference = x[i] @ weight[:, b] - x[j] @ weight[:, b]
                out[i, b] += np.exp(-np.abs(difference).sum()) / (n - 1) if i != j else 0.0
    return np.concatenate([x, out], axis=1)


def std_by_loops(x, group):
    out = np.zeros((*x.shape[:-1], x.shape[-1] + 1))
    out[..., :-1] = x
    for start in range(0, len(x), group):
        values = x[start : start + group].reshape(group, -1)
        spread = [np.sqrt(column.var() + 1e-8) for column in values.T]
        out[start : start + group, ..., -1] = np.mean(spread)
    return out


def joined(x, m):
    """m neighbouring samples, their channels one after the other."""
    n, *image, channels = x.shape
    out = np.zeros((n // m, *image, m * channels))
    for k in range(n):
        out[k // m, ..., channels * (k % m) : channels * (k % m + 1)] = x[k]
    return out


def attention(x, query, key, value, out, gain):
    """x + γ o: one query after the other, over the maxima of keys and values."""
    largest = pooling(np.max, (2, 2), (2, 2))
    keys, values = largest(x @ key), largest(x @ value)
    y = x.copy()
    for n, i, j in np.ndindex(x.shape[:3]):
        pairs = [
            (math.exp((x[n, i, j] @ query) @ keys[n, u, v]), values[n, u, v])
            for u, v in np.ndindex(keys.shape[1:3])
        ]
        total = math.fsum(share for share, _ in pairs)
        y[n, i, j] += gain * (sum(share / total * fetched for share, fetched in pairs) @ out)
    return y


class WithVector(nn.Module):
    """A layer of x and of a vector per sample, which here is cut off from x's last channels.

    So that it has one input, as all others in the table.
    """

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        features = self.layer.features
        return self.layer(x[..., :features], x[(slice(None), *(0,) * (x.ndim - 2))][:, features:])

    def __repr__(self):
        return repr(self.layer)


def conditional_norm(features):
    def reference(x, scale, shift):
        c = x[(slice(None), *(0,) * (x.ndim - 2))][:, features:]
        ones, zeros = np.ones(features), np.zeros(features)
        y = norm(lambda i: i[-1])(x[..., :features], ones, zeros)
        for n in range(len(x)):
            y[n] = y[n] * (1 + c[n] @ scale) + c[n] @ shift
        return y

    return reference


def pooling(reduce, kernel, stride):
    def reference(x):
        (kh, kw), (sh, sw), (n, h, w, c) = kernel, stride, x.shape
        y = np.empty((n, (h - kh) // sh + 1, (w - kw) // sw + 1, c))
        for m, i, j, k in np.ndindex(y.shape):
            y[m, i, j, k] = reduce(x[m, i * sh : i * sh + kh, j * sw : j * sw + kw, k])
        return y

    return reference


# --- The table -----------------------------------------------------------------------------------

# The first word is the layer's name.
LAYERS = {
    "Linear": Layer(lambda rng: nn.Linear(3, 4, rng=rng), (5, 3), linear),
    "Linear, no bias": Layer(lambda rng: nn.Linear(3, 4, rng=rng, bias=False), (5, 3), linear),
    "Linear of sequences": Layer(lambda rng: nn.Linear(3, 2, rng=rng), (2, 4, 3), linear),
    "Maxout": Layer(lambda rng: nn.Maxout(3, 4, 2, rng=rng), (5, 3), maxout(2)),
    "Maxout of sequences, no bias": Layer(
        lambda rng: nn.Maxout(3, 2, 3, rng=rng, bias=False),
        (2, 4, 3),
        maxout(3),
    ),
    "Conv2d": Layer(
        lambda rng: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), rng=rng),
        (2, 5, 4, 2),
        conv((2, 1), (1, 0)),
    ),
    "Conv2d, no bias": Layer(
        lambda rng: nn.Conv2d(1, 2, 4, stride=2, padding=1, rng=rng, bias=False),
        (2, 6, 6, 1),
        conv((2, 2), (1, 1)),
    ),
    "ConvTranspose2d": Layer(
        lambda rng: nn.ConvTranspose2d(3, 2, (3, 2), stride=(2, 1), padding=(1, 0), rng=rng),
        (2, 3, 4, 3),
        conv_transpose((2, 1), (1, 0)),
    ),
    "ConvTranspose2d, no bias": Layer(
        lambda rng: nn.ConvTranspose2d(2, 1, 4, stride=2, padding=1, rng=rng, bias=False),
        (2, 3, 3, 2),
        conv_transpose((2, 2), (1, 1)),
    ),
    "BatchNorm": Layer(lambda rng: nn.BatchNorm(3, rng=rng), (6, 3), norm(lambda i: i[-1])),
    "BatchNorm of images": Layer(
        lambda rng: nn.BatchNorm(2, rng=rng),
        (3, 2, 3, 2),
        norm(lambda i: i[-1]),
    ),
    **{
        f"ConditionalBatchNorm{of}": Layer(
            lambda rng: WithVector(nn.ConditionalBatchNorm(3, 2, rng=rng)),
            shape,
            conditional_norm(3),
        )
        for of, shape in ((" of vectors", (6, 5)), (" of images", (3, 2, 2, 5)))
    },
    "LayerNorm": Layer(lambda rng: nn.LayerNorm(5, rng=rng), (3, 5), norm(lambda i: i[0])),
    "LayerNorm of images": Layer(
        lambda rng: nn.LayerNorm(2, rng=rng),
        (2, 2, 3, 2),
        norm(lambda i: i[0]),
    ),
    "InstanceNorm": Layer(
        lambda rng: nn.InstanceNorm(2, rng=rng),
        (2, 3, 2, 2),
        norm(lambda i: (i[0], i[-1])),
    ),
    "PixelNorm": Layer(lambda rng: nn.PixelNorm(), (5, 3), pixel_norm),
    "PixelNorm of images": Layer(lambda rng: nn.PixelNorm(), (2, 3, 2, 4), pixel_norm),
    "Equalised": Layer(
        lambda rng: nn.Equalised(nn.Linear, 3, 4, rng=rng),
        (5, 3),
        lambda x, w, b: linear(x, w * math.sqrt(2 / 3), b),
    ),
    "Equalised Conv2d": Layer(
        lambda rng: nn.Equalised(nn.Conv2d, 2, 3, (3, 2), padding=(1, 0), gain=1, rng=rng),
        (2, 4, 3, 2),
        lambda x, w, b: conv((1, 1), (1, 0))(x, w / math.sqrt(3 * 2 * 2), b),
    ),
    "Equalised ConvTranspose2d": Layer(
        lambda rng: nn.Equalised(
            nn.ConvTranspose2d, 3, 2, 4, stride=2, padding=1, bias=False, rng=rng
        ),
        (2, 3, 2, 3),
        lambda x, w: conv_transpose((2, 2), (1, 1))(x, w * math.sqrt(2 / (4 * 3))),
    ),
    "Flatten": Layer(
        lambda rng: nn.Flatten(), (2, 3, 2), lambda x: np.array([list(row.flat) for row in x])
    ),
    "Reshape": Layer(
        lambda rng: nn.Reshape(3, 1, 2),
        (2, 6),
        lambda x: np.array([[[row[0:2]], [row[2:4]], [row[4:6]]] for row in x]),
    ),
    "Reshape, one size left open": Layer(
        lambda rng: nn.Reshape(2, -1),
        (2, 3, 4),
        lambda x: np.array([[list(row.flat)[:6], list(row.flat)[6:]] for row in x]),
    ),
    "AvgPool2d": Layer(lambda rng: nn.AvgPool2d(2), (2, 5, 4, 3), pooling(np.mean, (2, 2), (2, 2))),
    "AvgPool2d, overlapping": Layer(
        lambda rng: nn.AvgPool2d((3, 2), stride=(1, 2)),
        (2, 4, 4, 2),
        pooling(np.mean, (3, 2), (1, 2)),
    ),
    "MaxPool2d": Layer(
        lambda rng: nn.MaxPool2d(2), (2, 5, 4, 3), pooling(np.max, (2, 2), (2, 2)), domain="even"
    ),
    "Upsample": Layer(lambda rng: nn.Upsample(3), (2, 2, 3, 2), lambda x: repeat(x, 3, 3)),
    "Upsample, two factors": Layer(
        lambda rng: nn.Upsample((1, 2)),
        (1, 3, 2, 1),
        lambda x: repeat(x, 1, 2),
    ),
    "ReflectionPad2d": Layer(
        lambda rng: nn.ReflectionPad2d(2), (2, 3, 4, 2), lambda x: mirrored(x, 2, 2)
    ),
    "ReflectionPad2d, two widths": Layer(
        lambda rng: nn.ReflectionPad2d((0, 3)), (2, 2, 4, 1), lambda x: mirrored(x, 0, 3)
    ),
    "ReLU": Layer(lambda rng: nn.ReLU(), (3, 4), elementwise(lambda v: max(v, 0.0))),
    "LeakyReLU": Layer(
        lambda rng: nn.LeakyReLU(), (3, 4), elementwise(lambda v: v if v > 0 else 0.2 * v)
    ),
    "LeakyReLU(0.01)": Layer(
        lambda rng: nn.LeakyReLU(0.01),
        (3, 4),
        elementwise(lambda v: v if v > 0 else 0.01 * v),
    ),
    "ELU": Layer(
        lambda rng: nn.ELU(), (3, 4), elementwise(lambda v: v if v > 0 else math.exp(v) - 1)
    ),
    "ELU(0.5)": Layer(
        lambda rng: nn.ELU(0.5),
        (3, 4),
        elementwise(lambda v: v if v > 0 else 0.5 * (math.exp(v) - 1)),
    ),
    "Tanh": Layer(lambda rng: nn.Tanh(), (3, 4), elementwise(math.tanh)),
    "Sigmoid": Layer(
        lambda rng: nn.Sigmoid(), (3, 4), elementwise(lambda v: 1 / (1 + math.exp(-v)))
    ),
    "Softplus": Layer(
        lambda rng: nn.Softplus(), (3, 4), elementwise(lambda v: math.log(1 + math.exp(v)))
    ),
    "Sequential": Layer(
        lambda rng: nn.Sequential(nn.Linear(3, 2, rng=rng), nn.Tanh(), nn.Linear(2, 1, rng=rng)),
        (4, 3),
        lambda x, w, b, v, c: linear(np.tanh(linear(x, w, b)), v, c),
    ),
    "SpectralNorm": Layer(lambda rng: nn.SpectralNorm(nn.Linear(3, 2, rng=rng), rng=rng), (4, 3)),
    "Dropout": Layer(lambda rng: nn.Dropout(0.5, rng=rng), (4, 3)),
    "Embedding": Layer(
        lambda rng: nn.Embedding(5, 3, rng=rng),
        (4,),
        lambda labels, w: np.array([list(w[k]) for k in labels]),
        labels=5,
    ),
    "Embedding of sequences": Layer(
        lambda rng: nn.Embedding(5, 3, rng=rng),
        (2, 4),
        lambda labels, w: np.array([[list(w[k]) for k in row] for row in labels]),
        labels=5,
    ),
    "SelfAttention": Layer(
        lambda rng: nn.SelfAttention(8, rng=rng), (2, 4, 2, 8), attention, domain="real"
    ),
    "SelfAttention, few channels, an odd size": Layer(
        lambda rng: nn.SelfAttention(2, rng=rng), (2, 3, 5, 2), attention, domain="real"
    ),
    "MinibatchDiscrimination": Layer(
        lambda rng: nn.MinibatchDiscrimination(3, 2, 4, rng=rng), (5, 3), closeness_by_loops
    ),
    **{
        f"MinibatchStd{of}": Layer(
            lambda rng, group=group: nn.MinibatchStd(group),
            shape,
            lambda x, group=group: std_by_loops(x, group or len(x)),
            domain="even",
        )
        for of, group, shape in [
            ("", None, (6, 3)),
            (" of pairs", 2, (6, 3)),
            (" of pairs of images", 2, (4, 2, 3, 2)),
            (" of images", 4, (4, 2, 3, 2)),
        ]
    },
    **{
        f"Pack by {m}{of}": Layer(lambda rng, m=m: nn.Pack(m), shape, lambda x, m=m: joined(x, m))
        for m in (1, 2, 3)
        for of, shape in (("", (6, 3)), (" of images", (6, 2, 4, 3)))
    },
}
