"""Optimisers against their papers, one scalar at a time, and against PyTorch.

An optimiser that is slightly wrong still trains, only worse: a bias correction off by one step or
an ε on the wrong side of a root would never be noticed from outside. So every update is compared
with the recursion of its paper, written below for one number in plain Python.
"""

import copy
import itertools
import math
import pickle
import subprocess
import sys
from pathlib import Path

import checks
import numpy as np
import pytest
from checks import fill
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import OPTIMIZERS, SCHEDULES

from minigan import losses, nn, optim
from minigan.backend import cpu
from minigan.engine import StaleGraphError, Tensor, grad, tensor
from minigan.gan import Unrolling
from minigan.nn import Parameter
from minigan.optim import EMA, SGD, Adam, RMSprop
from minigan.training import checkpoint


def parameters(*arrays, dtype="float64"):
    return [Parameter(np.array(a, dtype), f"p{k}") for k, a in enumerate(arrays)]


def bits(net):
    return {key: array.tobytes() for key, array in net.state().items()}


# --- The papers' recursions: θ after each gradient, for one number -------------------------------


def sgd(theta, gradients, lr, momentum=0.0, nesterov=False):
    u = 0.0
    for g in gradients:
        u = momentum * u + g
        theta -= lr * (g + momentum * u) if nesterov else lr * u
        yield theta


def rmsprop(theta, gradients, lr, decay=0.99, eps=1e-8):
    v = 0.0
    for g in gradients:
        v = decay * v + (1 - decay) * g * g
        theta -= lr * g / (math.sqrt(v) + eps)
        yield theta


