"""The fake device is itself tested: a strictness that never refuses anything would catch nothing.

Where the real CuPy can be imported (it needs no GPU for that), names and parameters are compared
with it, so that the engine cannot come to lean on what only the fake has.
"""

import copy
import inspect
import math
import re

import fake_cupy
import numpy as np
import pytest
from fake_cupy import (
    _REDUCTIONS,
    FAKE_ONLY,
    CUDADriverError,
    CUDARuntimeError,
    DeviceSynchronised,
    OutOfMemoryError,
)


@pytest.fixture
def fake():
    return fake_cupy.make()


@pytest.fixture
def x(fake):
    """[[0, 1, 2], [3, 4, 5]] in float32, with all counts at zero."""
    array = fake.arange(6, dtype="float32").reshape(2, 3)
    fake.reset_counts()
    return array


HOST = np.ones(3, np.float32)


# --- Nothing crosses to the host unseen ----------------------------------------------------------


def test_an_array_is_not_converted_silently(x):
    for convert in (np.asarray, np.array, np.float32):
        with pytest.raises(TypeError):
            convert(x)
    assert not isinstance(x, np.ndarray)
    with pytest.raises(TypeError):
        range(x.sum())
    with pytest.raises(TypeError):
        hash(x)


WAITS = {
    "bool": lambda x: bool(x.sum()),
    "int": lambda x: int(x.sum()),
    "float": lambda x: float(x.sum()),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "get": lambda x: x.get(),
    "iter": lambda x: list(x),
    "str": lambda x: str(x),
    "repr": lambda x: repr(x),
    "format": lambda x: f"{x.sum():.2f}",
    "mask": lambda x: x[x > 1],
    "nonzero": lambda x: x.machine.cupy.where(x > 1),
    "asnumpy": lambda x: x.machine.cupy.asnumpy(x),
    "stream": lambda x: x.machine.stream.synchronize(),
    "device": lambda x: x.machine.cuda.Device(0).synchronize(),
    "event": lambda x: x.machine.stream.record().synchronize(),
}


@pytest.mark.parametrize("cause", WAITS)
def test_waiting_is_counted_by_cause_and_can_be_refused(fake, x, cause):
    WAITS[cause](x)
    assert fake.synchronisations == {cause: 1}
    with fake.refusing_synchronisation(), pytest.raises(DeviceSynchronised, match=cause):
        WAITS[cause](x)
    WAITS[cause](x)
    assert fake.synchronisations == {cause: 2}


def test_writing_by_mask_waits_too(fake, x):
    x[x > 1] = 0
    assert fake.synchronisations == {"mask": 1}
    np.testing.assert_array_equal(fake.peek(x), [[0, 1, 0], [0, 0, 0]])


def test_what_describes_an_array_and_computes_with_it_waits_for_nothing(fake, x):
    assert (x.shape, x.ndim, x.size, x.nbytes, x.itemsize, len(x)) == ((2, 3), 2, 6, 24, 4, 2)
    assert x.dtype == fake.float32 and x.strides == (12, 4) and x.data.ptr
    y = (x.T @ x).sum(axis=0) + x[0, 1] * 2
    y[...] = fake.where(y > 1, y, 0.0)
    fake.peek(y)
    assert not fake.synchronisations and not fake.transfers


TRANSFERS = {
    "asarray": lambda x: x.machine.cupy.asarray(HOST),
    "array": lambda x: x.machine.cupy.array([1.0, 2.0]),
    "set": lambda x: x[0].set(HOST),
    "index": lambda x: x[[0, 1]],
    "setitem": lambda x: x.__setitem__(x[:, 0].astype(int), HOST),
}


@pytest.mark.parametrize("cause", TRANSFERS)
def test_copies_from_the_host_are_counted(fake, x, cause):
    TRANSFERS[cause](x)
    assert fake.transfers == {cause: 1}


def test_a_number_goes_over_with_a_kernel_not_with_a_copy(fake):
    y = fake.asarray(2.0, dtype="float32")
    assert fake.peek(y) == 2 and y.shape == () and not fake.transfers


