"""Objectives against their formulas, at ordinary logits and at absurd ones.

A sign or a mean over the wrong axis leaves a loss that still falls. So both sides of each game
are compared with the formula of the paper written in plain Python, and their gradients with the
derivative worked out on paper.
"""

import math

import numpy as np
import pytest
from checks import check_float32, check_gradients, fill, leaves
from hypothesis import given
from hypothesis import strategies as st
from tables import LOSSES

from minigan import functional as F
from minigan import nn
from minigan.backend import cpu
from minigan.engine import ShapeError, grad, tensor
from minigan.gan import (
    OBJECTIVES,
    AuxiliaryClassifier,
    BoundaryEquilibrium,
    EnergyBased,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    Wasserstein,
    WithFeatures,
    ZeroSum,
    binary_cross_entropy,
    discriminator_loss,
    feature_matching,
    generator_loss,
    gradient_penalty,
    pulling_away,
    r1_penalty,
    softmax_cross_entropy,
)


def mean(values):
    return math.fsum(values) / len(values)


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def ln_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


# For each objective, of one value of D: the real and the fake term of J(D), and the term of J(G);
# and below, their derivatives.
TERMS = {
    "minimax": (lambda r: -ln_sigmoid(r), lambda f: -ln_sigmoid(-f), lambda f: ln_sigmoid(-f)),
    "non-saturating": (
        lambda r: -ln_sigmoid(r),
        lambda f: -ln_sigmoid(-f),
        lambda f: -ln_sigmoid(f),
    ),
    "least-squares": (
        lambda r: (r - 1) ** 2 / 2,
        lambda f: f**2 / 2,
        lambda f: (f - 1) ** 2 / 2,
    ),
    "hinge": (lambda r: max(0.0, 1 - r), lambda f: max(0.0, 1 + f), lambda f: -f),
    "wasserstein": (lambda r: -r, lambda f: f, lambda f: -f),
}
DERIVATIVES = {
    "minimax": (lambda r: sigmoid(r) - 1, sigmoid, lambda f: -sigmoid(f)),
    "non-saturating": (lambda r: sigmoid(r) - 1, sigmoid, lambda f: sigmoid(f) - 1),
    "least-squares": (lambda r: r - 1, lambda f: f, lambda f: f - 1),
    "hinge": (lambda r: -float(r < 1), lambda f: float(f > -1), lambda f: -1),
    "wasserstein": (lambda r: -1, lambda f: 1, lambda f: -1),
}
each_objective = pytest.mark.parametrize("name", TERMS)
RELATIVE = ("zero-sum", "relativistic")  # J(G) is no mean of one term per sample: further below
LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=6)


def test_every_objective_is_here():
    assert set(OBJECTIVES) == {*TERMS, *RELATIVE} and set(TERMS) == set(DERIVATIVES)
    assert [name for name in OBJECTIVES if OBJECTIVES[name].relative] == list(RELATIVE)
    assert [OBJECTIVES[name].name for name in OBJECTIVES] == list(OBJECTIVES)


@each_objective
@given(real=LOGITS, fake=LOGITS)
def test_losses_are_the_formulas(name, real, fake):
    objective, (real_term, fake_term, generator_term) = OBJECTIVES[name](), TERMS[name]
    r, f = tensor(np.array(real)[:, None]), tensor(np.array(fake)[:, None])
    d_loss = objective.discriminator(r, f)
    g_loss = objective.generator(f)
    assert d_loss.shape == g_loss.shape == ()
    expected = mean(list(map(real_term, real))) + mean(list(map(fake_term, fake)))
    assert d_loss.item() == pytest.approx(expected, rel=1e-11, abs=1e-12)
    assert g_loss.item() == pytest.approx(
        mean(list(map(generator_term, fake))), rel=1e-11, abs=1e-12
    )


