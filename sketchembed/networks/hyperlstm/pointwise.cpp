// The four functions of pointwise.py. Each row of a step is one sequence, and stays in the cache between the passes.
// T is the type of states, norms and gates, and L that of the operands of products.
#include "native.hpp"
#include <vector>

static const int GATES = 4;
static const double EPS = 1e-3; // of the norms, as in Keras

// One cell: from the gates i, j, f, o (all sigmoids) and the previous cell state to the new one and the output.
template <class T>
static inline void cell(const T *gates, const T *before, const T *gain, const T *shift, long size, bool add, T *now,
                        T *tanh, T *out, T *mean, T *rstd) {
    const T *i = gates, *j = gates + size, *f = gates + 2 * size, *o = gates + 3 * size;
    SIMD for (long k = 0; k < size; k++) now[k] = (2 * j[k] - 1) * i[k] + before[k] * f[k];
    statistics(now, size, T(EPS), *mean, *rstd);
    T level = *mean, scale = *rstd;
    SIMD for (long k = 0; k < size; k++) {
        T squashed = 2 * sigmoid((now[k] - level) * scale * gain[k] + shift[k]) - 1;
        T open = o[k];
        tanh[k] = squashed;
        out[k] = add ? squashed + open : squashed * open;
    }
}

// The gradients of the inputs of the sigmoids, from those of the output and of the new cell state. `later` becomes the
// gradient of the previous cell state. The gradients of gain and shift are added to `gain_sum` and `shift_sum`.
template <class T>
static inline void cell_backward(const T *d_out, T *later, const T *gates, const T *now, const T *tanh, const T *before,
                                 const T *gain, T mean, T rstd, long size, bool add, T *d_gates, T *gain_sum,
                                 T *shift_sum) {
    const T *i = gates, *j = gates + size, *f = gates + 2 * size, *o = gates + 3 * size;
    T along = 0, level = 0, add_one = add; // a number, as loops with a condition are not vectorised
    T *squashed = d_gates;                 // of the norm's output, and later of i
#pragma omp simd reduction(+ : along, level)
    for (long k = 0; k < size; k++) {
        T open = o[k], d = d_out[k] * (add_one + (1 - add_one) * open) * (1 - tanh[k] * tanh[k]) * T(0.5);
        T normal = (now[k] - mean) * rstd;
        gain_sum[k] += d * normal;
        shift_sum[k] += d;
        d *= gain[k];
        squashed[k] = d;
        along += d * normal;
        level += d;
    }
    along /= size;
    level /= size;
    SIMD for (long k = 0; k < size; k++) {
        T normal = (now[k] - mean) * rstd;
        T d = rstd * (squashed[k] - level - normal * along) + later[k];
        T squash = tanh[k], d_o = d_out[k] * (add_one + (1 - add_one) * squash);
        later[k] = d * f[k];
        d_gates[k] = d * (2 * j[k] - 1) * i[k] * (1 - i[k]);
        d_gates[size + k] = 2 * d * i[k] * j[k] * (1 - j[k]);
        d_gates[2 * size + k] = d * before[k] * f[k] * (1 - f[k]);
        d_gates[3 * size + k] = d_o * o[k] * (1 - o[k]);
    }
}

// The gradient of a norm's input, in place, from that of its output.
template <class T>
static inline void norm_backward(T *grad, const T *values, const T *gain, T mean, T rstd, long size, T *gain_sum,
                                 T *shift_sum) {
    T along = 0, level = 0;
#pragma omp simd reduction(+ : along, level)
    for (long k = 0; k < size; k++) {
        T normal = (values[k] - mean) * rstd;
        gain_sum[k] += grad[k] * normal;
        shift_sum[k] += grad[k];
        T d = grad[k] * gain[k];
        grad[k] = d;
        along += d * normal;
        level += d;
    }
    along /= size;
    level /= size;
    SIMD for (long k = 0; k < size; k++) grad[k] = rstd * (grad[k] - level - (values[k] - mean) * rstd * along);
}

