/* The little of CUDA that kernels.cu uses, for a C++ compiler and the CPU.

   It exists so that the kernels are tested on machines without a GPU: the same text, its indices
   and its arithmetic. What it cannot show is what only a GPU has: rounding of fused products, races
   between threads that do not meet at a barrier, and speed. */

#include <barrier>
#include <cmath>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

#define __global__
#define __device__

struct dim3 {
    unsigned int x, y, z;
};

inline dim3 gridDim, blockDim;
inline thread_local dim3 blockIdx, threadIdx;

/* Where the threads of the running block meet; null while they run one after another. */
inline std::barrier<>* meeting = nullptr;

inline void __syncthreads()
{
    if (meeting) {
        meeting->arrive_and_wait();
    } else if (blockDim.x * blockDim.y * blockDim.z > 1) {
        throw std::logic_error("__syncthreads in threads that run one after another");
    }
}

/* --- Functions that CUDA has and C++ has not -------------------------------------------------- */

using std::exp;
using std::fabs;
using std::log;
using std::log1p;
using std::nextafter;
using std::sqrt;

inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }

const long double PI = 3.14159265358979323846264338327950288L;
inline float sinpi(float x) { return std::sin(PI * x); }
inline double sinpi(double x) { return std::sin(PI * x); }
inline float cospi(float x) { return std::cos(PI * x); }
inline double cospi(double x) { return std::cos(PI * x); }

inline unsigned int __umulhi(unsigned int a, unsigned int b)
{
    return (unsigned long long)a * b >> 32;
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned __int128)a * b >> 64;
}

/* --- Running a grid --------------------------------------------------------------------------- */

inline dim3 nth(std::size_t i, dim3 size)
{
    return {
        (unsigned int)(i % size.x),
        (unsigned int)(i / size.x % size.y),
        (unsigned int)(i / size.x / size.y)};
}

/* Real threads, since a barrier has to hold some back while others run. */
template <class Kernel>
void run_block_together(std::size_t threads, dim3 index, Kernel kernel)
{
    std::barrier<> barrier(threads);
    meeting = &barrier;
    std::vector<std::thread> running;
    for (std::size_t i = 0; i < threads; ++i) {
        running.emplace_back([=, &barrier] {
            blockIdx = index;
            threadIdx = nth(i, blockDim);
            kernel();
            barrier.arrive_and_drop();
        });
    }
    for (std::thread& thread : running) {
        thread.join();
    }
    meeting = nullptr;
}

/* Every thread of every block, once. Returns whether that was possible. */
template <class Kernel>
bool run_grid(const unsigned int* grid, const unsigned int* block, bool together, Kernel kernel)
{
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const std::size_t blocks = (std::size_t)grid[0] * grid[1] * grid[2];
    const std::size_t threads = (std::size_t)block[0] * block[1] * block[2];
    try {
        for (std::size_t b = 0; b < blocks; ++b) {
            if (together) {
                run_block_together(threads, nth(b, gridDim), kernel);
                continue;
            }
            blockIdx = nth(b, gridDim);
            for (std::size_t t = 0; t < threads; ++t) {
                threadIdx = nth(t, blockDim);
                kernel();
            }
        }
    } catch (const std::exception&) {
        return false;
    }
    return true;
}