def adam(theta, gradients, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        theta -= lr * (m_hat / (math.sqrt(v_hat) + eps) + weight_decay * theta)
        yield theta


# name: (optimiser, recursion, options, PyTorch's name, its options)
UPDATES = {
    "SGD": (SGD, sgd, {}, "SGD", {}),
    "momentum": (SGD, sgd, {"momentum": 0.9}, "SGD", {"momentum": 0.9}),
    "Nesterov": (
        SGD,
        sgd,
        {"momentum": 0.8, "nesterov": True},
        "SGD",
        {"momentum": 0.8, "nesterov": True},
    ),
    "RMSprop": (RMSprop, rmsprop, {}, "RMSprop", {}),
    "RMSprop, other": (
        RMSprop,
        rmsprop,
        {"decay": 0.9, "eps": 1e-3},
        "RMSprop",
        {"alpha": 0.9, "eps": 1e-3},
    ),
    "Adam": (Adam, adam, {}, "Adam", {}),
    "Adam for GANs": (Adam, adam, {"betas": (0.5, 0.999)}, "Adam", {"betas": (0.5, 0.999)}),
    "Adam, first moment off": (
        Adam,
        adam,
        {"betas": (0.0, 0.9), "eps": 1e-2},
        "Adam",
        {"betas": (0.0, 0.9), "eps": 1e-2},
    ),
    "AdamW": (Adam, adam, {"weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1}),
}


def test_every_optimiser_is_here():
    assert {kind for kind, *_ in UPDATES.values()} == set(OPTIMIZERS.values())


each_update = pytest.mark.parametrize("name", UPDATES)
GRADIENTS = st.floats(-1e3, 1e3) | st.just(0.0) | st.floats(-1e-6, 1e-6)


@each_update
@given(
    start=st.floats(-10, 10),
    gradients=st.lists(GRADIENTS, min_size=1, max_size=8),
    lr=st.floats(1e-4, 1.0),
)
def test_every_step_is_the_papers(name, start, gradients, lr):
    optimiser, recursion, options, *_ = UPDATES[name]
    (p,) = parameters([start])
    opt = optimiser([p], lr, **options)
    for g, expected in zip(gradients, recursion(start, gradients, lr, **options), strict=True):
        opt.step([tensor(np.array([g]))])
        assert p.data[0] == pytest.approx(expected, rel=1e-11, abs=1e-11)
    assert opt.t == len(gradients)


@each_update
def test_steps_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    optimiser, _, options, theirs, their_options = UPDATES[name]
    starts = [fill((3, 2), seed=1), fill((4,), seed=2), fill((), seed=3)]
    mine, lr = parameters(*starts), 0.05
    opt = optimiser(mine, lr, **options)
    others = [torch.tensor(a, requires_grad=True) for a in starts]
    other_opt = getattr(torch.optim, theirs)(others, lr=lr, **their_options)
    for step in range(6):
        gradients = [fill(p.shape, seed=10 * step + k) for k, p in enumerate(mine)]
        opt.step(map(tensor, gradients))
        for p, g in zip(others, gradients, strict=True):
            p.grad = torch.tensor(g)
        other_opt.step()
        for p, q in zip(mine, others, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-10, atol=1e-12)


@each_update
def test_blocks_do_not_matter(name, monkeypatch):
    """Sizes below, at and above a block's end, against one block for all: the same bits."""
    optimiser, _, options, *_ = UPDATES[name]

    def run(size, block):
        monkeypatch.setattr(cpu, "OPTIMIZER_BLOCK", block)
        mine = parameters(fill((size,), seed=1), fill((2, 3), seed=2), dtype="float32")
        opt = optimiser(mine, 0.1, **options)
        for step in range(3):
            opt.step([tensor(fill(p.shape, seed=step).astype(np.float32)) for p in mine])
        return opt.flat.values().tobytes(), [getattr(opt, m).tobytes() for m in opt.moments]

    for size in (1, 7 - 6, 8 - 6, 14 - 6, 15 - 6, 40):
        assert run(size, 7) == run(size, 10**6) == run(size, 1)


@each_update
def test_float32_stays_float32(name):
    optimiser, _, options, *_ = UPDATES[name]
    mine = parameters([1.0, 2.0], dtype="float32")
    opt = optimiser(mine, optim.cosine(0.1, 5), **options)
    opt.step([tensor([1.0, -1.0])])
    assert mine[0].dtype == opt.flat.dtype == np.float32
    assert {getattr(opt, m).dtype for m in opt.moments} == {np.dtype("float32")}


@each_update
def test_gradients_are_left_alone(name):
    optimiser, _, options, *_ = UPDATES[name]
    opt = optimiser(parameters([1.0, 2.0]), 0.1, **options)
    g = tensor(np.array([3.0, -4.0]))
    opt.step([g])
    opt.step([g])
    assert g.data.tolist() == [3.0, -4.0]


@each_update
def test_a_bowl_is_descended(name):
    """f(θ) = ½ Σ c θ², curvatures from 1 to 10."""
    optimiser, _, options, *_ = UPDATES[name]
    (p,) = parameters(fill((5,), "nonzero"))
    opt = optimiser([p], optim.linear_decay(0.05, 300), **options)
    curvature = tensor(np.linspace(1, 10, 5))
    for _ in range(300):
        opt.step(grad((curvature * p * p).sum() * 0.5, [p]))
    assert abs(p.data).max() < 1e-2


@each_update
def test_continuing_from_a_state_is_bit_for_bit(name):
    optimiser, _, options, *_ = UPDATES[name]

    def gradients(step):
        return [tensor(fill((3, 4), seed=step).astype(np.float32))]

    def fresh():
        mine = parameters(fill((3, 4), seed=99), dtype="float32")
        return mine, optimiser(mine, optim.cosine(0.1, 10), **options)

    straight, opt = fresh()
    for step in range(8):
        opt.step(gradients(step))
        if step == 3:
            saved = {k: np.copy(v) if k != "t" else v for k, v in opt.state().items()}
            weights = straight[0].data.copy()
    resumed, opt = fresh()
    opt.step(gradients(77))  # a past of its own, to be forgotten
    resumed[0].data[...] = weights
    opt.load_state(saved)
    for step in range(4, 8):
        opt.step(gradients(step))
    assert resumed[0].data.tobytes() == straight[0].data.tobytes()
    assert opt.t == 8


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.pop("v"),
        lambda s: s.update(v=np.ones(1)),
        lambda s: s.update(v=np.ones((2, 1))),
        lambda s: s.pop("t"),
    ],
    ids=["missing", "one value for all", "another shape", "no step"],
)
def test_a_state_that_does_not_fit_changes_nothing(damage):
    opt = Adam(parameters([1.0, 2.0]), 0.1)
    opt.step([tensor(np.array([1.0, 2.0]))])
    before = {key: np.copy(value).tolist() for key, value in opt.state().items()}
    foreign = {"t": 9, "m": np.array([5.0, 5.0]), "v": np.array([6.0, 6.0])}
    damage(foreign)
    with pytest.raises(ValueError):
        opt.load_state(foreign)
    assert {key: np.copy(value).tolist() for key, value in opt.state().items()} == before


# --- What a step checks, and what it touches -----------------------------------------------------


def network(seed=0, name="net"):
    rng = cpu.generator(seed)
    return nn.Sequential(
        nn.Linear(3, 4, rng=rng), nn.BatchNorm(4, rng=rng), nn.Linear(4, 1, rng=rng), name=name
    )


def test_wrong_gradients_change_nothing():
    net = network(name="G")
    opt = Adam(net, 0.1)
    good = [tensor(np.ones(p.shape, np.float32)) for p in net.parameters()]
    opt.step(good)
    before = bits(net), opt.t, opt.m.tobytes(), opt.v.tobytes()
    with pytest.raises(ValueError, match="step: 5 gradients for 6 parameters"):
        opt.step(good[:-1])
    with pytest.raises(ValueError, match="step: 7 gradients for 6 parameters"):
        opt.step([*good, good[0]])
    with pytest.raises(ValueError, match=r"'G\.2\.bias' has shape \(1, 1\), not \(1,\)"):
        opt.step([*good[:-1], tensor(np.ones((1, 1), np.float32))])
    with pytest.raises(TypeError, match=r"'G\.0\.bias' is NoneType, expected a Tensor"):
        opt.step([good[0], None, *good[2:]])
    assert (bits(net), opt.t, opt.m.tobytes(), opt.v.tobytes()) == before


def test_only_its_own_parameters_move():
    mine, other = network(1), network(1)
    SGD(other, 0.1)
    before = bits(other)
    opt = SGD([mine[0].weight], 0.1)
    rest = {key: value for key, value in bits(mine).items() if key != "0.weight"}
    opt.step([tensor(np.ones((3, 4), np.float32))])
    assert bits(other) == before
    after = bits(mine)
    assert after.pop("0.weight") == (other[0].weight.data - np.float32(0.1)).tobytes()
    assert after == rest


def test_a_step_makes_older_graphs_stale():
    net = network(name="D")
    opt = SGD(net, 0.1)
    x = tensor(fill((5, 3)).astype(np.float32))
    y = net(x).mean()
    opt.step(grad(y, opt.parameters))
    with pytest.raises(StaleGraphError, match=r"D\.2\.weight.*updated 1 time"):
        grad(y, opt.parameters)


@pytest.mark.parametrize("again", [lambda net: net, lambda net: net.parameters()])
def test_a_second_optimiser_for_the_same_network_moves_it_too(again):
    """A new rate, or another optimiser to finish with."""
    net = network()
    first, second = Adam(net, 0.1), SGD(again(net), 0.1)
    assert len(second.flat.pieces) == len(first.flat.pieces) == 1
    before = {key: p.numpy().copy() for key, p in net.named_parameters().items()}
    second.step([tensor(np.ones(p.shape, np.float32)) for p in second.parameters])
    for key, p in net.named_parameters().items():
        np.testing.assert_allclose(p.numpy(), before[key] - 0.1, rtol=1e-6)


def test_what_was_made_before_a_network_was_converted_does_not_pretend():
    """After astype the parameters are other arrays: what would move none of them must say so."""
    net = network()
    opt, average = SGD(net, 0.1), EMA(net)
    net.astype("float64")
    before = bits(net)
    gradients = [tensor(np.ones(p.shape)) for p in net.parameters()]
    with pytest.raises(RuntimeError, match=r"step: parameters have been converted by .astype\(\)"):
        opt.step(gradients)
    with pytest.raises(RuntimeError, match=r"average: parameters have been converted"):
        average.update()
    x = tensor(np.ones((2, 3)))
    unrolling = Unrolling(net, opt, losses.Wasserstein(), steps=1)
    with pytest.raises(RuntimeError, match="Unrolling: parameters have been converted"):
        unrolling.weights(x, x)
    assert bits(net) == before and average.t == 0


def test_what_was_made_before_layers_were_replaced_does_not_pretend():
    net = network()
    average, unrolling = EMA(net), Unrolling(net, SGD(net, 0.1), losses.Wasserstein(), steps=1)
    setattr(net, "2", nn.Linear(4, 1, rng=cpu.generator(7)))
    with pytest.raises(RuntimeError, match=r"average: .*replaced, since this was made"):
        average.update()
    x = tensor(np.ones((2, 3), np.float32))
    with pytest.raises(RuntimeError, match=r"Unrolling: .*replaced, since this was made"):
        unrolling.weights(x, x)


@pytest.mark.parametrize("lr", [0, -1e-3, math.inf, math.nan])
@pytest.mark.parametrize("optimiser", OPTIMIZERS.values())
def test_impossible_rates(optimiser, lr):
    with pytest.raises(ValueError, match="lr is"):
        optimiser(parameters([1.0]), lr)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: SGD(p, 0.1, momentum=1.0), "momentum is 1.0, expected 0 <= momentum < 1"),
        (lambda p: SGD(p, 0.1, momentum=-0.1), "momentum is -0.1"),
        (lambda p: RMSprop(p, 0.1, decay=1.0), "decay is 1.0"),
        (lambda p: RMSprop(p, 0.1, eps=0.0), "eps is 0.0"),
        (lambda p: Adam(p, 0.1, betas=(1.0, 0.9)), "beta1 is 1.0"),
        (lambda p: Adam(p, 0.1, betas=(0.9, 1.1)), "beta2 is 1.1"),
        (lambda p: Adam(p, 0.1, betas=(math.nan, 0.9)), "beta1 is nan"),
        (lambda p: Adam(p, 0.1, eps=-1e-8), "eps is -1e-08"),
        (lambda p: Adam(p, 0.1, weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda p: Adam(p, 0.1, weight_decay=math.nan), "weight_decay is nan"),
    ],
)
def test_impossible_options(make, message):
    with pytest.raises(ValueError, match=message):
        make(parameters([1.0]))