def test_numpy_arrays_are_no_operands(fake, x):
    for mix in (
        lambda: x + HOST,
        lambda: HOST + x,
        lambda: x @ np.ones((3, 2), np.float32),
        lambda: x.__iadd__(HOST),
        lambda: fake.exp(HOST),
        lambda: fake.maximum(x, HOST),
        lambda: fake.where(x > 0, x, HOST),
        lambda: fake.where(HOST > 0, x, 0.0),
        lambda: fake.concatenate([x[0], HOST]),
        lambda: fake.sum(HOST),
        lambda: x - [1.0, 2.0, 3.0],
    ):
        with pytest.raises(TypeError):
            mix()
    for write in (lambda: x.__setitem__(0, HOST), lambda: fake.copyto(x, HOST)):
        with pytest.raises(ValueError, match="non-scalar"):
            write()


def test_arrays_of_two_fakes_do_not_mix(x):
    with pytest.raises(TypeError, match="Unsupported type"):
        x + fake_cupy.make().ones(3, "float32")


class Declines:
    """What minigan's Tensor is to an array: it wants to do the arithmetic itself."""

    __array_ufunc__ = None

    def answer(self, array):
        return "mine"

    __radd__ = __rmul__ = __rmatmul__ = __gt__ = answer


def test_a_class_that_declines_ufuncs_has_its_way(x):
    other = Declines()
    assert x + other == x * other == x @ other == "mine"
    assert (x < other) == "mine"
    with pytest.raises(TypeError):
        x += object()


# --- Values, dtypes and layouts ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operate", "dtype"),
    [
        (lambda x: x * 2, "float32"),
        (lambda x: 2.0 * x, "float32"),
        (lambda x: x * np.float64(2), "float64"),
        (lambda x: np.float64(2) * x, "float64"),
        (lambda x: x**0.5, "float32"),
        (lambda x: x > 1, "bool"),
        (lambda x: x.sum(), "float32"),
        (lambda x: (x > 1).sum(), "int64"),
    ],
)
def test_dtypes_follow_numpy_2(x, operate, dtype):
    assert operate(x).dtype == dtype


def test_ufuncs_make_c_order_and_copies_of_dtype_keep_the_order(fake, x):
    turned = x.T
    assert turned.flags.f_contiguous and not turned.flags.c_contiguous
    for y in (turned + 1, fake.exp(turned), -turned, fake.maximum(turned, turned), turned.copy()):
        assert y.flags.c_contiguous
    for y in (turned.astype("float64"), fake.zeros_like(turned)):
        assert y.flags.f_contiguous
    assert x[0].T.shape == (3,)


def test_reductions_and_full_indices_stay_on_the_device(fake, x):
    for y in (x.sum(), x.max(), x.mean(), x.any(), x[1, 2], x.argmax(), fake.sum(x)):
        assert isinstance(y, fake.ndarray) and y.shape == ()
    assert fake.peek(x[1, 2]) == 5


def test_neither_ufuncs_nor_reductions_take_where(fake, x):
    for refused in (
        lambda: fake.exp(x, where=x > 0),
        lambda: x.sum(where=x > 0),
        lambda: x.max(initial=0.0),
        lambda: fake.sum(x, initial=0.0),
    ):
        with pytest.raises(TypeError):
            refused()


def test_reductions_agree_with_numpy(fake, x):
    host = fake.peek(x)
    for name in _REDUCTIONS:
        np.testing.assert_allclose(
            fake.peek(getattr(x, name)(axis=0)), getattr(host, name)(axis=0), err_msg=name
        )
    assert x.sum(1, None, None, True).shape == (2, 1)
    with pytest.raises(TypeError):
        x.sum(0, None, None, False, 5)


def test_an_in_place_operation_keeps_memory_and_dtype(fake, x):
    address, before = x.data.ptr, x
    x += 1
    x *= np.float64(0.5)
    assert x is before and x.data.ptr == address and x.dtype == "float32"
    with pytest.raises(TypeError):
        fake.arange(3).__iadd__(0.5)
    with pytest.raises(ValueError, match="does not fit"):
        fake.ones(3).__iadd__(fake.ones((2, 3)))


