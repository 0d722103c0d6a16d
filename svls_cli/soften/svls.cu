// Soft labels of a block of voxels on a CUDA device: `soften_block`, bit for bit.
//
// Every value is made by the operations of `smoothing._Smoother` and `neighbour_sum`,
// in their order and their number types; so this is compiled with --fmad=false, and
// whoever changes one of the two changes both. `cuda_block.py` makes the tables and
// launches.
//
// Voxels are rows of a table that holds only the label values (or codes of several
// raters' labels) of this block:
//   row_of[code]                  the row of a value, for all that the block holds
//   own[row]                      its class within the block; n_classes if ignored
//   certain[row]                  no class but its own has a share
//   given[class * n_rows + row]   share of a class before smoothing
//   stored[class * n_rows + row]  soft label where nothing is smoothed
// Axes are z, y, x; regions carry a halo of RADIUS voxels.
//
// All loops stride by the number of threads, so any number of threads is right.

// Given by -D: TILE_Z TILE_Y TILE_X (what a thread block softens at a time) and
// RADIUS_Z RADIUS_Y RADIUS_X (the window's reach).
constexpr int WIDTH_Z = TILE_Z + 2 * RADIUS_Z;
constexpr int WIDTH_Y = TILE_Y + 2 * RADIUS_Y;
constexpr int WIDTH_X = TILE_X + 2 * RADIUS_X;
constexpr int PLANE = WIDTH_Y * WIDTH_X;
constexpr int WINDOW = WIDTH_Z * PLANE;
constexpr int VOXELS = TILE_Z * TILE_Y * TILE_X;

// The place in the window of a voxel of the tile.
__device__ inline int in_window(int voxel) {
    const int x = voxel % TILE_X, y = voxel / TILE_X % TILE_Y;
    const int z = voxel / TILE_X / TILE_Y;
    return (z + RADIUS_Z) * PLANE + (y + RADIUS_Y) * WIDTH_X + x + RADIUS_X;
}

__device__ inline void set_bit(unsigned* bits, int at) {
    atomicOr(bits + at / 32, 1u << at % 32);
}

__device__ inline bool bit(const unsigned* bits, int at) {
    return bits[at / 32] >> at % 32 & 1;
}

// ---- Number types of soft labels ---------------------------------------------------

template <typename Value, typename Bits>
union Number {
    Value value;
    Bits bits;
};

// IEEE half precision of values in [0, 1], rounded to nearest even as NumPy does.
struct Half {
    unsigned short bits;

    Half() = default;

    __device__ explicit Half(double value) {
        Number<double, unsigned long long> number, power;
        number.value = value;
        const int exponent = static_cast<int>(number.bits >> 52) - 1023;
        // Steps of 2^-24 up to the smallest normal number, 11 significant bits above;
        // a carry out of them goes into the exponent, as it should.
        const int shift = exponent < -14 ? 0 : exponent + 14;
        power.bits = (1023ull + 24 - shift) << 52;
        const int digits = static_cast<int>(rint(value * power.value));
        bits = static_cast<unsigned short>((shift << 10) + digits);
    }

    __device__ operator float() const {
        Number<float, unsigned> number;
        number.bits = (bits << 13) + (112u << 23);
        return bits < 1024 ? bits * 0x1p-24f : number.value;
    }
};

// `Rest` counts what the other classes leave a voxel's own, `top` being all.
template <typename Soft>
struct Levels {
    using Rest = int;
    static constexpr int top = sizeof(Soft) == 1 ? 255 : 65535;
    __device__ static int less(int rest, Soft taken) { return rest - taken; }
};
template <>
struct Levels<float> {
    using Rest = float;
    static constexpr int top = 1;
    __device__ static float less(float rest, float taken) { return rest - taken; }
};
template <>
struct Levels<Half> {
    using Rest = float;
    static constexpr int top = 1;
    __device__ static float less(float rest, Half taken) {
        const float left = rest - static_cast<float>(taken);
        // Only what is >= 0 is ever stored.
        const float rounded = Half(left < 0 ? -left : left);
        return left < 0 ? -rounded : rounded;
    }
};

// `mixture.take_back`: others that got too much give it back, the largest first.
template <typename Soft>
__device__ void take_back(
    int& rest, Soft* shares, long long stride, int n_classes, int own) {
    for (; rest < 0; ++rest) {
        int largest = own ? 0 : 1;
        for (int c = largest + 1; c < n_classes; ++c) {
            if (c != own && shares[c * stride] > shares[largest * stride]) largest = c;
        }
        shares[largest * stride] -= 1;
    }
}
template <typename Soft>
__device__ void take_back(float& rest, Soft*, long long, int, int) {
    if (rest < 0) rest = 0;
}

