"""A second opinion: PyTorch's values and its gradients of first and second order.

The other tests hold the engine against definitions written by the same hand. Here a different
implementation, with its own conventions about axes, eps and output sizes, has to agree. Skipped
where PyTorch is not installed.
"""

import numpy as np
import pytest
from checks import fill, leaves, ops

from minigan import functional as F
from minigan.engine import conv2d, conv_transpose2d, grad, tensor
from minigan.engine.checks import pair

torch = pytest.importorskip("torch")
tF = torch.nn.functional


def derivatives(f, xs, v, w, differentiate, order):
    """[f(x), Jᵀv, and the gradient of ⟨w, Jᵀv⟩], however the library differentiates."""
    y = f(*xs)
    first = differentiate(y, xs, v, order > 1)
    second = []
    if order > 1:
        inner = sum((g * u).sum() for g, u in zip(first, w, strict=True))
        second = differentiate(inner, xs, None, False)
    return y, first, second


def ours(y, xs, v, create_graph):
    if not y.requires_grad:  # a piecewise linear function's gradient is constant
        return [tensor(np.zeros_like(x.data)) for x in xs]
    return grad(y, xs, cotangent=v, create_graph=create_graph, unused="zeros")


def theirs(y, xs, v, create_graph):
    if not y.requires_grad:
        return [torch.zeros_like(x) for x in xs]
    return torch.autograd.grad(
        y, xs, v, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )


def check_parity(f, reference, *arrays, order=2, rtol=1e-9, atol=1e-11):
    """Asserts that f of tensors and `reference` of torch's tensors agree, derivatives included."""
    xs = leaves(arrays)
    v = fill(f(*xs).shape, seed=11).astype(arrays[0].dtype)
    w = [fill(a.shape, seed=12 + i).astype(a.dtype) for i, a in enumerate(arrays)]
    actual = derivatives(f, xs, tensor(v), [tensor(u) for u in w], ours, order)
    txs = [torch.tensor(np.ascontiguousarray(a)).requires_grad_() for a in arrays]
    expected = derivatives(reference, txs, torch.tensor(v), [*map(torch.tensor, w)], theirs, order)
    for stage, a, e in zip(("values", "gradients", "second"), actual, expected, strict=True):
        a, e = (a, e) if isinstance(a, (list, tuple)) else ([a], [e])
        assert len(a) == len(e), stage
        for mine, other in zip(a, e, strict=True):
            other = other.detach().numpy(force=True)
            assert mine.dtype == other.dtype
            np.testing.assert_allclose(mine.data, other, rtol=rtol, atol=atol, err_msg=stage)


SHAPE = (3, 4, 5)
ELEMENTWISE = {
    "add": (lambda a, b: a + b, lambda a, b: a + b, "real", "real"),
    "mul": (lambda a, b: a * b, lambda a, b: a * b, "real", "real"),
    "div": (lambda a, b: a / b, lambda a, b: a / b, "real", "nonzero"),
    "power": (lambda a, b: a**b, lambda a, b: a**b, "positive", "real"),
    "x ** 3": (lambda x: x**3, lambda x: x**3, "real"),
    "x ** -0.5": (lambda x: x**-0.5, lambda x: x**-0.5, "positive"),
    "2 ** x": (lambda x: 2.0**x, lambda x: 2.0**x, "real"),
    "exp": (F.exp, torch.exp, "real"),
    "log": (F.log, torch.log, "positive"),
    "sqrt": (F.sqrt, torch.sqrt, "positive"),
    "abs": (F.abs, torch.abs, "nonzero"),
    "tanh": (F.tanh, torch.tanh, "real"),
    "sigmoid": (F.sigmoid, torch.sigmoid, "real"),
    "softplus": (F.softplus, tF.softplus, "real"),
    "relu": (F.relu, torch.relu, "nonzero"),
    "leaky_relu": (F.leaky_relu, lambda x: tF.leaky_relu(x, 0.2), "nonzero"),
    "elu": (lambda x: F.elu(x, 0.7), lambda x: tF.elu(x, 0.7), "nonzero"),
    "clip": (lambda x: F.clip(x, -1.1, 0.9), lambda x: torch.clamp(x, -1.1, 0.9), "even"),
    "maximum": (F.maximum, torch.maximum, "even", "odd"),
    "minimum": (F.minimum, torch.minimum, "even", "odd"),
    "softmax": (lambda x: F.softmax(x, 1), lambda x: torch.softmax(x, 1), "real"),
    "log_softmax": (lambda x: F.log_softmax(x, 1), lambda x: torch.log_softmax(x, 1), "real"),
    "sum": (lambda x: x.sum(axis=(0, 2)), lambda x: x.sum(dim=(0, 2)), "real"),
    "mean": (lambda x: x.mean(axis=-1), lambda x: x.mean(dim=-1), "real"),
    "var": (lambda x: x.var(axis=(0, 1)), lambda x: x.var(dim=(0, 1), correction=0), "real"),
    "max": (lambda x: x.max(axis=1), lambda x: x.amax(dim=1), "even"),
    "getitem": (lambda x: x[[2, 0, 2], 1:, None], lambda x: x[[2, 0, 2], 1:, None], "real"),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda x: x.permute(2, 0, 1), "real"),
    "concatenate": (
        lambda a, b: F.concatenate([a, b], -1),
        lambda a, b: torch.cat([a, b], -1),
        "real",
        "real",
    ),
    "stack": (lambda a, b: F.stack([a, b], 1), lambda a, b: torch.stack([a, b], 1), "real", "real"),
    "pad": (
        lambda x: F.pad(x, [(0, 0), (1, 2), (3, 0)], 0.5),
        lambda x: tF.pad(x, (3, 0, 1, 2), value=0.5),
        "real",
    ),
    "matmul": (ops.matmul, lambda a, b: a @ b, "real", "real"),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_operations(name):
    f, reference, *domains = ELEMENTWISE[name]
    arrays = [fill(SHAPE, domain, seed) for seed, domain in enumerate(domains)]
    if name == "matmul":
        arrays[1] = fill((5, 2), seed=1)
    check_parity(f, reference, *arrays)


