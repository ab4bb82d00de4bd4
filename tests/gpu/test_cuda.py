"""The CUDA backend against the CPU: values, gradients, training, capture, errors.

Everything runs on the fake device of `fake_cupy.py`, whose kernels are those of kernels.cu, and
once more on a GPU where there is one (`-m cuda`).
"""

import copy
import json
import re
import threading

import fake_cupy
import numpy as np
import pytest
from checks import OPERATIONS, first_word, gpu_is_there, operands
from conftest import DEVICES
from layers import LAYERS
from tables import DENSITIES, PENALTIES

from minigan import (
    Tensor,
    cpu,
    discriminator_step,
    generator_step,
    losses,
    models,
    nn,
    optim,
)
from minigan import functional as F
from minigan.backend import CaptureError, DeviceError, Window, backend_of, get_backend
from minigan.backend.cuda import check
from minigan.data import Batches
from minigan.engine import ShapeError, grad, no_grad, tensor
from minigan.engine.functional import (
    clip,
    dropout,
    log_softmax,
    maximum,
    normalize,
    relu,
    softmax,
    sqrt,
)
from minigan.gan import (
    AuxiliaryClassifier,
    WithFeatures,
    orthogonal_penalty,
    penalties,
    truncated_normal,
)
from minigan.training import Record, checkpoint

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


def close(ours, theirs, dtype="float32"):
    scale = 1 + np.abs(theirs).max(initial=0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE[dtype] * scale)


def values_and_gradients(f, arrays, device, dtype):
    """f's value, its gradients, and the gradients of a sum of their squares, as NumPy arrays."""
    xs = [tensor(a, device=device, dtype=dtype, requires_grad=True) for a in arrays]
    y = f(*xs)
    v = tensor(np.linspace(0.5, 1.5, y.size).reshape(y.shape), device=device, dtype=dtype)
    first = grad(y, xs, cotangent=v, create_graph=True, unused="zeros")
    plain = grad(y, xs, cotangent=v, unused="zeros")
    total = sum(((g * g).sum() for g in first), start=(y * y).sum())
    second = grad(total, xs, unused="zeros")
    return [t.numpy() for t in (y, *first, *plain, *second)]


@pytest.mark.cuda
@pytest.mark.skipif(
    not gpu_is_there(), reason="no GPU: the tests below ran on the fake device only"
)
def test_the_gpu_is_one_of_the_devices():
    assert len(DEVICES) == 2


# --- Operations and layers -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [n for n in OPERATIONS if n != "dropout"])  # draws by device
def test_an_operation_is_the_same_on_both_devices(cuda, name, dtype):
    f, arrays = OPERATIONS[name].f, operands(name)
    here = values_and_gradients(f, arrays, cpu, dtype)
    there = values_and_gradients(f, arrays, cuda, dtype)
    for a, b in zip(there, here, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        close(a, b, dtype)


@pytest.mark.parametrize(
    ("axes", "channels"),
    [((1,), (3,)), ((1,), (2, 1)), ((1, 2), (4, 1, 1, 3)), ((1, 2), ()), ((0, 1, 2), (1,))],
)
def test_a_scale_of_any_shape_is_the_same_on_both_devices(cuda, axes, channels):
    def normalized(*inputs):
        return normalize(*inputs, axes, eps=0.1)[0]

    arrays = [
        cpu.generator(i).normal(shape) for i, shape in enumerate([(4, 3, 2, 3), *[channels] * 2])
    ]
    here, there = (values_and_gradients(normalized, arrays, d, "float64") for d in (cpu, cuda))
    for a, b in zip(there, here, strict=True):
        close(a, b, "float64")


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", [n for n in LAYERS if n != "Dropout"])  # draws by device
def test_a_layer_is_the_same_on_both_devices(cuda, name, mode):
    layer = LAYERS[name]
    here, there = layer.make(cpu.generator(0)), layer.make(cuda.generator(0))
    there.load_state(here.state())
    x, results = layer.input(1, "float32"), []
    for net, device in ((here, cpu), (there, cuda)):
        net.train(mode == "train")
        if layer.labels:
            inputs, leaf = tensor(x, device=device), []
        else:
            inputs = tensor(x, device=device, requires_grad=True)
            leaf = [inputs]
        leaf += net.parameters()
        y = net(inputs)
        gradients = grad((y * y * y).sum(), leaf, unused="zeros", create_graph=True)
        plain = grad((y * y * y).sum(), leaf, unused="zeros")
        total = sum(((g * g).sum() for g in gradients), start=(y * y).sum())
        second = grad(total, leaf, unused="zeros")
        buffers = [getattr(module, key) for module, key in net.named_buffers().values()]
        results.append([t.numpy() for t in (y, *gradients, *plain, *second)])
        results[-1] += map(device.to_numpy, buffers)
    for a, b in zip(*results, strict=True):
        close(b, a)


def none_fits(name):
    """Whether a layer takes a batch of no samples; those that compare them are further below."""
    return first_word(name) not in ("MinibatchDiscrimination", "Embedding")


@pytest.mark.parametrize("name", [*filter(none_fits, LAYERS)])
def test_no_images_go_through_a_layer(cuda, name):
    """The result has the shape of twelve images', but for their number; the gradients are zeros."""
    make, shape, *_ = LAYERS[name]
    for device in (cpu, cuda):
        layer = make(device.generator(0))
        layer.train("BatchNorm" not in first_word(name))
        some, none = (
            tensor(np.ones((n, *shape[1:]), "f"), device=device, requires_grad=True)
            for n in (12, 0)
        )
        y = layer(none)
        assert y.shape == (0, *layer(some).shape[1:])
        inputs = [none, *layer.parameters()]
        for create_graph in (True, False):
            gradients = grad((y * y).sum(), inputs, create_graph=create_graph, unused="zeros")
            total = sum((g * g).sum() for g in gradients)
            second = grad(total, inputs, unused="zeros") if total.requires_grad else []
            for g, x in zip((*gradients, *second), inputs * 2, strict=False):
                assert (g.shape, g.dtype, np.any(g.numpy())) == (x.shape, x.dtype, False)
        assert np.isnan(grad(y.mean(), inputs, unused="zeros")[0].numpy()).sum() == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda rng: nn.BatchNorm(3, rng=rng), "BatchNorm: no values per channel"),
        (lambda rng: nn.MinibatchDiscrimination(3, rng=rng), "n >= 2"),
    ],
)
def test_a_layer_that_compares_images_wants_some(cuda, make, said):
    for device in (cpu, cuda):
        layer = make(device.generator(0))
        before = {key: device.to_numpy(array).copy() for key, array in layer.state().items()}
        with pytest.raises(ShapeError, match=said):
            layer(tensor(np.ones((0, 3), "f"), device=device))
        for key, array in layer.state().items():
            np.testing.assert_array_equal(device.to_numpy(array), before[key])