def test_views_share_memory_and_copies_do_not(fake, x):
    for view in (x[1:], x.T, x.reshape(-1), x[:, None], x.swapaxes(0, 1), x[..., 1], x[0, 0]):
        view[...] = 9
        assert (fake.peek(view) == 9).all() and (fake.peek(x) == 9).any()
        x.fill(0)
    for other in (x.copy(), copy.deepcopy(x), x.T.reshape(-1), x.flatten(), x[fake.asarray([0])]):
        other.fill(1)
        assert (fake.peek(x) == 0).all()


def test_index_arrays_wrap_around_but_single_indices_do_not(fake, x):
    index = fake.asarray([0, 2, -1, 5])
    np.testing.assert_array_equal(fake.peek(x[index]), fake.peek(x)[[0, 0, 1, 1]])
    np.testing.assert_array_equal(fake.peek(x[:, index])[0], [0, 2, 2, 2])
    np.testing.assert_array_equal(fake.peek(x[..., None, index])[0], [[0, 2, 2, 2]])
    np.testing.assert_array_equal(fake.peek(x.take(index, axis=1))[1], [3, 5, 5, 5])
    with pytest.raises(IndexError):
        x[2]
    with pytest.raises(IndexError):
        x[fake.asarray([0.5])]


def test_writing_at_an_index(fake, x):
    x[0] = x[1]
    x[:, 1] = 7
    x[fake.asarray([1]), fake.asarray([2])] = fake.asarray([8.0])
    x[1:] = x[:1]
    np.testing.assert_array_equal(fake.peek(x), [[3, 7, 5], [3, 7, 5]])
    fake.add.at(x, (slice(None), fake.asarray([0, 0, 3])), 1.0)
    np.testing.assert_array_equal(fake.peek(x)[:, 0], [6, 6])
    fake.add.at(x, 0, 1.0)
    np.testing.assert_array_equal(fake.peek(x)[0], [7, 8, 6])
    with pytest.raises(TypeError, match="int64"):
        fake.add.at(fake.arange(3), fake.asarray([0]), 1)
    with pytest.raises(NotImplementedError):
        fake.exp.at(x, 0)


def test_uninitialised_memory_is_nan(fake):
    assert np.isnan(fake.peek(fake.empty((2, 2)))).all()
    assert np.isnan(fake.peek(fake.empty_like(fake.zeros(3, "float32")))).all()
    assert fake.peek(fake.empty(2, "bool")).tolist() == [True, True]


def test_names_that_are_not_here_are_errors(fake):
    for name in ("percentile", "asfarray", "float_"):
        with pytest.raises(AttributeError, match=name):
            getattr(fake, name)
    with pytest.raises(ValueError, match="Unsupported dtype"):
        fake.asarray(np.array([None]))


def test_functions_agree_with_numpy(fake, x):
    host, back = fake.peek(x), fake.peek
    pairs = [
        (fake.concatenate([x, x], 1), np.concatenate([host, host], 1)),
        (fake.stack([x, x]), np.stack([host, host])),
        (fake.array([x, x]), np.stack([host, host])),
        (fake.clip(x, 1, 3), host.clip(1, 3)),
        (fake.where(x > 2, x, 0.0), np.where(host > 2, host, 0)),
        (fake.broadcast_to(x[0], (4, 3)), np.broadcast_to(host[0], (4, 3))),
        (fake.tensordot(x, x, ((1,), (1,))), host @ host.T),
        (x.dot(x.T), host @ host.T),
        (fake.arange(2, 8, 2), np.arange(2, 8, 2)),
        (fake.full((2,), 3.0, "float32"), np.full(2, 3.0)),
        (fake.eye(3), np.eye(3)),
        (fake.argsort(-x), np.argsort(-host)),
        (fake.moveaxis(x, 0, 1), host.T),
        (fake.expand_dims(x, 0), host[None]),
        (np.exp(x), np.exp(host)),
        (np.concatenate([x, x]), np.concatenate([host, host])),
    ]
    for k, (ours, theirs) in enumerate(pairs):
        np.testing.assert_allclose(back(ours), theirs, rtol=1e-6, err_msg=str(k))
    q, r = fake.linalg.qr(x.T)
    np.testing.assert_allclose(back(q @ r), host.T, atol=1e-6)
    assert fake.ascontiguousarray(x) is x and fake.asarray(x) is x
    assert fake.ascontiguousarray(x.T).flags.c_contiguous


