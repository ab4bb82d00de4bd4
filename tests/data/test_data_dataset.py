"""Datasets that check themselves, and batches that depend on (seed, step) and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.backend import cpu
from minigan.data import (
    Batches,
    DataError,
    Dataset,
    OneOf,
    dequantised,
    drawn_digits,
    to_bytes,
    to_unit,
)


def numbered(n):
    """Images of one pixel whose two channels spell the image's number; labels are its last bit."""
    numbers = np.arange(n)
    images = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
    return Dataset("numbered", images.reshape(n, 1, 1, 2), numbers % 2, ("even", "odd"))


def numbers_in(batch):
    high, low = np.rint((batch.reshape(-1, 2).T + 1) * 127.5).astype(int)
    return (high * 256 + low).tolist()


sizes = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(sizes, st.integers(0, 2**40), st.integers(0, 3))
def test_an_epoch_shows_no_image_twice(n_and_size, seed, epoch):
    n, size = n_and_size
    batches = Batches(numbered(n), size, seed)
    assert len(batches) == n // size
    steps = range(epoch * len(batches), (epoch + 1) * len(batches))
    seen = [number for step in steps for number in numbers_in(batches[step])]
    assert len(seen) == len(set(seen)) == len(batches) * size
    assert set(seen) <= set(range(n))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 50))
def test_a_batch_does_not_depend_on_what_was_asked_before(history, step):
    used, fresh = Batches(numbered(20), 6, seed=3), Batches(numbered(20), 6, seed=3)
    for earlier in history:
        used.at(earlier)
    assert np.array_equal(used[step], fresh[step])
    assert np.array_equal(used.labels_at(step), fresh.labels_at(step))


def test_what_belongs_together_travels_together():
    """Image i, its twin in a second set, its label, and a row of words; by step and by next()."""
    images = numbered(50)
    words = np.stack([np.arange(50), -np.arange(50)], axis=1)
    parts = (images, images.images[::-1], images.labels, words, np.arange(50) / 4)
    batches, alone = Batches(parts, 8, seed=3), Batches(images, 8, seed=3)
    for step in range(9):
        at, drawn = batches[step], batches.next()
        numbers = np.array(numbers_in(at[0]))
        assert numbers.tolist() == numbers_in(alone[step])
        assert numbers_in(at[1]) == (49 - numbers).tolist()
        assert at[2].tolist() == (numbers % 2).tolist() == batches.labels().tolist()
        assert at[3].tolist() == [[n, -n] for n in numbers]
        assert at[4].tolist() == (numbers / 4).tolist()
        assert all(np.array_equal(a, b) for a, b in zip(at, drawn, strict=True))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (np.zeros(49), r"\[50, 49\] rows"),
        (np.array(["a"] * 50), "beside images"),
        (np.float64(3), "beside images"),
    ],
)
def test_what_cannot_travel_together_is_refused(other, said):
    with pytest.raises(DataError, match=said):
        Batches((numbered(50), other), 8, seed=3)


def test_indices_are_those_of_the_images_that_were_drawn():
    batches = Batches(numbered(50), 8, seed=2)
    with pytest.raises(ValueError, match="indices: no images have been drawn: call next"):
        batches.indices()
    for step in range(9):
        numbers = numbers_in(batches.next())
        assert numbers == batches.indices().tolist() == batches.indices_at(step).tolist()
        assert batches.indices().dtype == np.int64


def test_sets_without_pairs_are_shuffled_each_on_its_own():
    """Of different lengths, too: by their seeds alone, and each as if the other were not there."""
    one, other = Batches(numbered(60), 6, seed=1), Batches(numbered(60), 6, seed=2)
    drawn = [
        [n for step in range(200) for n in numbers_in(batches[step])] for batches in (one, other)
    ]
    pairs = list(zip(*drawn, strict=True))
    met = {n: {b for a, b in pairs if a == n} for n in range(60)}
    assert min(map(len, met.values())) > 10  # 20 meetings each, hardly ever the same


def words(n, k):
    """k words for each of n images: word j of image i is the number 10 i + j, and its negative."""
    numbers = 10 * np.arange(n)[:, None] + np.arange(k)
    return np.stack([numbers, -numbers], axis=2)