// Call `work(row, part, scratch)` for all rows. Each thread has one part, whose sums of gradients no other thread writes,
// and `numbers` numbers as scratch.
template <class T, class Work> static void for_rows(long rows, long parts, long numbers, Work work) {
#pragma omp parallel for schedule(static, 1) num_threads(parts)
    for (long part = 0; part < parts; part++) {
        std::vector<T> scratch(numbers);
        for (long row = part * rows / parts; row < (part + 1) * rows / parts; row++) work(row, part, scratch.data());
    }
}

// The input term of the gates: that of z, and the stroke times its weights [inputs, 4 size]. `N` inputs are added at once.
template <int N, class T>
static inline void add_strokes(const T *stroke, const T *weights, long columns, T *out) {
    SIMD for (long k = 0; k < columns; k++) {
        T sum = out[k];
        for (int input = 0; input < N; input++) sum += stroke[input] * weights[input * columns + k];
        out[k] = sum;
    }
}

template <class T>
static inline void input_term(const T *stroke, long inputs, const T *weights, const T *of_z, long columns, T *out) {
    std::memcpy(out, of_z, columns * sizeof(T));
    for (; inputs >= 4; inputs -= 4, stroke += 4, weights += 4 * columns) add_strokes<4>(stroke, weights, columns, out);
    for (; inputs > 0; inputs--, stroke++, weights += columns) add_strokes<1>(stroke, weights, columns, out);
}

// Add the gradient of an input term to those of the term of z and of the stroke's weights.
template <int N, class T> static inline void add_gradients(const T *grad, const T *stroke, long columns, T *weights) {
    SIMD for (long k = 0; k < columns; k++)
        for (int input = 0; input < N; input++) weights[input * columns + k] += stroke[input] * grad[k];
}

template <class T>
static inline void add_input_gradient(const T *grad, const T *stroke, long inputs, long columns, T *of_z, T *weights) {
    SIMD for (long k = 0; k < columns; k++) of_z[k] += grad[k];
    for (; inputs >= 4; inputs -= 4, stroke += 4, weights += 4 * columns) add_gradients<4>(grad, stroke, columns, weights);
    for (; inputs > 0; inputs--, stroke++, weights += columns) add_gradients<1>(grad, stroke, columns, weights);
}

// In all four functions `stroke` is [rows, inputs], `stroke_weights` [inputs, 4 size] and `of_z` [rows, 4 size].
template <class T, class L>
static void hyper_forward(long rows, long size, long parts, bool add, long inputs, long product_stride, const T *stroke,
                          const T *stroke_weights, const T *of_z, const L *product, const L *recurrent, const T *gain,
                          const T *shift, const T *code_gain, const T *code_shift, const T *before, T *pre, T *gates, T *d,
                          T *tanh_d, T *g, T *mean, T *rstd, T *d_mean, T *d_rstd) {
    for_rows<T>(rows, parts, 0, [=](long row, long, T *) {
        T *value = pre + row * GATES * size, *open = gates + row * GATES * size;
        input_term(stroke + row * inputs, inputs, stroke_weights, of_z + row * GATES * size, GATES * size, value);
        const L *main = product + row * product_stride, *own = recurrent + row * GATES * size;
        SIMD for (long k = 0; k < GATES * size; k++) value[k] += load(main[k]) + load(own[k]);
        for (int gate = 0; gate < GATES; gate++, value += size, open += size) {
            const T *weight = gain + gate * size, *bias = shift + gate * size;
            statistics(value, size, T(EPS), mean[row * GATES + gate], rstd[row * GATES + gate]);
            T level = mean[row * GATES + gate], scale = rstd[row * GATES + gate];
            SIMD for (long k = 0; k < size; k++) open[k] = sigmoid((value[k] - level) * scale * weight[k] + bias[k]);
        }
        cell(gates + row * GATES * size, before + row * size, code_gain, code_shift, size, add, d + row * size,
             tanh_d + row * size, g + row * size, d_mean + row, d_rstd + row);
    });
}

// What a row of the main LSTM reads, at its first gate. The maps are [12, rows, size] in memory with a stride.
template <class T, class L> struct MainRow {
    const T *x;
    const L *product, *maps;
    long map_stride, size;

    // The inputs of the norm. Neither they nor the gates are saved for the backward functions: memory is slower.
    void inputs(const T *bias, T *out) const {
        for (int gate = 0; gate < GATES; gate++) {
            const T *in = x + gate * size, *constant = bias + gate * size;
            const L *main = product + gate * size, *of_x = maps + gate * map_stride, *of_h = of_x + GATES * map_stride,
                    *added = of_h + GATES * map_stride;
            T *value = out + gate * size;
            SIMD for (long k = 0; k < size; k++) value[k] =
                load(of_x[k]) * in[k] + constant[k] + load(of_h[k]) * load(main[k]) + load(added[k]);
        }
    }
};

