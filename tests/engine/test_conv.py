"""The three convolutions against plain loops over the trilinear form that defines them.

The oracle below is the definition with its indices written out. The geometry is drawn: sizes,
channels, rectangular kernels, strides and paddings per direction, every legal output size, and
chunks of the batch small enough that several of them, and a short last one, occur.
"""

import numpy as np
import pytest
from checks import LAYOUTS, check_gradients, check_op, check_values, fill, leaves
from hypothesis import given
from hypothesis import strategies as st

from minigan.backend import cpu
from minigan.engine import ShapeError, conv2d, conv_transpose2d, frozen, grad, tensor, winograd
from minigan.engine import conv as module
from minigan.engine.conv import conv2d_filter_grad

# --- The oracle ----------------------------------------------------------------------------------


def output_size(size, kernel, stride, padding):
    """At how many places the kernel lies wholly inside the padded image."""
    return len([i for i in range(-padding, size + padding, stride) if i + kernel <= size + padding])


def taps(image, kernel, stride, padding):
    """Every ((row, column), (u, v), (i, j)) at which T has a term: pixel, tap, output pixel."""
    (h, w), (kh, kw), (sh, sw), (ph, pw) = image, kernel, stride, padding
    for i in range(output_size(h, kh, sh, ph)):
        for j in range(output_size(w, kw, sw, pw)):
            for u in range(kh):
                for v in range(kw):
                    row, column = i * sh - ph + u, j * sw - pw + v
                    if 0 <= row < h and 0 <= column < w:
                        yield (row, column), (u, v), (i, j)


def loop_conv(x, w, stride, padding):
    n, *image, _ = x.shape
    sizes = map(output_size, image, w.shape[:2], stride, padding)
    y = np.zeros((n, *sizes, w.shape[3]))
    for (row, column), (u, v), (i, j) in taps(image, w.shape[:2], stride, padding):
        y[:, i, j] += x[:, row, column] @ w[u, v]
    return y


def loop_transpose(y, w, image, stride, padding):
    x = np.zeros((len(y), *image, w.shape[2]))
    for (row, column), (u, v), (i, j) in taps(image, w.shape[:2], stride, padding):
        x[:, row, column] += y[:, i, j] @ w[u, v].T
    return x


def loop_filter_grad(x, y, kernel, stride, padding):
    w = np.zeros((*kernel, x.shape[3], y.shape[3]))
    for (row, column), (u, v), (i, j) in taps(x.shape[1:3], kernel, stride, padding):
        w[u, v] += x[:, row, column].T @ y[:, i, j]
    return w


# --- Drawn geometry ------------------------------------------------------------------------------


@st.composite
def problems(draw, max_side=6, max_images=3):
    """(x, w, y, options): arrays of fitting shapes, in any layout, with stride and padding."""
    pairs = [draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))]
    pairs.append(draw(st.tuples(st.integers(1, 3), st.integers(1, 3))))
    pairs.append(draw(st.tuples(st.integers(0, 4), st.integers(0, 4))))
    kernel, stride, padding = pairs
    smallest = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    image = [draw(st.integers(low, max(low, max_side))) for low in smallest]
    n, c, k = (draw(st.integers(1, high)) for high in (max_images, 3, 3))
    output = map(output_size, image, kernel, stride, padding)
    seed = draw(st.integers(0, 10**6))
    x, w, y = (
        LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](fill(shape, seed=seed + i))
        for i, shape in enumerate([(n, *image, c), (*kernel, c, k), (n, *output, k)])
    )
    return x, w, y, {"stride": stride, "padding": padding}


@given(problems())
def test_conv2d(problem):
    x, w, _, options = problem
    check_op(lambda x, w: conv2d(x, w, **options), lambda x, w: loop_conv(x, w, **options), x, w)


@given(problems())
def test_conv_transpose2d_to_every_legal_output_size(problem):
    x, w, y, options = problem
    image = x.shape[1:3]
    check_op(
        lambda y, w: conv_transpose2d(y, w, output_size=image, **options),
        lambda y, w: loop_transpose(y, w, image, **options),
        y,
        w,
    )


@given(problems())
def test_conv2d_filter_grad(problem):
    x, w, y, options = problem
    kernel = w.shape[:2]
    check_op(
        lambda x, y: conv2d_filter_grad(x, y, kernel, **options),
        lambda x, y: loop_filter_grad(x, y, kernel, **options),
        x,
        y,
    )