# Those whose first axis is not a batch, or whose other arguments hold how long it is.
NO_BATCH = {
    "matmul of vectors", "broadcast_to", "reshape", "getitem by an array", "scatter_add", "dropout",
    "normalize", "conv2d_filter_grad",
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in NO_BATCH])
def test_no_images_go_through_an_operation(cuda, name):
    f, (first, *others) = OPERATIONS[name].f, operands(name)
    joined = name in ("concatenate", "stack")
    arrays = [first[:0], *(a[:0] if joined else a for a in others)]
    here, there = (values_and_gradients(f, arrays, device, "float32") for device in (cpu, cuda))
    for a, b in zip(there, here, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)
    for a, g in zip(arrays, here[1:], strict=False):
        assert (g.shape, np.nan_to_num(g).any()) == (a.shape, False)


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_the_mean_loss_of_no_images_is_nan_without_a_warning(cuda, name):
    objective = losses.OBJECTIVES[name]()
    for device in (cpu, cuda):
        D, rng = models.mlp([3, 4, 1], rng=device.generator(0)), device.generator(1)
        x = tensor(np.zeros((0, 3), "f"), device=device)
        labels = device.asarray(np.zeros(0, int))
        found = [
            objective.discriminator(D(x), D(x)),
            objective.generator(D(x), D(x)),
            penalties.gradient_penalty(rng)(D, x, x),
            penalties.dragan_penalty(rng)(D, x, x),
            penalties.r1_penalty()(D, x, x),
            losses.feature_matching(D(x), D(x)),
            losses.softmax_cross_entropy(x, labels),
        ]
        assert [bool(np.isnan(loss.numpy())) for loss in found] == [True] * len(found)


@pytest.mark.parametrize("wrong", [(-1, 0), (0, 3)])
def test_a_label_out_of_range_is_an_error_where_looking_costs_nothing(cuda, wrong):
    labels, said = np.array(wrong), f"run from {min(wrong)} to {max(wrong)}, expected 0 to 2"
    made = {
        "softmax_cross_entropy": lambda d: losses.softmax_cross_entropy(
            tensor(X23, device=d), d.asarray(labels)
        ),
        "Embedding": lambda d: nn.Embedding(3, 1, rng=d.generator(0))(d.asarray(labels)),
    }
    for what, f in made.items():
        with pytest.raises(ValueError, match=f"{what}: labels {said}"):
            f(cpu)
    images = np.zeros((3, 1), np.uint8)
    with pytest.raises(ValueError, match=f"to_unit: indices {said}"):
        cpu.to_unit(images, labels)
    if hasattr(cuda.xp, "hardware"):  # CuPy's index wraps, and nothing waits
        wrapped = losses.softmax_cross_entropy(tensor(X23), labels % 3).item()
        with cuda.xp.refusing_synchronisation():
            loss = made["softmax_cross_entropy"](cuda)
        assert loss.item() == pytest.approx(wrapped, rel=1e-6)


X23 = np.arange(6, dtype="f").reshape(2, 3) ** 2


@pytest.mark.parametrize("axis", [0, -1, (0,)])
def test_one_value_is_reduced_on_both_devices(cuda, axis):
    def f(x):
        one = x.sum()
        parts = one.sum(axis), one.mean(axis), one.max(axis), one.var(axis)
        return softmax(one * one, axis) + log_softmax(one, axis) + sum(p * p * p for p in parts)

    here, there = (values_and_gradients(f, [np.array([1.5])], d, "float64") for d in (cpu, cuda))
    np.testing.assert_allclose(here[0], 1 + 3 * 1.5**3)
    for a, b in zip(there, here, strict=True):
        close(a, b, "float64")


@pytest.mark.parametrize(
    ("shape", "axis"), [((400_000, 2), 0), ((400_000,), None), ((2, 200_000, 3), (0, 1))]
)
def test_float32_sums_stay_exact_however_many_rows_there_are(cuda, shape, axis):
    tenth = np.float32(0.1)
    total = cuda.to_numpy(cuda.sum(cuda.xp.full(shape, 0.1, "float32"), axis))
    assert total.dtype == np.float32
    np.testing.assert_allclose(total, 400_000 * float(tenth), rtol=1e-5)


def test_only_bytes_are_scaled_from_bytes(cuda):
    for device in (cpu, cuda):
        for dtype in ("uint16", "int64", "float32", "bool"):
            with pytest.raises(TypeError, match=f"to_unit: images are {dtype}, expected uint8"):
                device.to_unit(device.asarray(np.ones((2, 3), dtype)))


