"""The CUDA kernels: compiled for every GPU generation, and run on the CPU against references.

NVRTC compiles without a GPU and without a driver, so that a kernel which does not compile is
found anywhere. What the kernels compute is then asked of the same text, run by `cuda_shim`:
against plain loops and against NumPy, over drawn shapes, and on grids that are too small, so that
every thread goes around its loop more than once. At the end the kernels are broken on purpose.
"""

import ctypes
import importlib.util
import math
import re
from pathlib import Path

import cuda_shim
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = cuda_shim.read_source()
DTYPES = [np.float32, np.float64]
KERNELS = [
    *("im2col", "col2im", "rectify", "rectify_grad", "sigmoid", "softplus"),
    *("moments_partial", "moments_combine", "normalize"),
    *("normalize_sums", "sum_slices", "normalize_grad", "normalize_scale_grad", "track"),
    *("sgd", "rmsprop", "adam", "ema", "set_live"),
    *("philox_uniform", "philox_normal", "philox_integers", "philox_advance"),
    *("gather_images", "append_row"),
]
runs = pytest.mark.skipif(not cuda_shim.available(), reason="no g++ to run the kernels with")
both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def test_every_kernel_is_there():
    assert sorted(cuda_shim.declarations(SOURCE)) == sorted(KERNELS)


# --- NVRTC ---------------------------------------------------------------------------------------

ARCHITECTURES = [70, 75, 80, 86, 89, 90, 100]


@pytest.fixture(scope="module")
def nvrtc():
    """NVIDIA's run-time compiler, from its wheel."""
    found = importlib.util.find_spec("nvidia")
    for folder in found.submodule_search_locations if found else ():
        for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    return pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")


def compiled(nvrtc, source, dtype, architecture, result="CUBIN"):
    """(the machine code or PTX, the compiler's log); the code is empty if it did not compile."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()

    def text(what):
        assert nvrtc[f"nvrtcGet{what}Size"](program, ctypes.byref(size)) == 0
        buffer = ctypes.create_string_buffer(size.value)
        assert nvrtc[f"nvrtcGet{what}"](program, buffer) == 0
        return buffer.raw

    options = [
        f"--gpu-architecture={architecture}",
        f"-DREAL={cuda_shim.REALS[np.dtype(dtype).name]}",
        "-std=c++14",  # the oldest C++ that the kernels are to be compiled as
    ]
    options = [option.encode() for option in options]
    arguments = (ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    assert nvrtc.nvrtcCreateProgram(*arguments) == 0
    try:
        pointers = (ctypes.c_char_p * len(options))(*options)
        failed = nvrtc.nvrtcCompileProgram(program, len(options), pointers)
        log = text("ProgramLog").rstrip(b"\0").decode()
        return b"" if failed else text(result), log
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


@both_dtypes
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_the_kernels_without_a_warning(nvrtc, dtype, architecture):
    count = ctypes.c_int()
    assert nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    supported = (ctypes.c_int * count.value)()
    assert nvrtc.nvrtcGetSupportedArchs(supported) == 0
    if architecture not in supported:
        pytest.skip(f"this NVRTC no longer knows sm_{architecture}")
    cubin, log = compiled(nvrtc, SOURCE, dtype, f"sm_{architecture}")
    # The one warning that is not about the kernels: this architecture is an old one.
    assert [line for line in log.splitlines() if "Architectures prior to" not in line] == []
    for name in KERNELS:
        assert b".text." + name.encode() + b"\0" in cubin


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("real sum = 0;", "real sum = 0"),
        ("rsqrt(", "reciprocal_square_root("),
        ("const bool inside =", "const bool unused = true, inside ="),
    ],
)
def test_nvrtc_complains(nvrtc, right, wrong):
    """A missing semicolon, an unknown function, and what is only worth a warning."""
    cubin, log = compiled(nvrtc, changed(right, wrong), np.float32, "sm_80")
    assert log
    assert bool(cubin) == ("unused" in wrong)


@both_dtypes
def test_nvrtc_and_the_shim_read_the_same_signatures(nvrtc, dtype):
    ptx, _ = compiled(nvrtc, SOURCE, dtype, "compute_80", "PTX")
    entries = re.findall(r"\.entry (\w+)\((.*?)\)", ptx.decode(), flags=re.DOTALL)
    kinds = {"int32": "u32", "int64": "u64", "uint64": "u64", "float32": "f32", "float64": "f64"}
    expected = {
        name: ["u64" if p.pointer else kinds[p.dtype.name] for p in declaration.parameters]
        for name, declaration in cuda_shim.declarations(SOURCE, np.dtype(dtype).name).items()
    }
    assert {name: re.findall(r"\.param \.(\w+)", p) for name, p in entries} == expected


def test_the_float32_kernels_never_compute_in_float64(nvrtc):
    """One double constant would be enough, and most GPUs are 64 times slower there."""
    ptx, _ = compiled(nvrtc, SOURCE, np.float32, "compute_80", "PTX")
    assert b".f32" in ptx
    assert b".f64" not in ptx


# --- Running -------------------------------------------------------------------------------------

GUARD = 1024


def changed(right, wrong):
    """The kernels' source with one piece of text replaced everywhere."""
    assert right in SOURCE, f"{right!r} no longer stands in the kernels"
    return SOURCE.replace(right, wrong)