def test_a_refused_optimiser_takes_nothing_over():
    mine = parameters([1.0])
    for wrong in (lambda: SGD(mine, -1), lambda: Adam(mine, 0.1, betas=(1, 1))):
        with pytest.raises(ValueError, match="expected"):
            wrong()
    SGD(mine, 0.1)


# --- Sets that overlap ---------------------------------------------------------------------------


class Halves:
    """A network whose halves have an optimiser each, and which has a bound and an average."""

    def __init__(self, order):
        self.net = network()
        make = {
            "body": lambda: Adam(self.net[:2], 0.05),
            "head": lambda: SGD(self.net[2:], 0.1, momentum=0.5),
            "average": lambda: EMA(self.net, 0.9),
        }
        made = {name: make[name]() for name in order}
        self.body, self.head, self.average = (made[name] for name in make)
        self.parts = {**made, "net": self.net}

    def step(self, k):
        x = tensor(fill((6, 3), seed=k).astype(np.float32))
        gradients = grad((self.net(x) ** 2).mean(), self.net.parameters())
        self.body.step(gradients[:4])
        self.head.step(gradients[4:])
        optim.clip_weights(self.net, 0.4)
        self.average.update()


@pytest.mark.parametrize("order", [*itertools.permutations(["body", "head", "average"])])
def test_sets_of_parameters_may_overlap(order, tmp_path):
    """Against the same recursions on a network of which nothing overlaps; and resumed."""
    game, twin = Halves(order), network()
    body, head = Adam(twin[:2], 0.05), SGD(twin[2:], 0.1, momentum=0.5)
    averages = {key: array.astype(float) for key, array in twin.state().items()}
    for t in range(1, 6):
        game.step(t)
        x = tensor(fill((6, 3), seed=t).astype(np.float32))
        gradients = grad((twin(x) ** 2).mean(), twin.parameters())
        body.step(gradients[:4])
        head.step(gradients[4:])
        b = min(0.9, (1 + t) / (10 + t))
        for p in twin.parameters():
            np.clip(p.data, -0.4, 0.4, out=p.data)
            p.updated()
        for key, array in twin.state().items():
            averages[key] = b * averages[key] + (1 - b) * array
        if t == 3:
            checkpoint.save(tmp_path / "c", game.parts)
    assert bits(game.net) == bits(twin)
    for key, array in game.average.network.state().items():
        np.testing.assert_allclose(array, averages[key], rtol=1e-5, atol=1e-6)

    resumed = Halves(order[::-1])
    checkpoint.load(tmp_path / "c", resumed.parts)
    resumed.step(4), resumed.step(5)
    assert bits(resumed.net) == bits(game.net)
    assert bits(resumed.average.network) == bits(game.average.network)