// ---- Neighbours --------------------------------------------------------------------

// One axis of `neighbour_sum`: what it adds goes into `sums` where the tile is, and
// `wide` plus what it adds into `wider`, where the axes after it will look.
template <int AXIS, typename Sum>
__device__ void add_axis(
    const Sum* wide, Sum* wider, Sum* sums, const Sum* weights, Sum total) {
    constexpr int REACH = AXIS == 0 ? RADIUS_Z : AXIS == 1 ? RADIUS_Y : RADIUS_X;
    constexpr int STEP = AXIS == 0 ? PLANE : AXIS == 1 ? WIDTH_X : 1;
    constexpr int NY = AXIS > 0 ? TILE_Y : WIDTH_Y, NX = AXIS > 1 ? TILE_X : WIDTH_X;
    for (int i = threadIdx.x; i < TILE_Z * NY * NX; i += blockDim.x) {
        const int x = i % NX + (AXIS > 1 ? RADIUS_X : 0);
        const int y = i / NX % NY + (AXIS > 0 ? RADIUS_Y : 0);
        const int z = i / NX / NY + RADIUS_Z;
        const int at = z * PLANE + y * WIDTH_X + x;
        Sum part = 0;
        for (int distance = 1; distance <= REACH; ++distance) {
            const int shift = distance * STEP;
            Sum pair = wide[at - shift] + wide[at + shift];
            pair *= weights[distance - 1];
            part += pair;
        }
        const int ty = y - RADIUS_Y, tx = x - RADIUS_X;
        if (ty >= 0 && ty < TILE_Y && tx >= 0 && tx < TILE_X) {
            sums[((z - RADIUS_Z) * TILE_Y + ty) * TILE_X + tx] += part;
        }
        part *= total;
        wider[at] = wide[at] + part;
    }
    __syncthreads();
}

// `neighbour_sum` of one tile: `wide` holds the shares of its window and is lost.
template <typename Sum>
__device__ void neighbour_sum(
    Sum* wide, Sum* wider, Sum* sums, const Sum* weights, Sum total) {
    for (int i = threadIdx.x; i < VOXELS; i += blockDim.x) sums[i] = 0;
    __syncthreads();
    if (RADIUS_Z) {
        add_axis<0>(wide, wider, sums, weights, total);
        Sum* const spent = wide;
        wide = wider;
        wider = spent;
    }
    if (RADIUS_Y) {
        add_axis<1>(wide, wider, sums, weights + RADIUS_Z, total);
        Sum* const spent = wide;
        wide = wider;
        wider = spent;
    }
    if (RADIUS_X) add_axis<2>(wide, wider, sums, weights + RADIUS_Z + RADIUS_Y, total);
}

// ---- Kernels -----------------------------------------------------------------------

// Which values a region holds, as bits.
template <typename Label>
__global__ void find_codes(const Label* region, int n, unsigned* found) {
    const int first = blockIdx.x * blockDim.x + threadIdx.x;
    for (int i = first; i < n; i += gridDim.x * blockDim.x) {
        // Label maps are runs of equal voxels: the first of each run will do.
        if (i == 0 || region[i] != region[i - 1]) set_bit(found, region[i]);
    }
}

// Soft labels where nothing is smoothed: planes first_z..last_z of the inner part.
template <typename Label, typename Soft>
__global__ void fill(
    const Label* region, int ny, int nx, int first_z, int last_z, const int* row_of,
    const Soft* stored, int n_rows, int n_classes, Soft* soft) {
    const int row_step = nx + 2 * RADIUS_X;
    const long long plane_step = static_cast<long long>(ny + 2 * RADIUS_Y) * row_step;
    const int n = (last_z - first_z) * ny * nx;
    const int first = blockIdx.x * blockDim.x + threadIdx.x;
    for (int i = first; i < n; i += gridDim.x * blockDim.x) {
        const int x = RADIUS_X + i % nx, y = RADIUS_Y + i / nx % ny;
        const int z = RADIUS_Z + first_z + i / nx / ny;
        const int row = row_of[region[z * plane_step + y * row_step + x]];
        for (int c = 0; c < n_classes; ++c) {
            soft[static_cast<long long>(c) * n + i] = stored[c * n_rows + row];
        }
    }
}

