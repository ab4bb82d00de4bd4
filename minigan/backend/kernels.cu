/* The few array kernels that are worth writing for a GPU.

   Everything else is an array expression, the same text for NumPy and CuPy. What stands here would
   otherwise pass through memory several times (a normalisation, an optimiser's step), is no array
   expression at all (patches of an image, random numbers), or has to run without the host (what a
   captured graph repeats).

   NVRTC compiles this file once per dtype, with -DREAL=float or -DREAL=double. It includes nothing,
   so that a C++ compiler for the CPU can run the same text in the tests.

   The letters: images are x[n, row, column, c]; a window at (i, j) has taps (u, v), stride s and
   padding p; see conv.py. Arrays are contiguous, the last index the fastest, and neighbouring
   threads take neighbouring elements, because a GPU reads memory in whole lines (in a layer norm,
   where C = 1 below, they don't). Indices are 64 bits, but those within one image. */

typedef REAL real;

/* Every elementwise kernel walks i = first_index(), first_index() + index_step(), …, so that any
   grid covers any n, and a grid need not grow with the array. */
__device__ long long first_index()
{
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ long long index_step()
{
    return (long long)gridDim.x * blockDim.x;
}

/* --- Convolution ------------------------------------------------------------------------------ */

/* columns[n, i, j, u, v, c] = x[n, i·s − p + u, j·s − p + v, c], zero outside the image. */
extern "C" __global__ void im2col(
    const real* x, real* columns, long long count, int h, int w, int c, int kh, int kw, int sh,
    int sw, int ph, int pw, int oh, int ow)
{
    const long long per_image = (long long)oh * ow * kh * kw * c;
    for (long long index = first_index(); index < count; index += index_step()) {
        const long long n = index / per_image;
        unsigned int rest = index - n * per_image; /* a 64-bit division takes several times longer */
        const int channel = rest % c;
        rest /= c;
        const int v = rest % kw;
        rest /= kw;
        const int u = rest % kh;
        rest /= kh;
        const int j = rest % ow, i = rest / ow;

        const int row = i * sh - ph + u, column = j * sw - pw + v;
        const bool inside = 0 <= row && row < h && 0 <= column && column < w;
        columns[index] = inside ? x[((n * h + row) * w + column) * c + channel] : real(0);
    }
}

/* x[n, row, column, c] = Σ columns[n, i, j, u, v, c]
   over all windows with u = row + p − i·s in [0, kh), v = column + p − j·s in [0, kw).

   So i runs from ⌈(row + p − kh + 1) / s⌉ to ⌊(row + p) / s⌋, within [0, oh): ⌈kh / s⌉ windows at
   most. A pixel gathers its sum, where im2col's own order would scatter: no two threads write to
   one place, and the sum has the same order, hence the same rounding, in every run. */
extern "C" __global__ void col2im(
    const real* columns, real* x, long long count, int h, int w, int c, int kh, int kw, int sh,
    int sw, int ph, int pw, int oh, int ow)
{
    const long long per_image = (long long)h * w * c;
    for (long long index = first_index(); index < count; index += index_step()) {
        const long long n = index / per_image;
        unsigned int rest = index - n * per_image;
        const int channel = rest % c;
        rest /= c;
        const int column = rest % w + pw, row = rest / w + ph;

        const int first_i = row < kh ? 0 : (row - kh) / sh + 1;
        const int first_j = column < kw ? 0 : (column - kw) / sw + 1;
        real sum = 0;
        for (int i = first_i; i < oh && i * sh <= row; ++i) {
            for (int j = first_j; j < ow && j * sw <= column; ++j) {
                const long long window = (n * oh + i) * ow + j;
                const int u = row - i * sh, v = column - j * sw;
                sum += columns[((window * kh + u) * kw + v) * c + channel];
            }
        }
        x[index] = sum;
    }
}

/* --- Activations ------------------------------------------------------------------------------ */

/* y[i] = x[i] where x[i] > 0, slope · x[i] elsewhere: the comparison is false for NaN, which a
   maximum would swallow. Slope 0 stands apart because 0 · (−∞) is NaN, but max(−∞, 0) is 0. */
extern "C" __global__ void rectify(const real* x, real* y, real slope, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        const real below = slope == 0 && x[i] < 0 ? real(0) : slope * x[i];
        y[i] = x[i] > 0 ? x[i] : below;
    }
}

