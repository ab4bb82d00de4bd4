"""What goes wrong in a GAN, in plain words: what it is, what it means, what to try.

Each trouble is a function of the recent means of a record's columns, for a `Watch`, to a line or
None; what else it wants to see of a run, a factory is given. All read only what is there already.
The means that each needs:

    collapse           diversity
    repeats            variety
    no_contest         d_real, d_fake_before; if there is one, diversity
    vanished           d_fake_after, slope_g
    company            d_fake_before, d_fake_after
    smoothed_fakes     d_real, d_fake_before, d_least
    not_normed         normed
    stuck(objective)   k
    by_heart           leaning
    too_few_numbers    rank, dimension
    swings(record, …)  a column, row by row

`first_lost` is for when all is lost. A false alarm is a fault as well: each asks for more than one
sign, or for much of one.
"""

from __future__ import annotations

import numpy as np

from minigan.training.record import Record

# Of the diversity of real images. The samples of a fresh G are alike too, for as many steps as a
# slow game takes to begin. After 500 steps DCGAN, WGAN and the GAN of 2014 are at 0.24 and more;
# the G of examples/stability/began.py that repeats one image is at 0.1.
COLLAPSED = 0.2
FEW = 0.25  # of the variety of real samples; less could be a G that is on its way
SURE, UNSURE = 0.98, 0.02  # scores of a D that has won


# --- G -------------------------------------------------------------------------------------------


def collapse(now: dict) -> str | None:
    """What to say of a G whose samples are much closer to each other than real ones are."""
    if now["diversity"] < COLLAPSED:
        return (
            "G's samples hardly differ from each other (mode collapse): G has found one sample "
            "that D accepts. Try another seed, a lower rate for G, or another loss."
        )
    return None


def repeats(now: dict) -> str | None:
    """What to say of a G with fewer different samples in a batch than the data have."""
    if now["variety"] < FEW:
        return (
            f"G makes {now['variety']:.0%} as many different samples as the data have (mode "
            "collapse): what is missing, D does not ask for, as it judges one sample at a time. "
            "Try packing or minibatch features in D, fewer dimensions of z, or another loss."
        )
    return None


def vanished(now: dict) -> str | None:
    """What to say of a G that is rejected, and not told how to change; J(G) in nats."""
    rejected, steepness = now["d_fake_after"], now["slope_g"]
    if rejected < UNSURE and steepness < 2.0:
        return (
            f"G's gradient has vanished: D(G(z)) is {rejected:.4f}, so G has all to learn, but its "
            f"loss is flat (slope {steepness:.2g}): D is so sure that nothing G changes matters. "
            "Try the non-saturating loss, or a D that learns more slowly."
        )
    return None


def too_few_numbers(now: dict) -> str | None:
    """What to say of a z with fewer dimensions than the data have."""
    if now["rank"] < now["dimension"] - 0.75:
        return (
            f"G(z) moves in {now['rank']:.1f} directions with z, and the data have "
            f"{now['dimension']:.1f} around each point: G can only draw a curve through them. "
            "Give z more dimensions."
        )
    return None


def by_heart(now: dict) -> str | None:
    """What to say of samples that are nearer to training images than to as many new real ones."""
    if now["leaning"] < 0.8:
        return (
            f"G's samples are {now['leaning']:.0%} as far from the nearest training image as from "
            "the nearest of as many new ones: G learns its images by heart. Try more data, or stop "
            "where this is still near 100%."
        )
    return None


# --- D -------------------------------------------------------------------------------------------


def no_contest(now: dict) -> str | None:
    """What to say of a D that is sure of every sample; for scores that are probabilities."""
    real, fake = now["d_real"], now["d_fake_before"]
    if real > SURE and fake < UNSURE:
        return (
            f"D has won: real samples get {real:.3f} from it and generated ones {fake:.3f}, so it "
            "tells G little about how to improve. Try a lower rate for D, a higher one for G, or "
            "another loss."
        )
    return None


def company(now: dict) -> str | None:
    """What to say of a D whose verdict on a sample hangs on what else is in the batch."""
    before, after = now["d_fake_before"], now["d_fake_after"]
    if after - before > 0.15:
        return (
            f"D's verdict depends on the company: the same samples of G get {before:.2f} in D's "
            f"step and {after:.2f} in G's, right after D has learned to reject them. Batch norm "
            "over real and generated samples together tells them apart by each other. Show D each "
            "kind in a batch of its own."
        )
    return None