@each_objective
@given(real=LOGITS, fake=LOGITS)
def test_gradients_are_the_derivatives(name, real, fake):
    real = [x for x in real if x != 1] or [0.0]  # the hinge's kinks
    fake = [x for x in fake if x != -1] or [0.0]
    objective, derivatives = OBJECTIVES[name](), DERIVATIVES[name]
    r, f = leaves([np.array(real), np.array(fake)])
    d_real, d_fake = grad(objective.discriminator(r, f), [r, f])
    (g_fake,) = grad(objective.generator(f), [f])
    for g, values, derivative in zip(
        (d_real, d_fake, g_fake), (real, fake, fake), derivatives, strict=True
    ):
        expected = [derivative(x) / len(values) for x in values]
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_both_orders_and_float32(name):
    f, arrays = LOSSES[name]
    check_gradients(f, *arrays)
    check_float32(f, *arrays)


FAR = 1e4
LIMITS = {  # J(D) and J(G) at (real, fake) = (FAR, −FAR), where D is right, and (−FAR, FAR)
    "minimax": ((0, 0), (2 * FAR, -FAR)),
    "non-saturating": ((0, FAR), (2 * FAR, 0)),
    "least-squares": (
        ((FAR - 1) ** 2 / 2 + FAR**2 / 2, (FAR + 1) ** 2 / 2),
        ((FAR + 1) ** 2 / 2 + FAR**2 / 2, (FAR - 1) ** 2 / 2),
    ),
    "hinge": ((0, FAR), (2 * FAR + 2, -FAR)),
    "wasserstein": ((-2 * FAR, FAR), (2 * FAR, -FAR)),
}


@each_objective
@pytest.mark.parametrize("right", [True, False])
def test_far_logits_in_float32(name, right):
    """Finite, without a warning, and at the limit; a log of a rounded sigmoid would be −∞."""
    objective, sign = OBJECTIVES[name](), 1 if right else -1
    r, f = leaves([np.full((2, 1), sign * FAR, np.float32), np.full((2, 1), -sign * FAR, "f4")])
    losses = objective.discriminator(r, f), objective.generator(f)
    expected = LIMITS[name][0 if right else 1]
    assert [loss.item() for loss in losses] == pytest.approx(expected, rel=1e-6)
    d_real, d_fake = grad(losses[0], [r, f])
    (g_fake,) = grad(losses[1], [f])
    for g, x, derivative in zip(
        (d_real, d_fake, g_fake), (r, f, f), DERIVATIVES[name], strict=True
    ):
        slope = derivative(x.numpy()[0].item()) / 2
        assert g.numpy().ravel().tolist() == pytest.approx([slope] * 2, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating()])
@given(logit=st.floats(-60, 60, width=32))
def test_small_losses_keep_their_digits(objective, logit):
    """ln σ is "exact for any l": a loss near 0 is wrong by a rounding of itself, not of l."""
    x = tensor(np.full((1,), logit, np.float32))
    never = tensor(np.full((1,), -200, np.float32))
    always = tensor(np.full((1,), 200, np.float32))
    terms = TERMS[objective.name]
    assert objective.discriminator(x, never).item() == pytest.approx(terms[0](logit), rel=1e-5)
    assert objective.discriminator(always, x).item() == pytest.approx(terms[1](logit), rel=1e-5)
    assert objective.generator(x).item() == pytest.approx(terms[2](logit), rel=1e-5)


@given(LOGITS, st.floats(0, 1))
def test_binary_cross_entropy(logits, target):
    loss = binary_cross_entropy(tensor(np.array(logits)), target)
    expected = [-target * ln_sigmoid(x) - (1 - target) * ln_sigmoid(-x) for x in logits]
    assert loss.item() == pytest.approx(mean(expected), rel=1e-11, abs=1e-12)


# --- What the papers say about the optimum -------------------------------------------------------


def test_a_discriminator_that_cannot_tell():
    zero = tensor(np.zeros((3, 1)))
    assert Minimax().discriminator(zero, zero).item() == pytest.approx(math.log(4))
    assert Minimax().generator(zero).item() == pytest.approx(-math.log(2))
    assert NonSaturating().discriminator(zero, zero).item() == pytest.approx(math.log(4))
    assert NonSaturating().generator(zero).item() == pytest.approx(math.log(2))


def test_minimax_is_zero_sum():
    """J(D) + J(G) does not depend on G: only D's term on real samples is left."""
    real, fake = tensor(fill((4, 1))), tensor(fill((5, 1), seed=1))
    both = Minimax().discriminator(real, fake) + Minimax().generator(fake)
    assert both.item() == pytest.approx(mean([-ln_sigmoid(x) for x in real.numpy().ravel()]))