def launch(name, dtype, *args, grid=3, block=32, source=SOURCE):
    """Runs a kernel; Python numbers become what its signature wants.

    Each array is moved between two guards of bytes 255, which make NaN: a kernel that writes
    outside the array changes them, and one that reads there gets what no test expects. Arrays
    that the kernel may only read must come back as they were.
    """
    kernel = cuda_shim.kernel(name, dtype, source)
    values, guarded = [], []
    for parameter, value in zip(kernel.parameters, args, strict=True):
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            memory = np.full(value.nbytes + 2 * GUARD, 255, np.uint8)
            inner = memory[GUARD : GUARD + value.nbytes].view(value.dtype).reshape(value.shape)
            inner[...] = value
            guarded.append((parameter, value, memory, inner))
            value = inner
        elif value is not None:
            value = parameter.dtype.type(value)
        values.append(value)
    kernel((grid,), (block,), tuple(values))
    for parameter, value, memory, inner in guarded:
        place = f"{name}: {parameter.name}"
        assert (memory[:GUARD] == 255).all(), f"{place} written before its start"
        assert (memory[GUARD + value.nbytes :] == 255).all(), f"{place} written past its end"
        if parameter.written:
            value[...] = inner
        else:
            np.testing.assert_array_equal(inner, value, err_msg=place)


grids = st.tuples(st.integers(1, 5), st.sampled_from([1, 3, 32, 128]))
seeds = st.integers(0, 10**6)
dtypes = st.sampled_from(DTYPES)