def test_a_gradient_of_what_was_not_taken_is_zero_though_infinite(cuda):
    for device in (cpu, cuda):
        for f in (relu, lambda x: clip(x, 0, 1), lambda x: maximum(x, 0.0)):
            x = tensor(np.array([-1.0, 4.0], "f"), device=device, requires_grad=True)
            for create_graph in (True, False):
                with np.errstate(divide="ignore", invalid="ignore"):
                    (g,) = grad(sqrt(f(x)).sum(), [x], create_graph=create_graph)
                assert g.numpy()[0] == 0


@pytest.mark.parametrize("labels", [np.array([2, 0, 2, 1]), np.array([[2, 0, 2], [1, 1, 1]])])
def test_an_embedding_is_the_same_on_both_devices(cuda, labels):
    results = []
    for device in (cpu, cuda):
        layer = nn.Embedding(3, 4, rng=device.generator(0))
        layer.weight.data[...] = device.asarray(np.arange(12, dtype="f").reshape(3, 4))
        y = layer(device.asarray(labels))
        results.append([y.numpy(), grad((y * y).sum(), [layer.weight])[0].numpy()])
    for a, b in zip(*results, strict=True):
        close(b, a)


def test_a_condition_in_a_captured_step_is_the_eager_one(cuda):
    """Labels that are drawn in the step, one-hot and embedded, over the positions of images."""

    def made(capture):
        rng, labels = cuda.generator(0), cuda.generator(1)
        embedding, x = nn.Embedding(3, 2, rng=rng), Tensor(rng.normal((4, 2, 2, 1)))

        def step():
            y = labels.integers(0, 3, (4,))
            shown = F.concatenate([F.one_hot(y, 3), embedding(y)], 1)
            images = F.concatenate([x, F.tile_over(shown, x)], -1)
            return images, grad((images * images).sum(), [embedding.weight])[0]

        return cuda.capture(step) if capture else step

    eager, captured, seen = made(False), made(True), set()
    for _ in range(6):
        for a, b in zip(eager(), captured(), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
            seen.add(a.numpy().tobytes())
    assert len(seen) > 6


def test_stacks_of_products_are_the_same_on_both_devices(cuda):
    """Matrices that are stored by rows, by columns, or with gaps."""
    a, b = (cpu.generator(k).normal((3, 4, 4)) for k in range(2))
    layouts = [lambda x: x, lambda x: x.swapaxes(1, 2), lambda x: x[:, ::2, ::2]]
    for change in layouts[:2]:
        for other in layouts[:2]:
            product = cuda.matmul(change(cuda.asarray(a)), other(cuda.asarray(b)))
            close(cuda.to_numpy(product), change(a) @ other(b))
    for part in (layouts[2], lambda x: x[:0], lambda x: x[:, :, :0].swapaxes(1, 2)):
        product = cuda.matmul(part(cuda.asarray(a)), part(cuda.asarray(b)).swapaxes(1, 2))
        close(cuda.to_numpy(product), part(a) @ part(b).swapaxes(1, 2))


def test_a_biggan_step_in_a_captured_step_is_the_eager_one(cuda):
    """Attention, conditional norms, spectral norms, an embedding, and the orthogonal penalty."""

    def made(capture):
        rng, noise = cuda.generator(0), cuda.generator(1)
        shape = {"size": 8, "width": 2, "classes": 3}
        G = models.BigGANGenerator(rng=rng, latent=4, attention=8, **shape)
        D = models.BigGANDiscriminator(rng=rng, attention=4, **shape)
        optimizers = [optim.Adam(net, 0.01) for net in (G, D)]
        x, objective = Tensor(noise.uniform((4, 8, 8, 1), -1, 1)), losses.Hinge()

        def step():
            y = Tensor(noise.integers(0, 3, (4,)))
            fake = G(Tensor(truncated_normal(noise, (4, 4), 1.0)), y)
            discriminator_step(D, optimizers[1], objective, (x, y), (fake, y))
            near = lambda *_: orthogonal_penalty(G)
            generator_step(D, optimizers[0], objective, (fake, y), penalty=near)

        return (cuda.capture(step) if capture else step), (G, D)

    (eager, here), (captured, there) = made(False), made(True)
    for _ in range(6):
        eager(), captured()
    for a, b in zip(here, there, strict=True):
        assert [key for key, v in a.state().items() if (v != b.state()[key]).any()] == []
        assert any(look.gain.numpy().any() for look in a.looks.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda net: optim.SGD(net, 0.1, momentum=0.9),
        lambda net: optim.SGD(net, 0.1, momentum=0.9, nesterov=True),
        lambda net: optim.RMSprop(net, 0.01),
        lambda net: optim.Adam(net, optim.cosine(0.01, 5), betas=(0.5, 0.99), weight_decay=0.1),
    ],
    ids=["momentum", "nesterov", "rmsprop", "adamw"],
)
def test_an_optimiser_is_the_same_on_both_devices(cuda, make):
    here = nn.Linear(7, 5, rng=cpu.generator(0))
    there = nn.Linear(7, 5, rng=cuda.generator(0))
    there.load_state(here.state())
    ours, theirs = make(there), make(here)
    averages = optim.EMA(there, 0.9), optim.EMA(here, 0.9)
    for step in range(5):
        gradients = [cpu.generator([2, step, i]).normal(p.shape) for i, p in enumerate(LINEAR)]
        theirs.step([Tensor(g) for g in gradients])
        ours.step([tensor(g, device=cuda) for g in gradients])
        for average in averages:
            average.update()
    for mine, other in ((there, here), (averages[0].network, averages[1].network)):
        for p, q in zip(mine.parameters(), other.parameters(), strict=True):
            close(p.numpy(), q.numpy())


LINEAR = (np.zeros((7, 5)), np.zeros(5))