# --- Graphs --------------------------------------------------------------------------------------


class Recording:
    """`with Recording(fake) as r:` what is inside is captured; afterwards `r.graph` is there."""

    def __init__(self, fake):
        self.stream = fake.cuda.Stream(non_blocking=True)
        self.pool = fake.cuda.MemoryPool()
        self._allocation = fake.cuda.using_allocator(self.pool.malloc)

    def __enter__(self):
        self._allocation.__enter__()
        self.stream.__enter__()
        self.stream.begin_capture()
        return self

    def __exit__(self, kind, *error):
        try:
            if kind is None:
                self.graph = self.stream.end_capture()
        finally:
            self.stream.__exit__()
            self._allocation.__exit__(kind, *error)


def test_a_graph_runs_when_it_is_launched_and_not_before(fake, x):
    before = fake.peek(x)
    with Recording(fake) as r:
        y = (x * 2).sum(axis=0)
        x += 1
    np.testing.assert_array_equal(fake.peek(x), before)
    assert np.isnan(fake.peek(y)).all() and not fake.launches
    for step in range(3):
        r.graph.launch()
        np.testing.assert_array_equal(fake.peek(y), ((before + step) * 2).sum(axis=0))
        np.testing.assert_array_equal(fake.peek(x), before + step + 1)
    assert fake.launches == {"graph": 3}


def test_numbers_are_baked_in_and_memory_is_read_anew(fake, x):
    scale, factor = 2.0, fake.asarray(3.0, dtype="float32")
    with Recording(fake) as r:
        y = x * scale * factor
    scale = 5.0
    factor.fill(10.0)
    x[...] = 1
    r.graph.launch()
    assert (fake.peek(y) == 20).all()


def test_everything_that_writes_is_recorded(fake, x):
    index = fake.asarray([1, 0])
    out = fake.zeros((2, 3), "float32")
    with Recording(fake) as r:
        a = x.T.reshape(-1)
        b = x[index]
        c = fake.concatenate([x, x])
        z = fake.zeros(2)
        fake.add.at(out, index, x)
        fake.gemm(x, x.T, fake.empty((2, 2), "float32"))
        out[:, 0] = 4
    x += 10
    r.graph.launch()
    host = fake.peek(x)
    np.testing.assert_array_equal(fake.peek(a), host.T.ravel())
    np.testing.assert_array_equal(fake.peek(b), host[::-1])
    np.testing.assert_array_equal(fake.peek(c), np.concatenate([host, host]))
    np.testing.assert_array_equal(fake.peek(z), [0, 0])
    np.testing.assert_array_equal(fake.peek(out)[:, 1:], host[::-1, 1:])
    assert (fake.peek(out)[:, 0] == 4).all()


@pytest.mark.parametrize("cause", [*WAITS, *TRANSFERS, "launch", "sort", "many"])
def test_what_a_capture_cannot_hold_breaks_it_off(fake, x, cause):
    other = Recording(fake)
    with other:
        x.sum()
    break_off = {
        "launch": lambda x: other.graph.launch(),
        "sort": lambda x: fake.argsort(x),
        "many": lambda x: fake.concatenate([x] * 9),
        **TRANSFERS,
        **WAITS,
    }[cause]
    stream = fake.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            break_off(x)
        with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
        break_off(x)
    assert not stream.is_capturing()


@pytest.mark.parametrize(
    "multiply",
    [
        lambda fake, x: x @ x.T,
        lambda fake, x: fake.matmul(x, x.T),
        lambda fake, x: fake.dot(x, x.T),
        lambda fake, x: x.dot(x.T),
        lambda fake, x: fake.tensordot(x, x),
        lambda fake, x: fake.linalg.qr(x),
    ],
)
def test_cupy_s_own_products_are_refused_under_capture(fake, x, multiply):
    multiply(fake, x)
    with Recording(fake), pytest.raises(NotImplementedError):
        multiply(fake, x)


