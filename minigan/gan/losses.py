"""The objectives of the game, each with its discriminator side and its generator side.

All take what D returns before any sigmoid: logits, or plain values of a Wasserstein critic, or
energies of an autoencoding discriminator. Written on logits, ln σ(l) = −softplus(−l) and
ln(1 − σ(l)) = −softplus(l) are exact for any l, where a logarithm of a rounded sigmoid would be −∞.
Every loss is to be minimised.

What D is shown, real or generated, is a tensor of samples, or a tuple of it and its conditions,
D(x, y): tensors with a row per sample (labels, captions, the other picture of a pair), or numbers
(the level and the fade of a network that grows). What D returns is its verdict; or a tuple that
begins with it, whose rest, such as D's features, is for objectives that use it (`WithFeatures`):
penalties look at the verdict alone.

Each objective's text says what G minimises once D is optimal, and how it is known to fail. Below,
p_d is the data's density and p_g that of G's samples.
"""

from __future__ import annotations

from minigan.backend import Backend
from minigan.engine import ShapeError, Tensor
from minigan.engine import functional as F
from minigan.engine.operations import matmul, mean, sum, transpose
from minigan.engine.tensors import check_labels


def together(shown) -> tuple[Tensor, ...]:
    """What D is shown, or returns, as a tuple: samples or verdict, then what comes with them."""
    return tuple(shown) if isinstance(shown, (tuple, list)) else (shown,)