// `smoothing._mixed`: which of the engine's tiles see more than one value, with halo.
// Only for several raters: where they agree to differ, filling in and smoothing round
// differently, and the engine's tiles say which it is.
template <typename Label>
__global__ void find_mixed(
    const Label* region, int nz, int ny, int nx, int tile_z, int tile_y, int tile_x,
    unsigned char* mixed) {
    const int tiles_x = (nx + tile_x - 1) / tile_x;
    const int tiles_y = (ny + tile_y - 1) / tile_y;
    const int z0 = blockIdx.x / tiles_x / tiles_y * tile_z;
    const int y0 = blockIdx.x / tiles_x % tiles_y * tile_y;
    const int x0 = blockIdx.x % tiles_x * tile_x;
    const int z1 = min(z0 + tile_z, nz) + 2 * RADIUS_Z;
    const int y1 = min(y0 + tile_y, ny) + 2 * RADIUS_Y;
    const int x1 = min(x0 + tile_x, nx) + 2 * RADIUS_X;
    const int height = y1 - y0, width = x1 - x0, count = (z1 - z0) * height * width;
    const int row_step = nx + 2 * RADIUS_X, plane_step = (ny + 2 * RADIUS_Y) * row_step;
    const Label first = region[z0 * plane_step + y0 * row_step + x0];
    int differs = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const int z = z0 + i / width / height, y = y0 + i / width % height;
        differs |= region[z * plane_step + y * row_step + x0 + i % width] != first;
    }
    differs = __syncthreads_or(differs);
    if (threadIdx.x == 0) mixed[blockIdx.x] = differs != 0;
}