// The gates, from the inputs of their norms.
template <class T>
static inline void open_gates(const T *values, const T *gain, const T *shift, const T *mean, const T *rstd, long norms,
                              long width, T *out) {
    for (long norm = 0; norm < norms; norm++) {
        const T *value = values + norm * width, *weight = gain + norm * width, *constant = shift + norm * width;
        T level = mean[norm], scale = rstd[norm], *open = out + norm * width;
        SIMD for (long k = 0; k < width; k++) open[k] = sigmoid((value[k] - level) * scale * weight[k] + constant[k]);
    }
}

// Norms over all gates at once (`joint`) or over each gate.
template <class T, class L>
static void main_forward(long rows, long size, long parts, bool joint, long inputs, long product_stride, long map_stride,
                         const T *stroke, const T *stroke_weights, const T *of_z, const L *product, const L *maps,
                         const T *bias, const T *gain, const T *shift, const T *cell_gain, const T *cell_shift,
                         const T *before, T *c, T *tanh_c, T *h, T *mean, T *rstd, T *c_mean, T *c_rstd) {
    long norms = joint ? 1 : GATES, width = GATES * size / norms;
    for_rows<T>(rows, parts, 3 * GATES * size, [=](long row, long, T *x) {
        T *values = x + GATES * size, *gates = values + GATES * size;
        input_term(stroke + row * inputs, inputs, stroke_weights, of_z + row * GATES * size, GATES * size, x);
        MainRow<T, L>{x, product + row * product_stride, maps + row * size, map_stride, size}.inputs(bias, values);
        for (long norm = 0; norm < norms; norm++)
            statistics(values + norm * width, width, T(EPS), mean[row * norms + norm], rstd[row * norms + norm]);
        open_gates(values, gain, shift, mean + row * norms, rstd + row * norms, norms, width, gates);
        cell(gates, before + row * size, cell_gain, cell_shift, size, false, c + row * size, tanh_c + row * size,
             h + row * size, c_mean + row, c_rstd + row);
    });
}

// `sums` has for each part the gradients of main gain, main shift and bias, [4 size] each, of the cell's gain and shift,
// [size] each, and of the stroke's weights, [inputs, 4 size]. The gradient of the input term is added to `d_of_z`.
template <class T, class L>
static void main_backward(long rows, long size, long parts, bool joint, long inputs, long product_stride, long map_stride,
                          long d_map_stride, long d_product_stride, const T *stroke, const T *stroke_weights,
                          const T *of_z, const L *product, const L *maps, const T *bias, const T *gain, const T *shift,
                          const T *cell_gain, const T *out, const L *dh, const T *c, const T *tanh_c, const T *before,
                          const T *c_mean, const T *c_rstd, const T *mean, const T *rstd, T *dc, T *d_of_z, L *d_maps,
                          L *d_product, T *sums) {
    long norms = joint ? 1 : GATES, width = GATES * size / norms;
    for_rows<T>(rows, parts, (5 * GATES + 1) * size, [=](long row, long part, T *x) {
        T *values = x + GATES * size, *gates = values + GATES * size, *grad = gates + GATES * size;
        T *d_x = grad + GATES * size, *d_out = d_x + GATES * size;
        T *gain_sum = sums + part * (14 + inputs * GATES) * size, *shift_sum = gain_sum + GATES * size;
        T *bias_sum = shift_sum + GATES * size, *cell_gain_sum = bias_sum + GATES * size;
        T *cell_shift_sum = cell_gain_sum + size, *weight_sum = cell_shift_sum + size;
        input_term(stroke + row * inputs, inputs, stroke_weights, of_z + row * GATES * size, GATES * size, x);
        MainRow<T, L> given{x, product + row * product_stride, maps + row * size, map_stride, size};
        given.inputs(bias, values);
        open_gates(values, gain, shift, mean + row * norms, rstd + row * norms, norms, width, gates);
        SIMD for (long k = 0; k < size; k++) d_out[k] = out[row * size + k] + load(dh[row * size + k]);
        cell_backward(d_out, dc + row * size, gates, c + row * size, tanh_c + row * size, before + row * size, cell_gain,
                      c_mean[row], c_rstd[row], size, false, grad, cell_gain_sum, cell_shift_sum);
        for (long norm = 0; norm < norms; norm++)
            norm_backward(grad + norm * width, values + norm * width, gain + norm * width, mean[row * norms + norm],
                          rstd[row * norms + norm], width, gain_sum + norm * width, shift_sum + norm * width);
        for (int gate = 0; gate < GATES; gate++) {
            const T *d = grad + gate * size, *in = x + gate * size;
            const L *main = given.product + gate * size, *of_x = given.maps + gate * map_stride,
                    *of_h = of_x + GATES * map_stride;
            L *d_of_x = d_maps + gate * d_map_stride + row * size, *d_of_h = d_of_x + GATES * d_map_stride,
              *d_added = d_of_h + GATES * d_map_stride, *d_main = d_product + row * d_product_stride + gate * size;
            T *d_in = d_x + gate * size, *d_bias = bias_sum + gate * size;
            SIMD for (long k = 0; k < size; k++) {
                d_in[k] = d[k] * load(of_x[k]);
                d_bias[k] += d[k];
                store(d_of_x[k], d[k] * in[k]);
                store(d_of_h[k], d[k] * load(main[k]));
                store(d_added[k], d[k]);
                store(d_main[k], d[k] * load(of_h[k]));
            }
        }
        add_input_gradient(d_x, stroke + row * inputs, inputs, GATES * size, d_of_z + row * GATES * size, weight_sum);
    });
}

