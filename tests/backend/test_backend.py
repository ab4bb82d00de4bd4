"""The device's own kernels and random numbers, each against a plain loop or NumPy's own way."""

import json

import numpy as np
import pytest
from checks import LAYOUTS, arrays, fill, reductions, shapes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan.backend import DeviceError, Window, backend_of, cpu, get_backend

# --- Random numbers ------------------------------------------------------------------------------


def draws(generator):
    return np.concatenate(
        [
            generator.normal((3, 5)).ravel(),
            generator.normal(4, dtype="float64"),
            generator.uniform((7,)),
            generator.integers(0, 1000, (5,)),
            generator.permutation(6),
        ]
    )


@pytest.mark.parametrize("seed", [0, 7, (1, 2, 3)])
def test_one_seed_gives_one_stream(seed):
    first, again, other = cpu.generator(seed), cpu.generator(seed), cpu.generator(99)
    np.testing.assert_array_equal(draws(first), draws(again))
    np.testing.assert_array_equal(draws(first), draws(again))
    assert not np.array_equal(draws(first), draws(other))


def test_generators_leave_the_global_state_alone():
    before = np.random.get_state()[1].copy()
    draws(cpu.generator(1))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_spawned_generators_are_independent_and_reproducible():
    parent, same = cpu.generator(5), cpu.generator(5)
    first = draws(cpu.generator(5))
    children = parent.spawn(2) + parent.spawn(1)
    streams = [draws(child) for child in children]
    for i, stream in enumerate(streams):
        for other in [first, *streams[:i]]:
            assert not np.isin(stream[:19], other[:19]).any()
    np.testing.assert_array_equal(draws(same.spawn(1)[0]), streams[0])
    np.testing.assert_array_equal(draws(parent), first)
    long = [child.normal(4000) for child in cpu.generator(5).spawn(2)]
    assert abs(np.corrcoef(long)[0, 1]) < 0.07  # 4 standard deviations


def test_the_state_survives_json_and_continues_the_stream():
    generator = cpu.generator(3)
    draws(generator)
    text = json.dumps(generator.state())
    expected = [draws(generator), draws(generator)]
    resumed = cpu.generator(77)
    draws(resumed)
    resumed.load_state(json.loads(text))
    np.testing.assert_array_equal([draws(resumed), draws(resumed)], expected)