def normals(seed, dtype, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def tolerances(dtype):
    return {"rtol": 2e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-11}


# --- Convolution ---------------------------------------------------------------------------------


@st.composite
def windows(draw):
    """(images, (h, w), channels, kernel, stride, padding), every one of them legal."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    smallest = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
    image = tuple(draw(st.integers(low, low + 5)) for low in smallest)
    images, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return images, image, channels, kernel, stride, padding


def output_size(image, kernel, stride, padding):
    """At how many places, per direction, the kernel lies wholly inside the padded image."""
    return tuple(
        len([i for i in range(-p, h + p, s) if i + k <= h + p])
        for h, k, s, p in zip(image, kernel, stride, padding, strict=True)
    )


def pairs(image, kernel, stride, padding):
    """Every (i, j, u, v) with the (row, column) that it sees, if that is in the image."""
    (h, w), (oh, ow) = image, output_size(image, kernel, stride, padding)
    for i, j, u, v in np.ndindex(oh, ow, *kernel):
        row, column = i * stride[0] - padding[0] + u, j * stride[1] - padding[1] + v
        if 0 <= row < h and 0 <= column < w:
            yield (i, j, u, v), (row, column)


def run_im2col(window, x, how):
    n, image, c, kernel, stride, padding = window
    output = output_size(image, kernel, stride, padding)
    columns = np.empty((n, *output, *kernel, c), x.dtype)
    sizes = (*image, c, *kernel, *stride, *padding, *output)
    launch("im2col", x.dtype, x, columns, columns.size, *sizes, **how)
    return columns


def run_col2im(window, columns, how):
    n, image, c, kernel, stride, padding = window
    x = np.empty((n, *image, c), columns.dtype)
    sizes = (*image, c, *kernel, *stride, *padding, *columns.shape[1:3])
    launch("col2im", x.dtype, columns, x, x.size, *sizes, **how)
    return x


def check_im2col(window, seed=0, dtype=np.float64, **how):
    n, image, c, *geometry = window
    x = normals(seed, dtype, n, *image, c)
    columns = run_im2col(window, x, how)
    expected = np.zeros_like(columns)
    for (i, j, u, v), (row, column) in pairs(image, *geometry):
        expected[:, i, j, u, v] = x[:, row, column]
    np.testing.assert_array_equal(columns, expected)


def check_col2im(window, seed=0, dtype=np.float64, **how):
    n, image, c, *geometry = window
    output = output_size(image, *geometry)
    columns = normals(seed, dtype, n, *output, *geometry[0], c)
    x = run_col2im(window, columns, how)
    expected = np.zeros(x.shape)
    for (i, j, u, v), (row, column) in pairs(image, *geometry):
        expected[:, row, column] += columns[:, i, j, u, v]
    np.testing.assert_allclose(x, expected, **tolerances(dtype))


@runs
@given(windows(), seeds, dtypes, grids)
def test_im2col(window, seed, dtype, grid):
    check_im2col(window, seed, dtype, grid=grid[0], block=grid[1])


@runs
@given(windows(), seeds, dtypes, grids)
def test_col2im(window, seed, dtype, grid):
    check_col2im(window, seed, dtype, grid=grid[0], block=grid[1])


@runs
@given(windows(), seeds)
def test_col2im_is_im2cols_adjoint(window, seed):
    n, image, c, *_ = window
    x = normals(seed, np.float64, n, *image, c)
    columns = run_im2col(window, x, {})
    y = normals(seed + 1, np.float64, *columns.shape)
    forward, backward = (columns * y).sum(), (x * run_col2im(window, y, {})).sum()
    np.testing.assert_allclose(forward, backward, rtol=1e-10, atol=1e-10)


# --- Activations ---------------------------------------------------------------------------------


@runs
@both_dtypes
@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_rectify(dtype, slope):
    x = np.array([-np.inf, -2, -0.0, 0, 3, np.inf, np.nan], dtype)
    y, out = np.empty_like(x), np.empty_like(x)
    launch("rectify", dtype, x, y, slope, len(x), grid=1, block=2)
    low = -np.inf if slope else 0
    np.testing.assert_array_equal(y, np.array([low, -2 * slope, 0, 0, 3, np.inf, np.nan], dtype))

    g = np.array([1, 2, 3, 4, 5, np.nan, 7], dtype)
    launch("rectify_grad", dtype, g, y, out, slope, len(x), grid=2, block=1)
    step = np.array([slope] * 4 + [1, 1, slope], dtype)
    np.testing.assert_array_equal(out, g * step)


# --- Normalisation -------------------------------------------------------------------------------


@st.composite
def normalisations(draw):
    """((A, B, C), slices): fewer slices than rows, as many, and more."""
    sizes = draw(st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 5)))
    return sizes, draw(st.integers(1, 12) | st.just(50))


@runs
@both_dtypes
def test_sigmoid_and_softplus(dtype):
    """Against Python's own functions, far out too, where e^x overflows and 1 + e^x rounds to 1."""
    x = np.array([-800, -80, -20, -1.5, -1e-9, 0, 1e-9, 0.5, 3, 20, 80, 800, np.nan], dtype)
    with np.errstate(under="ignore"):
        expected = [
            [math.exp(v) / (1 + math.exp(v)) if v < 0 else 1 / (1 + math.exp(-v)) for v in x],
            [max(v, 0.0) + math.log1p(math.exp(-abs(v))) for v in x.tolist()],
        ]
    for kernel, values in zip(("sigmoid", "softplus"), expected, strict=True):
        y = np.empty_like(x)
        launch(kernel, dtype, x, y, len(x), grid=2, block=3)
        tiny = np.finfo(dtype).tiny
        np.testing.assert_allclose(y, values, rtol=8 * np.finfo(dtype).eps, atol=tiny)


@runs
@both_dtypes
def test_track_and_the_gradient_in_the_scale(dtype):
    running, x = normals(0, dtype, 11), normals(1, dtype, 11)
    expected = 0.75 * running + 0.25 * 1.5 * x
    launch("track", dtype, running, x, 0.25, 1.5, 11, grid=2, block=2)
    np.testing.assert_allclose(running, expected, rtol=1e-5)
    variance, out = np.abs(normals(2, dtype, 11)), np.empty(11, dtype)
    launch("normalize_scale_grad", dtype, x, variance, out, 0.1, 11, grid=2, block=2)
    np.testing.assert_allclose(out, x / np.sqrt(variance + 0.1), rtol=1e-5)


def run_moments(x, slices, how):
    (A, B, C), dtype = x.shape, x.dtype
    parts = np.empty((2, slices, A, C), dtype)
    mean, variance = np.empty((2, A, C), dtype)
    launch("moments_partial", dtype, x, parts[0], parts[1], A, B, C, slices, **how)
    launch("moments_combine", dtype, *parts, mean, variance, A, B, C, slices, **how)
    return mean, variance


def run_normalize(x, mean, variance, scale, shift, eps, how):
    y = np.empty_like(x)
    launch("normalize", x.dtype, x, mean, variance, scale, shift, y, eps, *x.shape, **how)
    return y


def run_normalize_grad(g, x, mean, variance, scale, eps, slices, how):
    """(the gradient in x, Σ g, Σ g (x − μ))."""
    (A, B, C), dtype = x.shape, x.dtype
    parts, totals = np.empty((2, slices, A, C), dtype), np.empty((2, A, C), dtype)
    launch("normalize_sums", dtype, g, x, mean, *parts, A, B, C, slices, **how)
    for part, total in zip(parts, totals, strict=True):
        launch("sum_slices", dtype, part, total, A * C, slices, **how)
    out = np.empty_like(x)
    statistics = mean, variance, scale, *totals
    launch("normalize_grad", dtype, g, x, *statistics, out, eps, A, B, C, **how)
    return out, *totals


def check_moments(problem, seed=0, dtype=np.float64, offset=0.0, **how):
    sizes, slices = problem
    x = (normals(seed, np.float64, *sizes) + offset).astype(dtype)
    compare_moments(x, *run_moments(x, slices, how))


def compare_moments(x, mean, variance):
    """With the moments in exact sums, to what the numbers' own rounding leaves undecided.

    Changing each x by a part ε changes the mean μ by up to ε |μ|, and σ² by up to ε κ σ² with
    κ = √(1 + μ²/σ²) (Chan, Golub and LeVeque 1983). Σ x² / B − μ² would be off by ε κ² σ².
    """
    A, _, C = x.shape
    eps = float(np.finfo(x.dtype).eps)
    for a, c in np.ndindex(A, C):
        values = x[a, :, c].astype(np.float64)
        mu = math.fsum(values) / len(values)
        rest = math.fsum(values - mu) / len(values)
        sigma2 = math.fsum((values - mu - rest) ** 2) / len(values)
        near = 4 * eps * (abs(mu) + math.sqrt(sigma2))
        assert abs(mean[a, c] - mu - rest) <= near
        assert variance[a, c] >= 0
        assert abs(variance[a, c] - sigma2) <= 2 * near * math.sqrt(sigma2) + near**2


@runs
@given(normalisations(), seeds, dtypes, st.sampled_from([0.0, -30.0, 1e4]), grids)
def test_moments(problem, seed, dtype, offset, grid):
    """As accurate with a mean 10⁴ deviations away, where Σ x² − (Σ x)² / B has no digit left."""
    check_moments(problem, seed, dtype, offset, grid=grid[0], block=grid[1])


@runs
@both_dtypes
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4 / 3, -1e-30])
def test_moments_of_equal_numbers(dtype, value):
    x = np.full((1, 300, 2), value, dtype)
    mean, variance = run_moments(x, 7, {})
    np.testing.assert_allclose(mean, x[:, 0], rtol=np.finfo(dtype).eps)
    assert (variance >= 0).all()
    assert (variance <= (np.finfo(dtype).eps * abs(value)) ** 2).all()