def test_minimax_at_the_optimum_is_the_jensen_shannon_divergence():
    """Goodfellow et al. 2014, theorem 1: −J(D*) = 2 JS(p_d, p_g) − ln 4. And J(G), the half of it
    that G can change, is KL(p_g ‖ m) − ln 2."""
    p, q = [1, 2, 5], [4, 3, 1]  # in eighths
    logits = [math.log(a / b) for a, b in zip(p, q, strict=True)]
    real, fake = tensor(np.repeat(logits, p)), tensor(np.repeat(logits, q))
    middle = [(a + b) / 16 for a, b in zip(p, q, strict=True)]
    kl_p, kl_q = (
        sum(a / 8 * math.log(a / 8 / m) for a, m in zip(density, middle, strict=True))
        for density in (p, q)
    )
    assert -Minimax().discriminator(real, fake).item() == pytest.approx(kl_p + kl_q - math.log(4))
    assert Minimax().generator(fake).item() == pytest.approx(kl_q - math.log(2))


@pytest.mark.parametrize("objective", [Minimax, NonSaturating])
def test_label_smoothing(objective):
    """With real label 0.9 the best logit for a real sample is ln 9, not infinity."""
    smooth, nothing = objective(real_label=0.9), tensor(np.array([-800.0]))

    def loss(logit):
        (x,) = leaves([np.array([logit])])
        y = smooth.discriminator(x, nothing)
        return y.item(), grad(y, [x])[0].item()

    best = math.log(9)
    assert loss(best)[0] == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert loss(best)[1] == pytest.approx(0, abs=1e-15)
    assert loss(best - 0.1)[0] > loss(best)[0] < loss(best + 0.1)[0]
    for logit in (-2.0, 0.0, 5.0):
        expected = -0.9 * ln_sigmoid(logit) - 0.1 * ln_sigmoid(-logit)
        assert loss(logit)[0] == pytest.approx(expected)
    fake = tensor(np.array([0.3]))
    assert smooth.generator(fake).item() == objective().generator(fake).item()  # one-sided


def test_least_squares_label():
    real, fake = tensor(np.array([0.9, 0.4])), tensor(np.array([0.0]))
    assert LeastSquares(real_label=0.9).discriminator(real, fake).item() == pytest.approx(1 / 16)


def test_drift_holds_the_verdicts_on_real_samples_near_zero():
    real, fake = leaves([np.array([3.0, -1.0]), np.array([2.0, 4.0])])
    drifting = Wasserstein(drift=0.1)
    loss = drifting.discriminator(real, fake)
    assert loss.item() == pytest.approx(3.0 - 1.0 + 0.1 * 5.0)
    of_real, of_fake = (g.numpy() for g in grad(loss, [real, fake]))
    np.testing.assert_allclose(of_real, [-0.5 + 0.3, -0.5 - 0.1])
    np.testing.assert_allclose(of_fake, [0.5, 0.5])
    assert drifting.generator(fake).item() == -3.0


@pytest.mark.parametrize("label", [0.0, -0.5, 1.5, math.nan])
@pytest.mark.parametrize("objective", [Minimax, NonSaturating])
def test_impossible_labels(objective, label):
    with pytest.raises(ValueError, match="real_label is"):
        objective(real_label=label)


def test_scores():
    x = tensor(fill((3, 1)))
    for objective in (LeastSquares(), Hinge(), Wasserstein()):
        assert not objective.probabilistic
        assert objective.score(x) is x
    for objective in (Minimax(), NonSaturating()):
        assert objective.probabilistic
        assert objective.score(x).numpy().ravel().tolist() == pytest.approx(
            [sigmoid(v) for v in x.numpy().ravel()]
        )


# --- Objectives that compare with real samples ---------------------------------------------------


def relativistic(first, second):
    """−E ln σ(first − E second) − E ln(1 − σ(second − E first)), in plain Python."""
    above = mean([-ln_sigmoid(x - mean(second)) for x in first])
    return above + mean([-ln_sigmoid(-(x - mean(first))) for x in second])


