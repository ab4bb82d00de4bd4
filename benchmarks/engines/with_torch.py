"""The four steps in PyTorch: as in its own DCGAN example, and in its fastest eager form.

`best` turns on what PyTorch offers for this on a CPU: channels_last images, no gradients of D's
parameters in G's step, the fused Adam. `compiled` puts torch.compile around both networks.

On a GPU `graphed` records the whole step as a CUDA graph. There Adam is never the loop over single
parameters, and cuDNN tries its algorithms out, as in PyTorch's own example.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import relu

from engines import RATES, SIDE, Task, arrays, channels_first, residual, torch_residual


def version():
    return torch.__version__


def value(loss):
    if loss.is_cuda:  # the loss may be known before the parameters have been moved
        torch.cuda.synchronize()
    return loss.item()


def device_of(task: Task) -> str:
    """The device that a task is for, set to the task's precision."""
    if task.device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = task.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = task.precision == "tf32"
    return task.device


def forget_device_memory():
    """Counts from now on: while cuDNN tries its algorithms out, it takes far more than later."""
    torch.cuda.reset_peak_memory_stats()


def device_memory(step) -> dict:
    """MB of the device: in tensors at the peak, and held by the allocator at the peak."""
    peak, held = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return {"peak_mb": peak / 2**20, "held_mb": held / 2**20}


def fill(network, parameters, width=0):
    """The network with the given arrays as its parameters, converted to PyTorch's layout."""
    with torch.no_grad():
        for p, a in zip(network.parameters(), torch_layout(parameters, width), strict=True):
            p.copy_(a)
    return network


def torch_layout(parameters, width=0) -> list:
    """NumPy arrays (in minigan's layout) as PyTorch has them: a weight is (outputs, inputs)."""
    converted = channels_first(parameters, width) if width else parameters
    return [torch.tensor(a.T if a.ndim == 2 else a) for a in converted]


def images(array):
    return torch.tensor(array).permute(0, 3, 1, 2).contiguous()


def discriminator(width, batch_norm=True):
    return nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1, bias=not batch_norm),
        *([nn.BatchNorm2d(2 * width)] if batch_norm else []),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(SIDE * SIDE * 2 * width, 1),
    )


def generator(latent, width):
    return nn.Sequential(
        nn.Linear(latent, SIDE * SIDE * 2 * width, bias=False),
        nn.Unflatten(1, (2 * width, SIDE, SIDE)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, 2, 1),
        nn.Tanh(),
    )


def mlp(sizes):
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def dcgan_networks(task: Task, seed=0):
    a, w = arrays(task, seed), task.width
    G, D = fill(generator(task.latent, w), a.G, w), fill(discriminator(w), a.D, w)
    device = device_of(task)
    return tuple(x.to(device) for x in (G, D, images(a.real), torch.tensor(a.z)))


def mlp_networks(task: Task, seed=0):
    a = arrays(task, seed)
    G, D = fill(mlp(task.sizes), a.G), fill(mlp(task.sizes), a.D)
    return G, D, torch.tensor(a.real), torch.tensor(a.z)


def dcgan(task: Task, best=False, compiled=False, graphed=False):
    G, D, real, z = dcgan_networks(task)
    if best:
        G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
        real = real.to(memory_format=torch.channels_last)
    step = _game(G, D, real, z, *RATES["dcgan"], best, compiled, capturable=graphed)
    return replayed(step) if graphed else step


def mlp_gan(task: Task, best=False, compiled=False):
    return _game(*mlp_networks(task), *RATES["mlp_gan"], best, compiled)