FOREIGN = {
    "nothing": {},
    "no dict": [1, 2],
    "None": None,
    "another generator": np.random.Generator(np.random.MT19937(0)).bit_generator.state,
    "part of it": {"bit_generator": "PCG64", "state": {"state": 1}},
    "text for numbers": {
        "bit_generator": "PCG64",
        "state": {"state": "x", "inc": "y"},
        "has_uint32": 0,
        "uinteger": 0,
    },
    "numbers too large": {
        "bit_generator": "PCG64",
        "state": {"state": 1 << 200, "inc": 1},
        "has_uint32": 0,
        "uinteger": 0,
    },
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_state_is_refused_and_the_stream_goes_on(name):
    generator, untouched = cpu.generator(3), cpu.generator(3)
    with pytest.raises(ValueError, match="PCG64"):
        generator.load_state(FOREIGN[name])
    np.testing.assert_array_equal(draws(generator), draws(untouched))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_samples_have_the_dtype_and_shape_that_were_asked_for(dtype, shape):
    generator = cpu.generator(0)
    bound = np.sqrt(6 / 7)  # np.float64, as an initialiser computes it
    for sample in (
        generator.normal(shape, dtype=dtype),
        generator.uniform(shape, dtype=dtype),
        generator.uniform(shape, -bound, bound, dtype=dtype),
        generator.uniform(shape, np.float32(-1), 1, dtype=dtype),
    ):
        assert (sample.shape, sample.dtype) == (shape, dtype)
        assert backend_of(sample) is cpu


def test_uniform_and_normal_have_their_moments_and_their_range():
    generator = cpu.generator(1)
    u = generator.uniform(100_000, -3.0, 5.0)
    assert u.min() >= -3
    assert u.max() < 5
    assert generator.uniform(100_000).max() < 1
    assert abs(u.mean() - 1) < 0.03  # 4 standard deviations, as below
    assert abs(u.var() - 64 / 12) < 0.07
    n = generator.normal(100_000)
    assert abs(n.mean()) < 0.013
    assert abs(n.var() - 1) < 0.018


def test_integers_and_permutations():
    generator = cpu.generator(2)
    integers = generator.integers(-2, 3, (1000,))
    assert integers.dtype == np.int64
    assert set(integers) == {-2, -1, 0, 1, 2}
    permutation = generator.permutation(50)
    assert permutation.dtype == np.int64
    assert sorted(permutation) == list(range(50))
    assert list(permutation) != list(range(50))


# --- Devices -------------------------------------------------------------------------------------


def test_get_backend():
    assert get_backend("cpu") is cpu
    assert repr(cpu) == "<minigan backend cpu>"
    for name in ("gpu", "", "CPU"):
        with pytest.raises(DeviceError, match=repr(name)):
            get_backend(name)


@pytest.mark.parametrize("value", [1.0, 1, True, None, [1.0], "cpu", np.float16(1)])
def test_backend_of_what_is_no_array(value):
    with pytest.raises(TypeError, match=type(value).__name__):
        backend_of(value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool", *np.typecodes["AllInteger"]])
def test_backend_of_arrays_and_of_what_reductions_return(dtype):
    x = np.ones((2, 2), dtype)
    assert backend_of(x) is cpu
    assert backend_of(x.max()) is cpu
    assert backend_of(x[0, 0]) is cpu
    assert backend_of(x.sum()) is cpu


def test_transfers_on_the_cpu_copy_nothing():
    x = np.ones(3)
    assert cpu.asarray(x) is x
    assert cpu.to_numpy(x) is x
    assert cpu.asarray([1, 2], "float32").dtype == np.float32


# --- Sums and scatter ----------------------------------------------------------------------------


@given(reductions())
def test_sum(drawn):
    x, axis, keepdims = drawn
    for values, tolerance in ((x, 1e-12), (x.astype(np.float32), 1e-5)):
        total = cpu.sum(values, axis, keepdims)
        expected = values.sum(axis=axis, keepdims=keepdims)
        assert (total.shape, total.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(total, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [0, (0,), -3, (0, 1), (1, 0), (-3, -2), 1, (0, 2), (0, 1, 2), ()])
def test_sum_over_leading_axes_takes_no_other_way_out(layout, axis):
    x = LAYOUTS[layout](fill((4, 3, 5)))
    for keepdims in (False, True):
        np.testing.assert_allclose(
            cpu.sum(x, axis, keepdims), x.sum(axis=axis, keepdims=keepdims), atol=1e-12
        )


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 3, 2), (2, 3, 0), (2, 0, 3)])
@pytest.mark.parametrize("axis", [0, 1, (0, 1), None])
def test_sum_of_nothing(shape, axis):
    x = np.zeros(shape, np.float32)
    np.testing.assert_array_equal(cpu.sum(x, axis), x.sum(axis=axis))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_sum_of_integers_counts(dtype):
    x = np.ones((300, 2), dtype)
    total = cpu.sum(x, 0)
    assert total.dtype == x.sum(axis=0).dtype
    assert total.tolist() == [300, 300]


A_TENTH = np.float32(0.1)
LONG_SUMS = {  # an array of A_TENTH, and the axes of a sum of very many of them
    "one column": ((2_000_000, 1), 0),
    "two columns": ((2_000_000, 2), 0),
    "rows that are no square": ((1_000_003, 3), 0),
    "few rows of few columns": ((4000, 2), 0),
    "many columns": ((60_000, 8), 0),
    "leading axes": ((1000, 1000, 4), (0, 1)),
    "inner axes": ((2, 500, 1000, 3), (1, 2)),
    "axes apart": ((500_000, 2, 2), (0, 2)),
    "all": ((1_000_000, 2), None),
}


@pytest.mark.parametrize("layout", ["contiguous", "by columns", "strided", "broadcast"])
@pytest.mark.parametrize("name", LONG_SUMS)
def test_float32_sums_stay_exact_however_many_rows_there_are(name, layout):
    shape, axis = LONG_SUMS[name]
    x = np.broadcast_to(A_TENTH, shape)
    if layout == "strided":
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    elif layout != "broadcast":
        x = x.copy(order="F" if layout == "by columns" else "C")
    total = cpu.sum(x, axis)
    count = x.size / np.size(total)
    assert total.dtype == np.float32
    np.testing.assert_allclose(total, np.full_like(total, count * float(A_TENTH)), rtol=1e-5)


def test_float32_statistics_of_very_many_rows():
    x = np.full((2_000_000, 2), A_TENTH)
    x[::2] += 1
    y, mu, variance, _ = cpu.normalize(x, None, None, (0,), 0.0)
    np.testing.assert_allclose(mu, [[0.6, 0.6]], rtol=1e-5)
    np.testing.assert_allclose(variance, [[0.25, 0.25]], rtol=1e-5)
    np.testing.assert_allclose(y[:2], [[1, 1], [-1, -1]], rtol=1e-5)