@runs
@both_dtypes
def test_moments_of_many_rows(dtype):
    x = (normals(1, np.float64, 1, 20_000, 3) + 1000).astype(dtype)
    compare_moments(x, *run_moments(x, 100, {}))


@runs
@given(normalisations(), seeds, dtypes, grids, st.booleans(), st.booleans())
def test_normalize(problem, seed, dtype, grid, scaled, shifted):
    (A, B, C), _ = problem
    how = {"grid": grid[0], "block": grid[1]}
    x, eps = normals(seed, dtype, A, B, C), 1e-3
    mean, variance = normals(seed + 1, dtype, A, C), normals(seed + 2, dtype, A, C) ** 2
    scale = normals(seed + 3, dtype, C) if scaled else None
    shift = normals(seed + 4, dtype, C) if shifted else None
    expected = (x - mean[:, None]) / np.sqrt(variance[:, None].astype(np.float64) + eps)
    expected = expected * (1 if scale is None else scale) + (0 if shift is None else shift)
    y = run_normalize(x, mean, variance, scale, shift, eps, how)
    np.testing.assert_allclose(y, expected, **tolerances(dtype))


def check_normalize_grad(problem, seed=0, dtype=np.float64, scaled=True, **how):
    """Against γ Jᵀ g, with the Jacobian J = r (1 − 1/B − x̂ x̂ᵀ / B) written out."""
    (A, B, C), slices = problem
    x, g, eps = normals(seed, dtype, A, B, C), normals(seed + 1, dtype, A, B, C), 0.1
    scale = normals(seed + 2, dtype, C) if scaled else None
    mean, variance = run_moments(x, slices, how)
    out, sum_g, sum_gx = run_normalize_grad(g, x, mean, variance, scale, eps, slices, how)

    exact, exact_g = x.astype(np.float64), g.astype(np.float64)
    centred = exact - exact.mean(1, keepdims=True)
    r = 1 / np.sqrt(exact.var(1) + eps)
    expected = np.empty(x.shape)
    for a, c in np.ndindex(A, C):
        x_hat = centred[a, :, c] * r[a, c]
        jacobian = r[a, c] * (np.eye(B) - 1 / B - np.outer(x_hat, x_hat) / B)
        expected[a, :, c] = (1 if scale is None else scale[c]) * jacobian.T @ exact_g[a, :, c]
    near = tolerances(dtype)
    np.testing.assert_allclose(sum_g, exact_g.sum(1), **near)
    np.testing.assert_allclose(sum_gx, (exact_g * centred).sum(1), **near)
    np.testing.assert_allclose(out, expected, **near)


@runs
@given(normalisations(), seeds, dtypes, grids, st.booleans())
def test_normalize_grad(problem, seed, dtype, grid, scaled):
    check_normalize_grad(problem, seed, dtype, scaled, grid=grid[0], block=grid[1])