@pytest.mark.parametrize("first", ["own", "joint"])
def test_one_optimiser_for_two_networks_of_which_one_has_its_own(first):
    """As InfoGAN's, of G and Q. Each moves all of its own, by plain descent with known steps."""
    G, Q = network(1), network(2)
    make = {"own": lambda: SGD(G, 0.1), "joint": lambda: SGD([*Q.parameters(), *G.parameters()], 1)}
    made = {name: make[name]() for name in sorted(make, key=lambda name: name != first)}
    before = {id(p): p.numpy().copy() for p in [*G.parameters(), *Q.parameters()]}
    for optimizer in made.values():
        optimizer.step([tensor(np.ones(p.shape, np.float32)) for p in optimizer.parameters])
    for net, moved in ((G, 1.1), (Q, 1.0)):
        for p in net.parameters():
            np.testing.assert_allclose(p.numpy(), before[id(p)] - moved, rtol=1e-5, atol=1e-6)


# --- Copies and pickles --------------------------------------------------------------------------


def trained(parts, steps):
    net, opt, average = parts
    for k in range(steps):
        x = tensor(fill((6, 3), seed=k).astype(np.float32))
        opt.step(grad((net(x) ** 2).mean(), opt.parameters))
        average.update()
    return parts


def run(optimiser=Adam, lr=0.05):
    """A network that owns a generator, its optimiser and its average, in the middle of a run."""
    net = network()
    net.noise = nn.Dropout(0.1, rng=cpu.generator(3))
    return trained((net, optimiser(net, lr), EMA(net, 0.9)), 3)