def test_ties_of_max_are_shared_as_in_amax():
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    check_parity(lambda x: x.max(axis=1), lambda x: x.amax(dim=1), x, order=1)
    check_parity(lambda x: F.maximum(x, 2.0 * x), lambda x: torch.maximum(x, 2 * x), 0 * x, order=1)


def test_linear():
    x, w, b = fill((6, 3), seed=1), fill((3, 4), seed=2), fill((4,), seed=3)
    check_parity(F.linear, lambda x, w, b: tF.linear(x, w.T, b), x, w, b)


# --- Images: (n, h, w, c) here, (n, c, h, w) there -----------------------------------------------


def nchw(f):
    """A function of torch's image layout as one of ours: images are permuted in and out."""
    return lambda x, *rest: f(x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)


GEOMETRY = [  # image, kernel, stride, padding
    ((5, 6), (3, 3), 1, 0),
    ((8, 8), (4, 4), 2, 1),
    ((7, 6), (3, 2), (2, 3), (1, 0)),
    ((4, 5), (5, 3), (1, 2), (3, 2)),
    ((1, 1), (1, 1), 1, 0),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("image", "kernel", "stride", "padding"), GEOMETRY)
def test_conv2d(image, kernel, stride, padding, channels):
    x, w = fill((2, *image, channels), seed=1), fill((*kernel, channels, 2), seed=2)
    check_parity(
        lambda x, w: conv2d(x, w, stride=stride, padding=padding),
        nchw(lambda x, w: tF.conv2d(x, w.permute(3, 2, 0, 1), stride=stride, padding=padding)),
        x,
        w,
    )


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), GEOMETRY[:3])
def test_conv_transpose2d(size, kernel, stride, padding, channels, extra):
    """`output_padding` there is an `output_size` larger than the smallest here."""
    strides, paddings = pair("stride", stride), pair("padding", padding, 0)
    extras = tuple(min(extra, s - 1) for s in strides)
    output_size = tuple(
        (n - 1) * s - 2 * p + k + e
        for n, s, p, k, e in zip(size, strides, paddings, kernel, extras, strict=True)
    )
    y, w = fill((2, *size, 2), seed=1), fill((*kernel, channels, 2), seed=2)

    def reference(y, w):
        w = w.permute(3, 2, 0, 1)
        return tF.conv_transpose2d(y, w, stride=stride, padding=padding, output_padding=extras)

    check_parity(
        lambda y, w: conv_transpose2d(
            y, w, stride=stride, padding=padding, output_size=output_size if extra else None
        ),
        nchw(reference),
        y,
        w,
    )


