"""The shared networks: every shape they promise, and no parameter that learns nothing.

A layer that was built but is not reached, or one behind a dead activation, shows in no loss
curve. So each parameter of each network must receive a gradient, from the loss that will train it.
"""

import itertools

import numpy as np
import pytest
from checks import check_gradients, fill
from tables import GENERATORS as SMALL

from minigan import nn, optim
from minigan.backend import cpu
from minigan.engine import ShapeError, grad, tensor
from minigan.gan import AuxiliaryClassifier, EnergyBased, NonSaturating, softmax_cross_entropy
from minigan.models import (
    GENERATORS,
    Autoencoder,
    CaptionDiscriminator,
    CaptionEncoder,
    CaptionGenerator,
    ConditionalGenerator,
    GaussianEncoder,
    JoinedDiscriminator,
    LinearAutoencoder,
    NamingDiscriminator,
    PatchDiscriminator,
    ProgressiveDiscriminator,
    ProgressiveGenerator,
    ProjectionDiscriminator,
    ResidualBlock,
    SuperResolution,
    UNet,
    began_discriminator,
    began_generator,
    dcgan_discriminator,
    dcgan_generator,
    faded,
    goodfellow_discriminator,
    goodfellow_generator,
    image_classifier,
    mlp,
    residual_generator,
    shrunk,
    vae_decoder,
    waist_generator,
)
from minigan.models.superresolution import with_means

SIZES = [(8, 4, 1), (14, 7, 1), (28, 7, 2), (32, 4, 3), (64, 4, 4)]  # size, start, stages


def rng(seed=0):
    return cpu.generator(seed)


def values(shape, seed=0):
    return tensor(fill(shape, seed=seed).astype(np.float32))


def count(net):
    return sum(p.size for p in net.parameters())


def pair(size, channels, width=3, **options):
    G = dcgan_generator(rng=rng(1), size=size, channels=channels, latent=5, width=width)
    D = dcgan_discriminator(rng=rng(2), size=size, channels=channels, width=width, **options)
    return G, D