/* out[i] = g[i] where y[i] > 0, slope · g[i] elsewhere, 0 for slope 0 even if g is infinite.
   y > 0 just where x > 0, so that x need not be kept. */
extern "C" __global__ void rectify_grad(
    const real* g, const real* y, real* out, real slope, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        out[i] = y[i] > 0 ? g[i] : slope == 0 ? real(0) : slope * g[i];
    }
}

/* y[i] = σ(x[i]) = 1 / (1 + e⁻ˣ) = e^min(x, 0) / (1 + e^−|x|), where no exponent is positive. */
extern "C" __global__ void sigmoid(const real* x, real* y, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        const real small = exp(-fabs(x[i]));
        y[i] = (x[i] < 0 ? small : real(1)) / (1 + small);
    }
}

/* y[i] = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|). */
extern "C" __global__ void softplus(const real* x, real* y, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        y[i] = (x[i] < 0 ? real(0) : x[i]) + log1p(exp(-fabs(x[i])));
    }
}

/* --- Normalisation ---------------------------------------------------------------------------- */

/* One view serves all norms: x[a, b, c] with a < A, b < B, c < C and statistics over b. Batch norm
   has A = 1, instance norm A = n, layer norm C = 1.

   A sum over b alone would leave the GPU idle where A·C is small, so the B rows are cut into slices
   that are summed side by side, and the slices are then combined in a fixed order: one input gives
   one result, bit for bit, which atomic additions do not promise. */

struct Rows {
    long long begin, end;
};

/* Slice s holds the rows b in [s·m, (s + 1)·m) ∩ [0, B), m = ⌈B / slices⌉: none, if s is large. */
__device__ Rows slice_rows(long long s, long long B, int slices)
{
    const long long most = (B + slices - 1) / slices;
    const long long begin = s * most < B ? s * most : B;
    const long long end = begin + most < B ? begin + most : B;
    return {begin, end};
}

/* With b over slice s and m its length,
       part_mean[s, a, c] = Σ x[a, b, c] / m,   part_m2[s, a, c] = Σ (x[a, b, c] − part_mean)².

   Σ x² − m·mean² would cancel to nothing where the mean is large against the deviation. The second
   pass also sums d = x − mean, which is zero but for the rounding of the first, and corrects both
   results by it (Chan, Golub and LeVeque 1983, eq. 1.7). */
extern "C" __global__ void moments_partial(
    const real* x, real* part_mean, real* part_m2, long long A, long long B, long long C,
    int slices)
{
    for (long long i = first_index(); i < slices * A * C; i += index_step()) {
        const long long c = i % C, a = i / C % A, s = i / C / A;
        const Rows rows = slice_rows(s, B, slices);
        const real count = rows.end - rows.begin;
        real mean = 0, d_sum = 0, m2 = 0;
        if (count > 0) {
            for (long long b = rows.begin; b < rows.end; ++b) {
                mean += x[(a * B + b) * C + c];
            }
            mean /= count;
            for (long long b = rows.begin; b < rows.end; ++b) {
                const real d = x[(a * B + b) * C + c] - mean;
                d_sum += d;
                m2 += d * d;
            }
            mean += d_sum / count;
            m2 -= d_sum * d_sum / count;
        }
        part_mean[i] = mean;
        part_m2[i] = m2 < 0 ? real(0) : m2; /* equal numbers: rounding may fall below zero */
    }
}

/* mean[a, c] and variance[a, c] = Σ_b (x − mean)² / B, from those of the slices: for two disjoint
   sets of m and k numbers with means μ and ν, and δ = ν − μ (Chan, Golub and LeVeque 1979),

       mean = μ + δ k / (m + k),   M₂ = M₂' + M₂'' + δ² m k / (m + k).

   Means are counted from the first slice's: the differences are as small as the deviation, so that
   their sum loses no digits to a large mean. */
extern "C" __global__ void moments_combine(
    const real* part_mean, const real* part_m2, real* mean, real* variance, long long A,
    long long B, long long C, int slices)
{
    for (long long i = first_index(); i < A * C; i += index_step()) {
        const real origin = part_mean[i];
        real count = 0, offset = 0, m2 = 0;
        for (int s = 0; s < slices; ++s) {
            const Rows rows = slice_rows(s, B, slices);
            const real more = rows.end - rows.begin;
            if (more > 0) {
                const real delta = part_mean[s * A * C + i] - origin - offset;
                const real share = more / (count + more);
                offset += delta * share;
                m2 += part_m2[s * A * C + i] + delta * delta * count * share;
                count += more;
            }
        }
        mean[i] = origin + offset;
        variance[i] = m2 / B;
    }
}