def _game(G, D, real, z, lr, betas, best, compiled, capturable=False):
    # None, not False: False would also rule out the form that is the default on a GPU.
    options = {"betas": betas, "fused": best or None, "capturable": capturable}
    G_optimizer = torch.optim.Adam(G.parameters(), lr, **options)
    D_optimizer = torch.optim.Adam(D.parameters(), lr, **options)
    ones, zeros = (torch.full((len(real), 1), v, device=real.device) for v in (1.0, 0.0))
    if compiled:
        G, D = torch.compile(G), torch.compile(D)

    def step():
        # (1) D: descend −log D(x) − log(1 − D(G(z)))
        fake = G(z)
        D_optimizer.zero_grad()
        d_loss = bce(D(real), ones) + bce(D(fake.detach()), zeros)
        d_loss.backward()
        D_optimizer.step()
        # (2) G: descend −log D(G(z))
        G_optimizer.zero_grad()
        D.requires_grad_(not best)
        g_loss = bce(D(fake), ones)
        g_loss.backward()
        G_optimizer.step()
        D.requires_grad_(True)
        return d_loss.detach(), g_loss.detach()

    return step


def replayed(step):
    """The step run three times on a side stream, then recorded, then replayed, as documented.

    Each call is one step, the first of the recorded ones included.
    """
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    calls, losses = 0, None

    def call():
        nonlocal calls, losses
        calls += 1
        if calls <= 3:
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                losses = step()
            torch.cuda.current_stream().wait_stream(stream)
            return losses
        if calls == 4:
            with torch.cuda.graph(graph):
                losses = step()
        graph.replay()
        return losses

    return call


def critic_network(task: Task, seed=0):
    """D without batch norm, real and generated images, and the points between them."""
    a = arrays(task, seed)
    D = fill(discriminator(task.width, batch_norm=False), a.D, task.width)
    return D, images(a.real), images(a.z), torch.tensor(a.mix)


def gradient_penalty(D, real, fake, mix):
    """Gulrajani et al. 2017, eq. 3; the ε under the root is minigan's."""
    x = (mix * real + (1 - mix) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), [x], create_graph=True)
    slope = (gradient.square().sum(dim=(1, 2, 3)) + 1e-12).sqrt()
    return 10.0 * (slope - 1).square().mean()


def wgan_gp_critic(task: Task):
    D, real, fake, mix = critic_network(task)
    lr, betas = RATES["wgan_gp_critic"]
    optimizer = torch.optim.Adam(D.parameters(), lr, betas)

    def step():
        optimizer.zero_grad()
        loss = D(fake).mean() - D(real).mean()
        (loss + gradient_penalty(D, real, fake, mix)).backward()
        optimizer.step()
        return (loss.detach(),)

    return step


def biggan_networks(task: Task, seed=0, fused=False):
    weights, (real, z, y) = residual.draw(task, seed), residual.inputs(task, seed)
    G = torch_residual.fill(torch_residual.Generator(task, fused), weights[0])
    D = torch_residual.fill(torch_residual.Discriminator(task, fused), weights[1])
    return G, D, images(real), torch.tensor(z), torch.tensor(y)


def biggan(task: Task, best=False, compiled=False):
    fast = best or compiled
    G, D, real, z, y = biggan_networks(task, fused=fast)
    if best:
        G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
        real = real.to(memory_format=torch.channels_last)
    lr, betas = RATES["biggan"]
    options = {"betas": betas, "fused": fast or None}
    G_optimizer = torch.optim.Adam(G.parameters(), lr, **options)
    D_optimizer = torch.optim.Adam(D.parameters(), lr, **options)
    if compiled:
        G, D = torch.compile(G), torch.compile(D)

    def judge(real, fake):
        """Compiled, D can't be called twice before it is differentiated: its spectral norms iterate
        in place.
        """
        if not compiled:
            return D(real, y), D(fake, y)
        return D(torch.cat([real, fake]), torch.cat([y, y])).chunk(2)

    def step():
        # (1) D: descend max(0, 1 − D(x)) + max(0, 1 + D(G(z)))
        fake = G(z, y)
        D_optimizer.zero_grad()
        of_real, of_fake = judge(real, fake.detach())
        d_loss = relu(1 - of_real).mean() + relu(1 + of_fake).mean()
        d_loss.backward()
        D_optimizer.step()
        # (2) G: descend −D(G(z))
        G_optimizer.zero_grad()
        D.requires_grad_(not fast)
        g_loss = -D(fake, y).mean()
        g_loss.backward()
        G_optimizer.step()
        D.requires_grad_(True)
        return d_loss.detach(), g_loss.detach()

    return step