def test_eight_arrays_are_joined_under_capture(fake, x):
    with Recording(fake) as r:
        y = fake.concatenate([x] * 8)
    r.graph.launch()
    assert fake.peek(y).shape == (16, 3)


def test_the_legacy_stream_neither_captures_nor_disturbs_unnoticed(fake, x):
    with pytest.raises(RuntimeError, match="legacy"):
        fake.cuda.Stream.null.begin_capture()
    blocking = fake.cuda.Stream()
    blocking.begin_capture()
    with pytest.raises(CUDARuntimeError, match="Implicit"):
        x + 1
    aside = fake.cuda.Stream(non_blocking=True)
    with pytest.raises(CUDARuntimeError, match="Invalidated"):
        blocking.end_capture()
    aside.begin_capture()
    x += 1  # on the null stream: it is done, and it is not in the graph
    assert fake.peek(x)[0, 0] == 1
    aside.end_capture().launch()
    assert fake.peek(x)[0, 0] == 1
    with pytest.raises(CUDARuntimeError, match="IllegalState"):
        aside.end_capture()


def test_a_graph_s_inputs_must_be_kept(fake, x):
    for held in (True, False):
        y = fake.ones(3, "float32")
        with Recording(fake) as r:
            x += y
        if not held:
            del y
            with pytest.raises(RuntimeError, match="freed"):
                r.graph.launch()
        else:
            r.graph.launch()


def test_a_graph_s_memory_may_serve_nobody_else(fake, x):
    with Recording(fake) as r:
        x += x * 2  # the product is freed at once
    r.graph.launch()
    with fake.cuda.using_allocator(r.pool.malloc):
        fake.empty(3)
    with pytest.raises(RuntimeError, match="freed"):
        r.graph.launch()


def test_a_graph_s_pool_must_be_kept(fake, x):
    with Recording(fake) as r:
        x += x * 2
    del r.pool, r._allocation
    with pytest.raises(RuntimeError, match="freed"):
        r.graph.launch()


# --- Products, kernels ---------------------------------------------------------------------------


def test_gemm_takes_matrices_without_gaps_only(fake, x):
    out = fake.empty((3, 3), "float32")
    fake.gemm(x.T, x, out)
    np.testing.assert_array_equal(fake.peek(out), fake.peek(x).T @ fake.peek(x))
    wide = fake.zeros((4, 4), "float32")
    for error, a, b, c in (
        (ValueError, x, x, out),
        (ValueError, x.T, x, fake.empty((2, 2), "float32")),
        (ValueError, x[0], x, out),
        (ValueError, wide[:3, ::2], x, out),
        (ValueError, x.T, x, wide[:3, :3]),
        (ValueError, wide, wide, wide),
        (TypeError, x.T, x.astype("float64"), out),
    ):
        with pytest.raises(error, match="gemm"):
            fake.gemm(a, b, c)


@pytest.fixture
def kernel(fake, monkeypatch):
    """A kernel y = a·x, with the CPU's stand-in for the compiler replaced by Python."""

    class Launch:
        class pointer:
            pointer = True

        class number:
            pointer = False

        parameters = (pointer, pointer, number)

        def __init__(self, name, dtype):
            assert (name, dtype) == ("scale", np.float64)

        def __call__(self, grid, block, args):
            x, y, a = args
            y[...] = a if type(x) is int else a * x

    monkeypatch.setattr("cuda_shim.kernel", Launch)
    module = fake.RawModule(code="void scale(…)", options=("-DREAL=double",))
    return module.get_function("scale")


def test_a_raw_kernel_runs_and_is_recorded(fake, kernel):
    x, y = fake.ones(4), fake.zeros(4)
    fake.reset_counts()
    kernel((1,), (32,), (x, y, np.float64(3)))
    assert fake.peek(y).tolist() == [3] * 4 and fake.launches == {"scale": 1}
    with Recording(fake) as r:
        kernel((1,), (32,), (x, y, np.float64(5)))
    assert fake.peek(y).tolist() == [3] * 4
    x.fill(2)
    r.graph.launch()
    assert fake.peek(y).tolist() == [10] * 4
    kernel((1,), (32,), (np.uint64(0), y, np.float64(0)))
    assert fake.peek(y).tolist() == [0] * 4