def everything(parts):
    net, opt, average = parts
    moments = [getattr(opt, name).tobytes() for name in opt.moments]
    return bits(net), bits(average.network), moments, opt.t, average.t


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda parts: pickle.loads(pickle.dumps(parts)),
        lambda parts: pickle.loads(pickle.dumps(parts[::-1]))[::-1],
    ],
    ids=["deepcopy", "pickle", "pickle, network last"],
)
@pytest.mark.parametrize("lr", [0.05, *(make(0.05, 9) for make in SCHEDULES.values())])
@pytest.mark.parametrize("optimiser", OPTIMIZERS.values())
def test_a_copy_of_a_run_goes_on_as_the_run_does(optimiser, lr, copied):
    """Network, optimiser and average together; the copy moves nothing of the original's."""
    parts = run(optimiser, lr)
    twin, before = copied(parts), everything(parts)
    assert everything(twin) == before
    after = everything(trained(twin, 3))
    assert after != before == everything(parts)
    assert everything(trained(parts, 3)) == after


def test_a_run_goes_on_in_a_process_that_has_just_started():
    """As multiprocessing does it; there, serial numbers of nodes begin anew."""
    program = (
        "import pickle, sys; sys.path[:0] = sys.argv[1:]; import test_optim;"
        "parts = test_optim.trained(pickle.load(sys.stdin.buffer), 3);"
        "print(parts[0].noise.rng.backend is test_optim.cpu, file=sys.stderr);"
        "sys.stdout.buffer.write(pickle.dumps(parts))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            str(Path(__file__).parent),
            str(Path(checks.__file__).parent),
        ],
        input=pickle.dumps(run()),
        capture_output=True,
        check=True,
    )
    assert everything(pickle.loads(done.stdout)) == everything(trained(run(), 3))
    assert done.stderr == b"True\n"


def test_a_network_that_owns_its_average_is_copied_with_it():
    net = network()
    net.average = EMA(net, 0.5)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        twin[0].weight = twin[0].weight.data + np.float32(8)
        twin.average.update()
        assert twin.average.source is twin
        moved = twin.average.network[0].weight.data - net[0].weight.data
        np.testing.assert_allclose(moved, 8 * (1 - 2 / 11), rtol=1e-5)


def test_a_tensor_with_a_graph_is_neither_copied_nor_pickled():
    y = tensor([1.0], requires_grad=True) * 2.0
    for make in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match=r"detach\(\) it first"):
            make(y)
    twin = pickle.loads(pickle.dumps(y.detach()))
    assert twin.numpy().tolist() == [2.0] and not twin.requires_grad


# --- Schedules -----------------------------------------------------------------------------------


def test_constant():
    assert [optim.constant(0.3)(t) for t in (1, 2, 1000)] == [0.3] * 3


