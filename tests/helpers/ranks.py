"""Short runs of which every rank of mpiexec takes its share, and one process all.

    mpiexec -n 2 python tests/helpers/ranks.py OUT NAME …     what each has made: OUT/NAME.npz

A run is a function that returns arrays by name, those that all ranks must have alike.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from fake_device import fake_device

from minigan import functional as F
from minigan import gan, losses, nn, optim
from minigan.backend import add, backend_of, cpu
from minigan.data import Batches, Gaussian
from minigan.engine import Tensor, grad, tensor
from minigan.gan import discriminator_step, generator_step, penalties
from minigan.models import dcgan_discriminator, dcgan_generator, mlp
from minigan.system import world
from minigan.training import Record

MPIEXEC = next(
    (
        str(path)
        for path in (Path(sys.executable).with_name("mpiexec"), shutil.which("mpiexec"))
        if path and Path(path).exists()
    ),
    None,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (160, 8, 8, 1), dtype=np.uint8)
BATCH = 64


def arrays(*parts) -> dict:
    """The states of networks, optimisers …, as arrays by name."""
    states = {f"{k} {key}": v for k, p in enumerate(parts) for key, v in p.state().items()}
    return {key: on_host(value) for key, value in states.items()}


def on_host(value) -> np.ndarray:
    try:
        return backend_of(value).to_numpy(value)
    except TypeError:  # a number
        return np.asarray(value)


def images(D, objective, *, steps=50, moves=1, penalty=None, device=cpu):
    """A game on images of 8×8 with DCGAN's generator, in float64, as examples play it."""
    weights, noise = device.generator(0).spawn(2, shared=[1])
    batches = Batches(IMAGES, BATCH, 0, device)
    G = dcgan_generator(size=8, latent=4, width=2, hidden=8, rng=weights).astype("float64")
    D = D(weights).astype("float64")
    G_optimizer, D_optimizer = optim.Adam(G, 1e-3), optim.Adam(D, 1e-3)
    average, record = optim.EMA(G, 0.9), Record("loss_d", "loss_g")
    penalty = penalty(noise) if penalty else None

    def step():
        for _ in range(moves):
            real = Tensor(batches.next().astype("float64"))
            fake = G(Tensor(noise.normal((batches.share, 4), "float64")))
            d = discriminator_step(D, D_optimizer, objective, real, fake, penalty=penalty)
        g = generator_step(D, G_optimizer, objective, fake, real=real)
        average.update()
        record.add(d.loss, g.loss)

    step = device.capture(step)
    for _ in range(steps):
        step()
    return arrays(G, D, G_optimizer, D_optimizer, average, record)


def dcgan(steps=50, device=cpu):
    def D(rng):
        return dcgan_discriminator(size=8, width=2, hidden=8, rng=rng)

    return images(D, losses.NonSaturating(), steps=steps, device=device)


def few_steps():
    return dcgan(steps=6)


def captured():
    """On stand-ins for GPUs, one for each rank: some steps as they stand, some replayed."""
    found = dcgan(steps=6, device=add(fake_device(devices=world().size)))
    return {key: value for key, value in found.items() if "rows" not in key}  # in float32


def refusals():
    """What NCCL says to an address of the host, to too many numbers, to a type that it hasn't, to
    another stream, and to two ranks on one GPU.
    """
    device = fake_device(devices=world().size)
    nccl, cuda, x = device.cupy.cuda.nccl, device.cupy.cuda, device.cupy.zeros(128)
    name, host = world().first(nccl.get_unique_id()), np.zeros(128)

    def sum_of(address=x.data.ptr, count=128, kind=nccl.NCCL_FLOAT64, stream=device.stream.ptr):
        one = nccl.NcclCommunicator(world().size, name, world().rank)
        one.allReduce(address, address, count, kind, nccl.NCCL_SUM, stream)

    wrong = [{"address": host.ctypes.data}, {"count": 129}, {"kind": 9}]
    wrong += [{"stream": cuda.Stream(non_blocking=True).ptr}, {}]
    statuses = []
    for words in wrong:
        if not words:
            cuda.Device(0).use()
        try:
            sum_of(**words)
        except nccl.NcclError as error:
            statuses.append(error.status)
    return {"statuses": np.array(statuses)}


def statistics_of_each():
    """The control: with batch norm's statistics per rank, weights are others."""
    nn.BatchNorm.over_ranks = False
    try:
        return {key: value for key, value in few_steps().items() if "running" not in key}
    finally:
        nn.BatchNorm.over_ranks = True


def wgan_gp():
    def D(rng):
        return dcgan_discriminator(size=8, width=2, hidden=8, rng=rng, batch_norm=False)

    return images(D, losses.Wasserstein(), moves=2, penalty=penalties.gradient_penalty)