def test_a_raw_kernel_s_arguments_are_checked(fake, kernel):
    x, a = fake.ones((4, 4)), np.float64(3)
    for error, args in (
        (TypeError, (HOST, x, a)),
        (TypeError, (None, x, a)),
        (TypeError, (x, x, 3.0)),
        (TypeError, (x, x, 3)),
        (TypeError, (x, x)),
        (ValueError, (x.T, x, a)),
        (ValueError, (x[:, 0], x, a)),
    ):
        with pytest.raises(error):
            kernel((1,), (32,), args)
    for grid, block in (((0,), (32,)), ((1,), (2048,)), ((1,), (64, 32)), ((1, 70_000), (1,))):
        with pytest.raises(CUDADriverError):
            kernel(grid, block, (x, x, a))
    with pytest.raises(TypeError):
        kernel(1, (32,), (x, x, a))


def test_a_kernel_must_be_in_the_source_and_options_a_tuple(fake):
    with pytest.raises(CUDADriverError, match="NOT_FOUND"):
        fake.RawModule(code="").get_function("scale")
    with pytest.raises(TypeError, match="tuple"):
        fake.RawKernel("void scale()", "scale", ["-DREAL=float"])


# --- The device ----------------------------------------------------------------------------------


def test_a_machine_may_lack_things(fake, x):
    assert fake.is_available() and fake.cuda.runtime.getDeviceCount() == 1
    fake.hardware.missing.update(["cublas", "nvrtc"])
    with pytest.raises(ImportError, match="cublas"):
        x @ x.T
    with pytest.raises(RuntimeError, match="nvrtc"):
        fake.RawKernel("void scale()", "scale")
    fake.hardware.devices = 0
    with pytest.raises(CUDARuntimeError, match="cudaErrorNoDevice"):
        fake.cuda.runtime.getDeviceCount()
    fake.hardware.driver = 0
    assert fake.cuda.runtime.driverGetVersion() == 0 and not fake.is_available()
    for use in (lambda: fake.zeros(2), fake.cuda.Stream, lambda: x + 1, x.get):
        with pytest.raises(CUDARuntimeError, match="InsufficientDriver"):
            use()


def test_streams_are_current_as_long_as_they_are_used(fake):
    first, second = fake.cuda.Stream(non_blocking=True), fake.cuda.Stream(non_blocking=True)
    assert fake.cuda.get_current_stream() == fake.cuda.Stream.null != first
    with first:
        assert fake.cuda.get_current_stream() == first
        second.use()
        assert fake.cuda.get_current_stream() == second
    assert fake.cuda.get_current_stream() == fake.cuda.Stream.null


def test_a_time_is_known_only_after_waiting(fake, x):
    start, end = fake.cuda.Event(), fake.cuda.Event()
    with pytest.raises(CUDARuntimeError):
        fake.cuda.get_elapsed_time(start, end)
    start.record()
    x + 1
    end.record()
    with pytest.raises(CUDARuntimeError, match="NotReady"):
        fake.cuda.get_elapsed_time(start, end)
    end.synchronize()
    assert 0 <= fake.cuda.get_elapsed_time(start, end) < math.inf


def test_a_pool_counts_what_is_alive(fake):
    pool = fake.cuda.MemoryPool()
    with fake.cuda.using_allocator(pool.malloc):
        a = fake.zeros(1000, "float32")
        b = a[:10]
    assert pool.used_bytes() == 4096 == pool.total_bytes()
    del a
    assert pool.used_bytes() == 4096, "the view holds the memory"
    del b
    assert (pool.used_bytes(), pool.free_bytes()) == (0, 4096)
    pool.free_all_blocks()
    assert pool.total_bytes() == 0
    pool.set_limit(size=1024)
    with pytest.raises(OutOfMemoryError), fake.cuda.using_allocator(pool.malloc):
        fake.zeros(1000)
    with pytest.raises(MemoryError):
        fake.empty(1 << 50)