@pytest.mark.parametrize("name", losses.OBJECTIVES)
@pytest.mark.parametrize("penalty", ["none", *PENALTIES])
def test_an_objective_is_the_same_on_both_devices(cuda, name, penalty):
    """Both losses and D's gradients, through second derivatives where there is a penalty."""
    objective, mix = losses.OBJECTIVES[name](), cpu.generator(3).uniform((6, 1))
    noise = cpu.generator(4).normal((6, 3))
    results = []
    for device in (cpu, cuda):
        D = models.mlp([3, 5, 1], rng=device.generator(0))
        for i, p in enumerate(D.parameters()):
            p.data[...] = device.asarray(cpu.generator([9, i]).normal(p.shape))
        real, fake = (tensor(cpu.generator(i).normal((6, 3)), device=device) for i in (1, 2))
        total = objective.discriminator(D(real), D(fake)) + objective.generator(D(fake), D(real))
        if penalty != "none":
            fixed = Fixed(device.asarray(mix), device.asarray(noise))
            total = total + PENALTIES[penalty](fixed)(D, real, fake)
        results.append([t.numpy() for t in (total, *grad(total, D.parameters(), unused="zeros"))])
    for a, b in zip(*results, strict=True):
        close(b, a)


class Fixed:
    """In place of a generator: the same numbers on both devices, once."""

    def __init__(self, uniform, normal):
        self.numbers = uniform, normal

    def uniform(self, shape, dtype):
        return self.numbers[0].reshape(shape)

    def normal(self, shape, dtype):
        return self.numbers[1].reshape(shape)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, labels: losses.pulling_away(x),
        lambda x, labels: losses.feature_matching(x, x * x),
        lambda x, labels: losses.softmax_cross_entropy(x, labels),
        lambda x, labels: losses.EnergyBased(0.7).discriminator(x * x, x * x),
    ],
    ids=["pulling away", "feature matching", "cross entropy", "energies"],
)
def test_a_loss_is_the_same_on_both_devices(cuda, loss):
    values, labels, results = cpu.generator(0).normal((4, 3)), np.array([2, 0, 1, 1]), []
    for device in (cpu, cuda):
        x = tensor(values, device=device, requires_grad=True)
        y = loss(x, device.asarray(labels))
        results.append([y.numpy(), grad(y, [x])[0].numpy()])
    for a, b in zip(*results, strict=True):
        close(b, a)


class Equilibrium:
    """BEGAN's three moves on energies of a linear D, eager or captured."""

    def __init__(self, device, capture):
        self.D, self.noise = nn.Linear(3, 1, rng=device.generator(0)), device.generator(1)
        self.optimizer = optim.SGD(self.D, 1e-3)
        self.objective = losses.BoundaryEquilibrium(device, gamma=0.5, rate=0.05)
        self.record = Record("measure", "k")
        self.step = device.capture(self._step) if capture else self._step

    def _step(self):
        real, fake = (Tensor(self.noise.normal((8, 3))) for _ in range(2))
        real_energy, fake_energy = (self.D(x) ** 2 for x in (real, fake))
        loss = self.objective.discriminator(real_energy, fake_energy)
        self.optimizer.step(grad(loss, self.D.parameters()))
        optim.clip_weights(self.D, 0.6)
        measure = self.objective.control(real_energy * 4.0, fake_energy)
        self.record.add(measure, Tensor(self.objective.k))


def test_k_moves_in_a_captured_step(cuda):
    eager, captured = (Equilibrium(cuda, capture) for capture in (False, True))
    for _ in range(10):
        eager.step()
        captured.step()
    rows = captured.record.rows()
    np.testing.assert_allclose(rows, eager.record.rows(), rtol=1e-4, atol=1e-6)
    assert (np.diff(rows[:, 1]) != 0).all() and np.abs(captured.D.weight.numpy()).max() <= 0.6


def test_dropout_scales_what_it_keeps(cuda):
    x = tensor(np.ones((50, 40), np.float32), device=cuda)
    y = dropout(x, 0.25, cuda.generator(0)).numpy()
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(4 / 3))}
    assert abs((y == 0).mean() - 0.25) < 0.04


# --- Random numbers ------------------------------------------------------------------------------


def test_one_seed_gives_one_stream_and_spawned_ones_differ(cuda):
    draw = [g.normal(1000) for g in (cuda.generator(3), cuda.generator(3), cuda.generator(4))]
    first, again, other = map(cuda.to_numpy, draw)
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, other).any()
    children = [cuda.to_numpy(child.normal(1000)) for child in cuda.generator(3).spawn(2)]
    assert not np.isin(children[0], children[1]).any() and not np.isin(children[0], first).any()
    assert abs(first.mean()) < 0.15 and abs(first.std() - 1) < 0.1


def test_a_stream_goes_on_from_its_state_through_json(cuda):
    generator = cuda.generator(0)
    generator.uniform(7)
    state = json.loads(json.dumps(generator.state()))
    expected = cuda.to_numpy(generator.normal((3, 5)))
    other = cuda.generator(99)
    other.load_state(state)
    np.testing.assert_array_equal(cuda.to_numpy(other.normal((3, 5))), expected)


def test_a_state_from_the_other_device_begins_a_stream_of_its_own(cuda):
    for here, there in ((cpu, cuda), (cuda, cpu)):
        states = [here.generator(seed).state() for seed in (0, 0, 1)]
        draws = []
        for state in states:
            generator = there.generator(5)
            generator.load_state(state)
            draws.append(there.to_numpy(generator.normal(8)))
        np.testing.assert_array_equal(draws[0], draws[1])
        assert not np.array_equal(draws[0], draws[2])