@given(real=LOGITS, fake=LOGITS)
def test_relativistic_average_is_the_formula(real, fake):
    r, f = tensor(np.array(real)[:, None]), tensor(np.array(fake)[:, None])
    objective = RelativisticAverage()
    assert objective.discriminator(r, f).item() == pytest.approx(relativistic(real, fake))
    assert objective.generator(f, r).item() == pytest.approx(relativistic(fake, real))


@given(real=LOGITS, fake=LOGITS)
def test_zero_sum_is_zero_sum_and_moves_as_minimax(real, fake):
    r, f = leaves([np.array(real), np.array(fake)])
    game = ZeroSum()
    assert game.generator(f, r).item() == -game.discriminator(r, f).item()
    (mine,), (minimax,) = (
        grad(loss, [f]) for loss in (game.generator(f, r), Minimax().generator(f))
    )
    np.testing.assert_allclose(mine.numpy(), minimax.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", RELATIVE)
def test_relative_objectives_at_far_logits(name):
    """Linear where a log of a rounded sigmoid would be −∞."""
    objective = OBJECTIVES[name]()
    r, f = leaves([np.full((2, 1), -FAR, "f4"), np.full((2, 1), FAR, "f4")])
    loss = objective.discriminator(r, f)
    assert loss.item() == pytest.approx({"zero-sum": 2, "relativistic": 4}[name] * FAR)
    assert objective.discriminator(f, r).item() == 0
    for g in grad(loss, [r, f]) + grad(objective.generator(f, r), [f]):
        assert np.isfinite(g.numpy()).all()


def test_relativistic_ignores_a_shift_of_the_critic():
    r, f = tensor(fill((4, 1))), tensor(fill((6, 1), seed=1))
    moved = RelativisticAverage().discriminator(r + 3.0, f + 3.0).item()
    assert RelativisticAverage().discriminator(r, f).item() == pytest.approx(moved)


# --- What each says of its optimum: the best D over many values, on three points -----------------

P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])


def best_value(objective, low, high):
    """min over D of J(D), each point having its own D(x) in [low, high], by trying them all."""
    values = np.linspace(low, high, 2401)
    zero = tensor(np.zeros(1))
    total = 0.0
    for p, q in zip(P, Q, strict=True):
        real = [objective.discriminator(tensor(np.array([v])), zero).item() for v in values]
        fake = [objective.discriminator(zero, tensor(np.array([v]))).item() for v in values]
        at_zero = objective.discriminator(zero, zero).item()
        real_zero = at_zero - ZERO_FAKE[type(objective)]
        real_term = np.array(real) - ZERO_FAKE[type(objective)]
        fake_term = np.array(fake) - real_zero
        total += (p * real_term + q * fake_term).min()
    return total


# The fake samples' term of J(D) where D(G(z)) = 0, which separates the two terms above.
ZERO_FAKE = {Hinge: 1.0, EnergyBased: 2.0, LeastSquares: 0.0}


def test_hinge_measures_total_variation():
    variation = np.abs(P - Q).sum() / 2
    assert best_value(Hinge(), -3, 3) == pytest.approx(2 - 2 * variation)


def test_energy_measures_total_variation():
    variation = np.abs(P - Q).sum() / 2
    assert best_value(EnergyBased(2.0), 0, 2) == pytest.approx(2 - 2 * variation)


def test_least_squares_has_the_same_best_discriminator():
    """J(D) at D = p_d / (p_d + p_g) is ½ Σ p q / (p + q)."""
    assert best_value(LeastSquares(), -1, 2) == pytest.approx((P * Q / (P + Q)).sum() / 2, abs=1e-6)


# --- Energies ------------------------------------------------------------------------------------

ENERGIES = st.lists(st.floats(0, 10), min_size=1, max_size=6)


@given(real=ENERGIES, fake=ENERGIES, margin=st.floats(0.1, 10))
def test_energy_based_is_the_formula(real, fake, margin):
    objective, r, f = EnergyBased(margin), tensor(np.array(real)), tensor(np.array(fake))
    expected = mean(real) + mean([max(0.0, margin - e) for e in fake])
    assert objective.discriminator(r, f).item() == pytest.approx(expected)
    assert objective.generator(f).item() == pytest.approx(mean(fake))


