"""Winograd's form of a 3 × 3 convolution, which multiplies 16 times where the definition does 36.

Two neighbouring values of a convolution in one dimension need four products instead of six:

    y₀ = d₀g₀ + d₁g₁ + d₂g₂ = m₀ + m₁ + m₂,    m₀ = (d₀ − d₂) g₀,   m₁ = (d₁ + d₂) (g₀ + g₁ + g₂)/2,
    y₁ = d₁g₀ + d₂g₁ + d₃g₂ = m₁ − m₂ + m₃,    m₃ = (d₃ − d₁) g₂,   m₂ = (d₂ − d₁) (g₀ − g₁ + g₂)/2,

or y = Aᵀ (G g ⊙ Bᵀ d). Applied to rows and columns, a tile d of 4 × 4 pixels becomes the 2 × 2 of

    y = Aᵀ (G g Gᵀ ⊙ Bᵀ d B) A                                          (Lavin & Gray 2016, eq. 8),

and so it is for sums over channels, the ⊙ being 16 matrix products. The same form, read as linear
in g, gives the filter gradient Gᵀ (Σ Bᵀ d B ⊙ A y Aᵀ) G.

What is saved in products is spent in part on Bᵀ d B, which writes 4 numbers for one. On a CPU, in
float32, 16 images of 8 × 8 to 32 × 32 pixels took, beside the one product of `conv.py`,

    channels          32      64           64 to 128    128, 256
    ∂T/∂y, ∂T/∂x      1.05    0.75 - 0.95  0.75 - 0.8   0.75 - 0.8
    ∂T/∂w             1.1     0.85 - 1.05  0.85 - 0.95  0.8

of the time; 4 × 4 pixels gain nothing, as all that is left then is to transform the filters. The
largest difference is 10⁻⁶ of the largest value. Not tried in earnest: tiles of 6 × 6, which would
multiply 4 times less instead of 2.25, but add up twice as much, and with larger rounding errors.
"""

from __future__ import annotations

from minigan.backend import Window

SMALLEST = 8  # side of an image for which it pays
_G = (1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)
G = [[a * b for a in u for b in v] for u in _G for v in _G]  # G g Gᵀ, if g is written as a column


def pays(x, window: Window, filters) -> bool:
    """Whether a convolution can be computed in this form, and would be faster."""
    fits = window.kernel == (3, 3) and window.stride == window.padding == (1, 1)
    if not fits or x.data.dtype != "float32":
        return False
    large = all(side % 2 == 0 and side >= SMALLEST for side in window.image)
    return large and min(x.shape[3], filters) >= x.backend.WINOGRAD_CHANNELS


def convolve(x, w, window: Window):
    """∂T/∂y: a tensor x (n, h, w, c), an array w (3, 3, c, k) -> an array (n, h, w, k)."""
    backend, (channels, filters) = x.backend, w.shape[2:]
    out = backend.empty((*x.shape[:3], filters), x.dtype)
    matrices = (backend.constant(G) @ w.reshape(9, -1)).reshape(16, channels, filters)
    for chunk in backend.chunks(len(x), window, max(channels, filters), x.data.itemsize):
        products = backend.matmul(_tiles(backend, x.data[chunk]), matrices)
        _assemble(products, out[chunk])
    return out


def filter_grad(x, y, window: Window):
    """∂T/∂w: tensors (n, h, w, c) and (n, h, w, k) -> an array (3, 3, c, k)."""
    backend, channels, filters = x.backend, x.shape[3], y.shape[3]
    total = backend.xp.zeros((16, channels, filters), x.dtype)
    for chunk in backend.chunks(len(x), window, max(channels, filters), x.data.itemsize):
        tiles, spread = _tiles(backend, x.data[chunk]), _spread(backend, y.data[chunk])
        total += backend.matmul(tiles.swapaxes(1, 2), spread)
    total = backend.constant(G).T @ total.reshape(16, -1)
    return total.reshape(3, 3, channels, filters)


# --- The transforms ------------------------------------------------------------------------------


def _tiles(backend, x):
    """Bᵀ d B for every tile d, of which one begins at every other pixel: (16, n·h/2·w/2, c).

    The image gets an edge of zeros, and its odd columns are put behind the even ones, so that what
    is added up lies together in memory.
    """
    n, h, w, c = x.shape
    padded = backend.xp.zeros((n, h + 2, 2, w // 2 + 1, c), x.dtype)
    padded[:, 1:-1, 1, :-1] = x[:, :, 0::2]
    padded[:, 1:-1, 0, 1:] = x[:, :, 1::2]
    rows = backend.empty((4, n, h // 2, 2, w // 2 + 1, c), x.dtype)
    _differences(backend, [padded[:, i : h - 1 + i : 2] for i in range(4)], rows)
    tiles = backend.empty((4, 4, n, h // 2, w // 2, c), x.dtype)
    even, odd = rows[:, :, :, 0], rows[:, :, :, 1]
    columns = even[..., :-1, :], odd[..., :-1, :], even[..., 1:, :], odd[..., 1:, :]
    _differences(backend, columns, tiles.swapaxes(0, 1))
    return tiles.reshape(16, -1, c)


def _differences(backend, d, out):
    """Bᵀ d, along one axis."""
    backend.xp.subtract(d[0], d[2], out=out[0])
    backend.xp.add(d[1], d[2], out=out[1])
    backend.xp.subtract(d[2], d[1], out=out[2])
    backend.xp.subtract(d[3], d[1], out=out[3])


def _assemble(m, out):
    """Aᵀ m A for every tile's m (16, tiles, k), put in its place among the pixels of `out`."""
    quarters = [_sums(row) for row in _sums(m.reshape(4, 4, -1, m.shape[2]))]
    for i in range(2):
        for j in range(2):
            place = out[:, i::2, j::2]
            place[...] = quarters[i][j].reshape(place.shape)


def _sums(m):
    """Aᵀ m, along the first axis."""
    first, second = m[1] + m[2], m[1] - m[2]
    first += m[0]
    second += m[3]
    return first, second


def _spread(backend, y):
    """A y Aᵀ for every 2 × 2 pixels y: (n, h, w, k) -> (16, n·h/2·w/2, k)."""
    n, h, w, k = y.shape
    out = backend.empty((4, 4, n, h // 2, w // 2, k), y.dtype)
    left, right = y[:, :, 0::2], y[:, :, 1::2]
    for j, column in enumerate((left, left + right, left - right, right)):
        upper, lower = column[:, 0::2], column[:, 1::2]
        out[0, j], out[3, j] = upper, lower
        backend.xp.add(upper, lower, out=out[1, j])
        backend.xp.subtract(upper, lower, out=out[2, j])
    return out.reshape(16, -1, k)