@given(problems())
def test_each_is_the_others_adjoint(problem):
    x, w, y, options = problem
    forward = conv2d(tensor(x), tensor(w), **options).data
    image = conv_transpose2d(tensor(y), tensor(w), output_size=x.shape[1:3], **options).data
    filters = conv2d_filter_grad(tensor(x), tensor(y), w.shape[:2], **options).data
    trilinear = (y * forward).sum()
    np.testing.assert_allclose((x * image).sum(), trilinear, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((w * filters).sum(), trilinear, rtol=1e-9, atol=1e-9)


@given(problems(max_side=4, max_images=2))
def test_third_order(problem):
    x, w, y, options = problem
    check_gradients(lambda x, w: conv2d(x, w, **options), x, w, order=3)
    check_gradients(
        lambda y, w: conv_transpose2d(y, w, output_size=x.shape[1:3], **options), y, w, order=3
    )


@pytest.mark.parametrize("most", [0, 100])
@pytest.mark.parametrize("padding", [0, 1, (2, 0), 3])
def test_stride_1_by_gathering_and_by_scattering(monkeypatch, most, padding):
    """Whichever is thought the cheaper, with and without a window from the other side."""
    monkeypatch.setattr(module, "SCATTER", most)
    x, w = fill((2, 4, 5, 2), seed=1), fill((3, 2, 2, 4), seed=2)
    options = {
        "stride": (1, 1),
        "padding": padding if isinstance(padding, tuple) else (padding,) * 2,
    }
    y = fill(loop_conv(x, w, **options).shape, seed=3)
    check_op(lambda x, w: conv2d(x, w, **options), lambda x, w: loop_conv(x, w, **options), x, w)
    check_op(
        lambda y, w: conv_transpose2d(y, w, output_size=(4, 5), **options),
        lambda y, w: loop_transpose(y, w, (4, 5), **options),
        y,
        w,
    )


@st.composite
def enlargements(draw):
    """(y, w, image, options) of transposed convolutions: kernels that are multiples of a stride."""
    kernel, stride, padding, image, small = [], [], [], [], []
    for _ in range(2):
        s, t, o = draw(st.integers(1, 3)), draw(st.integers(2, 3)), draw(st.integers(1, 3))
        k = s * t
        p = draw(st.integers(0, min(k, (s * (o - 1) + k - 1) // 2)))
        h = draw(st.integers(max(1, s * (o - 1) + k - 2 * p), s * (o - 1) + k - p))
        if output_size(h, k, s, p) != o:
            h = s * (o - 1) + k - 2 * p
        for values, value in zip(
            (kernel, stride, padding, image, small), (k, s, p, h, o), strict=True
        ):
            values.append(value)
    n, c, k = (draw(st.integers(1, high)) for high in (3, 3, 3))
    y, w = fill((n, *small, k), seed=1), fill((*kernel, c, k), seed=2)
    return y, w, tuple(image), {"stride": tuple(stride), "padding": tuple(padding)}


@given(enlargements())
def test_transposed_block_by_block(problem):
    y, w, image, options = problem
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(cpu), "BLOCKWISE_SIDE", 1)
        patch.setattr(cpu, "COLUMN_BYTES", 2 * 8 * y[0, :, :, 0].size * w[..., 0, 0].size)
        blockwise = module._blockwise
        patch.setattr(module, "_blockwise", lambda *a: taken.append(1) or blockwise(*a))
        check_values(
            lambda y, w: conv_transpose2d(y, w, output_size=image, **options),
            lambda y, w: loop_transpose(y, w, image, **options),
            y,
            w,
        )
    whole = max(options["stride"]) > 1 and w.shape[3] <= 2 * w.shape[2]
    assert bool(taken) == whole


# --- Winograd's form ------------------------------------------------------------------------------


@st.composite
def even_problems(draw):
    """(x, w, y) in float32 and any layout, as Winograd's form takes them."""
    h, w = (2 * draw(st.integers(1, 4)) for _ in range(2))
    n, c, k = (draw(st.integers(1, high)) for high in (3, 3, 3))
    return [
        LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](fill(shape, seed=i).astype("float32"))
        for i, shape in enumerate([(n, h, w, c), (3, 3, c, k), (n, h, w, k)])
    ]


@given(even_problems())
def test_winograds_form(problem):
    x, w, y = problem
    sides = {"stride": (1, 1), "padding": (1, 1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "SMALLEST", 2)
        patch.setattr(type(cpu), "WINOGRAD_CHANNELS", 1)
        patch.setattr(cpu, "COLUMN_BYTES", 2 * 4 * 9 * y[0].size)  # some two images
        patch.setattr(cpu, "im2col", None)
        made = conv2d(tensor(x), tensor(w), **sides).data
        back = conv_transpose2d(tensor(y), tensor(w), **sides).data
        filters = conv2d_filter_grad(tensor(x), tensor(y), 3, **sides).data
    x, w, y = (a.astype("float64") for a in problem)
    for got, expected in (
        (made, loop_conv(x, w, **sides)),
        (back, loop_transpose(y, w, x.shape[1:3], **sides)),
        (filters, loop_filter_grad(x, y, (3, 3), **sides)),
    ):
        assert got.dtype == "float32"
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_winograds_form_is_taken_from_many_channels_on_and_is_as_exact(monkeypatch):
    shapes = (3, 8, 12, 96), (3, 3, 96, 64), (3, 8, 12, 64)

    def all_three(dtype):
        x, w, y = (tensor(fill(shape, seed=i).astype(dtype)) for i, shape in enumerate(shapes))
        forward = conv2d(x, w, padding=1), conv_transpose2d(y, w, padding=1)
        return [t.data for t in (*forward, conv2d_filter_grad(x, y, 3, padding=1))]

    taken = []
    for name in ("convolve", "filter_grad"):
        f = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, f=f, name=name: taken.append(name) or f(*a))
    exact = all_three("float64")
    assert not taken
    found = all_three("float32")
    assert taken == ["convolve", "convolve", "filter_grad"]
    for a, b in zip(found, exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * np.abs(b).max())


def test_winograds_form_on_a_device(cuda, monkeypatch):
    monkeypatch.setattr(type(cuda), "WINOGRAD_CHANNELS", 1)
    monkeypatch.setattr(cuda, "im2col", None)
    x, w, y = (fill(shape, seed=1) for shape in ((2, 8, 8, 2), (3, 3, 2, 3), (2, 8, 8, 3)))
    sides = {"stride": (1, 1), "padding": (1, 1)}
    a, b, c = (tensor(cuda.asarray(array, "float32")) for array in (x, w, y))
    made, filters = conv2d(a, b, **sides), conv2d_filter_grad(a, c, 3, **sides)
    np.testing.assert_allclose(made.numpy(), loop_conv(x, w, **sides), atol=1e-4)
    expected = loop_filter_grad(x, y, (3, 3), **sides)
    np.testing.assert_allclose(filters.numpy(), expected, atol=1e-4)


# --- Chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("images", "per_chunk"), [(5, 2), (4, 2), (3, 1), (2, 3), (7, 3)])
def test_chunks_of_the_batch_are_put_together_again(monkeypatch, images, per_chunk, channels):
    x, w = fill((images, 5, 4, channels), seed=1), fill((3, 2, channels, 3), seed=2)
    options = {"stride": (2, 1), "padding": (1, 0)}
    y = fill(loop_conv(x, w, **options).shape, seed=3)
    image_bytes = y[0, :, :, 0].size * 3 * 2 * channels * 8
    monkeypatch.setattr(cpu, "COLUMN_BYTES", image_bytes * per_chunk)
    made = []
    columns = cpu.columns
    monkeypatch.setattr(cpu, "columns", lambda n, *rest: made.append(n) or columns(n, *rest))
    expected = [min(per_chunk, images - i) for i in range(0, images, per_chunk)]
    checks = [
        (lambda x, w: conv2d(x, w, **options), loop_conv(x, w, **options), x, w),
        (
            lambda y, w: conv_transpose2d(y, w, output_size=(5, 4), **options),
            loop_transpose(y, w, (5, 4), **options),
            y,
            w,
        ),
        (
            lambda x, y: conv2d_filter_grad(x, y, (3, 2), **options),
            loop_filter_grad(x, y, (3, 2), **options),
            x,
            y,
        ),
    ]
    for f, reference, a, b in checks:
        made.clear()
        np.testing.assert_allclose(f(tensor(a), tensor(b)).data, reference, atol=1e-12)
        assert made == expected


def test_chunks_of_an_image_larger_than_the_buffer(monkeypatch):
    monkeypatch.setattr(cpu, "COLUMN_BYTES", 1)
    x, w = fill((3, 4, 4, 2), seed=1), fill((3, 3, 2, 2), seed=2)
    check_op(conv2d, lambda x, w: loop_conv(x, w, (1, 1), (0, 0)), x, w)


@given(problems(max_images=5))
def test_drawn_chunks(problem):
    x, w, y, options = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "COLUMN_BYTES", 2 * 8 * y[0, :, :, 0].size * w[..., 0].size)
        check_values(
            lambda x, w: conv2d(x, w, **options), lambda x, w: loop_conv(x, w, **options), x, w
        )
        check_values(
            lambda y, w: conv_transpose2d(y, w, output_size=x.shape[1:3], **options),
            lambda y, w: loop_transpose(y, w, x.shape[1:3], **options),
            y,
            w,
        )
        check_values(
            lambda x, y: conv2d_filter_grad(x, y, w.shape[:2], **options),
            lambda x, y: loop_filter_grad(x, y, w.shape[:2], **options),
            x,
            y,
        )


# --- Sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_conv_transpose2d_without_output_size_makes_the_smallest_image(stride, padding):
    """Of all sizes that convolve back to the input's size; and it refuses the ones that do not."""
    y, w = fill((2, 3, 2, 2), seed=1), fill((4, 3, 1, 2), seed=2)
    legal = [
        [h for h in range(1, 20) if output_size(h, k, stride, padding) == size]
        for k, size in ((4, 3), (3, 2))
    ]
    options = {"stride": stride, "padding": padding}
    if not all(legal):
        return
    assert conv_transpose2d(tensor(y), tensor(w), **options).shape[1:3] == tuple(map(min, legal))
    for h in range(1, 20):
        size = (h, legal[1][0])
        if h in legal[0]:
            made = conv_transpose2d(tensor(y), tensor(w), output_size=size, **options)
            assert made.shape == (2, *size, 1)
        else:
            with pytest.raises(ShapeError, match="conv_transpose2d"):
                conv_transpose2d(tensor(y), tensor(w), output_size=size, **options)


def test_one_number_stands_for_both_directions():
    x, w = tensor(fill((2, 6, 7, 2))), tensor(fill((3, 3, 2, 4)))
    y = conv2d(x, w, stride=2, padding=1)
    assert y.shape == (2, 3, 4, 4)
    np.testing.assert_array_equal(y.data, conv2d(x, w, stride=(2, 2), padding=(1, 1)).data)
    for size in (5, (5, 5)):
        z = conv_transpose2d(y[:, :, :3], w, stride=2, padding=1, output_size=size)
        assert z.shape == (2, 5, 5, 2)
    g = conv2d_filter_grad(x, y, 3, stride=2, padding=1)
    assert g.shape == w.shape


def test_an_empty_batch():
    w = tensor(np.zeros((3, 3, 2, 4), np.float32), requires_grad=True)
    x = tensor(np.zeros((0, 5, 5, 2), np.float32), requires_grad=True)
    y = conv2d(x, w)
    assert y.shape == (0, 3, 3, 4)
    gx, gw = grad(y.sum(), [x, w])
    assert gx.shape == (0, 5, 5, 2)
    assert not gw.data.any()


# --- What is not computed ------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """How often each of the three was run since."""
    counts = {}

    def counted(name, f):
        def call(*args):
            counts[name] = counts.get(name, 0) + 1
            return f(*args)

        return call

    for name in ("_conv", "_conv_transpose", "_filter_grad"):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return counts


def two_layers():
    x = fill((2, 6, 6, 1), seed=1)
    weights = leaves([fill((3, 3, 1, 2), seed=2), fill((3, 3, 2, 2), seed=3)])

    def network(x):
        return (conv2d(conv2d(x, weights[0]), weights[1]) ** 2).sum()

    return x, weights, network


def test_a_frozen_network_s_filter_gradients_are_never_computed(calls):
    x, weights, network = two_layers()
    fake = tensor(x, requires_grad=True)
    with frozen(weights):
        loss = network(fake)
    calls.clear()
    grad(loss, [fake])
    loss.backward()
    assert calls == {"_conv_transpose": 4}


def test_the_first_layer_s_input_gradient_is_never_computed(calls):
    x, weights, network = two_layers()
    for images in (tensor(x), tensor(x, requires_grad=True)):
        loss = network(images)
        calls.clear()
        grad(loss, weights)
        assert calls == {"_filter_grad": 2, "_conv_transpose": 1}


# --- Errors --------------------------------------------------------------------------------------


def zeros(*shape, dtype="float32"):
    return tensor(np.zeros(shape, dtype))


ERRORS = {
    "channels": (
        lambda: conv2d(zeros(1, 5, 5, 2), zeros(3, 3, 3, 4)),
        ShapeError,
        r"conv2d.*\(1, 5, 5, 2\).*2 channels.*\(3, 3, 3, 4\)",
    ),
    "transposed channels": (
        lambda: conv_transpose2d(zeros(1, 5, 5, 2), zeros(3, 3, 2, 4)),
        ShapeError,
        r"conv_transpose2d.*\(1, 5, 5, 2\).*\(3, 3, 2, 4\)",
    ),
    "image rank": (lambda: conv2d(zeros(5, 5, 2), zeros(3, 3, 2, 4)), ShapeError, r"conv2d.*\(5,"),
    "filter rank": (lambda: conv2d(zeros(1, 5, 5, 2), zeros(2, 4)), ShapeError, r"conv2d.*\(2, 4"),
    "filter gradient's image rank": (
        lambda: conv2d_filter_grad(zeros(5, 5), zeros(1, 3, 3, 1), 3),
        ShapeError,
        r"conv2d_filter_grad.*\(5, 5\)",
    ),
    "filter gradient's sizes": (
        lambda: conv2d_filter_grad(zeros(1, 5, 5, 2), zeros(1, 4, 3, 1), 3),
        ShapeError,
        r"conv2d_filter_grad.*\(1, 5, 5, 2\).*\(1, 4, 3, 1\)",
    ),
    "filter gradient's batch": (
        lambda: conv2d_filter_grad(zeros(1, 5, 5, 2), zeros(2, 3, 3, 1), 3),
        ShapeError,
        r"conv2d_filter_grad.*\(1, 5, 5, 2\).*\(2, 3, 3, 1\)",
    ),
    "kernel too large": (
        lambda: conv2d(zeros(1, 3, 3, 2), zeros(4, 3, 2, 4)),
        ShapeError,
        "conv2d.*4x3.*3x3",
    ),
    "stride": (
        lambda: conv2d(zeros(1, 5, 5, 2), zeros(3, 3, 2, 4), stride=0),
        ValueError,
        "conv2d.*stride is 0",
    ),
    "padding": (
        lambda: conv2d(zeros(1, 5, 5, 2), zeros(3, 3, 2, 4), padding=(0, -1)),
        ValueError,
        "conv2d.*padding.*-1",
    ),
    "output size": (
        lambda: conv_transpose2d(zeros(1, 5, 5, 4), zeros(3, 3, 2, 4), stride=2, output_size=13),
        ShapeError,
        r"conv_transpose2d.*\(13, 13\).*\(11, 11\)",
    ),
    "nothing left": (
        lambda: conv_transpose2d(zeros(1, 1, 1, 4), zeros(3, 3, 2, 4), padding=2),
        ShapeError,
        "conv_transpose2d",
    ),
    "dtypes": (
        lambda: conv2d(zeros(1, 5, 5, 2), zeros(3, 3, 2, 4, dtype="float64")),
        TypeError,
        "conv2d.*float32.*float64",
    ),
    "transposed dtypes": (
        lambda: conv_transpose2d(zeros(1, 5, 5, 4), zeros(3, 3, 2, 4, dtype="float64")),
        TypeError,
        "conv_transpose2d.*float32.*float64",
    ),
    "filter gradient's dtypes": (
        lambda: conv2d_filter_grad(zeros(1, 5, 5, 2), zeros(1, 3, 3, 1, dtype="float64"), 3),
        TypeError,
        "conv2d_filter_grad.*float32.*float64",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_operation_and_the_shapes(name):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("op", [conv2d, conv_transpose2d])
def test_a_bias_is_added_to_every_pixel(op):
    random = np.random.default_rng(0)
    image = (2, 5, 4, 2 if op is conv2d else 3)
    channels = 3 if op is conv2d else 2
    x, w, b = (random.standard_normal(s) for s in (image, (3, 2, 2, 3), (channels,)))
    plain = op(tensor(x), tensor(w), stride=2, padding=1).numpy()
    np.testing.assert_allclose(
        op(*map(tensor, (x, w, b)), stride=2, padding=1).numpy(), plain + b, rtol=1e-12
    )
    check_gradients(lambda *xs: op(*xs, stride=2, padding=1), x, w, b)
    with pytest.raises(ShapeError, match=rf"{op.__name__}: bias \(4,\)"):
        op(tensor(x), tensor(w), tensor(np.zeros(4)))
    with pytest.raises(TypeError, match=op.__name__):
        op(tensor(x), tensor(w), tensor(b.astype(np.float32)))