@pytest.mark.parametrize("size, start, stages", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_shapes(size, start, stages, channels):
    G, D = pair(size, channels)
    images = G(values((2, 5)))
    assert (images.shape, images.dtype) == ((2, size, size, channels), np.float32)
    assert abs(images.numpy()).max() <= 1
    assert D(images).shape == (2, 1)
    assert G[1].shape == (start, start, 3 * 2 ** (stages - 1))
    assert start * 2**stages == size


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("size", [28, 32, 64])
def test_every_parameter_learns(size, batch_norm):
    G, D = pair(size, 1, batch_norm=batch_norm)
    G.flat(), D.flat()
    fake, real = G(values((4, 5))), values((4, size, size, 1), 1)
    objective = NonSaturating()
    d_loss = objective.discriminator(D(real), D(fake.detach()))
    g_loss = objective.generator(D(fake))
    for net, loss in ((D, d_loss), (G, g_loss)):
        for p, g in zip(net.parameters(), grad(loss, net.parameters()), strict=True):
            assert g.dtype == np.float32
            assert np.isfinite(g.numpy()).all()
            assert np.count_nonzero(g.numpy()) > 0.5 * g.size, p.node.name


def generator_count(start, stages, channels, latent, width):
    """Linear without bias; per norm 2; per 4×4 filter 16; a bias only at the end."""
    widths = [width * 2**k for k in reversed(range(stages))]
    total = latent * start * start * widths[0] + 2 * sum(widths)
    total += sum(16 * a * b for a, b in itertools.pairwise(widths))
    return total + 16 * width * channels + channels


def discriminator_count(start, stages, channels, width, batch_norm):
    widths = [width * 2**k for k in range(stages)]
    total = 16 * channels * width + width
    for a, b in itertools.pairwise(widths):
        total += 16 * a * b + (2 * b if batch_norm else b)
    return total + start * start * widths[-1] + 1


@pytest.mark.parametrize("size, start, stages", SIZES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_parameter_counts(size, start, stages, batch_norm):
    G, D = pair(size, 3, batch_norm=batch_norm)
    assert count(G) == generator_count(start, stages, 3, 5, 3)
    assert count(D) == discriminator_count(start, stages, 3, 3, batch_norm)


def test_the_default_pair():
    """The one that is trained on MNIST: 28×28, 64 latent values, widths 64 and 32."""
    G, D = dcgan_generator(rng=rng()), dcgan_discriminator(rng=rng())
    assert count(G) == 64 * 7 * 7 * 64 + 2 * 64 + 16 * 64 * 32 + 2 * 32 + 16 * 32 + 1
    assert count(D) == 16 * 32 + 32 + 16 * 32 * 64 + 2 * 64 + 7 * 7 * 64 + 1
    assert (G.name, D.name) == ("G", "D")
    G.flat(), D.flat()
    assert G.parameters()[0].node.name == "G.0.weight"
    assert D.parameters()[-1].node.name == "D.6.bias"
    assert dcgan_generator(rng=rng(), name="painter").name == "painter"


def test_batch_norm_is_where_dcgan_has_it():
    """Everywhere but at G's output and at D's input; and nowhere if it is declined."""
    G, D = pair(32, 1)
    kinds = [type(layer).__name__ for layer in G]
    assert kinds == [
        *("Linear", "Reshape", "BatchNorm", "ReLU"),
        *("ConvTranspose2d", "BatchNorm", "ReLU") * 2,
        *("ConvTranspose2d", "Tanh"),
    ]
    kinds = [type(layer).__name__ for layer in D]
    assert kinds == [
        *("Conv2d", "LeakyReLU"),
        *("Conv2d", "BatchNorm", "LeakyReLU") * 2,
        *("Flatten", "Linear"),
    ]
    assert not pair(32, 1, batch_norm=False)[1].named_buffers()


def test_dcgan_weights_start_small():
    for net in pair(32, 1, width=16):
        for name, p in net.named_parameters().items():
            if p.ndim > 1:
                assert p.data.std() == pytest.approx(0.02, rel=4 / np.sqrt(2 * p.size)), name


@pytest.mark.parametrize("size", [0, 5, 7, 9, 30, 31, 44, 100])
@pytest.mark.parametrize("make", [dcgan_generator, dcgan_discriminator, image_classifier])
def test_sizes_that_do_not_halve(make, size):
    more = {"dropout": rng()} if make is image_classifier else {}
    with pytest.raises(ValueError, match=f"image size {size}: expected"):
        make(rng=rng(), size=size, **more)


def test_one_seed_one_network():
    first, again, other = (
        [p.data.tobytes() for p in dcgan_generator(rng=rng(s), width=2).parameters()]
        for s in (1, 1, 2)
    )
    assert first == again
    assert first[0] != other[0]


def test_mlp():
    net = mlp([2, 7, 5, 1], rng=rng(), name="D")
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == ["Linear", "LeakyReLU", "Linear", "LeakyReLU", "Linear"]
    assert count(net) == 2 * 7 + 7 + 7 * 5 + 5 + 5 + 1
    assert net(values((4, 2))).shape == (4, 1)
    assert net.name == "D"
    for p in net.parameters():
        p.data += 0.1
    gradients = grad(net(values((9, 2))).sum(), net.parameters())
    assert all(g.numpy().any() for g in gradients)


def test_mlp_options():
    net = mlp([3, 4, 2], rng=rng(), activation=nn.Tanh, init=nn.normal(0.0))
    assert isinstance(net[1], nn.Tanh)
    assert not net(values((2, 3))).numpy().any()
    assert len(mlp([3, 2], rng=rng())) == 1
    with pytest.raises(ValueError, match=r"mlp: sizes \[3\]"):
        mlp([3], rng=rng())


def goodfellow_pair(**options):
    G = goodfellow_generator(rng=rng(1), size=4, latent=5, hidden=30, **options)
    D = goodfellow_discriminator(rng=rng(2), dropout=rng(3), size=4, units=20, pieces=3)
    return G, D


def test_goodfellow_shapes():
    G, D = goodfellow_pair()
    images = G(values((6, 5)))
    assert (images.shape, images.dtype) == ((6, 4, 4, 1), np.float32)
    assert images.numpy().min() > 0 and images.numpy().max() < 1
    assert D(images).shape == (6, 1)
    assert count(G) == 5 * 30 + 30 + 30 * 30 + 30 + 30 * 16 + 16
    assert count(D) == 16 * 60 + 60 + 20 * 60 + 60 + 20 + 1
    assert [layer.p for layer in D if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]


def test_the_first_gans_sizes():
    """The published code's: 100-1200-1200-784, and 784-240-240-1 with five pieces a unit."""
    G = goodfellow_generator(rng=rng())
    D = goodfellow_discriminator(rng=rng(), dropout=rng())
    assert count(G) == 100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784
    assert count(D) == 784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 + 1
    for net, bound in ((G, 0.05), (D, 0.005)):
        for p in net.parameters():
            largest = abs(p.numpy()).max()
            assert largest == 0 if p.ndim == 1 else 0.97 * bound < largest <= bound * (1 + 1e-6)


def test_goodfellow_networks_learn_everywhere():
    G, D = goodfellow_pair()
    fake, real = G(values((40, 5))), values((40, 4, 4, 1), 1)
    objective = NonSaturating()
    d_loss = objective.discriminator(D(real), D(fake.detach()))
    g_loss = objective.generator(D(fake))
    for net, loss in ((D, d_loss), (G, g_loss)):
        for p, g in zip(net.parameters(), grad(loss, net.parameters()), strict=True):
            assert g.dtype == np.float32 and np.isfinite(g.numpy()).all()
            assert np.count_nonzero(g.numpy()) > 0.3 * g.size, p.node.name


def test_an_untrained_goodfellow_generator_paints_the_mean():
    """Pixels that never vary are allowed: their logit is large, not infinite."""
    marginals = np.linspace(0, 1, 16).reshape(4, 4, 1)
    G, _ = goodfellow_pair(marginals=marginals)
    painted = G(tensor(np.zeros((1, 5), np.float32))).numpy()[0]
    np.testing.assert_allclose(painted, marginals, atol=1e-6)
    assert np.isfinite(G[4].bias.numpy()).all()
    plain, _ = goodfellow_pair()
    assert not plain[4].bias.numpy().any()


def test_dropout_of_the_goodfellow_discriminator_has_its_own_stream():
    """So a resumed run can go on with it, and the weights do not depend on it."""
    G, D = goodfellow_pair()
    images = G(values((6, 5)))
    first, again = (goodfellow_pair()[1](images).numpy() for _ in range(2))
    assert (first == again).all() and (D(images).numpy() != D(images).numpy()).any()
    D.eval()
    assert (D(images).numpy() == D(images).numpy()).all()


def test_generators_are_rebuilt_by_name():
    """What a checkpoint names; the arguments that they share are the size of the noise."""
    for make in GENERATORS.values():
        G = make(rng=rng(), latent=3)
        images = G(values((2, 3)), *told(G, 2))
        assert images.shape == (2, 28, 28, 1)


def told(G, n):
    """What G is told beside z: a label for each of n samples, if it has classes."""
    return (tensor(np.arange(n) % G.classes),) if hasattr(G, "classes") else ()


@pytest.mark.parametrize("name", SMALL)
def test_a_generator_learns_everywhere_and_goes_on_from_its_state(name):
    G, again = (GENERATORS[name](rng=rng(seed), **SMALL[name]) for seed in (0, 1))
    images = G(values((8, 3)), *told(G, 8))
    assert images.dtype == np.float32 and abs(images.numpy()).max() <= 1
    weighed = (images * tensor(values(images.shape, 1).numpy())).sum()
    for p, g in zip(G.parameters(), grad(weighed, G.parameters()), strict=True):
        assert g.dtype == np.float32 and g.numpy().any(), p.node.name
    again.load_state(G.state())
    inputs = values((2, 3), 2), *told(G, 2)
    assert again.eval()(*inputs).numpy().tobytes() == G.eval()(*inputs).numpy().tobytes()


SMALL_SHAPE = {"size": 8, "channels": 2, "width": 3, "hidden": 5, "classes": 4}


def test_a_conditional_generator_takes_labels_and_mixtures_of_classes():
    """The label is joined to z; half of one class and half of another is told as such."""
    G = ConditionalGenerator(rng=rng(), latent=3, **SMALL_SHAPE).eval()
    z, labels = values((5, 3)), np.array([0, 1, 2, 3, 3])
    rows = np.eye(4, dtype=np.float32)[labels]
    joined = tensor(np.concatenate([z.numpy(), rows], 1))
    expected = G.net(joined).numpy()
    assert expected.shape == (5, 8, 8, 2)
    for y in (labels, rows):
        assert G(z, tensor(y)).numpy().tobytes() == expected.tobytes()
    half = tensor(np.tile(np.float32([0.5, 0, 0.5, 0]), (5, 1)))
    between = G(z, half).numpy()
    assert all((between != G(z, tensor(np.full(5, c))).numpy()).any() for c in range(4))
    with pytest.raises(ValueError, match="4"):
        G(z, tensor(np.full(5, 4)))


def test_projection_by_a_plain_loop():
    """w·φ + b + ⟨e_y, φ⟩ / √d, with φ the last features of DCGAN's discriminator."""
    D = ProjectionDiscriminator(rng=rng(), **SMALL_SHAPE).eval()
    images, labels = values((6, 8, 8, 2)), np.array([0, 1, 2, 3, 3, 0])
    logits = D(images, tensor(labels)).numpy()
    assert logits.shape == (6, 1)
    w, b, e = (x.numpy() for x in (D.verdict.weight, D.verdict.bias, D.of_class.weight))
    assert w.shape == (5, 1) and e.shape == (4, 5)
    for logit, f, y in zip(logits, D.features(images).numpy(), labels, strict=True):
        np.testing.assert_allclose(logit, f @ w + b + e[y] @ f / 5**0.5, rtol=1e-4, atol=1e-7)


def test_joined_labels_are_channels():
    D = JoinedDiscriminator(rng=rng(), **SMALL_SHAPE).eval()
    images, labels = values((3, 8, 8, 2)), np.array([3, 0, 1])
    planes = np.zeros((3, 8, 8, 4), np.float32)
    for plane, y in zip(planes, labels, strict=True):
        plane[..., y] = 1
    seen = tensor(np.concatenate([images.numpy(), planes], 3))
    assert D(images, tensor(labels)).numpy().tobytes() == D.net(seen).numpy().tobytes()


def test_a_naming_discriminator_says_two_things_of_the_same_features():
    D = NamingDiscriminator(rng=rng(), **SMALL_SHAPE).eval()
    images = values((3, 8, 8, 2))
    source, names = D(images)
    assert source.shape == (3, 1) and names.shape == (3, 4)
    assert source.numpy().tobytes() == D.verdict(D.features(images)).numpy().tobytes()
    assert names.numpy().tobytes() == D.names(D.features(images)).numpy().tobytes()


@pytest.mark.parametrize(
    "kind", [ProjectionDiscriminator, JoinedDiscriminator, NamingDiscriminator]
)
def test_conditional_discriminators_learn_everywhere(kind):
    D = kind(rng=rng(), **SMALL_SHAPE)
    images, labels = values((12, 8, 8, 2)), tensor(np.arange(12) % 4)
    objective = NonSaturating()
    if kind is NamingDiscriminator:
        objective = AuxiliaryClassifier(objective)
    outputs = (objective.judge(D, (x, labels)) for x in (images, values((12, 8, 8, 2), 1)))
    loss = objective.discriminator(*outputs)
    for p, g in zip(D.parameters(), grad(loss, D.parameters()), strict=True):
        assert g.dtype == np.float32 and g.numpy().any(), p.node.name


def test_image_classifier_shapes():
    """28 -> 14 -> 7 pixels; features that are positive parts, and logits linear in them."""
    C = image_classifier(rng=rng(1), dropout=rng(2), width=3, hidden=8, classes=5)
    assert C(values((6, 28, 28, 1))).shape == (6, 5)
    norms = 2 * (3 + 6 + 8)
    assert count(C) == 25 * 3 + 25 * 3 * 6 + 7 * 7 * 6 * 8 + norms + 8 * 5 + 5
    images = values((6, 28, 28, 1), 3)
    features = C.eval()[:-1](images).numpy()
    assert features.shape == (6, 8) and features.min() == 0 < features.max()
    logits = features @ C[-1].weight.numpy() + C[-1].bias.numpy()
    np.testing.assert_allclose(C(images).numpy(), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size, start, stages", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_image_classifier_takes_all_sizes_that_dcgan_makes(size, start, stages, channels):
    shape = {"size": size, "channels": channels}
    C = image_classifier(rng=rng(1), dropout=rng(2), width=2, hidden=4, classes=3, **shape)
    assert C(values((2, size, size, channels))).shape == (2, 3)
    assert len(C) == 3 * stages + 6
    assert C[3 * stages + 1].weight.shape == (start * start * 2**stages, 4)


def test_image_classifier_learns_everywhere():
    C = image_classifier(rng=rng(1), dropout=rng(2), width=3, hidden=8)
    loss = softmax_cross_entropy(C(values((40, 28, 28, 1))), np.arange(40) % 10)
    for p, g in zip(C.parameters(), grad(loss, C.parameters()), strict=True):
        assert g.dtype == np.float32 and np.isfinite(g.numpy()).all()
        assert np.count_nonzero(g.numpy()) > 0.5 * g.size, p.shape


def small_autoencoder(**options):
    return began_discriminator(rng=rng(2), size=4, hidden=12, code=5, **options)


@pytest.mark.parametrize("power", [1, 2])
def test_an_autoencoders_verdict_is_its_error(power):
    """By a plain loop; the energy of an image does not depend on the others in the batch."""
    D, images = small_autoencoder(power=power), values((6, 4, 4, 1))
    code = D.encode(images)
    rebuilt = D.decode(code).numpy()
    assert code.shape == (6, 5) and rebuilt.shape == (6, 4, 4, 1) and abs(rebuilt).max() <= 1
    energies = D(images).numpy()
    assert (energies.shape, energies.dtype) == ((6,), np.float32)
    for energy, x, y in zip(energies, images.numpy(), rebuilt, strict=True):
        errors = [abs(float(a) - float(b)) ** power for a, b in zip(x.flat, y.flat, strict=True)]
        np.testing.assert_allclose(energy, sum(errors) / 16, rtol=1e-5)
    np.testing.assert_allclose(D(images[2:4]).numpy(), energies[2:4], rtol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_an_autoencoders_gradients(power):
    """Through both halves and around them, which an error in either would spoil."""
    D = small_autoencoder(power=power).astype(np.float64)
    check_gradients(D, fill((2, 4, 4, 1), seed=1), order=1)


def test_an_autoencoder_that_gives_back_what_it_gets_has_no_energy():
    images = values((3, 4, 4, 2))
    assert not Autoencoder(nn.Sequential(), nn.Sequential())(images).numpy().any()
    black = Autoencoder(nn.Sequential(nn.Flatten()), nn.Reshape(4, 4, 2), power=1)
    assert not black(images).numpy().any()
    with pytest.raises(ValueError, match="power is 3"):
        Autoencoder(nn.Sequential(), nn.Sequential(), power=3)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_began_networks_learn_everywhere(batch_norm):
    D = small_autoencoder()
    G = began_generator(rng=rng(1), size=4, latent=3, hidden=12, batch_norm=batch_norm)
    fake, real = G(values((40, 3))), values((40, 4, 4, 1), 1)
    assert (fake.shape, fake.dtype) == ((40, 4, 4, 1), np.float32)
    assert abs(fake.numpy()).max() <= 1
    assert count(D) == 16 * 12 + 12 + 12 * 5 + 5 + 5 * 12 + 12 + 12 * 16 + 16
    assert count(G) == 3 * 12 + 12 * 12 + 12 * 16 + 16 + (4 * 12 if batch_norm else 2 * 12)
    objective = EnergyBased()
    d_loss = objective.discriminator(D(real), D(fake.detach()))
    for net, loss in ((D, d_loss), (G, objective.generator(D(fake)))):
        for p, g in zip(net.parameters(), grad(loss, net.parameters()), strict=True):
            assert g.dtype == np.float32 and np.isfinite(g.numpy()).all()
            assert np.count_nonzero(g.numpy()) > 0.5 * g.size, p.node.name


# --- Networks that read captions ---

CAPTIONS = np.array([[1, 2, 3, 0], [4, 2, 1, 3], [3, 2, 1, 0], [5, 1, 2, 3]])


def caption_pair(group=2, order=True, hidden=6):
    reader = {"words": 6, "length": 4, "order": order}
    shape = {"channels": 3, "width": 2, "hidden": hidden}
    G = CaptionGenerator(reader, rng=rng(1), latent=3, text=5, **shape)
    return G, CaptionDiscriminator(reader, rng=rng(2), group=group, **shape)


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("group", [1, 2])
def test_networks_that_read_captions_learn_everywhere(group, order):
    G, D = caption_pair(group, order)
    words, other = tensor(CAPTIONS), tensor(CAPTIONS[::-1].copy())
    fake, real = G(values((4, 3)), words), values((4, 28, 28, 3), 1)
    assert fake.shape == real.shape and D(real, words).shape == (4, 1)
    objective, seen = NonSaturating(), D.look(real)
    verdicts = D.judge(seen, words), D(fake.detach(), words), D.judge(seen, other)
    assert np.array_equal(verdicts[0].numpy(), D(real, words).numpy())
    losses = {D: objective.matching(*verdicts), G: objective.generator(D(fake, words))}
    for net, loss in losses.items():
        for p, g in zip(net.parameters(), grad(loss, net.parameters()), strict=True):
            assert g.dtype == np.float32 and np.isfinite(g.numpy()).all()
            assert np.count_nonzero(g.numpy()) > 0.2 * g.size, p.node.name


def test_the_order_of_words_counts_if_it_is_asked_for():
    ordered, summed = (
        CaptionEncoder(5, words=6, length=4, order=order, rng=rng()) for order in (True, False)
    )
    first, turned = tensor(CAPTIONS[:1]), tensor(CAPTIONS[2:3])
    assert np.allclose(summed(first).numpy(), summed(turned).numpy(), atol=1e-6)
    assert not np.allclose(ordered(first).numpy(), ordered(turned).numpy(), atol=1e-3)


def test_two_captions_mean_what_lies_half_way():
    encode = CaptionEncoder(5, words=6, length=4, order=True, rng=rng())
    first, second = tensor(CAPTIONS), tensor(CAPTIONS[::-1].copy())
    half_way = (encode(first).numpy() + encode(second).numpy()) / 2
    np.testing.assert_allclose(encode(first, second).numpy(), half_way, rtol=1e-5)


# --- Networks from images to images ---


def unet(size=8, **options):
    shape = {"rng": rng(1), "dropout": rng(2), "width": 3, "size": size}
    return UNet(inputs=2, channels=1, **shape, **options)


@pytest.mark.parametrize(("size", "depth"), [(8, 2), (12, 2), (28, 2), (32, 4), (128, 6)])
def test_a_unet_goes_down_to_two_pixels_or_what_is_odd(size, depth):
    G, image = unet(size).eval(), values((1, size, 2 * size, 2))
    assert len(G.down) == len(G.up) == depth
    made = G(image).numpy()
    assert made.shape == (1, size, 2 * size, 1) and abs(made).max() <= 1


def test_sizes_that_a_unet_can_not_halve():
    for size in (6, 31, 34):
        with pytest.raises(ValueError, match=f"image size {size}: expected"):
            unet(size)
    with pytest.raises(ShapeError, match=r"UNet: images \(1, 8, 10, 2\)"):
        unet()(values((1, 8, 10, 2)))


def test_a_skip_leads_past_the_bottleneck():
    """Where the innermost layer says nothing, an image leaves its mark by the skips alone."""
    for skips in (True, False):
        G = unet(skips=skips).eval()
        for p in G.down[-1].parameters():
            p.data[...] = 0
        first, other = (G(values((1, 8, 8, 2), seed)).numpy() for seed in (0, 1))
        assert (first != other).any() == skips


def test_dropout_is_a_unets_only_noise_and_of_the_inner_layers():
    kept = [isinstance(m, nn.Dropout) for layer in unet(32, noisy=2).up for m in layer]
    assert kept.count(True) == 2 and kept.index(True) < 4
    for noisy in (0, 1):
        G, image = unet(noisy=noisy), values((2, 8, 8, 2))
        assert (G(image).numpy() != G(image).numpy()).any() == noisy
        assert (G.eval()(image).numpy() == G(image).numpy()).all()


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_a_patch_is_as_large_as_it_is_said_to_be(stages):
    D = PatchDiscriminator(rng=rng(), channels=1, width=2, stages=stages, norm=None)
    image = tensor(fill((1, 64, 64, 1)).astype(np.float32), requires_grad=True)
    logits = D(image)
    assert logits.shape == (1, 64 >> stages, 64 >> stages, 1)
    middle = 32 >> stages
    (g,) = grad(logits[0, middle, middle, 0], [image])
    seen = np.flatnonzero(g.numpy().any((0, 2, 3)))
    assert seen[-1] - seen[0] + 1 == 5 * 2**stages - 2


def test_images_that_a_patch_discriminator_is_shown_together_are_channels():
    D = PatchDiscriminator(rng=rng(), channels=3, width=2)
    x, y = values((2, 8, 8, 1)), values((2, 8, 8, 2), 1)
    joined = tensor(np.concatenate([x.numpy(), y.numpy()], -1))
    assert D(x, y).numpy().tobytes() == D(joined).numpy().tobytes()
    with pytest.raises(ValueError, match="0 stages"):
        PatchDiscriminator(rng=rng(), stages=0)


def test_a_residual_block_that_changes_nothing_gives_back_what_it_gets():
    block, image = ResidualBlock(2, rng=rng()), values((1, 4, 4, 2))
    assert (block(image).numpy() != image.numpy()).any()
    for p in block.parameters():
        p.data[...] = 0
    assert (block(image).numpy() == image.numpy()).all()


@pytest.mark.parametrize("norm", [nn.BatchNorm, nn.InstanceNorm])
def test_networks_from_images_to_images_learn_everywhere(norm):
    x, y = values((6, 16, 16, 2)), values((6, 16, 16, 1), 1)
    D = PatchDiscriminator(rng=rng(), channels=3, width=3, norm=norm)
    shape = {"rng": rng(1), "inputs": 2, "channels": 1, "width": 3, "norm": norm}
    generators = [UNet(dropout=rng(2), size=16, **shape), residual_generator(blocks=1, **shape)]
    generators += [waist_generator(rng=rng(1), inputs=2, channels=1, width=3, hidden=4)]
    for G in generators:
        fake, objective = G(x), NonSaturating()
        assert fake.shape == y.shape and abs(fake.numpy()).max() <= 1
        d_loss = objective.discriminator(D(y, x), D(fake.detach(), x))
        for net, loss in ((D, d_loss), (G, objective.generator(D(fake, x)))):
            for p, g in zip(net.parameters(), grad(loss, net.parameters()), strict=True):
                assert g.dtype == np.float32 and g.numpy().any(), p.node.name
        average = optim.EMA(G)
        average.update()
        assert average.network(x).shape == y.shape


@pytest.mark.parametrize("make", ["unet", "patch", "residual", "waist"])
def test_gradients_of_networks_from_images_to_images(make):
    nets = {
        "unet": lambda: unet(),
        "patch": lambda: PatchDiscriminator(rng=rng(), channels=2, width=2),
        "residual": lambda: residual_generator(rng=rng(), inputs=2, width=1, blocks=1),
        "waist": lambda: waist_generator(rng=rng(), inputs=2, size=8, width=1, hidden=3),
    }
    net = nets[make]().eval().astype(np.float64)
    check_gradients(net, fill((1, 8, 8, 2), seed=1), order=1, rtol=1e-4)


def test_through_a_waist_everything_depends_on_everything():
    """Where one pixel changes, all that comes out does; in a residual network what is near does."""
    x = np.zeros((1, 64, 64, 1), np.float32)
    other = x.copy()
    other[0, 0, 0] = 1
    changed = {}
    for make in (waist_generator, residual_generator):
        size = {"size": 64} if make is waist_generator else {"norm": nn.BatchNorm}
        G = make(rng=rng(), inputs=1, channels=1, width=2, **size).eval()
        changed[make] = (G(tensor(x)).numpy() != G(tensor(other)).numpy()).mean()
    assert changed[waist_generator] > 0.9 and changed[residual_generator] < 0.6
    with pytest.raises(ValueError, match="image size 9"):
        waist_generator(rng=rng(), size=9)


# --- Super-resolution ---


def test_means_are_as_wanted_and_pixels_stay_in_their_range():
    """Where a block is too bright its light is scaled, and else the lack of it: a plain loop."""
    y, x = (fill(shape, seed=k).clip(-1, 1) for k, shape in enumerate([(2, 8, 4, 1), (2, 2, 1, 1)]))
    x[0, 0], x[0, 1] = -1, 1
    made = with_means(tensor(y), tensor(x)).numpy()
    for n, i in np.ndindex(2, 2):
        block = (1 + y[n, 4 * i : 4 * i + 4]) / 2
        m, mu = (1 + x[n, i, 0, 0]) / 2, block.mean()
        wanted = block * m / mu if mu > m else 1 - (1 - block) * (1 - m) / (1 - mu)
        np.testing.assert_allclose((1 + made[n, 4 * i : 4 * i + 4]) / 2, wanted, atol=1e-5)
    assert np.abs(made).max() <= 1
    np.testing.assert_allclose(made.reshape(2, 2, 4, 1, 4, 1).mean((2, 4)), x, atol=1e-5)
    check_gradients(with_means, y, x.clip(-0.9, 0.9), order=1)


@pytest.mark.parametrize("value", [-1, 0.3, 1])
def test_blocks_of_one_value_can_be_given_any_mean(value):
    x = tensor(np.linspace(-1, 1, 12).reshape(3, 2, 2, 1))
    made = with_means(tensor(np.full((3, 8, 8, 1), float(value))), x).numpy()
    np.testing.assert_allclose(made, x.numpy().repeat(4, 1).repeat(4, 2), atol=1e-5)
    with pytest.raises(ShapeError, match="with_means: images"):
        with_means(tensor(np.zeros((3, 8, 6, 1))), x)


def test_super_resolution_learns_everywhere():
    G = SuperResolution(rng=rng(1), channels=2, width=3, blocks=1)
    x = values((4, 3, 5, 2))
    x = x / float(abs(x.numpy()).max())
    images = G(x)
    assert images.shape == (4, 12, 20, 2) and abs(images.numpy()).max() <= 1
    loss = ((images - values((4, 12, 20, 2), 3)) ** 2).mean()
    for p, g in zip(G.parameters(), grad(loss, G.parameters()), strict=True):
        assert g.dtype == np.float32 and g.numpy().any(), p.node.name


# --- Autoencoders --------------------------------------------------------------------------------


def test_the_decoder_of_wu_et_al():
    """10-64-256-256-1024-784, with a tanh between any two and a sigmoid at the end."""
    G = vae_decoder(rng=rng())
    sizes = [10, 64, 256, 256, 1024, 784]
    assert [p.shape for p in G.parameters() if len(p.shape) > 1] == [*itertools.pairwise(sizes)]
    images = G(values((3, 10))).numpy()
    assert images.shape == (3, 28, 28, 1) and images.min() > 0 and images.max() < 1
    logits = vae_decoder(rng=rng(1), squash=False)
    logits.load_state(G.state())
    x = logits(values((3, 10))).numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-x)), images, rtol=1e-5)


@pytest.mark.parametrize("sizes", [[8, 3], [8, 5, 3], [8, 5, 4, 3]])
def test_an_encoder_learns_everywhere_and_begins_with_variances_of_one(sizes):
    E = GaussianEncoder(sizes, rng=rng())
    mu, log_variance = E(values((6, 2, 2, 2)))
    assert mu.shape == log_variance.shape == (6, 3)
    assert abs(log_variance.numpy()).max() < 0.05
    loss = (mu * values((6, 3), 1)).sum() + (log_variance * values((6, 3), 2)).sum()
    for p, g in zip(E.parameters(), grad(loss, E.parameters()), strict=True):
        assert g.numpy().any(), p.node.name


def test_an_encoder_of_no_layer_is_refused():
    with pytest.raises(ValueError, match=r"sizes \[3\]: want \[numbers in x, …, latent\]"):
        GaussianEncoder([3], rng=rng())


def test_a_linear_autoencoder_by_plain_loops():
    A, x, weights = LinearAutoencoder(4, 2, rng=rng()), values((3, 4)), np.array([0.5, 2.0])
    first, second = (layer.weight.numpy() for layer in (A.encode, A.decode))
    np.testing.assert_allclose(A(x).numpy(), x.numpy() @ first @ second, rtol=1e-5, atol=1e-6)
    decay = sum(
        weights[i] * (sum(v * v for v in first[:, i]) + sum(v * v for v in second[i]))
        for i in range(2)
    )
    assert A.decay(tensor(weights.astype(np.float32))).item() == pytest.approx(decay, rel=1e-5)
    assert A.decay(1.0).item() == pytest.approx((first**2).sum() + (second**2).sum(), rel=1e-5)


def test_decay_of_a_linear_autoencoder_finds_the_axes_and_their_lengths():
    """sᵢ² = 1 − λ / σᵢ² along the axes, W₁ = W₂ᵀ; and with a λ for each, the rows are the axes."""
    variances, random = np.array([4.0, 2.0, 1.0, 0.1]), np.random.default_rng(0)
    axes = np.linalg.qr(random.standard_normal((4, 4)))[0]
    C = tensor(axes.T @ np.diag(variances) @ axes)
    for weights in (0.3, np.array([0.2, 0.4, 0.6])):
        A = LinearAutoencoder(4, 3, rng=rng(1)).astype("float64")
        optimizer = optim.Adam(A, optim.cosine(0.05, 2000))
        for _ in range(2000):
            P = A.encode.weight @ A.decode.weight - np.eye(4)
            optimizer.descend((P * (C @ P)).sum() + A.decay(weights))
        first, second = (layer.weight.numpy() for layer in (A.encode, A.decode))
        np.testing.assert_allclose(first, second.T, atol=1e-3)
        _, lengths, found = np.linalg.svd(second)
        np.testing.assert_allclose(lengths**2, 1 - weights / variances[:3], atol=1e-3)
        assert (abs((found[:3] * axes[:3]).sum(1)) > 0.999).all()
        rows = second / np.linalg.norm(second, axis=1, keepdims=True)
        alone = abs((rows[:, None] * axes[:3]).sum(2)).max(1) > 0.999
        assert alone.all() == (np.ndim(weights) == 1)


# --- Networks that grow --------------------------------------------------------------------------

GROWN = {"size": 16, "channels": 3, "width": 2, "most": 4}


def growing(**options):
    G = ProgressiveGenerator(rng=rng(1), latent=5, **GROWN, **options)
    return G, ProgressiveDiscriminator(rng=rng(2), group=2, **GROWN, **options)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("level, fade", [(0, None), (1, None), (1, 0.3), (2, None), (2, 0.3)])
def test_a_level_depends_on_what_is_in_play_and_on_all_of_it(depth, level, fade):
    G, D = growing(depth=depth)
    assert G.sizes == D.sizes == (4, 8, 16) and G.channels == [4, 4, 2]
    images = G(values((4, 5)), level, fade)
    verdict = D(images, level, fade)
    assert images.shape == (4, 4 << level, 4 << level, 3) and verdict.shape == (4, 1)
    weighed = (images * values(images.shape, 1)).sum()
    for net, loss in ((G, weighed), (D, verdict.sum())):
        parts = net.in_play(level, fading=fade is not None)
        assert len(parts) == len(set(parts))
        for p, g in zip(parts, grad(loss, parts), strict=True):
            assert np.count_nonzero(g.numpy()) > 0.4 * g.size, p.node.name
        others = [p for p in net.parameters() if p not in set(parts)]
        assert not any(
            g.numpy().any() for g in grad(loss, [*others, *parts], unused="zeros")[: len(others)]
        )


def test_a_fade_begins_with_the_level_before_and_ends_with_the_new_one():
    """Of G, of D, and of real images; half way lies the mean."""
    G, D = growing()
    z, x = values((4, 5)), values((4, 16, 16, 3), 1)
    twice = lambda images: images.repeat(2, axis=1).repeat(2, axis=2)
    small = x.numpy().reshape(4, 8, 2, 8, 2, 3).mean((2, 4))
    ends = [
        (lambda fade: G(z, 2, fade), twice(G(z, 1).numpy()), G(z, 2)),
        (lambda fade: D(x, 2, fade), D(tensor(small), 1).numpy(), D(x, 2)),
        (lambda fade: shrunk(x, 16, fade), twice(small), x),
    ]
    for shown, old, new in ends:
        np.testing.assert_allclose(shown(0.0).numpy(), old, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(shown(1.0).numpy(), new.numpy(), rtol=1e-4, atol=1e-5)
    for shown, old, new in (ends[0], ends[2]):
        np.testing.assert_allclose(
            shown(0.5).numpy(), (old + new.numpy()) / 2, rtol=1e-4, atol=1e-5
        )
    assert D(x).numpy().tobytes() == D(x, 2).numpy().tobytes(), "the last level by default"
    np.testing.assert_allclose(shrunk(x, 8).numpy(), small, rtol=1e-5, atol=1e-6)


def test_a_growing_network_s_gradients_of_both_orders():
    G, D = (net.astype("float64") for net in growing())
    z, x, t = fill((2, 5)), fill((2, 8, 8, 3), seed=1), np.array(0.3)
    check_gradients(lambda z: G(z, 1, 0.3), z)
    check_gradients(lambda x: D(x, 1, 0.3), x)
    check_gradients(faded, x, fill(x.shape, seed=2), t)


@pytest.mark.parametrize("level, fade", [(3, None), (-1, None), (0, 0.5)])
def test_levels_that_there_are_not(level, fade):
    for net, x in zip(growing(), (values((4, 5)), values((4, 16, 16, 3))), strict=True):
        with pytest.raises(ValueError, match=r"there are 4, 8, 16, from 0 on"):
            net(x, level, fade)