def test_an_array_on_given_memory(fake):
    pointer = fake.cuda.alloc(64)
    a = fake.ndarray((4,), "float32", pointer)
    b = fake.ndarray((2,), "float32", pointer + 8)
    c = fake.ndarray((3, 4), "float32", pointer, strides=(0, 4))
    a[...] = fake.arange(4)
    assert fake.peek(b).tolist() == [2, 3] and b.data.ptr == a.data.ptr + 8
    assert fake.peek(c).tolist() == [[0, 1, 2, 3]] * 3


# --- The real one --------------------------------------------------------------------------------


def public(thing):
    """Its names; those of its class too, which a module's own `dir` leaves out."""
    names = dir(thing) if isinstance(thing, type) else object.__dir__(thing)
    return {name for name in names if not name.startswith("_")}


@pytest.fixture
def real():
    return pytest.importorskip("cupy")


def test_cupy_has_every_name_that_the_fake_offers(fake, real):
    names = {n for n in public(fake) if n not in FAKE_ONLY}
    assert {n for n in names if not hasattr(real, n)} == set()
    pairs = [
        (fake.ndarray, real.ndarray, {"machine"}),
        (fake.cuda, real.cuda, set()),
        (fake.cuda.runtime, real.cuda.runtime, set()),
        (fake.cuda.nccl, real.cuda.nccl, set()),
        (fake.cuda.Stream, real.cuda.Stream, {"machine"}),
        (fake.cuda.Event, real.cuda.Event, {"machine"}),
        (fake.cuda.Device, real.cuda.Device, {"machine"}),
        (fake.cuda.Graph, real.cuda.Graph, {"machine"}),
        (fake.cuda.MemoryPool, real.cuda.MemoryPool, {"machine"}),
        (fake.cuda.MemoryPointer, real.cuda.MemoryPointer, set()),
        (fake.linalg, real.linalg, set()),
        (fake.RawModule, real.RawModule, {"machine"}),
        (fake.add, real.add, set()),
    ]
    for ours, theirs, own in pairs:
        assert {n for n in public(ours) - own if not hasattr(theirs, n)} == set(), ours


def test_cupy_s_arrays_have_every_operator_of_the_fake_s(fake, real):
    operators = {n for n in vars(fake_cupy.Array) if n.startswith("__")}
    operators -= {"__module__", "__dict__", "__weakref__", "__init__", "__qualname__"}
    assert {n for n in operators if not hasattr(real.ndarray, n)} == set()
    assert not hasattr(real.ndarray, "__index__") and not hasattr(fake.ndarray, "__index__")


def test_parameters_are_those_of_cupy(fake, real):
    for name in public(fake) - FAKE_ONLY:
        ours, theirs = getattr(fake, name), getattr(real, name)
        if not inspect.ismethod(ours):
            continue
        mine, its = (list(inspect.signature(f).parameters) for f in (ours, theirs))
        if name == "matmul":  # *args there
            continue
        assert mine == its[: len(mine)], name


def test_the_parameters_of_an_array_s_methods_are_those_of_cupy(real):
    for name, method in vars(fake_cupy.Array).items():
        if name.startswith("_") or not inspect.isfunction(method) or name in _REDUCTIONS:
            continue
        stated = getattr(real.ndarray, name).__doc__.strip().splitlines()[0]  # Cython writes it
        for parameter in list(inspect.signature(method).parameters)[1:]:
            assert re.search(rf"\b{parameter}\b", stated), (name, parameter, stated)


def test_reductions_take_what_cupy_s_take(real):
    for name, parameters in _REDUCTIONS.items():
        its = list(inspect.signature(getattr(real, name)).parameters)[1:]
        assert [p for p in its if p in parameters] == list(parameters), name


def test_the_errors_are_of_cupy_s_kinds(fake, real):
    runtime, memory = real.cuda.runtime, real.cuda.memory
    assert issubclass(runtime.CUDARuntimeError, RuntimeError)
    assert issubclass(memory.OutOfMemoryError, MemoryError)
    assert issubclass(real.cuda.driver.CUDADriverError, RuntimeError)
    if not real.is_available():
        with pytest.raises(runtime.CUDARuntimeError) as caught:
            runtime.getDeviceCount()
        assert caught.value.status in (35, 100)
