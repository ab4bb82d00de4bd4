"""BigGAN's networks: blocks against PyTorch's operations, and that every parameter learns."""

import numpy as np
import pytest
from checks import check_gradients, fill

from minigan.backend import cpu
from minigan.engine import grad, tensor
from minigan.evaluation import spread
from minigan.gan import standing_statistics
from minigan.models import BigGANDiscriminator, BigGANGenerator, DownBlock, UpBlock


def rng(seed=0):
    return cpu.generator(seed)


def values(shape, seed=0):
    return tensor(fill(shape, seed=seed).astype(np.float32))


# --- Blocks --------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def channels_first(torch, x):
    return torch.movedim(torch.tensor(x), -1, 1)


def channels_last(y):
    return y.detach().numpy().transpose(0, 2, 3, 1)


def filters(torch, layer):
    """A convolution's filters as PyTorch has them, (out, in, kh, kw), and its bias, if any."""
    weight = torch.tensor(layer.weight.numpy().transpose(3, 2, 0, 1))
    return weight, None if layer.bias is None else torch.tensor(layer.bias.numpy())


def test_a_block_up_is_the_plain_one(torch):
    """Enlarged by copies, convolved at full size; PyTorch's operations."""
    block, x = UpBlock(3, 4, rng=rng(), spectral=False).astype("float64"), fill((2, 3, 5, 3))
    first, second, skip = (filters(torch, f)[0] for f in (block.first, block.second, block.skip))
    f, y = torch.nn.functional, channels_first(torch, x)
    up = lambda y: f.interpolate(y, scale_factor=2)
    normed = lambda y: torch.relu(f.batch_norm(y, None, None, training=True))
    inner = f.conv2d(normed(f.conv2d(up(normed(y)), first, padding=1)), second, padding=1)
    expected = inner + f.conv2d(up(y), skip)
    np.testing.assert_allclose(block(tensor(x)).numpy(), channels_last(expected), atol=1e-10)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("down", [True, False])
def test_a_block_down_is_the_plain_one(torch, first, down):
    block = DownBlock(3, 4, rng=rng(), spectral=False, first=first, down=down).astype("float64")
    parts = block.first, block.second, block.skip
    for k, layer in enumerate(parts):
        layer.bias = fill(layer.bias.shape, seed=k)
    f, x = torch.nn.functional, fill((2, 4, 6, 3))
    y = channels_first(torch, x)
    (w, a), (v, b), (u, c) = (filters(torch, layer) for layer in parts)
    inner = torch.relu(f.conv2d(y if first else torch.relu(y), w, a, padding=1))
    expected = f.conv2d(inner, v, b, padding=1) + f.conv2d(y, u, c)
    expected = f.avg_pool2d(expected, 2) if down else expected
    np.testing.assert_allclose(block(tensor(x)).numpy(), channels_last(expected), atol=1e-10)


@pytest.mark.parametrize("make", [UpBlock, DownBlock])
def test_a_block_is_differentiable_twice(make):
    block = make(2, 3, rng=rng(), spectral=False).astype("float64")
    weights = [fill(p.shape, seed=k) for k, p in enumerate(block.parameters())]
    check_gradients(lambda x, *ws: block.at(ws)(x), fill((2, 2, 4, 2), seed=9), *weights)


# --- Networks ------------------------------------------------------------------------------------

BIGGAN = {
    "all": ({}, {}),
    "no attention": ({"attention": None}, {"attention": None}),
    "no spectral norm": ({"spectral": False}, {"spectral": False}),
    "not conditional": ({"conditional": False}, {"projection": False}),
    "no chunks": ({"chunks": False}, {}),
}


@pytest.mark.parametrize("way", BIGGAN)
@pytest.mark.parametrize("size", [8, 28, 32])
def test_biggan_learns_with_every_parameter(way, size):
    shape = {"size": size, "width": 2, "classes": 4, "attention": {28: 14}.get(size, 8)}
    for_g, for_d = BIGGAN[way]
    shape_d = shape | ({} if size != 8 else {"attention": 4})
    G = BigGANGenerator(rng=rng(1), latent=12, embedded=3, **shape | for_g)
    D = BigGANDiscriminator(rng=rng(2), **shape_d | for_d)
    for net in (G, D):
        for look in net.looks.values():
            look.gain = np.full(1, 0.5, "float32")
    G.flat(), D.flat()
    z, y = values((8, 12)), tensor(np.arange(8) % 4)
    fake = G(z, y)
    assert fake.shape == (8, size, size, 1) and abs(fake.numpy()).max() <= 1
    assert D(fake, y).shape == (8, 1)
    for net, loss in ((G, D(fake, y).sum()), (D, (D(fake.detach(), y) ** 2).sum())):
        for p, g in zip(net.parameters(), grad(loss, net.parameters()), strict=True):
            assert np.count_nonzero(g.numpy()) > 0.3 * g.size, p.node.name
    others = tensor((np.arange(8) + 1) % 4)
    assert abs(G.eval()(z, others).numpy() - G(z, y).numpy()).max() > 1e-3
    assert abs(D(fake, others).numpy() - D(fake, y).numpy()).max() > 1e-3


def test_a_small_z_comes_near_to_the_first_layers_bias():
    """Without one, batch norms that know how small it is make it as large as any other."""
    G, y, apart = (
        BigGANGenerator(rng=rng(), latent=9, width=4, size=16),
        tensor(np.zeros(64, int)),
        [],
    )
    for bias in (0.0, 1.0):
        G.begin.layer.bias = bias * rng(1).normal(G.begin.layer.bias.shape)
        for t in (1.0, 1e-3):
            z = tensor(t * rng(2).normal((64, 9)))
            images = standing_statistics(G.eval(), lambda z=z: (z, y), 1)(z, y)
            apart.append(spread(images).item())
    assert apart[1] > 0.3 * apart[0] and apart[3] < 0.02 * apart[2]


def test_a_chunk_of_z_is_told_to_each_block():
    """Without them z comes in at the beginning alone. The first linear layer is as wide as that."""
    shape = {"size": 32, "latent": 12, "width": 2, "spectral": False}
    made = lambda **how: BigGANGenerator(rng=rng(), **shape, **how)
    assert len(made().begin.weight) == 3 and made().blocks[0].norm.scale.weight.shape[0] == 35
    whole = made(chunks=False)
    assert len(whole.begin.weight) == 12 and whole.blocks[0].norm.scale.weight.shape[0] == 32
    assert len(made(conditional=False).begin.weight) == 44
    with pytest.raises(ValueError, match="latent 13: expected a multiple of 4"):
        BigGANGenerator(rng=rng(), latent=13, size=32)
    with pytest.raises(ValueError, match=r"attention at 5 pixels: .* \[8, 16, 32\]"):
        BigGANGenerator(rng=rng(), attention=5, size=32)