def test_linear_decay():
    rate = optim.linear_decay(2.0, 100, start=0.6)
    assert [rate(t) for t in (1, 30, 60, 61)] == [2.0] * 4
    assert rate(81) == pytest.approx(1.0)  # half of the way down
    assert rate(100) == pytest.approx(2.0 / 40)  # the last step still moves
    assert [rate(t) for t in (101, 500)] == [0.0, 0.0]
    assert optim.linear_decay(1.0, 10, start=0.0)(6) == pytest.approx(0.5)


def test_linear_decay_that_never_starts():
    """start=1 asks for the full rate to the end."""
    rate = optim.linear_decay(0.5, 10, start=1.0)
    assert [rate(t) for t in range(1, 11)] == [0.5] * 10


def test_cosine():
    rate = optim.cosine(2.0, 100)
    assert rate(1) == 2.0
    assert rate(26) == pytest.approx(1 + math.sqrt(0.5))
    assert rate(51) == pytest.approx(1.0)
    assert rate(76) == pytest.approx(1 - math.sqrt(0.5))
    assert 0 < rate(100) < 1e-3
    assert rate(101) == rate(500) == 0.0


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_starts_with_its_rate_and_is_a_value(schedule):
    """Two of the same are equal, and one comes back from a file as it went."""
    rate = schedule(0.3, 7)
    assert rate(1) == 0.3 and rate == schedule(0.3, 7) != schedule(0.2, 7)
    assert pickle.loads(pickle.dumps(rate)) == copy.deepcopy(rate) == rate
    assert all(0 < rate(t) <= 0.3 for t in range(1, 8))


@given(st.integers(1, 60), st.floats(1e-5, 10), st.floats(0, 0.95))
def test_rates_never_rise(steps, lr, start):
    for rate in (optim.linear_decay(lr, steps, start=start), optim.cosine(lr, steps)):
        rates = [rate(t) for t in range(1, steps + 2)]
        assert rates[0] == pytest.approx(lr)
        assert all(a >= b >= 0 for a, b in itertools.pairwise(rates))
        assert rates[-1] <= 1e-12


def test_growth_by_hand():
    """The second level is faded in over two of its four steps, the third over both that it has."""
    growth = optim.Growth(10, 3, each=4, fade=2)
    assert growth.ends == [4, 8, 10]
    assert [growth(t) for t in range(1, 11)] == [1, 1, 1, 1, 0.5, 1, 1, 1, 0.5, 1]
    longer = optim.Growth(14, 3, each=4, fade=9)
    assert [longer(t) for t in range(5, 15)] == [*[0.25, 0.5, 0.75, 1] * 2, 1, 1]
    alone = optim.Growth(7, 1, each=9, fade=3)
    assert alone.ends == [7] and alone(1) == alone(7) == 1


@given(more=st.integers(1, 40), levels=st.integers(1, 5), each=st.integers(1, 9))
def test_growth_that_goes_on_for_longer_is_the_longer_growth(more, levels, each):
    steps = (levels - 1) * each + 1
    short, long = (optim.Growth(n, levels, each=each, fade=4) for n in (steps, steps + more))
    assert [short(t) for t in range(1, steps + 1)] == [long(t) for t in range(1, steps + 1)]
    assert all(long(end) == 1 for end in long.ends[:-1])


@pytest.mark.parametrize("wrong", [{"fade": 0}, {"each": 0}, {"levels": 0}, {"steps": 8}])
def test_impossible_growth(wrong):
    with pytest.raises(ValueError, match=f"Growth: {next(iter(wrong))} is "):
        optim.Growth(**{"steps": 10, "levels": 3, "each": 4, "fade": 2} | wrong)


@pytest.mark.parametrize("schedule", [optim.linear_decay, optim.cosine])
def test_an_optimiser_past_the_end_of_its_schedule_says_so(schedule):
    """A D that takes two steps for each of G's, by G's schedule, would stand still half way."""
    p = Parameter(np.ones(2, "float32"))
    opt = optim.SGD([p], schedule(0.1, 3))
    for _ in range(3):
        before = p.numpy().copy()
        opt.step([tensor([1.0, 1.0])])
        assert (p.numpy() < before).all()
    longer = optim.SGD([p], schedule(0.1, 4))
    longer.load_state(opt.state())
    with pytest.warns(RuntimeWarning, match="fell to 0 after step 3 of its schedule"):
        opt.step([tensor([1.0, 1.0])])
    assert opt.t == 4
    longer.step([tensor([1.0, 1.0])])  # a resumed run goes on as one of that length


