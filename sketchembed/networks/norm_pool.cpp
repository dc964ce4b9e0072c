// Batch norm in training, ReLU and 2 x 2 max pooling of channels-last maps [images, height, width, channels].
// T is the type of statistics and weights, and L that of the maps.
#include "native.hpp"

static const long RUN = 64;           // positions added in T before they are added to a sum in double
static const unsigned char NONE = 255; // the place of a maximum that ReLU sets to zero

// Two sums over positions for each part and channel, [parts, 2, channels]. `add(position, first, second)` adds a position to
// both. `scratch` is [parts, 2, channels].
template <class T, class Add>
static void channel_sums(long positions, long channels, long parts, double *out, T *scratch, Add add) {
#pragma omp parallel for schedule(static, 1) num_threads(parts)
    for (long part = 0; part < parts; part++) {
        double *sums = out + part * 2 * channels;
        T *few = scratch + part * 2 * channels;
        SIMD for (long c = 0; c < 2 * channels; c++) sums[c] = 0;
        long end = (part + 1) * positions / parts;
        for (long start = part * positions / parts; start < end; start += RUN) {
            SIMD for (long c = 0; c < 2 * channels; c++) few[c] = 0;
            for (long at = start; at < end && at < start + RUN; at++) add(at, few, few + channels);
            SIMD for (long c = 0; c < 2 * channels; c++) sums[c] += few[c];
        }
    }
}

// Sums of x - first and of its square. `first` is the first position, often the value of the background, so that no large
// numbers cancel.
template <class T, class L>
static void sums(long positions, long channels, long parts, const L *maps, double *out, T *scratch) {
    channel_sums(positions, channels, parts, out, scratch, [=](long at, T *sum, T *squares) {
        const L *x = maps + at * channels;
        SIMD for (long c = 0; c < channels; c++) {
            T value = load(x[c]) - load(maps[c]);
            sum[c] += value;
            squares[c] += value * value;
        }
    });
}

// ReLU of (x - mean) * scale + shift, pooled or not. With pooling also stores x at each maximum, and its place in the
// window.
template <class T, class L>
static void forward(long images, long height, long width, long channels, long parts, bool pool, const L *maps,
                    const T *mean, const T *scale, const T *shift, L *out, L *at_maximum, unsigned char *places) {
    long rows = pool ? height / 2 : height, columns = pool ? width / 2 : width;
#pragma omp parallel for schedule(static) num_threads(parts)
    for (long line = 0; line < images * rows; line++) {
        long image = line / rows, row = line % rows;
        for (long column = 0; column < columns; column++) {
            long to = (line * columns + column) * channels;
            if (!pool) {
                const L *x = maps + to;
                SIMD for (long c = 0; c < channels; c++) {
                    T y = (load(x[c]) - mean[c]) * scale[c] + shift[c];
                    store(out[to + c], y < 0 ? T(0) : y);
                }
                continue;
            }
            const L *x = maps + ((image * height + 2 * row) * width + 2 * column) * channels;
            const L *right = x + channels, *below = x + width * channels, *both = below + channels;
            SIMD for (long c = 0; c < channels; c++) {
                T a = load(x[c]), b = load(right[c]), d = load(below[c]), e = load(both[c]);
                T ya = (a - mean[c]) * scale[c] + shift[c], yb = (b - mean[c]) * scale[c] + shift[c];
                T yd = (d - mean[c]) * scale[c] + shift[c], ye = (e - mean[c]) * scale[c] + shift[c];
                // The first of equal maxima, as in PyTorch.
                T y = ya;
                int place = 0;
                T value = a;
                place = yb > y ? 1 : place, value = yb > y ? b : value, y = yb > y ? yb : y;
                place = yd > y ? 2 : place, value = yd > y ? d : value, y = yd > y ? yd : y;
                place = ye > y ? 3 : place, value = ye > y ? e : value, y = ye > y ? ye : y;
                // NaN in any place of the window stays NaN.
                T all = ya + yb + yd + ye;
                y = all != all ? all : y;
                store(out[to + c], y <= 0 ? T(0) : y);
                store(at_maximum[to + c], value);
                places[to + c] = y <= 0 ? NONE : (unsigned char)place;
            }
        }
    }
}

// Sums of the gradient of the norm's output and of its product with x - mean. With pooling, `x` is x at the maxima.
template <class T, class L>
static void backward_sums(long positions, long channels, long parts, bool pool, const L *grad, const L *x,
                          const unsigned char *places, const T *mean, const T *scale, const T *shift, double *out,
                          T *scratch) {
    channel_sums(positions, channels, parts, out, scratch, [=](long at, T *sum, T *along) {
        const L *g = grad + at * channels, *value = x + at * channels;
        if (pool) {
            const unsigned char *place = places + at * channels;
            SIMD for (long c = 0; c < channels; c++) {
                T d = place[c] == NONE ? T(0) : load(g[c]);
                sum[c] += d;
                along[c] += d * (load(value[c]) - mean[c]);
            }
        } else {
            SIMD for (long c = 0; c < channels; c++) {
                T centred = load(value[c]) - mean[c];
                T d = centred * scale[c] + shift[c] <= 0 ? T(0) : load(g[c]);
                sum[c] += d;
                along[c] += d * centred;
            }
        }
    });
}

// The gradient of the maps: scale * (gradient of the norm's output - level - (x - mean) * slope).
template <class T, class L>
static void backward(long images, long height, long width, long channels, long parts, bool pool, const L *grad,
                     const L *maps, const unsigned char *places, const T *mean, const T *scale, const T *shift,
                     const T *level, const T *slope, L *out) {
    long rows = height / 2, columns = width / 2;
#pragma omp parallel for schedule(static) num_threads(parts)
    for (long line = 0; line < images * height; line++) {
        long image = line / height, row = line % height;
        for (long column = 0; column < width; column++) {
            long at = (line * width + column) * channels;
            const L *x = maps + at;
            if (!pool) {
                const L *g = grad + at;
                SIMD for (long c = 0; c < channels; c++) {
                    T centred = load(x[c]) - mean[c];
                    T d = centred * scale[c] + shift[c] <= 0 ? T(0) : load(g[c]);
                    store(out[at + c], scale[c] * (d - level[c] - centred * slope[c]));
                }
            } else if (row / 2 < rows && column / 2 < columns) {
                long from = ((image * rows + row / 2) * columns + column / 2) * channels;
                const L *g = grad + from;
                const unsigned char *place = places + from, here = (unsigned char)(2 * (row % 2) + column % 2);
                SIMD for (long c = 0; c < channels; c++) {
                    T d = place[c] == here ? load(g[c]) : T(0);
                    store(out[at + c], scale[c] * (d - level[c] - (load(x[c]) - mean[c]) * slope[c]));
                }
            } else { // the last row or column of an odd side is not pooled
                SIMD for (long c = 0; c < channels; c++)
                    store(out[at + c], scale[c] * (-level[c] - (load(x[c]) - mean[c]) * slope[c]));
            }
        }
    }
}

EXPORT(sums)
EXPORT(forward)
EXPORT(backward_sums)
EXPORT(backward)