/* y[a, b, c] = γ[c] (x[a, b, c] − μ[a, c]) / √(σ²[a, c] + ε) + β[c]; without γ 1, without β 0. */
extern "C" __global__ void normalize(
    const real* x, const real* mean, const real* variance, const real* scale, const real* shift,
    real* y, real eps, long long A, long long B, long long C)
{
    for (long long i = first_index(); i < A * B * C; i += index_step()) {
        const long long c = i % C, at = i / (B * C) * C + c;
        const real r = rsqrt(variance[at] + eps);
        const real gamma = scale ? scale[c] : real(1), beta = shift ? shift[c] : real(0);
        y[i] = gamma * r * (x[i] - mean[at]) + beta;
    }
}

/* With b over slice s:
       part_g[s, a, c] = Σ g[a, b, c],   part_gx[s, a, c] = Σ g[a, b, c] (x[a, b, c] − μ[a, c]).

   These two sums are all that the gradients in x, γ and β need of the other rows. */
extern "C" __global__ void normalize_sums(
    const real* g, const real* x, const real* mean, real* part_g, real* part_gx, long long A,
    long long B, long long C, int slices)
{
    for (long long i = first_index(); i < slices * A * C; i += index_step()) {
        const long long c = i % C, a = i / C % A, s = i / C / A;
        const Rows rows = slice_rows(s, B, slices);
        const real mu = mean[a * C + c];
        real sum_g = 0, sum_gx = 0;
        for (long long b = rows.begin; b < rows.end; ++b) {
            const long long at = (a * B + b) * C + c;
            sum_g += g[at];
            sum_gx += g[at] * (x[at] - mu);
        }
        part_g[i] = sum_g;
        part_gx[i] = sum_gx;
    }
}

/* total[i] = Σ_s part[s, i], i < n, in the order of s. */
extern "C" __global__ void sum_slices(const real* part, real* total, long long n, int slices)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        real sum = 0;
        for (int s = 0; s < slices; ++s) {
            sum += part[s * n + i];
        }
        total[i] = sum;
    }
}

/* With r = 1/√(σ² + ε), sum_g = Σ_b g and sum_gx = Σ_b g (x − μ), both [a, c]:
       out[a, b, c] = γ r (g − sum_g / B − (x − μ) r² sum_gx / B).

   That is g less its mean and less its part along x̂ = (x − μ) r: normalising makes both of no
   effect. */
extern "C" __global__ void normalize_grad(
    const real* g, const real* x, const real* mean, const real* variance, const real* scale,
    const real* sum_g, const real* sum_gx, real* out, real eps, long long A, long long B,
    long long C)
{
    const real share = real(1) / B;
    for (long long i = first_index(); i < A * B * C; i += index_step()) {
        const long long c = i % C, at = i / (B * C) * C + c;
        const real r = rsqrt(variance[at] + eps), gamma = scale ? scale[c] : real(1);
        const real along = (x[i] - mean[at]) * r * r * sum_gx[at] * share;
        out[i] = gamma * r * (g[i] - sum_g[at] * share - along);
    }
}

/* The gradient in γ: out[i] = sum_gx[i] / √(variance[i] + ε), for each i = (a, c). */
extern "C" __global__ void normalize_scale_grad(
    const real* sum_gx, const real* variance, real* out, real eps, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        out[i] = sum_gx[i] * rsqrt(variance[i] + eps);
    }
}

/* running[i] ← (1 − momentum) running[i] + momentum · factor · x[i]. */
extern "C" __global__ void track(
    real* running, const real* x, real momentum, real factor, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        running[i] += momentum * (factor * x[i] - running[i]);
    }
}

/* --- Optimisers ------------------------------------------------------------------------------- */

/* One kernel reads and writes each number once, where the formulas of optim/rules.py, an operation
   at a time, would read them five to ten times. All arrays are flat, and every line below holds for
   each i < n.

   A captured graph repeats its launches with the arguments of the first. So the numbers that
   change from step to step are read from memory, from `live`, which set_live writes. */