def smoothed_fakes(now: dict) -> str | None:
    """What to say of a D that tells real from generated, and yet rejects not even one sample."""
    real, fake, least = now["d_real"], now["d_fake_before"], now["d_least"]
    if real - fake > 0.5 and least > 0.01:
        return (
            f"D tells the two kinds apart ({real:.2f} and {fake:.2f}) but gives no sample of G "
            f"less than {least:.3f}: the labels of generated samples are smoothed. That puts p_g "
            "into the numerator of the best D, which then holds G where it is. Smooth those of "
            "real samples alone."
        )
    return None


# --- Layers, and what is controlled --------------------------------------------------------------


def not_normed(now: dict) -> str | None:
    """What to say of a batch norm whose ε is as large as the variance it divides by."""
    if now["normed"] < 0.8:
        return (
            f"after batch norm the variance is {now['normed']:.2f} instead of 1: its eps is large "
            "beside the activations' variance. The second argument of some libraries' BatchNorm is "
            "eps, and 0.8 was meant as a momentum. Set eps to 1e-5."
        )
    return None


def stuck(objective):
    """Of a BEGAN whose k has been at a bound for all the steps that are judged."""

    def trouble(now: dict) -> str | None:
        if 0 < now["k"] < 1:
            return None
        heed = "nothing" if now["k"] <= 0 else "as much as real ones"
        return (
            f"k has stayed at {now['k']:.0f}: G's images count {heed} for D, and nothing holds "
            f"the balance L(G(z)) = {objective.gamma:g} L(x) any more. Try a larger gamma, a "
            "larger rate for k, or batch norm in G."
        )

    return trouble


# --- Over time -----------------------------------------------------------------------------------


def swings(record: Record, column="d_real", *, steps=400, least=0.06):
    """Of scores that swing with a period, and no less at the end of the last `steps` than before.

    least: the standard deviation from which on a swing counts.
    """

    def trouble(now: dict) -> str | None:
        course = record[column][-steps:]
        found = period(course) if len(course) == steps else None
        halves = course[: steps // 2].std(), course[steps // 2 :].std()
        if not found or min(halves) < least or halves[1] < 0.7 * halves[0]:
            return None
        return (
            f"{column} swings by ±{course.std():.2f} every {found} steps or so, and no less than "
            "before: G and D chase each other in a circle. Try alternating steps, a lower beta1, "
            "rates that fall, R1, or the average of G."
        )

    return trouble


def period(course: np.ndarray, *, likeness=0.4) -> int | None:
    """The lag at which a course (n,) is most like itself again, after it has been unlike; or None.

    By the autocorrelation without the straight line that fits best: the highest peak beyond its
    first dip below −0.15, if it is at least `likeness`, there are three such periods in n, and one
    is longer than the zigzag of two players who overshoot, 8 steps.
    """
    n = len(course)
    t = np.arange(n) - (n - 1) / 2
    rest = course - course.mean() - t * (t @ course) / (t @ t)
    products = np.correlate(rest, rest, "full")[n - 1 :]
    if not products[0] > 0:
        return None
    likenesses = products[: n // 3] / products[0] * n / np.arange(n, n - n // 3, -1)
    below = np.flatnonzero(likenesses < -0.15)
    if not len(below):
        return None
    lag = below[0] + int(likenesses[below[0] :].argmax())
    return lag if lag >= 8 and likenesses[lag] >= likeness else None


def first_lost(record: Record, *others: Record) -> str:
    """When and where a number was first not finite, of a record and others of the same steps.

    Of columns in the same row up to three are named, those of the others first.
    """
    records = *others, record
    lost = [~np.isfinite(each.rows()) for each in records]
    firsts = [int(rows.any(axis=1).argmax()) if rows.any() else None for rows in lost]
    step = min((first for first in firsts if first is not None), default=None)
    if step is None:
        return ""
    pairs = zip(records, lost, firsts, strict=True)
    names = [n for each, rows, at in pairs if at == step for n in _named(each, rows[step])]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"First in step {step + 1:,}: {', '.join(names[:3])}{more}."


def _named(record, lost) -> list[str]:
    return [name for name, gone in zip(record.columns, lost, strict=True) if gone]