def test_one_of_several_captions_goes_with_each_image():
    images, k = numbered(50), 5
    several = Batches((images, OneOf(words(50, k)), OneOf(words(50, k)[..., 0])), 8, seed=3)
    alone, counts = Batches(images, 8, seed=3), np.zeros((50, k), int)
    for step in range(600):  # of 6 to an epoch: each image 96 times, each word 19 times
        shown, captions, again = several.next()
        numbers = np.array(numbers_in(shown))
        assert numbers.tolist() == numbers_in(alone[step])
        assert captions.shape == (8, 2) and (captions[:, 1] == -captions[:, 0]).all()
        assert (captions[:, 0] // 10).tolist() == numbers.tolist()
        assert again.tolist() == captions[:, 0].tolist(), "as many to choose from: the same choice"
        np.add.at(counts, (numbers, captions[:, 0] % 10), 1)
    assert counts.sum() == 4800 and counts.min() >= 4 and counts.max() <= 40
    assert np.abs(counts.sum(axis=0) - 960).max() < 4 * 960**0.5


@pytest.mark.parametrize("kind", ["captions", "groups"])
def test_choices_and_groups_depend_on_the_seed_and_the_step_alone(kind):
    def make(seed=3):
        if kind == "groups":
            return Batches((numbered(50), np.arange(50)), 8, seed, group=2)
        return Batches((numbered(50), OneOf(words(50, 4))), 8, seed)

    first, resumed = make(), make()
    drawn = [first.next()[1].tolist() for _ in range(15)]
    resumed.step = 11
    assert [resumed.next()[1].tolist() for _ in range(4)] == drawn[11:]
    assert [make().at(step)[1].tolist() for step in range(15)] == drawn
    assert [make(4).at(step)[1].tolist() for step in range(15)] != drawn
    assert len({str(batch) for batch in drawn}) == 15


def test_an_image_may_be_one_of_several_views():
    numbers = numbered(40).images.reshape(20, 2, 1, 1, 2)  # 2 i and 2 i + 1 are views of image i
    first = Dataset("first", numbers[:, 0])
    seen = set()
    for step in range(100):
        image, view = Batches((first, OneOf(numbers)), 4, seed=0).at(step)
        assert view.shape == (4, 1, 1, 2) and view.dtype == np.float32
        pairs = np.array(numbers_in(view)) - numbers_in(image)
        assert set(pairs.tolist()) <= {0, 1}
        seen |= set(numbers_in(view))
    assert len(seen) == 40


def classes(counts):
    """Numbered images in classes of these sizes, mixed."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return Dataset("classes", numbered(len(labels)).images, labels, tuple("abcdefg"[: len(counts)]))


@pytest.mark.parametrize(("counts", "size", "group"), [((9, 0, 6, 3), 6, 3), ((40, 7, 17), 8, 4)])
def test_groups_of_one_class(counts, size, group):
    data = classes(counts)
    batches = Batches((data, np.arange(len(data))), size, seed=1, group=group)
    whole = sum(n // group for n in counts) * group
    assert len(batches) == whole // size
    together, dropped, begun = {}, set(), set()
    for epoch in range(60):
        steps = range(epoch * len(batches), (epoch + 1) * len(batches))
        drawn = np.concatenate([batches.at(step)[1] for step in steps])
        assert len(set(drawn.tolist())) == len(drawn) == whole // size * size
        groups = drawn.reshape(-1, group)
        assert (data.labels[groups] == data.labels[groups][:, :1]).all()
        for members in groups.tolist():
            for n in members:
                together.setdefault(n, set()).update(members)
        dropped |= set(range(len(data))) - set(drawn.tolist())
        begun.add(int(data.labels[drawn[0]]))
    assert begun == {k for k, n in enumerate(counts) if n >= group}, "classes come in any order"
    several = [n for n in range(len(data)) if counts[data.labels[n]] > group]
    assert set(together) == {n for n in range(len(data)) if counts[data.labels[n]] >= group}
    assert all(len(together[n]) > group for n in several), "the groups are formed anew"
    assert not dropped or len(dropped) > len(data) - whole, "others are left over each time"
    batches.next()
    assert batches.labels().tolist() == data.labels[batches.indices()].tolist()


def test_mistakes_with_groups_and_choices():
    data = classes((9, 4, 3))
    for group in (4, 0, -1, 12):
        with pytest.raises(
            ValueError, match=f"group {group}: wanted a divisor of the batch size 6"
        ):
            Batches(data, 6, 0, group=group)
    with pytest.raises(TypeError, match=r"group is 2\.0, expected an integer"):
        Batches(data, 6, 0, group=2.0)
    with pytest.raises(ValueError, match="no labels: wanted a Dataset"):
        Batches((data.images, data.labels), 6, 0, group=2)
    with pytest.raises(ValueError, match="group 5: 5 images have 4 more of their class"):
        Batches(data, 10, 0, group=5)
    for rows in (np.zeros(16), np.zeros((16, 0))):
        with pytest.raises(DataError, match=r"wanted \(n, k, …\)"):
            Batches((data, OneOf(rows)), 4, 0)
    with pytest.raises(DataError, match=r"\[16, 15\] rows"):
        Batches((data, OneOf(np.zeros((15, 2)))), 4, 0)
    with pytest.raises(DataError, match="wanted numbers, a row for each"):
        Batches((data, OneOf(np.full((16, 2), "a"))), 4, 0)


def test_a_captured_step_draws_choices_in_groups(cuda):
    """On the device, by replay, what the CPU draws for the same seed and step; nothing waits."""
    data, captions = classes((17, 9, 14)), OneOf(words(40, 3))
    here, there = (Batches((data, captions), 8, 2, device, group=4) for device in (cpu, cuda))
    table = cuda.asarray(np.arange(40) * 7)
    step = cuda.capture(lambda: (*there.next(), table.take(there.indices())))
    for k in range(14):  # of 4 to an epoch
        images, chosen, looked_up = map(cuda.to_numpy, step())
        expected = here.at(k)
        np.testing.assert_allclose(images, expected[0], atol=1e-6)
        assert chosen.tolist() == expected[1].tolist()
        assert looked_up.tolist() == (7 * here.indices_at(k)).tolist()


def test_epochs_and_seeds_differ_in_their_order():
    batches, other = Batches(numbered(500), 500, seed=0), Batches(numbered(500), 500, seed=1)
    orders = [numbers_in(batches[0]), numbers_in(batches[1]), numbers_in(other[0])]
    assert all(sorted(order) == list(range(500)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_batches_are_float32_in_the_unit_range_and_labelled():
    batches = Batches(numbered(300), 300, seed=5)
    images, labels = batches[0], batches.labels_at(0)
    assert images.dtype == np.float32 and images.shape == (300, 1, 1, 2)
    assert images.min() == -1 and images.max() == 1
    assert labels.dtype == np.int64
    assert labels.tolist() == [number % 2 for number in numbers_in(images)]


def test_labels_are_those_of_the_images_that_were_drawn():
    """The image spells its number and the label is its last bit, so neither can be another's."""
    batches = Batches(numbered(50), 8, seed=2)
    batches.step = 5
    for _ in range(3):
        numbers = numbers_in(batches.next())
        assert batches.labels().tolist() == [number % 2 for number in numbers]
    assert batches.step == 8
    with pytest.raises(ValueError, match="call next"):
        Batches(numbered(5), 2, 0).labels()


def test_a_captured_step_draws_images_and_their_labels(cuda):
    batches = Batches(numbered(50), 8, 2, cuda)
    step = cuda.capture(lambda: (batches.next(), batches.labels()))
    for _ in range(9):
        images, labels = map(cuda.to_numpy, step())
        assert labels.tolist() == [number % 2 for number in numbers_in(images)]
    assert batches.step == 9


def test_images_are_uploaded_once(monkeypatch):
    uploads = []

    class Counting(type(cpu)):
        def asarray(self, values, dtype=None):
            uploads.append(values)
            return super().asarray(values, dtype)

    images = numbered(8).images
    batches = Batches(images, 4, 0, Counting())
    for step in range(6):
        batches.at(step)
    assert uploads[0] is images
    assert all(np.ndim(later) == 1 for later in uploads[1:])  # which images, not the images


def test_mistakes_with_batches():
    data = numbered(5)
    for size in (0, -1, 6):
        with pytest.raises(ValueError, match=f"batch size {size}: wanted 1 to 5"):
            Batches(data, size, 0)
    assert Batches(data, np.int64(2), 0).at(0).shape[0] == 2
    for size in (2.0, True):
        with pytest.raises(TypeError, match=f"batch size is {size}, expected an integer"):
            Batches(data, size, 0)
    with pytest.raises(ValueError, match="steps count from 0"):
        Batches(data, 2, 0).at(-1)
    with pytest.raises(ValueError, match="no labels"):
        Batches(data.images, 2, 0).labels_at(0)
    unlabelled = Batches(data.images, 2, 0)
    unlabelled.next()
    with pytest.raises(ValueError, match="labels: these images have no labels"):
        unlabelled.labels()
    with pytest.raises(TypeError):
        iter(Batches(data, 2, 0))


def test_bytes_and_units_are_inverse():
    every_byte = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    unit = to_unit(every_byte)
    assert unit.dtype == np.float32
    assert np.allclose(unit.ravel(), np.linspace(-1, 1, 256), atol=1e-6)
    for dtype in (np.float32, np.float64):
        back = to_bytes(unit.astype(dtype))
        assert back.dtype == np.uint8 and np.array_equal(back, every_byte)


def test_dequantised_bytes_have_a_uniform_density(cuda):
    """Each stays in its cell [b, b + 1) / 256, as bytes and as units; a seed gives one noise."""
    every_byte = np.arange(256, dtype=np.uint8).repeat(64).reshape(4, 64, 64, 1)
    for device in (cpu, cuda):
        images = device.asarray(every_byte)
        x, again, units = (
            device.to_numpy(dequantised(given, device.generator(3)))
            for given in (images, images, to_unit(images))
        )
        assert x.dtype == np.float32 and x.tobytes() == again.tobytes() == units.tobytes()
        u = x.astype(float) * 256 - every_byte
        assert u.min() >= 0 and u.max() <= 1 and x.max() <= 1
        assert abs(u.mean() - 1 / 2) < 0.01 and abs(u.var() - 1 / 12) < 0.005
    rng = cpu.generator(0)
    assert (dequantised(every_byte, rng) != dequantised(every_byte, rng)).any()
    with pytest.raises(TypeError, match="images are int64, wanted uint8"):
        dequantised(every_byte.astype(int), rng)


def test_to_bytes_rounds_clips_and_refuses():
    values = np.array([-7, -1, -0.9999, 0.0039, 1, 7], np.float32)
    assert to_bytes(values).tolist() == [0, 0, 0, 128, 255, 255]
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            to_bytes(np.array([0, bad], np.float32))


IMAGES = np.zeros((3, 2, 2, 1), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (IMAGES.astype(np.float32), None, "images are float32"),
        (IMAGES[..., 0], None, r"images are uint8 \(3, 2, 2\)"),
        (IMAGES.tolist(), None, "images are .*list"),
        (IMAGES[:0], None, "wanted no size to be 0"),
        (IMAGES, np.zeros(2, np.int64), r"labels are int64 \(2,\)"),
        (IMAGES, np.zeros(3, np.int32), "labels are int32"),
        (IMAGES, [0, 0, 0], "labels are .*list"),
        (IMAGES, np.array([0, 1, 2]), "from 0 to 2, but there are 2 classes"),
        (IMAGES, np.array([0, -1, 1]), "from -1 to 1"),
    ],
)
def test_a_dataset_refuses_what_it_is_not(images, labels, complaint):
    with pytest.raises(DataError, match=complaint):
        Dataset("x", images, labels, ("a", "b"))


