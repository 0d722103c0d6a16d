// Enough of CUDA to compile `svls.cu` for the host: thread blocks run one after
// another, with one thread each; or, with -DTHREADS=n, n threads that wait for each
// other at barriers.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#define __global__
#define __device__
#define __shared__
#define __align__(n) __attribute__((aligned(n)))

using std::min;
using std::rint;

struct Index {
    int x;
};
static thread_local Index blockIdx, threadIdx;
static Index blockDim, gridDim;
extern "C" {
__align__(16) unsigned char shared[1 << 18];
}

#ifdef THREADS
#include <atomic>
#include <barrier>
#include <thread>
#include <vector>
static std::barrier<> everyone(THREADS);
static std::atomic<int> any;
static void __syncthreads() { everyone.arrive_and_wait(); }
static int __syncthreads_or(int value) {
    if (value) any = 1;
    __syncthreads();
    const int found = any;
    __syncthreads();
    if (threadIdx.x == 0) any = 0;
    __syncthreads();
    return found;
}
#else
#define THREADS 1
static void __syncthreads() {}
static int __syncthreads_or(int value) { return value != 0; }
#endif

static unsigned atomicOr(unsigned* word, unsigned bits) {
    return __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
}

template <typename... P, std::size_t... I>
void run_thread(
    void (*kernel)(P...), int blocks, int thread, void** arguments,
    std::index_sequence<I...>) {
    threadIdx.x = thread;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        kernel(*static_cast<P*>(arguments[I])...);
        __syncthreads();
    }
}

// As cudaLaunchKernel takes its arguments.
template <typename... P>
void launch(void (*kernel)(P...), int blocks, void** arguments) {
    const std::index_sequence_for<P...> each;
    gridDim.x = blocks;
    blockDim.x = THREADS;
#if THREADS > 1
    std::vector<std::thread> threads;
    for (int i = 0; i < THREADS; ++i) {
        threads.emplace_back([=] { run_thread(kernel, blocks, i, arguments, each); });
    }
    for (auto& thread : threads) thread.join();
#else
    run_thread(kernel, blocks, 0, arguments, each);
#endif
}