def test_integers_and_permutations(cuda):
    drawn = cuda.to_numpy(cuda.generator(0).integers(-2, 5, (4000,)))
    assert set(drawn.tolist()) == set(range(-2, 5)) and drawn.dtype == np.int64
    assert sorted(cuda.to_numpy(cuda.generator(0).permutation(50)).tolist()) == list(range(50))


# --- Training ------------------------------------------------------------------------------------


class Game:
    """A small DCGAN with its data on the device; the same weights and images on every device."""

    def __init__(self, device, capture=False):
        self.device = device
        rng = device.generator(0)
        shape = {"width": 4, "hidden": 0, "rng": rng}
        self.G = models.dcgan_generator(latent=5, **shape)
        self.D = models.dcgan_discriminator(**shape)
        host = cpu.generator(0)
        for network in (self.G, self.D):
            for p in network.parameters():
                p.data[...] = device.asarray(host.normal(p.shape) * 0.1)
        self.optimizers = [optim.Adam(net, 1e-3, betas=(0.5, 0.999)) for net in (self.G, self.D)]
        self.average = optim.EMA(self.G, 0.9)
        images = np.random.default_rng(0).integers(0, 256, (24, 28, 28, 1)).astype(np.uint8)
        self.batches = Batches(images, 4, 0, device)
        self.z = Tensor(device.asarray(cpu.generator(1).normal((4, 5))))
        self.noise = device.generator(7)
        self.record = Record("loss_d", "loss_g", "d_real", "noise")
        self.step = device.capture(self._step) if capture else self._step

    def _step(self):
        objective = losses.NonSaturating()
        fake = self.G(self.z)
        real = Tensor(self.batches.next())
        d = discriminator_step(self.D, self.optimizers[1], objective, real, fake)
        g = generator_step(self.D, self.optimizers[0], objective, fake)
        self.average.update()
        noise = Tensor(self.noise.normal(())) if self.device is not cpu else Tensor(d.loss.data)
        self.record.add(d.loss, g.loss, d.real, noise)
        return fake

    def weights(self):
        nets = self.G, self.D, self.average.network
        arrays = [array for net in nets for array in net.state().values()]
        return [self.device.to_numpy(array) for array in arrays]


def test_training_is_the_same_on_both_devices(cuda):
    here, there = Game(cpu), Game(cuda)
    for _ in range(4):
        here.step()
        there.step()
    np.testing.assert_allclose(there.record.rows()[:, :3], here.record.rows()[:, :3], rtol=1e-3)
    for a, b in zip(there.weights(), here.weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=4e-3)  # Adam's first steps are signs of gradients