/* live = {α}:   u ← μ u + g,   θ ← θ − α u;   Nesterov: θ ← θ − α (g + μ u). */
extern "C" __global__ void sgd(
    real* theta, const real* g, real* u, const real* live, real momentum, int nesterov,
    long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        const real gradient = g[i], velocity = momentum * u[i] + gradient;
        u[i] = velocity;
        theta[i] -= live[0] * (nesterov ? gradient + momentum * velocity : velocity);
    }
}

/* live = {α}:   v ← ρ v + (1 − ρ) g²,   θ ← θ − α g / (√v + ε). */
extern "C" __global__ void rmsprop(
    real* theta, const real* g, real* v, const real* live, real decay, real eps, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        const real gradient = g[i], square = decay * v[i] + (1 - decay) * gradient * gradient;
        v[i] = square;
        theta[i] -= live[0] * gradient / (sqrt(square) + eps);
    }
}

/* live = {α / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ), 1 − α λ}:
       m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,
       θ ← live₂ θ − live₀ m / (live₁ √v + ε). */
extern "C" __global__ void adam(
    real* theta, const real* g, real* m, real* v, const real* live, real beta1, real beta2,
    real eps, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        const real gradient = g[i];
        const real first = beta1 * m[i] + (1 - beta1) * gradient;
        const real second = beta2 * v[i] + (1 - beta2) * gradient * gradient;
        m[i] = first;
        v[i] = second;
        theta[i] = live[2] * theta[i] - live[0] * first / (live[1] * sqrt(second) + eps);
    }
}

/* live = {1 − b}:   a ← a + (1 − b) (θ − a), the exponential moving average of the weights. */
extern "C" __global__ void ema(real* average, const real* theta, const real* live, long long n)
{
    for (long long i = first_index(); i < n; i += index_step()) {
        average[i] += live[0] * (theta[i] - average[i]);
    }
}

/* live[i] = (a, b, c)[i], i < n ≤ 3. Launched outside the graph, before it is replayed. */
extern "C" __global__ void set_live(real* live, real a, real b, real c, int n)
{
    const real values[3] = {a, b, c};
    for (long long i = first_index(); i < n; i += index_step()) {
        live[i] = values[i];
    }
}

/* --- Random numbers --------------------------------------------------------------------------- */

/* Philox4x32-10 (Salmon et al. 2011) is a function (counter, key) ↦ 128 random bits, no sequence:
   any thread computes any block of the stream at once, and nothing but a counter has to be kept.
   That counter lies on the device, in state = {key, counter}, and philox_advance moves it there.
   So a captured graph draws new numbers each time it is replayed, and the same ones that the same
   calls would have drawn without a graph.

   Block i of a draw is philox((counter + i, 0), key), and element e of its output is number
   e mod p of block ⌊e / p⌋, with p numbers per block. */

/* One round, with a 64-bit product cut into halves, (H, L)(x) = M x:
       (c₀, c₁, c₂, c₃) ← (H₁(c₂) ⊕ c₁ ⊕ k₀, L₁(c₂), H₀(c₀) ⊕ c₃ ⊕ k₁, L₀(c₀)). */