// Soft labels of the planes first_z..last_z of a region's inner part (nz, ny, nx).
//
// `mixed` is what `find_mixed` found, or null where every row is certain. `scratch` is
// null, and what a tile works on lies in shared memory; or it has room for it, a
// `scratch_bytes` for each thread block. Some voxels are ignored if `ignores`; Sum is
// double then.
template <typename Label, typename Soft, typename Sum>
__global__ void soften(
    const Label* region, int nz, int ny, int nx, int first_z, int last_z,
    const int* row_of, const int* own, const unsigned char* certain, const float* given,
    const Soft* stored, int n_rows, int n_classes, const unsigned char* mixed,
    int mixed_z, int mixed_y, int mixed_x, const Sum* weights, double total,
    double full, double rounding, int ignores, unsigned char* scratch,
    long long scratch_bytes, Soft* soft) {
    using Rest = typename Levels<Soft>::Rest;
    constexpr int top = Levels<Soft>::top;
    extern __shared__ __align__(16) unsigned char shared[];

    // `cuda.Layout.bytes` counts these.
    unsigned char* const memory =
        scratch ? scratch + blockIdx.x * scratch_bytes : shared;
    Sum* const wide = reinterpret_cast<Sum*>(memory);
    Sum* const wider = wide + WINDOW;
    Sum* const sums = wider + WINDOW;
    Sum* const scale = sums + VOXELS;  // of each voxel, if some are ignored
    Rest* const rest = reinterpret_cast<Rest*>(scale + (ignores ? VOXELS : 0));
    int* const rows = reinterpret_cast<int*>(rest + VOXELS);
    unsigned* const seen = reinterpret_cast<unsigned*>(rows + WINDOW);
    unsigned* const present = seen + (n_rows + 31) / 32;
    const int n_bits = (n_rows + 31) / 32 + (n_classes + 31) / 32;

    const int depth = last_z - first_z;
    const long long plane = static_cast<long long>(ny) * nx, stride = depth * plane;
    const int tiles_x = (nx + TILE_X - 1) / TILE_X;
    const int tiles_y = (ny + TILE_Y - 1) / TILE_Y;
    const int tiles = (depth + TILE_Z - 1) / TILE_Z * tiles_y * tiles_x;
    const int row_step = nx + 2 * RADIUS_X;
    const long long plane_step = static_cast<long long>(ny + 2 * RADIUS_Y) * row_step;

    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const int x0 = tile % tiles_x * TILE_X;
        const int y0 = tile / tiles_x % tiles_y * TILE_Y;
        const int z0 = first_z + tile / tiles_x / tiles_y * TILE_Z;

        // The window; beyond the region, where nothing is kept, its edge is repeated.
        for (int i = threadIdx.x; i < WINDOW; i += blockDim.x) {
            const int x = min(x0 + i % WIDTH_X, nx + 2 * RADIUS_X - 1);
            const int y = min(y0 + i / WIDTH_X % WIDTH_Y, ny + 2 * RADIUS_Y - 1);
            const int z = min(z0 + i / PLANE, nz + 2 * RADIUS_Z - 1);
            rows[i] = row_of[region[z * plane_step + y * row_step + x]];
        }
        for (int i = threadIdx.x; i < n_bits; i += blockDim.x) seen[i] = 0;
        __syncthreads();

        // A voxel of the tile: where its soft labels go, -1 outside the volume; and
        // whether its row of the table is filled in, as the engine would.
        const auto place = [&](int voxel) -> long long {
            const int x = x0 + voxel % TILE_X, y = y0 + voxel / TILE_X % TILE_Y;
            const int z = z0 + voxel / TILE_X / TILE_Y;
            if (z >= last_z || y >= ny || x >= nx) return -1;
            return (z - first_z) * plane + static_cast<long long>(y) * nx + x;
        };
        const auto filled = [&](int voxel) {
            if (!mixed) return false;
            const int x = (x0 + voxel % TILE_X) / mixed_x;
            const int y = (y0 + voxel / TILE_X % TILE_Y) / mixed_y;
            const int z = (z0 + voxel / TILE_X / TILE_Y) / mixed_z;
            const int across = (nx + mixed_x - 1) / mixed_x;
            const int down = (ny + mixed_y - 1) / mixed_y;
            return !mixed[(z * down + y) * across + x];
        };

        int differs = 0;
        for (int i = threadIdx.x; i < WINDOW; i += blockDim.x) {
            differs |= rows[i] != rows[0];
        }
        differs = __syncthreads_or(differs);
        if (!differs && certain[rows[0]]) {
            const Soft* const values = stored + rows[0];
            for (int i = threadIdx.x; i < VOXELS; i += blockDim.x) {
                const long long at = place(i);
                if (at < 0) continue;
                for (int c = 0; c < n_classes; ++c) {
                    soft[c * stride + at] = values[c * n_rows];
                }
            }
            __syncthreads();
            continue;
        }

        // Classes that have a share anywhere in the window.
        for (int i = threadIdx.x; i < WINDOW; i += blockDim.x) {
            if (i == 0 || rows[i] != rows[i - 1]) set_bit(seen, rows[i]);
        }
        __syncthreads();
        for (int c = threadIdx.x; c < n_classes; c += blockDim.x) {
            bool has_share = false;
            for (int row = 0; row < n_rows && !has_share; ++row) {
                has_share = bit(seen, row) && given[c * n_rows + row] > 0;
            }
            if (has_share) set_bit(present, c);
        }

        // `_Smoother._scale`.
        const Sum weight = static_cast<Sum>(total);
        if (ignores) {
            for (int i = threadIdx.x; i < WINDOW; i += blockDim.x) {
                wide[i] = own[rows[i]] < n_classes;
            }
            neighbour_sum(wide, wider, sums, weights, weight);
        }
        for (int i = threadIdx.x; i < VOXELS; i += blockDim.x) {
            rest[i] = static_cast<Rest>(top);
            if (ignores) {
                const bool counts = own[rows[in_window(i)]] < n_classes;
                const bool some = counts && sums[i] > 2.2250738585072014e-308;
                scale[i] = some ? static_cast<Sum>(full) / sums[i] : Sum(0);
            }
        }
        __syncthreads();

        // `_Smoother._soften`.
        for (int c = 0; c < n_classes; ++c) {
            if (!bit(present, c)) {
                for (int i = threadIdx.x; i < VOXELS; i += blockDim.x) {
                    const long long at = place(i);
                    if (at >= 0) soft[c * stride + at] = Soft(0);
                }
                continue;
            }
            const float* const shares = given + c * n_rows;
            for (int i = threadIdx.x; i < WINDOW; i += blockDim.x) {
                wide[i] = static_cast<Sum>(shares[rows[i]]);
            }
            neighbour_sum(wide, wider, sums, weights, weight);
            for (int i = threadIdx.x; i < VOXELS; i += blockDim.x) {
                const long long at = place(i);
                const int row = rows[in_window(i)];
                if (at < 0 || own[row] == c) continue;
                if (filled(i)) {
                    soft[c * stride + at] = stored[c * n_rows + row];
                    continue;
                }
                const bool alone = ignores && scale[i] == 0;
                const Sum centre = static_cast<Sum>(alone ? top : top - full);
                Sum share = sums[i] * (ignores ? scale[i] : static_cast<Sum>(full));
                share += static_cast<Sum>(shares[row]) * centre;
                share += static_cast<Sum>(rounding);
                const Soft value = static_cast<Soft>(share);
                rest[i] = Levels<Soft>::less(rest[i], value);
                soft[c * stride + at] = value;
            }
            __syncthreads();
        }

        // A voxel's own class has the rest.
        for (int i = threadIdx.x; i < VOXELS; i += blockDim.x) {
            const long long at = place(i);
            const int row = rows[in_window(i)], mine = own[row];
            if (at < 0 || mine == n_classes) continue;
            if (filled(i)) {
                soft[mine * stride + at] = stored[mine * n_rows + row];
            } else {
                take_back(rest[i], soft + at, stride, n_classes, mine);
                soft[mine * stride + at] = static_cast<Soft>(rest[i]);
            }
        }
        __syncthreads();
    }
}