def test_a_captured_step_is_the_eager_step(cuda):
    steps = 60
    eager, captured = Game(cuda), Game(cuda, capture=True)
    for _ in range(steps):
        eager.step()
        captured.step()
    for a, b in zip(captured.weights(), eager.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    rows, others = captured.record.rows(), eager.record.rows()
    assert rows.shape == (steps, 4)
    np.testing.assert_allclose(rows, others, rtol=1e-3, atol=1e-5)
    assert len(set(rows[:, 3].tolist())) == steps, "the noise must be new at every replay"
    assert [o.t for o in captured.optimizers] == [steps, steps] == [captured.average.t] * 2
    assert captured.batches.step == steps


class TwoMoves(Game):
    """Two steps of D, on two batches, for one of G: what the host does comes twice."""

    def _step(self):
        for _ in range(2):
            fake = super()._step()
        return fake


class Overlapping(Game):
    """G's first layers have a second optimiser, together with D's last; and G's weights a bound."""

    def __init__(self, device, capture=False):
        super().__init__(device, capture)
        shared = [*self.D[-1:].parameters(), *self.G[:4].parameters()]
        self.optimizers.append(optim.SGD(shared, 0.1, momentum=0.5))

    def _step(self):
        fake, third = super()._step(), self.optimizers[2]
        third.step(grad(self.D(self.G(self.z)).mean(), third.parameters))
        optim.clip_weights(self.G, 0.2)
        return fake


@pytest.mark.parametrize(("kind", "moves"), [(TwoMoves, 2), (Overlapping, 1)])
def test_captured_steps_of_every_kind_are_the_eager_ones(cuda, kind, moves):
    eager, captured = kind(cuda), kind(cuda, capture=True)
    for _ in range(7):
        eager.step()
        captured.step()
    for a, b in zip(captured.weights(), eager.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(captured.record.rows(), eager.record.rows(), rtol=1e-3, atol=1e-5)
    assert captured.batches.step == captured.optimizers[0].t == 7 * moves


def test_sets_in_a_captured_game_overlap(cuda):
    assert [len(o.flat.pieces) for o in Overlapping(cuda).optimizers] == [1, 1, 2]


def test_what_is_set_between_captured_steps_has_its_effect(cuda):
    """Rates and weights: the replayed step reads them where they were."""
    game = Game(cuda, capture=True)
    for _ in range(5):
        game.step()
    for optimizer in game.optimizers:
        optimizer.lr = 0.0
    parameters = [*game.G.parameters(), *game.D.parameters()]
    with no_grad():
        for p in parameters:
            p *= 0.5
    half = [cuda.to_numpy(p.data).copy() for p in parameters]
    game.step()
    for p, expected in zip(parameters, half, strict=True):
        np.testing.assert_array_equal(cuda.to_numpy(p.data), expected)


def test_a_copied_game_goes_on_by_itself(cuda):
    game = Game(cuda)
    for _ in range(3):
        game.step()
    again = copy.deepcopy((game.G, game.D, game.optimizers, game.average))
    before = game.weights()
    parts = game.G, game.D, game.optimizers, game.average
    game.G, game.D, game.optimizers, game.average = again
    game.batches.step = 0
    game.step()
    moved = game.weights()
    game.G, game.D, game.optimizers, game.average = parts
    for a, b in zip(game.weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    game.batches.step = 0
    game.step()
    for a, b in zip(game.weights(), moved, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_record_that_is_loaded_goes_on_with_a_captured_step(cuda):
    game = Game(cuda, capture=True)
    for _ in range(6):
        game.step()
    state = game.record.state()
    game.record.load_state({"rows": state["rows"][:2]})
    game.step()
    assert len(game.record.rows()) == 3


class Joined(nn.Module):
    """A network of samples and their labels, which an embedding joins to them."""

    def __init__(self, sizes, rng):
        self.embedding = nn.Embedding(3, 2, rng=rng)
        self.net = models.mlp([sizes[0] + 2, *sizes[1:]], rng=rng, activation=nn.Tanh)

    def forward(self, x, y):
        return self.net(F.concatenate([x, self.embedding(y)], 1))


class Classifying(nn.Module):
    """Samples to a pair, the source and the classes."""

    def __init__(self, rng):
        self.body = models.mlp([3, 6], rng=rng)
        self.source, self.classes = (nn.Linear(6, k, rng=rng) for k in (1, 3))

    def forward(self, x):
        features = F.tanh(self.body(x))
        return self.source(features), self.classes(features)


class Featured(Joined):
    """D(x, y) with the features that it judges by."""

    def forward(self, x, y):
        features = F.tanh(self.net[:-1](F.concatenate([x, self.embedding(y)], 1)))
        return self.net[-1](features), features


class Packed(Joined):
    """D of two samples and their labels: packed when they are joined, and packed each by itself."""

    def __init__(self, rng):
        super().__init__([12, 6, 1], rng)
        self.pack, self.flatten = nn.Pack(2), nn.Flatten()

    def forward(self, x, y):
        joined = self.pack(F.concatenate([x, self.embedding(y)], 1))
        return self.net(F.concatenate([joined, self.flatten(self.embedding(self.pack(y)))], 1))


class Informed(WithFeatures):
    """A game in which features of D are matched by G, and kept apart by D."""

    relative = True

    def discriminator(self, real, fake):
        return super().discriminator(real, fake) + losses.pulling_away(fake[1])

    def generator(self, fake, real=None):
        return super().generator(fake, real) + losses.feature_matching(real[1], fake[1])


GAMES = {name: lambda name=name: losses.OBJECTIVES[name]() for name in losses.OBJECTIVES}
GAMES["packed"] = losses.NonSaturating
GAMES["features"] = lambda: Informed(losses.Hinge())
MATCH = set(GAMES)  # those whose D can be shown real samples with foreign labels
GAMES["classes"] = lambda: AuxiliaryClassifier(losses.RelativisticAverage(), weight=0.5)


class Conditional:
    """D(x, y) against G(z, y): labels beside the images from the batches to the penalties."""

    def __init__(self, device, game, terms, capture=False, matching=False):
        rng, self.matching = device.generator(0), matching
        self.G, self.objective = Joined([2, 6, 3], rng), GAMES[game]()
        others = {
            "classes": Classifying,
            "packed": Packed,
            "features": lambda rng: Featured([3, 6, 1], rng),
        }
        self.D = others.get(game, lambda rng: Joined([3, 6, 1], rng))(rng)
        host = cpu.generator(0)
        for p in [*self.G.parameters(), *self.D.parameters()]:
            p.data = device.asarray(host.normal(p.shape))
        self.optimizers = [optim.SGD(net, 0.05) for net in (self.G, self.D)]
        images = np.random.default_rng(0).integers(0, 256, (24, 1, 1, 3)).astype(np.uint8)
        self.batches = Batches((images, np.arange(24) % 3), 4, 0, device)
        self.z = Tensor(device.asarray(cpu.generator(1).normal((4, 2))))
        self.terms = [
            PENALTIES[name](device.generator(k), weight=0.1) for k, name in enumerate(terms, 1)
        ]
        self.step = device.capture(self._step) if capture else self._step

    def _step(self):
        images, labels = map(Tensor, self.batches.next())
        real, fake = (images.reshape(4, 3), labels), (self.G(self.z, labels), labels)
        wrong = (real[0], Tensor((labels.data + 1) % 3)) if self.matching else None
        discriminator_step(
            *(self.D, self.optimizers[1], self.objective, real, fake),
            wrong=wrong,
            penalty=self.penalty,
        )
        return generator_step(self.D, self.optimizers[0], self.objective, fake, real=real).fake

    def penalty(self, D, real, fake):
        return sum(term(D, real, fake) for term in self.terms)

    def weights(self):
        return [p.numpy().copy() for p in [*self.G.parameters(), *self.D.parameters()]]


@pytest.mark.parametrize(
    ("game", "matching"),
    [
        (game, matching)
        for game in GAMES
        for matching in (False, True)
        if game in MATCH or not matching
    ],
)
def test_a_conditional_game_is_the_same_everywhere(cuda, game, matching):
    """Every objective with every penalty: on both devices, and captured as eager.

    The penalties that draw numbers are held against themselves, as the devices' streams differ.
    """
    alike = ["r1_penalty", "r2_penalty"]
    here, there = (Conditional(device, game, alike, matching=matching) for device in (cpu, cuda))
    eager, captured = (
        Conditional(cuda, game, PENALTIES, capture, matching) for capture in (False, True)
    )
    start = here.weights()
    for _ in range(5):
        scores = [run.step().item() for run in (here, there, eager, captured)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-3, abs=1e-4)
        assert scores[2] == pytest.approx(scores[3], rel=1e-3, abs=1e-4)
    for a, b in ((there, here), (captured, eager)):
        for mine, theirs in zip(a.weights(), b.weights(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    moved = [(a != b).any() for a, b in zip(here.weights(), start, strict=True)]
    assert sum(moved) >= len(moved) - 1, "a critic's last bias alone may have no gradient"


class Critic:
    """WGAN-GP with everything that keeps a state: spectral norm, dropout, a penalty's generator."""

    def __init__(self, device, capture):
        rng, self.noise = device.generator(0).spawn(2)
        hidden = nn.SpectralNorm(nn.Linear(4, 8, rng=rng), rng=rng)
        drop = nn.Dropout(0.3, rng=device.generator(5))
        self.D = nn.Sequential(hidden, nn.LeakyReLU(), drop, nn.Linear(8, 1, rng=rng))
        self.optimizer = optim.RMSprop(self.D, optim.cosine(1e-3, 20))
        self.penalty = penalties.gradient_penalty(device.generator(6))
        self.step = device.capture(self._step) if capture else self._step

    def _step(self):
        real, fake = Tensor(self.noise.normal((6, 4))), Tensor(self.noise.uniform((6, 4)))
        objective = losses.Wasserstein()
        options = {"penalty": self.penalty}
        return discriminator_step(self.D, self.optimizer, objective, real, fake, **options).loss


def test_a_captured_critic_is_the_eager_critic(cuda):
    eager, captured = (Critic(cuda, capture) for capture in (False, True))
    for _ in range(12):
        assert eager.step().item() == pytest.approx(captured.step().item(), rel=1e-4, abs=1e-5)
    for a, b in zip(eager.D.state().values(), captured.D.state().values(), strict=True):
        close(cuda.to_numpy(a), cuda.to_numpy(b))


def test_a_training_step_never_waits_for_the_device(cuda):
    if not hasattr(cuda.xp, "synchronisations"):
        pytest.skip("only the fake device counts")
    for capture in (False, True):
        game = Game(cuda, capture)
        for _ in range(5):
            game.step()
        cuda.xp.reset_counts()
        for _ in range(3):
            game.step()
        assert sum(cuda.xp.synchronisations.values()) == 0, cuda.xp.synchronisations


def test_on_the_cpu_capture_is_the_step_itself():
    def step():
        pass

    assert cpu.capture(step) is step


@pytest.mark.parametrize(
    ("step", "operation"),
    [
        (lambda x: x.sum().item(), "item"),
        (lambda x: float((x * 2).sum()), "__float__"),
        (lambda x: x * tensor(np.ones(3, np.float32), device="cuda"), "tensor"),
        (lambda x: x.numpy().sum(), "numpy"),
        (lambda x: x.reshape(3, 1, 1) @ x.reshape(1, 3), "matmul"),
    ],
    ids=["item", "float", "upload", "numpy", "a stack of matrices and one"],
)
def test_what_cannot_be_captured_is_named(cuda, step, operation):
    x = tensor(np.ones(3, np.float32), device=cuda)
    captured = cuda.capture(lambda: step(x))
    for _ in range(3):
        captured()
    line = step.__code__.co_firstlineno
    for _ in range(2):  # and it stays refused
        with pytest.raises(CaptureError) as caught:
            captured()
        assert re.match(
            rf"test_cuda\.py, line {line}: {operation} can't be part", str(caught.value)
        )
    assert cuda.thread.captured is None
    assert (x + 1.0).numpy().tolist() == [2, 2, 2], "the device must be of use afterwards"


def test_an_interrupted_recording_leaves_the_device_usable(cuda):
    x, calls = tensor(np.ones(3, np.float32), device=cuda), []

    def step():
        y = x * 2.0
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return y

    captured = cuda.capture(step)
    for _ in range(3):
        captured()
    with pytest.raises(KeyboardInterrupt):
        captured()
    assert (x + 1.0).numpy().tolist() == [2, 2, 2] == captured().numpy().tolist()


def test_a_step_whose_shapes_change_is_named(cuda):
    sizes = iter([3, 3, 4, 4])
    captured = cuda.capture(lambda: relu(Tensor(cuda.xp.ones(next(sizes), "float32"))))
    captured()
    captured()
    for _ in range(2):
        with pytest.raises(CaptureError, match="rectify of 3 elements, then rectify of 4 elements"):
            captured()


def test_another_thread_asks_for_the_device_first(cuda):
    """And what one thread records is none of the other's work."""
    x = Tensor(cuda.asarray(np.ones((2, 3), np.float32)))
    done = []

    def sample(ask):
        if ask:
            get_backend("cuda")
        try:
            cuda.host(lambda: done.append("host work"))
            done.append((relu(x) @ tensor(np.ones((3, 1), np.float32), device=cuda)).numpy())
        except DeviceError as error:
            done.append(str(error))
            with pytest.raises(DeviceError, match="a product of"):
                cuda.matmul(x.data, x.data.T)

    def step():
        for ask in (False, True):
            thread = threading.Thread(target=sample, args=(ask,))
            thread.start()
            thread.join()
        return relu(x)

    cuda.thread.captured = registered = Registered()
    try:
        step()
    finally:
        cuda.thread.captured = None
    host, refused, again, values = done
    assert host == again == "host work" and not registered.works
    assert 'get_backend("cuda") in it first' in refused
    assert values.tolist() == [[3], [3]]


class Registered:
    """In place of a step that is being recorded."""

    def __init__(self):
        self.works = []

    def register(self, work):
        self.works.append(work)


def test_the_log_keeps_every_row_beyond_its_ring(cuda):
    log = cuda.log(2)
    type(log).CAPACITY, before = 8, type(log).CAPACITY
    try:
        log = cuda.log(2)
        for i in range(21):
            log.append([cuda.asarray(np.float32(i)), cuda.asarray(np.float32(-i))])
            assert len(log) == i + 1
        rows = log.drain()
    finally:
        type(log).CAPACITY = before
    assert rows.tolist() == [[i, -i] for i in range(21)] and len(log) == 0


# --- Data, checkpoints ---------------------------------------------------------------------------


def test_batches_are_the_same_on_both_devices(cuda):
    images = np.random.default_rng(0).integers(0, 256, (10, 4, 3, 2)).astype(np.uint8)
    here, there = (Batches(images, 3, 5, device) for device in (cpu, cuda))
    for step in range(7):
        expected = here.at(step)
        np.testing.assert_allclose(cuda.to_numpy(there.at(step)), expected, atol=1e-6)
        np.testing.assert_allclose(cuda.to_numpy(there.next()), expected, atol=1e-6)


@pytest.mark.parametrize("density", DENSITIES.values(), ids=DENSITIES)
def test_a_density_is_drawn_in_captured_steps(cuda, density):
    """New samples at every call, with the moments of the CPU's."""
    rng = cuda.generator(0)
    draw = cuda.capture(lambda: density.sample(rng, 400))
    drawn = [cuda.to_numpy(draw()) for _ in range(6)]
    assert len({sample.tobytes() for sample in drawn}) == 6
    here = density.sample(cpu.generator(0), 2400)
    there = np.concatenate(drawn)
    assert there.dtype == np.float32 and there.shape == here.shape
    spread = here.std(axis=0)
    np.testing.assert_allclose(there.mean(axis=0), here.mean(axis=0), atol=0.12 * spread.max())
    np.testing.assert_allclose(there.std(axis=0), spread, rtol=0.1)


def test_a_checkpoint_moves_between_devices(cuda, tmp_path):
    path = tmp_path / "game.safetensors"
    for here, there in ((cpu, cuda), (cuda, cpu)):
        game, other = Game(here), Game(there)
        game.step()
        parts = [
            {"G": g.G, "D": g.D, "opt": g.optimizers[0], "ema": g.average, "record": g.record}
            for g in (game, other)
        ]
        checkpoint.save(path, parts[0])
        checkpoint.load(path, parts[1])
        for a, b in zip(game.weights(), other.weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert other.optimizers[0].t == 1
        np.testing.assert_array_equal(game.record.rows(), other.record.rows())
        other.step()


# --- Precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "least", "most"), [("float32", 0, 1e-6), ("tf32", 1e-5, 2e-3)]
)
def test_the_precision_of_products(cuda, precision, least, most):
    """The error against float64, relative to the norms: 24 bits, or 10 bits of each input."""
    if hasattr(cuda.xp, "synchronisations") and precision == "tf32":
        pytest.skip("the fake device has one precision")
    a, b = (cpu.generator(i).normal((256, 256), dtype="float64") for i in range(2))
    cuda.precision = precision
    product = cuda.matmul(cuda.asarray(a, "float32"), cuda.asarray(b, "float32"))
    error = np.linalg.norm(cuda.to_numpy(product) - a @ b) / np.linalg.norm(a @ b)
    assert least <= error <= most


# --- Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "says", "remedy"),
    [
        (lambda hardware: setattr(hardware, "driver", 0), "no NVIDIA driver", "install it"),
        (lambda hardware: setattr(hardware, "devices", 0), "finds no GPU", "nvidia-smi"),
        (lambda hardware: hardware.missing.add("cublas"), "library is missing", "pip install"),
        (lambda hardware: hardware.missing.add("nvrtc"), "library is missing", "pip install"),
    ],
    ids=["driver", "device", "cublas", "nvrtc"],
)
def test_what_is_missing_is_named_with_its_remedy(fault, says, remedy):
    fake = fake_cupy.make()
    check(fake)
    fault(fake.hardware)
    with pytest.raises(DeviceError) as caught:
        check(fake)
    message = str(caught.value)
    assert says in message and remedy in message and "\n" not in message


def test_a_kernel_gets_no_other_dtype(cuda):
    x = tensor(np.ones(3, np.float32), device=cuda).astype("float16")
    with pytest.raises(TypeError, match="rectify: got arrays of float16, want float32 or float64"):
        relu(x)


def test_devices_do_not_mix(cuda):
    a, b = tensor([1.0, 2.0]), tensor([1.0, 2.0], device=cuda)
    with pytest.raises(DeviceError, match=r"add: one operand is on cpu, one on cuda"):
        a + b
    assert backend_of(b.data) is cuda is get_backend("cuda")


def test_a_column_order_geometry_survives(cuda):
    """What CuPy's views may look like: strided, transposed, repeated."""
    x = cpu.generator(0).normal((4, 6, 6, 2))
    window = Window((3, 2), (2, 3), (1, 0), (6, 6), (3, 2))
    expected = cpu.columns(4, window, 2, x.dtype)
    cpu.im2col(x, window, expected)
    turned = cuda.asarray(np.ascontiguousarray(x.transpose(3, 2, 1, 0))).transpose(3, 2, 1, 0)
    columns = cuda.columns(4, window, 2, x.dtype)
    cuda.im2col(turned, window, columns)
    np.testing.assert_array_equal(cuda.to_numpy(columns), expected)
    product = cuda.matmul(cuda.asarray(x[:, :, 0, 0]), cuda.asarray(x[:, :, 1, 1]).T)
    close(cuda.to_numpy(product), x[:, :, 0, 0] @ x[:, :, 1, 1].T)


def test_out_of_memory_says_how_much_was_asked_for(cuda):
    if not hasattr(cuda.xp, "hardware"):
        pytest.skip("a real GPU is not filled for this")
    cuda._pool.set_limit(size=cuda._pool.used_bytes() + (1 << 20))
    with pytest.raises(DeviceError) as caught:
        cuda.empty((1 << 10, 1 << 11), "uint8")
    said = (
        r"uint8 array \(1024, 2048\): out of device memory: [\d,]+ MB asked for, .* lower --batch"
    )
    assert re.search(said, str(caught.value))