SELECTED = [1.5, -0.0, np.inf, np.nan]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_select(dtype):
    x = np.array(SELECTED if dtype.startswith("float") else [3, 0, 1, 200]).astype(dtype)
    for mask in (np.array([True, False, True, False]), np.zeros(4, bool), np.ones((2, 1), bool)):
        chosen = cpu.select(mask, x)
        assert chosen.dtype == dtype
        np.testing.assert_array_equal(chosen, np.where(mask, x, np.zeros((), dtype)))
    strided = np.stack([x, x], 1)[:, 0]
    np.testing.assert_array_equal(cpu.select(x > 1, strided), np.where(x > 1, x, 0))
    assert cpu.select(np.float32(1) > 0, x[0]) == x[0]


@given(data=st.data())
def test_scatter_add(data):
    shape = data.draw(shapes(min_dims=1))
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    index = data.draw(st.one_of(basic, hnp.integer_array_indices(shape)))
    places = np.arange(np.prod(shape)).reshape(shape)[index]
    values = data.draw(arrays(np.shape(places))).astype(np.float32)
    expected = np.zeros(int(np.prod(shape)))
    for place, value in zip(np.ravel(places), np.ravel(values), strict=True):
        expected[place] += value
    out = cpu.scatter_add(shape, index, values)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected.reshape(shape), rtol=1e-5, atol=1e-6)


# --- Covering a range ----------------------------------------------------------------------------


@given(size=st.integers(0, 300_000))
def test_blocks_cover_everything_once_and_are_small(size):
    covered = [range(size)[block] for block in cpu.blocks(size)]
    assert [r.start for r in covered] == [0, *(r.stop for r in covered)][: len(covered)]
    assert sum(map(len, covered)) == size
    assert all(0 < len(r) <= cpu.OPTIMIZER_BLOCK for r in covered)


@given(
    images=st.integers(0, 70),
    side=st.integers(1, 64),
    kernel=st.integers(1, 5),
    channels=st.integers(1, 64),
    itemsize=st.sampled_from([4, 8]),
)
def test_chunks_cover_every_image_once_and_are_small(images, side, kernel, channels, itemsize):
    window = Window((kernel, kernel), (1, 1), (0, 0), (side + kernel - 1,) * 2, (side, side))
    chunks = list(cpu.chunks(images, window, channels, itemsize))
    assert [i for chunk in chunks for i in range(chunk.start, chunk.stop)] == list(range(images))
    one = side**2 * kernel**2 * channels * itemsize
    for chunk in chunks:
        count = chunk.stop - chunk.start
        assert count == 1 or count * one <= cpu.COLUMN_BYTES
    most = max(1, cpu.COLUMN_BYTES // one)
    assert len(chunks) <= -(-images // most)  # no more of them than need be


# --- im2col and col2im ---------------------------------------------------------------------------


@st.composite
def windows(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    output = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    image = tuple(
        max(1, (o - 1) * s + k - 2 * p + draw(st.integers(0, s - 1)))
        for o, s, k, p in zip(output, stride, kernel, padding, strict=True)
    )
    output = tuple(
        (h + 2 * p - k) // s + 1 for h, p, k, s in zip(image, padding, kernel, stride, strict=True)
    )
    return Window(kernel, stride, padding, image, output)


def looked_at(window):
    """((i, j, u, v), (row, column)) for every tap of every window that lies in the image."""
    for i, j, u, v in np.ndindex(*window.output, *window.kernel):
        row = i * window.stride[0] - window.padding[0] + u
        column = j * window.stride[1] - window.padding[1] + v
        if 0 <= row < window.image[0] and 0 <= column < window.image[1]:
            yield (i, j, u, v), (row, column)


@given(window=windows(), n=st.integers(1, 2), c=st.integers(1, 3), data=st.data())
def test_im2col(window, n, c, data):
    x = data.draw(arrays((n, *window.image, c)))
    columns = cpu.columns(n, window, c, x.dtype)
    assert columns.shape == (n, *window.output, *window.kernel, c)
    matrix = columns.reshape(-1, window.kernel[0] * window.kernel[1] * c)
    assert np.shares_memory(matrix, columns)
    columns[...] = np.nan
    cpu.im2col(x, window, columns)
    expected = np.zeros(columns.shape)
    for (i, j, u, v), (row, column) in looked_at(window):
        expected[:, i, j, u, v] = x[:, row, column]
    np.testing.assert_array_equal(columns, expected)
    np.testing.assert_array_equal(matrix, expected.reshape(matrix.shape))


@given(window=windows(), n=st.integers(1, 2), c=st.integers(1, 3))
def test_col2im(window, n, c):
    columns = cpu.columns(n, window, c, np.float64)
    columns[...] = fill(columns.shape)
    out = np.full((n, *window.image, c), np.nan)
    cpu.col2im(columns, window, out)
    expected = np.zeros(out.shape)
    for (i, j, u, v), (row, column) in looked_at(window):
        expected[:, row, column] += columns[:, i, j, u, v]
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_the_reach_of_a_window():
    window = Window((3, 2), (2, 1), (0, 0), (9, 9), (4, 8))
    assert window.reach == (9, 9)