@runs
@given(normalisations(), seeds)
def test_normalize_grad_is_the_derivative_of_normalize(problem, seed):
    """⟨g, y(x + hd) − y(x − hd)⟩ / 2h = ⟨gradient, d⟩, all by the kernels."""
    (A, B, C), slices = problem
    x, g, direction = (normals(seed + i, np.float64, A, B, C) for i in range(3))
    scale, shift, eps, h = *normals(seed + 3, np.float64, 2, C), 0.1, 1e-5

    def y(x):
        return run_normalize(x, *run_moments(x, slices, {}), scale, shift, eps, {})

    slope = (g * (y(x + h * direction) - y(x - h * direction))).sum() / (2 * h)
    mean, variance = run_moments(x, slices, {})
    out, _, _ = run_normalize_grad(g, x, mean, variance, scale, eps, slices, {})
    np.testing.assert_allclose((out * direction).sum(), slope, rtol=1e-6, atol=1e-7)


# --- Optimisers ----------------------------------------------------------------------------------


def check_optimizer(name, numbers, moments, update, dtype=np.float64, steps=4, n=100, **how):
    """Several steps against `update(t, θ, g, *moments) -> (live, θ, *moments)` in float64."""
    state = [normals(0, dtype, n)] + [np.zeros(n, dtype) for _ in range(moments)]
    expected = [array.astype(np.float64) for array in state]
    for t in range(1, steps + 1):
        g = normals(t, dtype, n)
        live, *expected = update(t, expected[0], g.astype(np.float64), *expected[1:])
        theta, *moment = state
        launch(name, dtype, theta, g, *moment, np.array(live, dtype), *numbers, n, **how)
        for actual, array in zip(state, expected, strict=True):
            np.testing.assert_allclose(actual, array, **tolerances(dtype))


def check_sgd(momentum=0.5, nesterov=1, **rest):
    def update(t, theta, g, u):
        alpha = 0.5 / t
        u = momentum * u + g
        return [alpha], theta - alpha * (g + momentum * u if nesterov else u), u

    check_optimizer("sgd", (momentum, nesterov), 1, update, **rest)


def check_rmsprop(decay=0.75, eps=0.125, **rest):
    def update(t, theta, g, v):
        alpha = 0.5 / t
        v = decay * v + (1 - decay) * g**2
        return [alpha], theta - alpha * g / (np.sqrt(v) + eps), v

    check_optimizer("rmsprop", (decay, eps), 1, update, **rest)


def check_adam(beta1=0.5, beta2=0.96875, eps=0.125, weight_decay=0.25, **rest):
    def update(t, theta, g, m, v):
        alpha = 0.5 / t
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - alpha * (m_hat / (np.sqrt(v_hat) + eps) + weight_decay * theta)
        live = alpha / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t), 1 - alpha * weight_decay
        return live, theta, m, v

    check_optimizer("adam", (beta1, beta2, eps), 2, update, **rest)


@runs
@both_dtypes
@pytest.mark.parametrize(("grid", "block"), [(1, 1), (2, 32), (3, 128)])
def test_optimizers(dtype, grid, block):
    how = {"dtype": dtype, "grid": grid, "block": block}
    for nesterov in (0, 1):
        check_sgd(nesterov=nesterov, **how)
    check_sgd(momentum=0.0, nesterov=0, **how)
    check_rmsprop(**how)
    check_adam(**how)
    check_adam(weight_decay=0.0, **how)


@runs
@both_dtypes
def test_ema(dtype):
    average, theta = normals(0, dtype, 70), normals(1, dtype, 70)
    expected = average + 0.125 * (theta - average)
    launch("ema", dtype, average, theta, np.array([0.125], dtype), 70, grid=2, block=8)
    np.testing.assert_allclose(average, expected, **tolerances(dtype))


@runs
@both_dtypes
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_set_live(dtype, n):
    live = np.zeros(3, dtype)
    launch("set_live", dtype, live, 0.5, 1.5, 2.5, n, grid=1, block=1)
    np.testing.assert_array_equal(live, [0.5, 1.5, 2.5][:n] + [0] * (3 - n))


# --- Philox --------------------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 as in section 3.3 of Salmon et al. 2011, on Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (product1 >> 32) ^ c[1] ^ k[0],
            product1 % 2**32,
            (product0 >> 32) ^ c[3] ^ k[1],
            product0 % 2**32,
        ]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


