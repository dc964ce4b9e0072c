// What the compiled functions share: a vectorised exponential function, 16-bit numbers, and statistics of a row.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define SIMD _Pragma("omp simd")

// A bfloat16 number, with its bits in an integer.
struct bf16 {
    uint16_t bits;
};

static inline float load(float value) { return value; }
static inline double load(double value) { return value; }
static inline float load(bf16 value) {
    uint32_t bits = uint32_t(value.bits) << 16;
    float out;
    std::memcpy(&out, &bits, 4);
    return out;
}

static inline void store(float &place, float value) { place = value; }
static inline void store(double &place, double value) { place = value; }
static inline void store(bf16 &place, float value) {
    // Round to the nearest, ties to even. The NaNs that arithmetic produces stay NaN.
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    place.bits = uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// exp x = 2^n exp r with |r| <= ln 2 / 2, and Taylor's series of exp r. Adding `magic` rounds to an integer, which is
// then in the lowest bits of the sum.
static inline float exponential(float x) {
    const float magic = 12582912.0f;
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float t = x * 1.44269504088896341f + magic, n = t - magic;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits;
    std::memcpy(&bits, &t, 4);
    bits = (bits + 127u) << 23;
    float scale;
    std::memcpy(&scale, &bits, 4);
    return p * scale;
}

static inline double exponential(double x) {
    const double magic = 6755399441055744.0;
    x = x < -708.0 ? -708.0 : (x > 709.0 ? 709.0 : x);
    double t = x * 1.4426950408889634074 + magic, n = t - magic;
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 87178291200.0;
    const double inverse_factorials[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                         1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                                         1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5,
                                         1.0,                1.0};
    for (double factor : inverse_factorials) p = p * r + factor;
    uint64_t bits;
    std::memcpy(&bits, &t, 8);
    bits = (bits + 1023u) << 52;
    double scale;
    std::memcpy(&scale, &bits, 8);
    return p * scale;
}

template <class T> static inline T sigmoid(T x) { return T(1) / (T(1) + exponential(-x)); }

// The mean of a row, and one over its standard deviation.
template <class T> static inline void statistics(const T *values, long size, T eps, T &mean, T &rstd) {
    T sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (long k = 0; k < size; k++) sum += values[k];
    mean = sum / size;
    T middle = mean;
#pragma omp simd reduction(+ : squares)
    for (long k = 0; k < size; k++) squares += (values[k] - middle) * (values[k] - middle);
    rstd = T(1) / std::sqrt(squares / size + eps);
}

// Call a function whose arguments are first numbers and then pointers, with arrays of both.
template <class A> static inline A argument(void **pointers, const long *numbers, long at, long count) {
    if constexpr (std::is_pointer_v<A>)
        return static_cast<A>(pointers[at - count]);
    else
        return A(numbers[at]);
}
template <class... A, size_t... I>
static inline void call(void (*function)(A...), void **pointers, const long *numbers, std::index_sequence<I...>) {
    constexpr long count = (0 + ... + !std::is_pointer_v<A>);
    function(argument<A>(pointers, numbers, I, count)...);
}
template <class... A> static inline void call(void (*function)(A...), void **pointers, const long *numbers) {
    call(function, pointers, numbers, std::index_sequence_for<A...>());
}

#define EXPORT_AS(NAME, T, L, SUFFIX)                                                                                   \
    extern "C" void NAME##_##SUFFIX(void **pointers, const long *numbers) { call(NAME<T, L>, pointers, numbers); }
// A function for each combination of types in native.py.
#define EXPORT(NAME)                                                                                                    \
    EXPORT_AS(NAME, float, bf16, f32_bf16) EXPORT_AS(NAME, float, float, f32_f32) EXPORT_AS(NAME, double, double, f64_f64)