@pytest.mark.parametrize("schedule", [optim.linear_decay, optim.cosine])
def test_no_steps_no_schedule(schedule):
    with pytest.raises(ValueError, match=f"{schedule.__name__}: the number of steps is 0"):
        schedule(1.0, 0)


def test_a_step_uses_its_own_rate():
    """The schedule sees t = 1, 2, …; two optimisers keep separate rates and counts."""
    a, b = parameters([0.0], [0.0])
    seen = []
    first = SGD([a], lambda t: seen.append(t) or 10.0**-t)
    second = SGD([b], 5.0)
    one = tensor(np.array([1.0]))
    for _ in range(3):
        first.step([one])
    second.step([one])
    assert seen == [1, 2, 3]
    assert a.data[0] == pytest.approx(-0.111)
    assert b.data[0] == -5.0
    assert (first.t, second.t) == (3, 1)


def test_a_rate_can_be_changed_while_training():
    """θ after steps along a gradient of 1, at the rates that were set."""
    (p,) = parameters([0.0])
    opt, one = SGD([p], 0.1), tensor(np.ones(1))
    assert opt.lr == 0.1
    for lr, expected in ((0.1, -0.1), (0.0, -0.1), (0.5, -0.6), (lambda t: float(t), -4.6)):
        opt.lr = lr
        opt.step([one])
        assert p.data[0] == pytest.approx(expected)
    assert opt.lr == 5.0
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="lr is"):
            opt.lr = wrong
    with pytest.raises(AttributeError):
        opt.parameters = []


# --- Constraints ---------------------------------------------------------------------------------


def test_clipped_weights():
    net = nn.Sequential(
        nn.Linear(9, 7, rng=cpu.generator(0)), nn.Linear(7, 2, rng=cpu.generator(1))
    )
    before = {key: array.copy() for key, array in net.state().items()}
    y = net(Tensor(cpu.generator(2).normal((3, 9)))).sum()
    optim.clip_weights(net, 0.1)
    clipped = 0
    for key, array in net.state().items():
        expected = [min(max(x, np.float32(-0.1)), np.float32(0.1)) for x in before[key].flat]
        np.testing.assert_array_equal(array.ravel(), expected)
        clipped += (array != before[key]).sum()
    assert clipped and array.dtype == np.float32
    with pytest.raises(StaleGraphError):
        grad(y, net.parameters())
    for bound in (0, -1, math.nan):
        with pytest.raises(ValueError, match="bound is"):
            optim.clip_weights(net, bound)


# --- The average ---------------------------------------------------------------------------------


@given(
    decay=st.sampled_from([0.0, 0.3, 0.9, 0.999]),
    warm_up=st.sampled_from([2, 3, 10]),
    path=st.lists(st.floats(-100, 100), min_size=1, max_size=30),
)
@settings(max_examples=30)
def test_average_is_the_recursion(decay, warm_up, path):
    net = nn.Sequential(nn.Linear(1, 1, rng=cpu.generator(0))).astype("float64")
    average = net[0].weight.item()
    ema = EMA(net, decay) if warm_up == 10 else EMA(net, decay, warm_up=warm_up)
    for t, theta in enumerate(path, 1):
        net[0].weight.data[...] = theta
        ema.update()
        b = min(decay, (1 + t) / (warm_up + t))
        average = b * average + (1 - b) * theta
        assert ema.network[0].weight.item() == pytest.approx(average, rel=1e-10, abs=1e-10)
        assert net[0].weight.item() == theta


@pytest.mark.parametrize(("warm_up", "weight"), [(2, lambda t: 1), (3, lambda t: t + 2)])
def test_average_weighs_the_steps_as_told(warm_up, weight):
    """By unrolling the recursion: step t weighs 1 for w = 2, t + 2 for w = 3, and the start w."""
    net = nn.Sequential(nn.Linear(1, 1, rng=cpu.generator(0))).astype("float64")
    net[0].weight.data[...] = 0
    ema, path = EMA(net, 0.99999, warm_up=warm_up), [3.0, -1.0, 7.0, 2.0, 5.0]
    for theta in path:
        net[0].weight.data[...] = theta
        ema.update()
    weights = [weight(t) for t in range(1, 6)]
    expected = np.dot(weights, path) / (sum(weights) + warm_up)
    assert ema.network[0].weight.item() == pytest.approx(expected, rel=1e-12)