class Objective:
    """One objective: two functions from D's outputs (any shape) to a scalar tensor.

    `probabilistic` says whether D's outputs are logits, of the probability of being real;
    `relative` whether G's side compares D's outputs for generated samples with those for real ones.
    """

    name = ""
    probabilistic = False
    relative = False

    def judge(self, D, shown):
        """D's output for what it is shown, a tensor or a tuple."""
        return D(*together(shown))

    def seen(self, shown):
        """What of it D itself is given, and so what a penalty is: all of it, as a rule."""
        return shown

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss, given its outputs for real and for generated samples."""
        raise NotImplementedError

    def matching(self, real: Tensor, fake: Tensor, wrong: Tensor) -> Tensor:
        """D's loss if half of what counts as fake are real samples with foreign conditions.

        ½ J(D) against G's samples + ½ J(D) against those: for minimax,
        −E ln D(x, y) − ½ E ln(1 − D(G(z, y), y)) − ½ E ln(1 − D(x, y')) (Reed et al. 2016, alg. 1).
        """
        return 0.5 * (self.discriminator(real, fake) + self.discriminator(real, wrong))

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """G's loss, given D's outputs for generated samples, and for real ones if `relative`."""
        raise NotImplementedError

    def score(self, output: Tensor) -> Tensor:
        """D's verdict in its own units: a probability where D's outputs are logits."""
        return F.sigmoid(output) if self.probabilistic else output


# --- D tells probabilities -----------------------------------------------------------------------


def binary_cross_entropy(logits: Tensor, target: float) -> Tensor:
    """−mean [t ln σ(l) + (1 − t) ln(1 − σ(l))] for one target t in [0, 1] and all logits l.

    In softplus, t softplus(−l) + (1 − t) softplus(l), which is also softplus(−l) + (1 − t) l.
    """
    if target == 0:
        return mean(F.softplus(logits))
    loss = F.softplus(-logits)
    return mean(loss if target == 1 else loss + (1.0 - target) * logits)


def _label(value):
    if not 0 < value <= 1:
        raise ValueError(f"real_label is {value}, expected 0 < real_label <= 1")
    return value


class Minimax(Objective):
    """The zero-sum game of Goodfellow et al. 2014, eq. 1.

        J(D) = −E ln D(x) − E ln(1 − D(G(z))),      J(G) = E ln(1 − D(G(z)))

    J(G) is the part of −J(D) that G has a say in; at D's optimum, −J(D) = 2 JS(p_d, p_g) − ln 4.
    It saturates: where D is sure of its verdict, D(G(z)) ≈ 0, the gradient in the logit is
    −D(G(z)), next to nothing.
    `real_label` < 1 is one-sided label smoothing (Salimans et al. 2016): it keeps D from
    growing certain.
    """

    name = "minimax"
    probabilistic = True

    def __init__(self, real_label=1.0):
        self.real_label = _label(real_label)

    def discriminator(self, real, fake):
        return binary_cross_entropy(real, self.real_label) + binary_cross_entropy(fake, 0.0)

    def generator(self, fake, real=None):
        return -mean(F.softplus(fake))


class ZeroSum(Minimax):
    """The same game with its whole value on both sides (Goodfellow 2016, section 3.2.2).

        J(G) = −J(D) = E ln D(x) + E ln(1 − D(G(z)))

    G has no say in the first term, so it moves, and fails, as in `Minimax`. But J(G) is now the
    game's value, and 2 JS(p_d, p_g) − ln 4 at D's optimum.
    """

    name = "zero-sum"
    relative = True

    def generator(self, fake, real=None):
        return -self.discriminator(real, fake)


class NonSaturating(Minimax):
    """Goodfellow et al. 2014, section 3: the same D, and a G that maximises ln D(G(z)).

        J(G) = −E ln D(G(z))

    The gradient in the logit, D(G(z)) − 1, is largest exactly where D rejects the sample. At D's
    optimum it is the gradient of KL(p_g ‖ p_d) − 2 JS(p_d, p_g) (Arjovsky and Bottou 2017, theorem
    2.5): samples that look wrong cost much, modes that are missing cost little, so it drops modes.
    """

    name = "non-saturating"

    def generator(self, fake, real=None):
        return binary_cross_entropy(fake, 1.0)


class RelativisticAverage(Objective):
    """Is a real sample more real than the average generated one? (Jolicoeur-Martineau 2019, RaGAN)

        D̃(x) = σ(C(x) − E C(G(z))),      D̃(G(z)) = σ(C(G(z)) − E C(x))
        J(D) = −E ln D̃(x) − E ln(1 − D̃(G(z))),      J(G) = −E ln D̃(G(z)) − E ln(1 − D̃(x))

    Here real samples push G too. 2 ln 2 − min J(D) is a divergence, 0 only at p_g = p_d
    (Jolicoeur-Martineau 2020), and J(G) its non-saturating counterpart. C's outputs mean something
    only in comparison, and the means are the batch's, of all ranks, inside a σ: small batches bias
    them.
    """

    name = "relativistic"
    relative = True

    def discriminator(self, real, fake):
        real_above = binary_cross_entropy(real - F.mean_over_ranks(mean(fake)), 1.0)
        fake_above = binary_cross_entropy(fake - F.mean_over_ranks(mean(real)), 0.0)
        return real_above + fake_above

    def generator(self, fake, real=None):
        return self.discriminator(fake, real)


# --- D gives a value -----------------------------------------------------------------------------


class LeastSquares(Objective):
    """Mao et al. 2017, eq. 9, with targets 1 for real and 0 for fake.

        J(D) = ½ E (D(x) − 1)² + ½ E D(G(z))²,      J(G) = ½ E (D(G(z)) − 1)²

    D's output is no logit; its optimum is again p_d / (p_d + p_g), where G has
    ½ E_{x ~ p_g} (p_g / (p_d + p_g))², at least ⅛ and ⅛ only for p_g = p_d. (With targets −1, 1, 0
    it would be Pearson's χ²(p_d + p_g ‖ 2 p_g).) A sample far on the right side of the boundary is
    pulled back to it; but where D is flat, around samples it is sure of, nothing is pulled.
    ValueError unless 0 < real_label <= 1.
    """

    name = "least-squares"

    def __init__(self, real_label=1.0):
        self.real_label = _label(real_label)

    def discriminator(self, real, fake):
        return 0.5 * mean((real - self.real_label) ** 2) + 0.5 * mean(fake**2)

    def generator(self, fake, real=None):
        return 0.5 * mean((fake - 1.0) ** 2)


class Hinge(Objective):
    """Lim and Ye 2017; Miyato et al. 2018, eqs. 16 and 17.

        J(D) = E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))),      J(G) = −E D(G(z))

    D learns only from samples inside the margin. At its optimum, D = sign(p_d − p_g) and
    J(D) = 2 − 2 TV(p_d, p_g). Nothing bounds D's slope in between, which is why one sees this
    objective with spectral normalisation.
    """

    name = "hinge"

    def discriminator(self, real, fake):
        return mean(F.relu(1.0 - real)) + mean(F.relu(1.0 + fake))

    def generator(self, fake, real=None):
        return -mean(fake)


class Wasserstein(Objective):
    """Arjovsky et al. 2017: the critic's gap, W₁(p_d, p_g) if the critic is 1-Lipschitz.

        J(D) = E D(G(z)) − E D(x),      J(G) = −E D(G(z))

    Nothing here bounds the critic's slope, and without a bound both losses run away: clip the
    weights (`optim.clip_weights`), which leaves the critic only simple functions and its slope
    unknown, or add `gradient_penalty`, which costs a second differentiation.

    drift: ε of a further term of J(D), ε E D(x)² (Karras et al. 2018, appendix A.1; 0.001 there).
    The gap doesn't change if a constant is added to D, so nothing else holds D near 0.
    """

    name = "wasserstein"

    def __init__(self, drift=0.0):
        self.drift = drift

    def discriminator(self, real, fake):
        loss = mean(fake) - mean(real)
        return loss + self.drift * mean(real * real) if self.drift else loss

    def generator(self, fake, real=None):
        return -mean(fake)


OBJECTIVES = {
    objective.name: objective
    for objective in (
        *(Minimax, ZeroSum, NonSaturating, RelativisticAverage),
        *(LeastSquares, Hinge, Wasserstein),
    )
}


# --- D reconstructs: energies --------------------------------------------------------------------
#
# D is an autoencoder; its output per sample is an energy ≥ 0: how badly it reconstructs the sample.


class EnergyBased(Objective):
    """EBGAN (Zhao et al. 2017, eqs. 1 and 2): low energy for data, at least `margin` for fakes.

        J(D) = E D(x) + E max(0, m − D(G(z))),      J(G) = E D(G(z))

    The best D of all that keep within [0, m] has J(D) = m − m TV(p_d, p_g): G minimises the total
    variation (Arjovsky et al. 2017, appendix D). A margin far above the energies of data leaves D
    busy with fakes alone; with one below them fakes don't count. Collapse is not punished: see
    `pulling_away`. ValueError unless margin > 0.
    """

    name = "energy-based"

    def __init__(self, margin=1.0):
        if not margin > 0:
            raise ValueError(f"margin is {margin}, expected a number > 0")
        self.margin = margin

    def discriminator(self, real, fake):
        return mean(real) + mean(F.relu(self.margin - fake))

    def generator(self, fake, real=None):
        return mean(fake)


class BoundaryEquilibrium(Objective):
    """BEGAN (Berthelot et al. 2017, eq. 13): fakes count for D by a factor k that is controlled.

        J(D) = L(x) − k L(G(z)),      J(G) = L(G(z))
        k ← min(max(k + λ (γ L(x) − L(G(z))), 0), 1)                                    `control`

    L is the mean energy. γ = E L(G(z)) / E L(x), the ratio that k holds up, trades the variety of
    samples (large) for their quality (small). The paper's motive is the W₁ distance between the
    distributions of energies, not of samples. Its measure of convergence,
    M = L(x) + |γ L(x) − L(G(z))|, can't see collapse: one good sample, over and over, with k = 0
    has a low M. ValueError unless 0 < gamma <= 1 and rate > 0.
    """

    name = "boundary-equilibrium"

    def __init__(self, backend: Backend, *, gamma=0.5, rate=0.001):
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma is {gamma}, expected 0 < gamma <= 1")
        if not rate > 0:
            raise ValueError(f"rate is {rate}, expected a number > 0")
        self.backend, self.gamma, self.rate = backend, gamma, rate
        self.k = backend.asarray(0.0, "float32")  # changed in place, for captured steps

    def discriminator(self, real, fake):
        return mean(real) - Tensor(self.k.astype(fake.dtype)) * mean(fake)

    def generator(self, fake, real=None):
        return mean(fake)

    def control(self, real: Tensor, fake: Tensor) -> Tensor:
        """Moves k by the energies of both kinds; returns M, a scalar. Nothing is recorded."""
        real, fake = (F.mean_over_ranks(mean(x.detach())).data for x in (real, fake))
        balance = self.gamma * real - fake
        self.k[...] = (self.k + self.rate * balance).clip(0.0, 1.0)
        return Tensor(real + self.backend.xp.abs(balance))

    def state(self) -> dict:
        """k."""
        return {"k": self.k}

    def load_state(self, state: dict):
        """Takes over `state()`; k stays where it is in memory, for captured steps."""
        self.k[...] = self.backend.asarray(state["k"], "float32")


# --- Terms on D's features -----------------------------------------------------------------------


def pulling_away(features: Tensor) -> Tensor:
    """The mean squared cosine between the features of different samples (Zhao et al. 2017, eq. 4).

        1 / (n (n − 1)) Σᵢ Σ_{j ≠ i} (sᵢᵀ sⱼ / (‖sᵢ‖ ‖sⱼ‖))²

    In [0, 1]; 1 if all samples have one direction, which is what collapse looks like from D's
    encoder. features: (n, d) with n ≥ 2; ShapeError otherwise.
    """
    n = len(features)
    if features.ndim != 2 or n < 2:
        raise ShapeError(f"pulling_away: got shape {features.shape}, expected (n, d), n >= 2")
    length = F.sqrt(sum(features * features, 1, keepdims=True) + 1e-12)
    unit = features / length
    cosines = matmul(unit, transpose(unit))
    each_with_itself = sum(unit * unit, 1)
    return (sum(cosines * cosines) - sum(each_with_itself**2)) / (n * (n - 1))


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """‖E f(x) − E f(G(z))‖², f being features inside D (Salimans et al. 2016, section 3.1).

    Instead of, or besides, J(G): G no longer plays against D's verdict but for the statistics D
    looks at, which is steadier. It has a fixed point at p_g = p_d, and others: equal means of
    features are not equal distributions. real and fake: (n, …) and (m, …), such as D[:-1](x).
    """
    gap = F.mean_over_ranks(mean(real, 0) - mean(fake, 0))
    return sum(gap * gap)


# --- D, or a classifier, knows classes -----------------------------------------------------------


def softmax_cross_entropy(logits: Tensor, labels) -> Tensor:
    """−mean ln softmax(logits)[label]: the classifier's loss, in nats.

    logits: (n, classes); labels: integers (n,) from 0 to classes − 1, an array on the same device.
    ShapeError or TypeError if they are not such arrays. A label out of range is a ValueError; on a
    GPU, where to look would be to wait, it counts modulo the number of classes instead.
    """
    shape = getattr(labels, "shape", logits.shape[:1])  # what has none is no array: see below
    if logits.ndim != 2 or shape != logits.shape[:1]:
        raise ShapeError(
            f"softmax_cross_entropy: got logits {logits.shape} and labels {shape}, "
            "expected (n, classes) and (n,)"
        )
    labels = check_labels("softmax_cross_entropy", labels, logits.shape[1])
    rows = logits.backend.xp.arange(len(logits))
    return -mean(F.log_softmax(logits)[rows, labels])