NORMS = {
    "batch": ((0, 1, 2), (3,), lambda x, s, b: tF.batch_norm(x, None, None, s, b, True, eps=1e-3)),
    "instance": ((1, 2), (3,), lambda x, s, b: tF.instance_norm(x, None, None, s, b, eps=1e-3)),
    "layer": (
        (1, 2, 3),
        (3,),
        lambda x, s, b: tF.group_norm(x, 1, s, b, eps=1e-3),
    ),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms(name):
    axes, channels, reference = NORMS[name]
    x, scale, shift = fill((4, 3, 5, 3), seed=1), fill(channels, seed=2), fill(channels, seed=3)
    check_parity(
        lambda *xs: F.normalize(*xs, axes, eps=1e-3)[0], nchw(reference), x, scale, shift, rtol=1e-7
    )


def test_layer_norm_of_vectors():
    x, scale, shift = fill((4, 6), seed=1), fill((6,), seed=2), fill((6,), seed=3)
    check_parity(
        lambda *xs: F.normalize(*xs, (-1,))[0],
        lambda x, s, b: tF.layer_norm(x, (6,), s, b),
        x,
        scale,
        shift,
        rtol=1e-7,
    )


@pytest.mark.parametrize(("kernel", "stride"), [(2, None), ((3, 2), (1, 2)), ((2, 3), 1)])
def test_pooling_and_resizing(kernel, stride):
    x = fill((2, 6, 7, 3), "even")
    check_parity(
        lambda x: F.avg_pool2d(x, kernel, stride),
        nchw(lambda x: tF.avg_pool2d(x, kernel, stride)),
        x,
    )
    check_parity(
        lambda x: F.max_pool2d(x, kernel, stride),
        nchw(lambda x: tF.max_pool2d(x, kernel, stride)),
        x,
    )
    check_parity(
        lambda x: F.upsample_nearest(x, 2), nchw(lambda x: tF.interpolate(x, scale_factor=2)), x
    )


@pytest.mark.parametrize("width", [1, (2, 1), (0, 4), (3, 0)])
def test_reflection(width):
    p, q = pair("width", width, 0)
    reference = nchw(lambda x: tF.pad(x, (q, q, p, p), mode="reflect"))
    check_parity(lambda x: F.reflect_pad(x, width), reference, fill((2, 4, 5, 3)))


def test_gradient_penalty_through_a_critic():
    """WGAN-GP's term, differentiated in the weights: the reason for second derivatives."""
    x = fill((2, 6, 6, 1), seed=1)
    w1, w2 = fill((3, 3, 1, 2), seed=2), fill((32, 1), seed=3)

    def penalty(x, w1, w2):
        h = F.leaky_relu(conv2d(x, w1))
        (g,) = grad((h.reshape(2, -1) @ w2).sum(), [x], create_graph=True)
        return ((F.sqrt((g * g).sum(axis=(1, 2, 3))) - 1) ** 2).mean()

    def reference(x, w1, w2):
        h = tF.leaky_relu(nchw(tF.conv2d)(x, w1.permute(3, 2, 0, 1)), 0.2)
        (g,) = torch.autograd.grad((h.reshape(2, -1) @ w2).sum(), [x], create_graph=True)
        return (((g * g).sum(dim=(1, 2, 3)).sqrt() - 1) ** 2).mean()

    check_parity(penalty, reference, x, w1, w2, order=1)


# --- Extreme values ------------------------------------------------------------------------------

EXTREMES = np.array([-1e4, -1e3, -88, -17, -1e-6, 1e-6, 17, 88, 1e3, 1e4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["softplus", "sigmoid", "tanh", "softmax", "log_softmax", "leaky_relu", "elu"]
)
def test_extreme_logits(name, dtype):
    """No warning (they are errors here), no NaN, and what PyTorch says. Its softplus is the
    identity above 20, to which ln(1 + eˣ) is equal in float32 only: hence −ln σ(−x)."""
    references = {
        "softplus": lambda x: -tF.logsigmoid(-x),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softmax": lambda x: torch.softmax(x, -1),
        "log_softmax": lambda x: torch.log_softmax(x, -1),
        "leaky_relu": lambda x: tF.leaky_relu(x, 0.2),
        "elu": tF.elu,
    }
    x = EXTREMES.astype(dtype)
    (y,) = leaves([x])
    (g,) = grad(getattr(F, name)(y), [y], cotangent=np.ones_like(x))
    assert np.isfinite(g.data).all()
    rtol = 1e-5 if dtype == "float32" else 1e-9
    # elu's slope is taken from its value, 1 + (eˣ − 1): good to the last bit of 1, not of eˣ.
    atol = np.finfo(dtype).eps if name == "elu" else 1e-38
    check_parity(getattr(F, name), references[name], x, order=1, rtol=rtol, atol=atol)