# From Random123, the authors' own library: (counter, key, result).
KNOWN = [
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

# The kernels' own function, its counter and key freely chosen, as no kernel allows.
WITH_PHILOX_ALONE = (
    SOURCE
    + """
extern "C" __global__ void philox_alone(unsigned int* c, const unsigned int* key)
{
    philox(c, key[0], key[1]);
}
"""
)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_reference_philox_gives_the_known_answers(counter, key, expected):
    assert philox(counter, key) == list(expected)


@runs
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_kernels_philox_gives_the_known_answers(counter, key, expected):
    words, key = np.array(counter, np.uint32), np.array(key, np.uint32)
    launch("philox_alone", np.float32, words, key, grid=1, block=1, source=WITH_PHILOX_ALONE)
    assert words.tolist() == list(expected)


def reference_words(state, blocks):
    """The words of `blocks` blocks from the state on, shape (blocks, 4)."""
    key, counter = map(int, state)
    halves = lambda number: (number % 2**32, number // 2**32 % 2**32)
    words = [philox((*halves((counter + i) % 2**64), 0, 0), halves(key)) for i in range(blocks)]
    return np.array(words, np.uint64).reshape(-1, 4)


def reference_bits(state, n, dtype):
    """n integers of 24 bits for float32, of 53 bits for float64, and how many bits those are."""
    words = reference_words(state, n)
    if dtype == np.float32:
        return words.ravel()[:n] >> np.uint64(8), 24
    return reference_pairs(words)[:n] >> np.uint64(11), 53


def reference_pairs(words):
    return (words[:, 1::2] << np.uint64(32) | words[:, ::2]).ravel()


def state_of(key, counter):
    return np.array([key, counter], np.uint64)


def draw(kind, dtype, n, state, **how):
    """n numbers of a kind: uniform on [0, 1), normal, or integers of {−3, …, 6}."""
    out = np.empty(n, np.int64 if kind == "integers" else dtype)
    numbers = {"uniform": (0, 1), "normal": (), "integers": (-3, 10)}[kind]
    launch(f"philox_{kind}", dtype, out, n, *numbers, state, **how)
    return out


def per_block(kind, dtype):
    return 2 if kind == "integers" else 16 // np.dtype(dtype).itemsize


# The last two carry into the counter's upper half, and around its end.
states = st.sampled_from(
    [(0, 0), (0x299F31D0A4093822, 7), (2**64 - 1, 2**32 - 2), (1 << 32, 2**64 - 2)]
)
kinds = pytest.mark.parametrize("kind", ["uniform", "normal", "integers"])


def check_uniform(state=(3, 5), n=21, dtype=np.float64, **how):
    bits, width = reference_bits(state, n, dtype)
    out = draw("uniform", dtype, n, state_of(*state), **how)
    np.testing.assert_array_equal(out, bits.astype(np.float64) / 2**width)


@runs
@given(states, st.integers(0, 33), dtypes, grids)
def test_philox_uniform(state, n, dtype, grid):
    check_uniform(state, n, dtype, grid=grid[0], block=grid[1])


@runs
@given(states, st.integers(0, 33), dtypes, grids)
def test_philox_normal(state, n, dtype, grid):
    even = n + n % 2
    bits, width = reference_bits(state, even, dtype)
    u = (bits.astype(np.float64) / 2**width).reshape(-1, 2)
    radius, angle = np.sqrt(-2 * np.log(1 - u[:, 0])), 2 * np.pi * u[:, 1]
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()[:n]
    out = draw("normal", dtype, n, state_of(*state), grid=grid[0], block=grid[1])
    np.testing.assert_allclose(out, expected, **tolerances(dtype))


@runs
@given(states, st.integers(0, 33), grids, st.sampled_from([1, 10, 2**40 + 1, 2**63]))
def test_philox_integers(state, n, grid, span):
    out, low = np.empty(n, np.int64), -7
    how = {"grid": grid[0], "block": grid[1]}
    launch("philox_integers", np.float32, out, n, low, span, state_of(*state), **how)
    bits = reference_pairs(reference_words(state, n))[:n]
    assert out.tolist() == [low + (int(b) * span >> 64) for b in bits]


@runs
@kinds
@both_dtypes
@given(st.lists(st.integers(0, 6), max_size=4), st.integers(0, 7))
def test_pieces_of_whole_blocks_are_one_stream(kind, dtype, pieces, last):
    """Drawn at once, or block-wise with the counter moved between: the same numbers."""
    p, state = per_block(kind, dtype), state_of(11, 2**32 - 3)
    at_once = draw(kind, dtype, sum(pieces) * p + last, state)
    parts = []
    for blocks in pieces:
        parts.append(draw(kind, dtype, blocks * p, state))
        launch("philox_advance", dtype, state, blocks, grid=2, block=4)
    parts.append(draw(kind, dtype, last, state))
    np.testing.assert_array_equal(np.concatenate(parts), at_once)
    assert state.tolist() == [11, 2**32 - 3 + sum(pieces)]


# Every random bit 0, or every bit 1, whatever the counter: the ends of each distribution.
EXTREME = "(unsigned int)(key >> 32));"
EXTREMES = [EXTREME + f" for (int q = 0; q < 4; ++q) word[q] = {w}u;" for w in (0, 2**32 - 1)]


def check_ends(dtype, replacement, source=SOURCE):
    assert source.count(EXTREME) == 1
    how = {"source": source.replace(EXTREME, replacement)}
    state = state_of(0, 0)
    for low, high in [(0, 1), (-3, 7), (1, np.nextafter(dtype(1), dtype(2))), (-1e4, 1e-3)]:
        out, low, high = np.empty(9, dtype), dtype(low), dtype(high)
        launch("philox_uniform", dtype, out, len(out), low, high, state, **how)
        assert ((low <= out) & (out < high)).all()
    assert np.isfinite(draw("normal", dtype, 9, state, **how)).all()
    integers = draw("integers", dtype, 9, state, **how)
    assert ((integers >= -3) & (integers < 7)).all()
    # Both ends can be reached.
    assert integers[0] == (-3 if " = 0u" in replacement else 6)


@runs
@both_dtypes
@pytest.mark.parametrize("replacement", EXTREMES, ids=["zeros", "ones"])
def test_the_ends_of_each_distribution(dtype, replacement):
    check_ends(dtype, replacement)


def distance_to(cdf, samples):
    """Kolmogorov's √n sup |F_n − F|, which exceeds 1.95 in one of a thousand samples."""
    x = np.sort(samples)
    steps, f = np.arange(len(x) + 1) / len(x), cdf(x)
    return math.sqrt(len(x)) * max((f - steps[:-1]).max(), (steps[1:] - f).max())


@runs
@kinds
@both_dtypes
@pytest.mark.parametrize("key", [0, 1, 2**64 - 1])
def test_the_distributions(kind, dtype, key):
    n = 20_001
    x = draw(kind, dtype, n, state_of(key, 0), grid=4, block=64).astype(np.float64)
    if kind == "uniform":
        mean, variance = 1 / 2, 1 / 12
        assert distance_to(lambda x: x, x) < 1.95
    elif kind == "normal":
        mean, variance = 0, 1
        assert distance_to(lambda x: (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2, x) < 1.95
        assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)
    else:
        mean, variance = 1.5, 99 / 12
        counts = np.bincount(x.astype(int) + 3, minlength=10)
        assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 27.9  # χ² of 9, one in a thousand
    assert abs(x.mean() - mean) < 4 * math.sqrt(variance / n)
    z = (x - mean) / math.sqrt(variance)
    for lag in (1, 2, 3, 4):  # numbers of one block, and of neighbouring blocks
        assert abs((z[lag:] * z[:-lag]).mean()) < 4 / math.sqrt(n)
        squares = z**2 - 1
        deviation = (squares**2).mean()
        assert abs((squares[lag:] * squares[:-lag]).mean()) < 4 * deviation / math.sqrt(n)


# --- Data and records ----------------------------------------------------------------------------


@runs
@both_dtypes
@pytest.mark.parametrize("shape", [(256, 1), (5, 2, 3, 3), (1, 7)])
def test_gather_images(dtype, shape):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, shape, np.uint8)
    images.flat[:1] = 255
    index = random.integers(0, len(images), 9)
    out = np.empty((9, *shape[1:]), dtype)
    size = out[0].size
    launch("gather_images", dtype, images, index, out, size, out.size, grid=2, block=5)
    expected = images[index].astype(dtype) / dtype(127.5) - 1
    np.testing.assert_array_equal(out, expected)


@runs
def test_gathered_images_span_minus_one_to_one():
    images = np.array([[0], [255]], np.uint8)
    out = np.empty((2, 1), np.float32)
    launch("gather_images", np.float32, images, np.array([0, 1]), out, 1, 2)
    assert out.ravel().tolist() == [-1, 1]


def check_append_row(dtype=np.float64, block=4, columns=7, **how):
    """Seven steps in a ring of three rows: each in its place, and never two positions at once."""
    ring, position = np.zeros((3, columns), dtype), np.array([0])
    expected = ring.copy()
    for t in range(7):
        row = normals(t, dtype, columns)
        arguments = row, ring, position, columns, len(ring)
        launch("append_row", dtype, *arguments, grid=1, block=block, **how)
        expected[t % 3] = row
        np.testing.assert_array_equal(ring, expected)
        assert position.tolist() == [t + 1]


@runs
@both_dtypes
@pytest.mark.parametrize("block", [1, 4, 7, 32])
def test_append_row(dtype, block):
    check_append_row(dtype, block)


# --- The shim ------------------------------------------------------------------------------------


def sums(part=None, total=None, n=None, slices=None):
    """Arguments of sum_slices, all right but for those given."""
    return (
        np.ones((2, 3), np.float32) if part is None else part,
        np.zeros(3, np.float32) if total is None else total,
        np.int64(3) if n is None else n,
        np.int32(2) if slices is None else slices,
    )


READ_ONLY = np.zeros(3, np.float32)
READ_ONLY.flags.writeable = False

WRONG = {
    "too few": (sums()[:3], TypeError, "3 arguments for 4"),
    "too many": ((*sums(), np.int32(1)), TypeError, "5 arguments for 4"),
    "another array": (sums(part=np.ones((2, 3))), TypeError, "part wants an array of float32"),
    "a number for an array": (sums(part=np.float32(1)), TypeError, "part wants an array"),
    "a Python number": (sums(n=3), TypeError, "n wants a int64, got 3 of type int"),
    "another number": (sums(n=np.int32(3)), TypeError, "n wants a int64"),
    "signs": (sums(slices=np.uint32(2)), TypeError, "slices wants a int32"),
    "an array for a number": (sums(slices=np.array(2, np.int32)), TypeError, "slices wants"),
    "null for a number": ((*sums()[:3], None), TypeError, "slices wants"),
    "strides": (sums(part=np.ones((3, 2), np.float32).T), ValueError, "part wants a C-contig"),
    "read-only": (sums(total=READ_ONLY), ValueError, "total is written to"),
}


@runs
@pytest.mark.parametrize("name", WRONG)
def test_the_shim_refuses_wrong_arguments(name):
    arguments, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        cuda_shim.kernel("sum_slices", "float32")((1,), (1,), arguments)


@runs
@pytest.mark.parametrize(
    ("grid", "block"),
    [((0,), (1,)), ((1,), (0,)), ((1,), (1025,)), ((1, 65536), (1,)), ((), (1,)), ((1.5,), (1,))],
)
def test_the_shim_refuses_sizes_that_a_gpu_refuses(grid, block):
    with pytest.raises(ValueError, match="sum_slices"):
        cuda_shim.kernel("sum_slices", "float32")(grid, block, sums())


@runs
def test_the_shim_names_what_it_does_not_know():
    with pytest.raises(KeyError, match="sum_slice'"):
        cuda_shim.kernel("sum_slice", "float32")
    with pytest.raises(ValueError, match="short s"):
        cuda_shim.kernel("f", "float32", 'extern "C" __global__ void f(short s) {}')
    with pytest.raises(cuda_shim.CompileError, match=r"kernels\.cu:1"):
        cuda_shim.kernel("f", "float32", 'extern "C" __global__ void f(int n) { n = m; }')


@runs
def test_null_is_none_or_zero():
    kernel = cuda_shim.kernel("normalize", "float64")
    x, ones = np.ones((1, 2, 3)), np.ones((1, 3))
    for null in (None, 0, np.uint64(0)):
        y = np.empty_like(x)
        sizes = np.float64(0), *map(np.int64, x.shape)
        kernel((1,), (8,), (x, 0 * ones, ones, null, null, y, *sizes))
        np.testing.assert_array_equal(y, x)


# --- Broken on purpose ---------------------------------------------------------------------------

WINDOW = (2, (6, 7), 2, (3, 4), (2, 3), (1, 2))
NORM = ((2, 30, 3), 7)

# What is checked, a piece of a kernel, and a mistake that could stand there.
MUTATIONS = {
    "padding's sign": (
        lambda **how: check_im2col(WINDOW, **how),
        ("i * sh - ph + u", "i * sh + ph + u"),
    ),
    "right border": (
        lambda **how: check_im2col(WINDOW, **how),
        ("column < w;", "column <= w;"),
    ),
    "one window too many": (
        lambda **how: check_col2im(WINDOW, **how),
        ("(row - kh) / sh + 1", "(row - kh) / sh"),
    ),
    "windows outside": (
        lambda **how: check_col2im(WINDOW, **how),
        ("i < oh && ", ""),
    ),
    "Σ x² − m μ²": (
        lambda **how: check_moments(NORM, dtype=np.float32, offset=1e4, **how),
        ("m2 += d * d;", "m2 += (d + mean) * (d + mean) - mean * mean;"),
    ),
    "between the slices": (
        lambda **how: check_moments(NORM, **how),
        ("delta * delta * count * share", "real(0)"),
    ),
    "a power of r": (
        lambda **how: check_normalize_grad(NORM, **how),
        ("r * r * sum_gx", "r * sum_gx"),
    ),
    "ε inside": (
        check_adam,
        ("live[1] * sqrt(second) + eps", "live[1] * (sqrt(second) + eps)"),
    ),
    "no loop": (
        check_rmsprop,
        ("i < n; i += index_step()", "i < n; i += n"),
    ),
    "a key": (
        check_uniform,
        ("k1 += 0xBB67AE85", "k1 += 0x9E3779B9"),
    ),
    "log 0": (
        lambda source: check_ends(np.float64, EXTREMES[0], source),
        ("log(1 - u[i])", "log(u[i])"),
    ),
    "up to high": (
        lambda source: check_ends(np.float32, EXTREMES[1], source),
        ("value < high ? value : nextafter(high, low)", "value"),
    ),
    "past the end": (
        check_uniform,
        (" && block * PER_BLOCK + i < n", ""),
    ),
    "every thread moves on": (
        check_append_row,
        ("if (threadIdx.x == 0) {", "if (threadIdx.x < 2) {"),
    ),
}


@runs
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_kernel_is_found(name):
    check, (right, wrong) = MUTATIONS[name]
    check(source=SOURCE)
    with pytest.raises(AssertionError):
        check(source=changed(right, wrong))