__device__ void philox(unsigned int* c, unsigned int k0, unsigned int k1)
{
    const unsigned int M0 = 0xD2511F53, M1 = 0xCD9E8D57;
    for (int round = 0; round < 10; ++round) {
        const unsigned int high0 = __umulhi(M0, c[0]), low0 = M0 * c[0];
        const unsigned int high1 = __umulhi(M1, c[2]), low1 = M1 * c[2];
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
}

/* word = philox((counter + i, 0), key): four words of 32 bits, the lowest first. */
__device__ void philox_block(const unsigned long long* state, long long i, unsigned int* word)
{
    const unsigned long long key = state[0], counter = state[1] + i;
    word[0] = (unsigned int)counter;
    word[1] = (unsigned int)(counter >> 32);
    word[2] = word[3] = 0;
    philox(word, (unsigned int)key, (unsigned int)(key >> 32));
}

__device__ unsigned long long word_pair(const unsigned int* word, int i)
{
    return (unsigned long long)word[2 * i + 1] << 32 | word[2 * i];
}

/* How many numbers of 32 or of 64 bits one block makes. */
const int PER_BLOCK = 16 / sizeof(real);

/* u[i] = ⌊word / 2⁸⌋ / 2²⁴ and ⌊word pair / 2¹¹⌋ / 2⁵³: multiples of the spacing below 1, so that
   none rounds up to 1 and 1 − u is exact. */
__device__ void unit_numbers(const unsigned int* word, float* u)
{
    for (int i = 0; i < 4; ++i) {
        u[i] = (word[i] >> 8) / 16777216.0f;
    }
}

__device__ void unit_numbers(const unsigned int* word, double* u)
{
    for (int i = 0; i < 2; ++i) {
        u[i] = (word_pair(word, i) >> 11) / 9007199254740992.0;
    }
}

/* out[e] = low + (high − low) u[e]. Where that rounds up to `high`, the number before it. */
extern "C" __global__ void philox_uniform(
    real* out, long long n, real low, real high, const unsigned long long* state)
{
    for (long long block = first_index(); block * PER_BLOCK < n; block += index_step()) {
        unsigned int word[4];
        real u[PER_BLOCK];
        philox_block(state, block, word);
        unit_numbers(word, u);
        for (int i = 0; i < PER_BLOCK && block * PER_BLOCK + i < n; ++i) {
            const real value = low + (high - low) * u[i];
            out[block * PER_BLOCK + i] = value < high ? value : nextafter(high, low);
        }
    }
}

/* out[e], out[e + 1] = √(−2 ln(1 − u[e])) · (cos, sin)(2π u[e + 1]), e even (Box and Muller 1958).
   1 − u lies in (0, 1], so that the logarithm is finite. */
extern "C" __global__ void philox_normal(real* out, long long n, const unsigned long long* state)
{
    for (long long block = first_index(); block * PER_BLOCK < n; block += index_step()) {
        unsigned int word[4];
        real u[PER_BLOCK];
        philox_block(state, block, word);
        unit_numbers(word, u);
        for (int i = 0; i < PER_BLOCK; i += 2) {
            const real radius = sqrt(-2 * log(1 - u[i])), half_turns = 2 * u[i + 1];
            u[i] = radius * cospi(half_turns);
            u[i + 1] = radius * sinpi(half_turns);
        }
        for (int i = 0; i < PER_BLOCK && block * PER_BLOCK + i < n; ++i) {
            out[block * PER_BLOCK + i] = u[i];
        }
    }
}

/* out[e] = low + ⌊span · bits[e] / 2⁶⁴⌋, with 64 bits each: uniform on low … low + span − 1 to
   within span / 2⁶⁴, and without the division of a remainder. */
extern "C" __global__ void philox_integers(
    long long* out, long long n, long long low, unsigned long long span,
    const unsigned long long* state)
{
    for (long long block = first_index(); block * 2 < n; block += index_step()) {
        unsigned int word[4];
        philox_block(state, block, word);
        for (int i = 0; i < 2 && block * 2 + i < n; ++i) {
            out[block * 2 + i] = low + (long long)__umul64hi(word_pair(word, i), span);
        }
    }
}

/* counter ← counter + blocks. A launch of its own, by one thread: inside the kernels above some
   thread might not yet have read the old value. */
extern "C" __global__ void philox_advance(unsigned long long* state, unsigned long long blocks)
{
    if (first_index() == 0) {
        state[1] += blocks;
    }
}

/* --- Data and records ------------------------------------------------------------------------- */

/* out[k, q] = images[index[k], q] / 127.5 − 1, q < size, k·size + q < count. The images stay bytes
   on the device, at a quarter of the memory, and only a batch becomes numbers in [−1, 1]. */
extern "C" __global__ void gather_images(
    const unsigned char* images, const long long* index, real* out, long long size,
    long long count)
{
    for (long long i = first_index(); i < count; i += index_step()) {
        out[i] = images[index[i / size] * size + i % size] / real(127.5) - 1;
    }
}

/* ring[position mod capacity, q] = row[q], q < columns; position ← position + 1. For one block: its
   threads all read the position before one of them moves it. The position lies on the device so
   that a replayed graph writes each step's record to the next row. */
extern "C" __global__ void append_row(
    const real* row, real* ring, long long* position, int columns, int capacity)
{
    const long long slot = *position % capacity;
    for (int q = threadIdx.x; q < columns; q += blockDim.x) {
        ring[slot * columns + q] = row[q];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        *position += 1;
    }
}