@given(
    energies=st.lists(st.tuples(ENERGIES, ENERGIES), min_size=1, max_size=8),
    gamma=st.floats(0.1, 1),
    rate=st.floats(1e-3, 0.2),
)
def test_boundary_equilibrium_follows_the_papers_recursion(energies, gamma, rate):
    """Berthelot et al. 2017, eq. 13, and M of section 3.4.1, in Python's own numbers."""
    objective, k = BoundaryEquilibrium(cpu, gamma=gamma, rate=rate), 0.0
    for real, fake in energies:
        r, f = leaves([np.array(real), np.array(fake)])
        loss = objective.discriminator(r, f)
        assert loss.item() == pytest.approx(mean(real) - k * mean(fake), abs=1e-4)
        (g,) = grad(loss, [f], unused="zeros")
        assert g.numpy() == pytest.approx(-k / len(fake), abs=1e-5)
        measure = objective.control(r, f)
        balance = gamma * mean(real) - mean(fake)
        k = min(max(k + rate * balance, 0.0), 1.0)
        assert objective.k.item() == pytest.approx(k, abs=1e-5)
        assert measure.item() == pytest.approx(mean(real) + abs(balance), abs=1e-5)
        assert objective.generator(f).item() == pytest.approx(mean(fake))


def test_k_is_part_of_the_state():
    objective, other = BoundaryEquilibrium(cpu), BoundaryEquilibrium(cpu)
    objective.control(tensor(np.array([9.0])), tensor(np.array([1.0])))
    assert objective.k > 0 and objective.k.dtype == np.float32
    other.load_state(objective.state())
    assert other.k == objective.k and other.k is not objective.k


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EnergyBased(0), "margin is 0"),
        (lambda: EnergyBased(math.nan), "margin is nan"),
        (lambda: BoundaryEquilibrium(cpu, gamma=0), "gamma is 0"),
        (lambda: BoundaryEquilibrium(cpu, gamma=1.5), "gamma is 1.5"),
        (lambda: BoundaryEquilibrium(cpu, rate=0), "rate is 0"),
    ],
)
def test_impossible_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- Features and classes ------------------------------------------------------------------------


def test_pulling_away_is_the_double_sum():
    s = fill((5, 3))
    cosine = lambda a, b: (a @ b) / math.sqrt((a @ a) * (b @ b))
    pairs = [cosine(s[i], s[j]) ** 2 for i in range(5) for j in range(5) if i != j]
    assert pulling_away(tensor(s)).item() == pytest.approx(sum(pairs) / 20)


def test_pulling_away_tells_collapse_from_variety():
    one, many = np.ones((4, 6)), np.eye(4, 6)
    assert pulling_away(tensor(one)).item() == pytest.approx(1)
    assert pulling_away(tensor(many)).item() == pytest.approx(0, abs=1e-12)
    zeros = leaves([np.zeros((3, 2))])[0]
    assert not grad(pulling_away(zeros), [zeros])[0].numpy().any()  # and no NaN
    for shape in ((1, 3), (4, 3, 2)):
        with pytest.raises(ShapeError, match="pulling_away: got shape"):
            pulling_away(tensor(np.ones(shape)))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 2)])
def test_feature_matching_is_the_squared_distance_of_the_means(shape):
    real, fake = fill((5, *shape)), fill((4, *shape), seed=1)
    expected = sum((a - b) ** 2 for a, b in zip(real.mean(0).flat, fake.mean(0).flat, strict=True))
    assert feature_matching(tensor(real), tensor(fake)).item() == pytest.approx(expected)
    check_gradients(feature_matching, real, fake)


def test_softmax_cross_entropy_is_the_formula():
    logits, labels = fill((4, 3)), np.array([2, 0, 1, 2])
    expected = mean(
        [
            math.log(sum(math.exp(x) for x in row)) - row[label]
            for row, label in zip(logits, labels, strict=True)
        ]
    )
    assert softmax_cross_entropy(tensor(logits), labels).item() == pytest.approx(expected)
    far = leaves([np.array([[FAR, -FAR]], np.float32)])[0]
    assert softmax_cross_entropy(far, np.array([1])).item() == pytest.approx(2 * FAR)
    assert softmax_cross_entropy(far, np.array([0])).item() == 0


