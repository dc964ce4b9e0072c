// The squared distance to the nearest segment with its gradient: squared_distance() in rasterize.py.
#include "native.hpp"

// The pixels in the bounding box of a segment, extended by `reach` on each side. `offset` is the coordinate of the centre of
// the first pixel. A segment with a NaN coordinate, as in diverging training, has none.
struct Box {
    long left, right, top, bottom;
};
template <class T> static inline Box box_of(const T *start, const T *end, T reach, T offset, long size) {
    T side = T(size), low[2], high[2];
    for (int axis = 0; axis < 2; axis++) {
        T least = start[axis] < end[axis] ? start[axis] : end[axis], most = start[axis] < end[axis] ? end[axis] : start[axis];
        low[axis] = std::ceil(least - (reach + offset));
        high[axis] = std::floor(most + (reach - offset));
        if (!(low[axis] <= high[axis])) return {0, -1, 0, -1};
        low[axis] = low[axis] < 0 ? 0 : (low[axis] > side ? side : low[axis]);
        high[axis] = high[axis] < -1 ? -1 : (high[axis] > side - 1 ? side - 1 : high[axis]);
    }
    return {long(low[0]), long(high[0]), long(low[1]), long(high[1])};
}

// Which segment is nearest to each pixel (the first if tied, -1 if none is near), and its squared distance. `settings` are
// the reach in pixels and the coordinate of the centre of the first pixel.
template <class T, class L>
static void nearest(long batch, long segments, long size, long parts, const double *settings, const T *start, const T *end,
                    const unsigned char *drawn, T *distance, int32_t *which) {
    T reach = settings[0], offset = settings[1];
#pragma omp parallel for schedule(dynamic, 8) num_threads(parts)
    for (long drawing = 0; drawing < batch; drawing++) {
        T *best = distance + drawing * size * size;
        int32_t *index = which + drawing * size * size;
        SIMD for (long k = 0; k < size * size; k++) {
            best[k] = INFINITY;
            index[k] = -1;
        }
        for (long segment = 0; segment < segments; segment++) {
            long at = drawing * segments + segment;
            if (!drawn[at]) continue;
            const T *tail = start + 2 * at, *head = end + 2 * at;
            Box box = box_of(tail, head, reach, offset, size);
            T ax = tail[0], ay = tail[1], cx = head[0] - ax, cy = head[1] - ay, length = cx * cx + cy * cy;
            T inverse = T(1) / (length > T(1e-12) ? length : T(1e-12));
            for (long row = box.top; row <= box.bottom; row++) {
                T y = row + offset - ay, *line = best + row * size;
                int32_t *line_index = index + row * size;
                SIMD for (long column = box.left; column <= box.right; column++) {
                    T x = T(int(column)) + offset - ax;
                    T along = (x * cx + y * cy) * inverse;
                    along = along < 0 ? T(0) : (along > 1 ? T(1) : along);
                    T rest_x = x - along * cx, rest_y = y - along * cy, before = line[column];
                    T found = rest_x * rest_x + rest_y * rest_y;
                    int32_t last = line_index[column];
                    line_index[column] = found < before ? int32_t(segment) : last;
                    line[column] = found < before ? found : before;
                }
            }
        }
    }
}

// The gradients of the end points. The position along the chord minimises the distance, hence has no gradient.
template <class T, class L>
static void nearest_backward(long batch, long segments, long size, long parts, const double *settings, const T *start,
                             const T *end, const int32_t *which, const T *grad, T *d_start, T *d_end) {
    T offset = settings[1];
#pragma omp parallel for schedule(dynamic, 8) num_threads(parts)
    for (long drawing = 0; drawing < batch; drawing++) {
        const int32_t *index = which + drawing * size * size;
        for (long pixel = 0; pixel < size * size; pixel++) {
            T weight = 2 * grad[drawing * size * size + pixel];
            if (index[pixel] < 0 || weight == 0) continue;
            long at = 2 * (drawing * segments + index[pixel]);
            T cx = end[at] - start[at], cy = end[at + 1] - start[at + 1], length = cx * cx + cy * cy;
            T x = pixel % size + offset - start[at], y = pixel / size + offset - start[at + 1];
            T along = (x * cx + y * cy) / (length > T(1e-12) ? length : T(1e-12));
            along = along < 0 ? T(0) : (along > 1 ? T(1) : along);
            T rest_x = weight * (x - along * cx), rest_y = weight * (y - along * cy);
            d_start[at] += (along - 1) * rest_x;
            d_start[at + 1] += (along - 1) * rest_y;
            d_end[at] -= along * rest_x;
            d_end[at + 1] -= along * rest_y;
        }
    }
}

EXPORT(nearest)
EXPORT(nearest_backward)