def test_two_sets_are_the_same_if_images_labels_and_classes_are():
    images, labels = np.arange(24, dtype=np.uint8).reshape(3, 2, 4, 1), np.array([0, 1, 1])
    one = Dataset("one", images, labels, ("a", "b"))
    view = np.repeat(images, 2, axis=0)[::2]
    assert Dataset("two", view, labels.copy(), ("a", "b")).sha256 == one.sha256
    others = [
        Dataset("one", images ^ np.uint8(1), labels, ("a", "b")),
        Dataset("one", images.reshape(3, 4, 2, 1), labels, ("a", "b")),
        Dataset("one", images, labels[::-1], ("a", "b")),
        Dataset("one", images, labels, ("a", "c")),
        Dataset("one", images, labels, ("a", "b", "c")),
        Dataset("one", images),
    ]
    assert len({one.sha256, *(other.sha256 for other in others)}) == 7


def test_drawn_digits_are_the_same_where_another_processor_rounds_one_otherwise():
    drawn = drawn_digits(10, 0)
    other = replace(drawn, images=drawn.images ^ np.uint8(1))
    assert other.sha256 == drawn.sha256
    assert (
        len({drawn_digits(*how).sha256 for how in ((10, 0), (10, 1), (11, 0), (10, (0, 1)))}) == 4
    )


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int64", "float32", "bool"])
def test_images_of_another_dtype_are_refused_rather_than_clipped(dtype):
    images = np.ones((1, 2, 2, 1), dtype)
    for function in (to_unit, lambda x: Batches(x, 1, 0), lambda x: Dataset("x", x)):
        with pytest.raises((TypeError, DataError), match=rf"images are {dtype}.*, .*uint8"):
            function(images)
    if dtype != "float32":
        with pytest.raises(ValueError, match=f"to_bytes: images are {dtype}, wanted floats"):
            to_bytes(images)


def test_a_dataset_is_frozen():
    data = numbered(3)
    assert len(data) == 3
    with pytest.raises(AttributeError):
        data.name = "other"