@pytest.mark.parametrize(
    ("logits", "labels", "error"),
    [
        (np.ones((3, 2)), np.array([0, 1]), ShapeError),
        (np.ones(3), np.array([0, 1, 0]), ShapeError),
        (np.ones(()), np.array([0]), ShapeError),
        (np.ones(()), [0], ShapeError),
        (np.ones((2, 2)), np.array([0.0, 1.0]), TypeError),
        (np.ones((2, 2)), [0, 1], TypeError),
    ],
)
def test_softmax_cross_entropy_refuses(logits, labels, error):
    with pytest.raises(error, match="softmax_cross_entropy"):
        softmax_cross_entropy(tensor(logits), labels)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_auxiliary_classifier_is_the_sum_of_its_parts(name):
    source = OBJECTIVES[name]()
    game = AuxiliaryClassifier(source, weight=0.5)
    verdicts, classes = (fill((8, k), seed=k) for k in (1, 3))
    labels = np.array([0, 1, 2, 0, 2, 2, 1, 0])

    def D(x):
        """Sample i is the number i, and D's output for it the i-th row."""
        rows = x.data.astype(int)[:, 0]
        return tensor(verdicts[rows]), tensor(classes[rows])

    numbers = tensor(np.arange(8.0)[:, None])
    real, fake = ((numbers[part], tensor(labels[part])) for part in (slice(4), slice(4, 8)))
    named = -np.log(np.exp(classes) / np.exp(classes).sum(axis=1, keepdims=True))
    named = named[np.arange(8), labels].reshape(2, 4).mean(axis=1)
    r, f = tensor(verdicts[:4]), tensor(verdicts[4:])
    judged = game.judge(D, real), game.judge(D, fake)
    assert game.discriminator(*judged).item() == pytest.approx(
        source.discriminator(r, f).item() + 0.5 * named.sum()
    )
    assert game.generator(judged[1], judged[0]).item() == pytest.approx(
        source.generator(f, r).item() + 0.5 * named[1]
    )
    assert (game.relative, game.probabilistic) == (source.relative, source.probabilistic)
    np.testing.assert_array_equal(game.score(judged[0]).numpy(), source.score(r).numpy())
    assert game.seen(fake) is fake[0], "D, and a penalty on it, sees no labels"
    np.testing.assert_array_equal(D(game.seen(fake))[0].numpy(), verdicts[4:])


@pytest.mark.parametrize("name", ["minimax", "non-saturating", "zero-sum"])
def test_a_matching_discriminator_is_reed_s(name):
    """ln s_r + ½ [ln(1 − s_w) + ln(1 − s_f)], to be maximised (Reed et al. 2016, algorithm 1)."""
    r, f, w = ([0.3, -1.2], [0.8, -0.1], [2.0, -3.0])
    expected = -mean([ln_sigmoid(x) for x in r])
    expected -= 0.5 * sum(mean([ln_sigmoid(-x) for x in side]) for side in (w, f))
    assert OBJECTIVES[name]().matching(*map(tensor, (r, f, w))).item() == pytest.approx(expected)


MATCHING = {  # J(D) of one real value r, one generated f and one that does not match, w
    "least-squares": lambda r, f, w: 0.5 * (r - 1) ** 2 + 0.25 * (f**2 + w**2),
    "hinge": lambda r, f, w: max(0, 1 - r) + 0.5 * (max(0, 1 + f) + max(0, 1 + w)),
    "wasserstein": lambda r, f, w: 0.5 * (f + w) - r,
    "relativistic": lambda r, f, w: -ln_sigmoid(r - f) - ln_sigmoid(r - w),
    "energy-based": lambda r, f, w: r + 0.5 * (max(0, 1 - f) + max(0, 1 - w)),
    "boundary-equilibrium": lambda r, f, w: r - 0.2 * (f + w),
}