def hinge():
    def D(rng):
        def spectral(layer):
            return nn.SpectralNorm(layer, rng=rng)

        return nn.Sequential(
            spectral(nn.Conv2d(1, 4, 4, stride=2, padding=1, rng=rng)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            spectral(nn.Linear(64, 1, rng=rng)),
        )

    return images(D, losses.Hinge())


def gaussian_1d():
    """200 steps in float32, as examples/gaussian_1d.py: what G makes in the end, in its moments."""
    weights, noise = cpu.generator(0).spawn(2, shared=[1])
    density = Gaussian()
    G, D = (mlp([1, 32, 32, 1], rng=weights) for _ in range(2))
    G_optimizer, D_optimizer = (optim.Adam(x, 1e-3, betas=(0.5, 0.999)) for x in (G, D))
    share = world().share(BATCH)
    for _ in range(200):
        real, fake = Tensor(density.sample(noise, share)), G(Tensor(noise.normal((share, 1))))
        d = discriminator_step(D, D_optimizer, losses.NonSaturating(), real, fake)
        g = generator_step(D, G_optimizer, losses.NonSaturating(), fake)
    z = Tensor(np.linspace(-3, 3, 601, dtype="float32")[:, None])
    x = G(z).numpy()
    numbers = [F.mean_over_ranks(loss).item() for loss in (d.loss, g.loss)]
    return {"numbers": np.array([x.mean(), x.std(), *numbers])}


# --- What looks across a batch: its value and its gradients, to the second order -----------------

ROWS = np.random.default_rng(1).normal(size=(12, 3))


def mine(rows=ROWS):
    """This rank's rows, with gradients."""
    return tensor(rows[world().part(len(rows))], requires_grad=True)


def derived(f, parameters=()):
    """f of this rank's rows, and what comes of it: gradients in all rows and in parameters, and
    those of their squared length. f's scalar is of this rank; the mean over ranks is what counts.
    """
    x = mine()
    wanted = [x, *parameters]
    first = grad(f(x), wanted, create_graph=True)
    length = sum(((g * g).sum() for g in first[:1]), Tensor(np.zeros(())))
    second = grad(length, wanted)
    found = {"value": F.mean_over_ranks(f(x)).data}
    for order, gradients in (("first", first), ("second", second)):
        of_rows, *of_parameters = gradients
        # Of a mean over all rows, a rank's own has 1 / size in it; and its square, the square.
        scale = float(world().size) ** {"first": 1, "second": 2}[order]
        found[f"{order} in x"] = F.rows_of_all_ranks(of_rows / scale).data
        for k, g in enumerate(of_parameters):
            found[f"{order} in {k}"] = F.mean_over_ranks(g).data * (
                1 if order == "first" else world().size / scale
            )
    return {name: np.asarray(value) for name, value in found.items()}


def batch_norm():
    layer = nn.BatchNorm(3, rng=cpu.generator(0)).astype("float64")
    y = derived(lambda x: F.exp(layer(x)).mean(), layer.parameters())
    return y | {"running": layer.running_variance}


def minibatch_discrimination():
    layer = nn.MinibatchDiscrimination(3, 2, 2, rng=cpu.generator(0)).astype("float64")
    return derived(lambda x: (layer(x) ** 2).mean(), layer.parameters())


def minibatch_std():
    return derived(lambda x: (nn.MinibatchStd()(x) ** 2).mean())


def feature_matching():
    return derived(lambda x: losses.feature_matching(x**2, x))


def relativistic():
    objective = losses.RelativisticAverage()
    return derived(lambda x: objective.discriminator(x[:, :1], x[:, 1:2]))


def dragan():
    D = mlp([3, 4, 1], rng=cpu.generator(0)).astype("float64")
    penalty = penalties.dragan_penalty(*cpu.generator(1).spawn(1, shared=[0]))
    value = penalty(D, mine(), mine())
    gradients = grad(value, [p for p in D.parameters() if p.ndim == 2])
    means = [F.mean_over_ranks(y).data for y in (value, *gradients)]
    return {str(k): np.asarray(y) for k, y in enumerate(means)}


def began():
    objective = losses.BoundaryEquilibrium(cpu, rate=0.1)
    x = mine()
    measure = objective.control(x**2, x**2 * 0.2)
    return {"k": objective.k, "M": measure.data}


def history():
    past = gan.History(Tensor(np.zeros((16, 3))), rng=cpu.generator(0).spawn(1, shared=[0])[0])
    shown = [F.rows_of_all_ranks(past.mix(mine(ROWS + k))).data for k in range(4)]
    return {"shown": np.stack(shown), "kept": past.samples}


def unrolled():
    """Three steps of D ahead, of which there is a mean at each."""
    weights = cpu.generator(0)
    D = nn.Sequential(
        nn.Linear(3, 4, rng=weights),
        nn.Tanh(),
        nn.BatchNorm(4, rng=weights),
        nn.Linear(4, 1, rng=weights),
    ).astype("float64")
    G = nn.Linear(3, 3, rng=weights).astype("float64")
    D_optimizer, G_optimizer = optim.Adam(D, 1e-2), optim.SGD(G, 0.1)
    ahead = gan.Unrolling(D, D_optimizer, losses.NonSaturating(), steps=3)
    for _ in range(3):
        ahead.generator_step(G_optimizer, mine().detach(), G(mine(ROWS[::-1]).detach()))
    return arrays(G)


RUNS = {
    f.__name__: f
    for f in (
        *(dcgan, wgan_gp, hinge, gaussian_1d, few_steps, captured, refusals, statistics_of_each),
        *(batch_norm, minibatch_discrimination, minibatch_std, feature_matching, relativistic),
        *(dragan, began, history, unrolled),
    )
}


def run(folder: Path, ranks: int, *names) -> dict:
    """What each of the runs comes to on so many ranks, {name: arrays}."""
    command = [MPIEXEC, "-n", str(ranks), sys.executable, __file__, folder, *names]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
    return {name: dict(np.load(folder / f"{name}.npz")) for name in names}


if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    for name in names:
        found = RUNS[name]()
        assert all(np.array_equal(found[k], v) for k, v in world().first(found).items()), name
        if world().rank == 0:
            np.savez(Path(folder) / name, **found)