// `sums` has for each part the gradients of hyper gain and hyper shift, [4 size] each, of the code's gain and shift,
// [size] each, and of the stroke's weights, [inputs, 4 size]. The gradient of the input term is added to `d_of_z`.
template <class T, class L>
static void hyper_backward(long rows, long size, long parts, bool add, long inputs, long d_product_stride, const T *stroke,
                           const L *dg, const L *d_code, const T *gates, const T *d, const T *tanh_d, const T *before,
                           const T *d_mean, const T *d_rstd, const T *code_gain, const T *pre, const T *mean,
                           const T *rstd, const T *gain, T *dd, T *d_of_z, L *d_product, T *sums) {
    for_rows<T>(rows, parts, (GATES + 1) * size, [=](long row, long part, T *scratch) {
        T *grad = scratch, *d_out = grad + GATES * size, *later = dd + row * size;
        T *gain_sum = sums + part * (10 + inputs * GATES) * size, *shift_sum = gain_sum + GATES * size;
        T *code_gain_sum = shift_sum + GATES * size, *code_shift_sum = code_gain_sum + size;
        T *weight_sum = code_shift_sum + size;
        const L *code = d_code + row * size, *before_g = dg + row * size;
        // The input of the maps is the cell state in the released variant (`add`), and otherwise the output.
        SIMD for (long k = 0; k < size; k++) {
            T d_input = load(code[k]);
            d_out[k] = load(before_g[k]) + (add ? T(0) : d_input);
            later[k] += add ? d_input : T(0);
        }
        cell_backward(d_out, later, gates + row * GATES * size, d + row * size, tanh_d + row * size, before + row * size,
                      code_gain, d_mean[row], d_rstd[row], size, add, grad, code_gain_sum, code_shift_sum);
        for (int gate = 0; gate < GATES; gate++)
            norm_backward(grad + gate * size, pre + (row * GATES + gate) * size, gain + gate * size,
                          mean[row * GATES + gate], rstd[row * GATES + gate], size, gain_sum + gate * size,
                          shift_sum + gate * size);
        L *d_main = d_product + row * d_product_stride;
        SIMD for (long k = 0; k < GATES * size; k++) store(d_main[k], grad[k]);
        add_input_gradient(grad, stroke + row * inputs, inputs, GATES * size, d_of_z + row * GATES * size, weight_sum);
    });
}

EXPORT(hyper_forward)
EXPORT(main_forward)
EXPORT(main_backward)
EXPORT(hyper_backward)