@pytest.mark.parametrize("name", MATCHING)
def test_a_matching_discriminator_of_every_objective(name):
    known = {"energy-based": EnergyBased, "boundary-equilibrium": lambda: BoundaryEquilibrium(cpu)}
    objective = {**OBJECTIVES, **known}[name]()
    if name == "boundary-equilibrium":
        objective.k[...] = 0.4
    values = 0.3, -0.2, 0.7
    loss = objective.matching(*(tensor([[x]], dtype="float64") for x in values))
    assert loss.item() == pytest.approx(MATCHING[name](*values), rel=1e-6)


def test_classes_have_no_matching_discriminator():
    with pytest.raises(ValueError, match=r"hinge with classes .* can't take wrong=….*D\(x, y\)"):
        AuxiliaryClassifier(Hinge()).matching((tensor([1.0]), 0.0), (tensor([1.0]), 0.0), None)


class Asked(nn.Module):
    """D that returns its verdict and its features, or the first alone, and counts the passes."""

    def __init__(self, alone=False):
        rng = cpu.generator(0)
        self.body, self.last = nn.Linear(3, 4, rng=rng), nn.Linear(4, 1, rng=rng)
        self.alone, self.passes = alone, 0

    def forward(self, x):
        self.passes += 1
        features = F.tanh(self.body(x))
        return self.last(features) if self.alone else (self.last(features), features)


class Matching(WithFeatures):
    """As in its base's docstring."""

    relative = True

    def generator(self, fake, real=None):
        return super().generator(fake, real) + feature_matching(real[1], fake[1])


def samples(shape):
    return (tensor(fill(shape, seed=k).astype(np.float32)) for k in (1, 2))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_verdict_with_features_plays_the_source_s_game(name):
    """Penalties too: the same loss and the same gradients as a D without features."""
    source, (real, fake) = OBJECTIVES[name](), samples((6, 3))
    game = WithFeatures(source)
    assert (game.relative, game.probabilistic) == (source.relative, source.probabilistic)

    def penalty(D, real, fake):
        slope = gradient_penalty(cpu.generator(0))(D, real, fake)
        return slope + r1_penalty()(D, real, fake) + squared(D.body.weight)

    sides = []
    for D, objective in ((Asked(), game), (Asked(alone=True), source)):
        total, report = discriminator_loss(D, objective, real, fake, penalty=penalty)
        g_total, g_report = generator_loss(
            D, objective, tensor(fake.data, requires_grad=True), real=real
        )
        gradients = grad(total, D.parameters(), unused="zeros")
        values = [total, g_total, report.real, report.fake, g_report.fake, *gradients]
        sides.append([value.numpy() for value in values])
    for mine, theirs in zip(*sides, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def squared(weight):
    return (weight * weight).mean()


def test_features_are_matched_in_the_pass_that_judges():
    """J(G) = −E ln D(G(z)) + ‖E f(x) − E f(G(z))‖², and D is asked once about each side."""
    D, (real, fake) = Asked(), samples((6, 3))
    fake = tensor(fake.data, requires_grad=True)
    loss, _ = generator_loss(D, Matching(NonSaturating()), fake, real=real)
    assert D.passes == 2
    features = [np.tanh(x.numpy() @ D.body.weight.numpy()) for x in (real, fake)]
    gap = features[0].mean(axis=0) - features[1].mean(axis=0)
    logits = (features[1] @ D.last.weight.numpy()).ravel().tolist()
    expected = -mean([ln_sigmoid(x) for x in logits]) + (gap**2).sum()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    again = binary_cross_entropy(D(fake)[0], 1.0) + feature_matching(D(real)[1], D(fake)[1])
    for mine, theirs in zip(grad(loss, [fake]), grad(again, [fake]), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-7)
    discriminator_loss(D, Matching(NonSaturating()), real, fake)


def test_a_verdict_without_features_is_refused_where_they_are_wanted():
    D, (_, fake) = Asked(alone=True), samples((2, 3))
    for objective, shown in (
        (Matching(Hinge()), fake),
        (AuxiliaryClassifier(Hinge()), (fake, np.array([0, 1]))),
    ):
        with pytest.raises(
            TypeError, match=r"hinge with .*: D returned one tensor, expected a tup"
        ):
            objective.judge(D, shown)