def moving(seed=0):
    """A network in training, its optimiser's step, and its average."""
    net = network(seed)
    opt = Adam(net, 0.05)
    ema = EMA(net, 0.9)

    def step(k):
        x = tensor(fill((6, 3), seed=k).astype(np.float32))
        opt.step(grad((net(x) ** 2).mean(), opt.parameters))

    return net, step, ema


def test_average_of_a_training_network():
    """Every array, buffers included, against the recursion on a twin without an average."""
    net, step, ema = moving()
    twin = network()
    assert bits(ema.network) == bits(net) == bits(twin)
    assert not ema.network.training
    assert net.training
    opt = Adam(twin, 0.05)
    averages = {key: array.astype(float) for key, array in twin.state().items()}
    for t in range(1, 6):
        step(t)
        ema.update()
        x = tensor(fill((6, 3), seed=t).astype(np.float32))
        opt.step(grad((twin(x) ** 2).mean(), opt.parameters))
        b = min(0.9, (1 + t) / (10 + t))
        for key, array in twin.state().items():
            averages[key] = b * averages[key] + (1 - b) * array
    assert bits(net) == bits(twin)  # the average disturbs nothing
    for key, array in ema.network.state().items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, averages[key], rtol=1e-5, atol=1e-6)
    assert bits(ema.network).items().isdisjoint(bits(net).items())


def test_average_over_blocks(monkeypatch):
    def run(block):
        monkeypatch.setattr(cpu, "OPTIMIZER_BLOCK", block)
        _, step, ema = moving()
        for k in range(3):
            step(k)
            ema.update()
        return bits(ema.network)

    assert run(7) == run(10**6)


def test_average_continues_bit_for_bit():
    net, step, ema = moving()
    for k in range(3):
        step(k)
        ema.update()
    saved = {key: np.copy(v) if key != "t" else v for key, v in ema.state().items()}
    resumed = EMA(net, 0.9)
    resumed.load_state(saved)
    step(3)
    ema.update()
    resumed.update()
    assert bits(resumed.network) == bits(ema.network)
    assert resumed.t == ema.t == 4


def test_a_layer_in_two_places_is_averaged_once():
    net = nn.Sequential(nn.BatchNorm(2, rng=cpu.generator(0)))
    net.again = net[0]
    average = EMA(net, 0.5, warm_up=2)
    net[0].running_mean[...] = 8
    average.update()
    assert average.network[0].running_mean.tolist() == [4, 4]


def test_a_parameter_may_have_the_name_of_the_step_count(tmp_path):
    class Tempered(nn.Module):
        def __init__(self):
            self.t = Parameter(np.full(1, 3.0, np.float32))

    net = Tempered()
    average = EMA(net)
    average.update()
    checkpoint.save(tmp_path / "c", {"average": average})
    resumed = EMA(net)
    resumed.network.t.data[...] = 0
    checkpoint.load(tmp_path / "c", {"average": resumed})
    assert resumed.t == 1 and resumed.network.t.item() == 3.0


def test_an_average_that_does_not_fit_changes_nothing():
    _, step, ema = moving()
    step(0)
    ema.update()
    before = bits(ema.network), ema.t
    state = {**ema.state(), "0.weight": np.ones((1, 1), np.float32)}
    with pytest.raises(ValueError, match=r"0\.weight has shape"):
        ema.load_state(state)
    assert (bits(ema.network), ema.t) == before


def test_an_updated_average_makes_its_older_graphs_stale():
    _, step, ema = moving()
    y = ema.network(Tensor(np.ones((2, 3), np.float32))).mean()
    step(0)
    ema.update()
    with pytest.raises(StaleGraphError):
        grad(y, ema.network.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_impossible_decay(decay):
    with pytest.raises(ValueError, match="decay is"):
        EMA(network(), decay)


@pytest.mark.parametrize("warm_up", [1, 0, math.nan])
def test_impossible_warm_up(warm_up):
    with pytest.raises(ValueError, match="warm_up is"):
        EMA(network(), warm_up=warm_up)
