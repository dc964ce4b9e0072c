// The log-density of a bivariate Gaussian mixture with its gradient: log_prob() in mixture.py.
#include "native.hpp"
#include <vector>

// `mean`, `log_std` and their gradients are [rows, mix, 2], `offset` is [rows, 2]. The gradients are those of the
// log-density of a row, and are not written if `d_logits` is null.
template <class T, class L>
static void log_density(long rows, long mix, long parts, const T *logits, const T *mean, const T *log_std,
                        const T *correlation, const T *offset, T *out, T *d_logits, T *d_mean, T *d_log_std,
                        T *d_correlation) {
    const T half_over_two_pi = T(0.25 / 3.14159265358979323846);
#pragma omp parallel num_threads(parts)
    {
        std::vector<T> scratch(6 * mix);
        T *across = scratch.data(), *along = across + mix, *term = along + mix, *weight = term + mix;
        T *positive = weight + mix, *prior = positive + mix;
#pragma omp for schedule(static)
        for (long row = 0; row < rows; row++) {
            const T *logit = logits + row * mix, *at = mean + 2 * row * mix, *deviation = log_std + 2 * row * mix;
            const T *skew = correlation + row * mix;
            T x = offset[2 * row], y = offset[2 * row + 1], most_logit = logit[0], most = -INFINITY;
            // Component k has the density exp(term) * weight, apart from the sum of its priors. There is no logarithm, as
            // 1 - tanh(a)^2 = 4 / (2 + exp(2a) + exp(-2a)).
            SIMD for (long k = 0; k < mix; k++) {
                T u = (x - at[2 * k]) * exponential(-deviation[2 * k]);
                T v = (y - at[2 * k + 1]) * exponential(-deviation[2 * k + 1]);
                T up = exponential(2 * skew[k]), down = 1 / up;
                across[k] = u - v;
                along[k] = u + v;
                positive[k] = up;
                T square = ((u - v) * (u - v) * (1 + up) + (u + v) * (u + v) * (1 + down)) / 4;
                term[k] = logit[k] - square / 2 - deviation[2 * k] - deviation[2 * k + 1];
                weight[k] = half_over_two_pi * std::sqrt(2 + up + down);
            }
            for (long k = 0; k < mix; k++) {
                most_logit = logit[k] > most_logit ? logit[k] : most_logit;
                most = term[k] > most ? term[k] : most;
            }
            T sum = 0, priors = 0;
#pragma omp simd reduction(+ : sum, priors)
            for (long k = 0; k < mix; k++) {
                weight[k] *= exponential(term[k] - most);
                prior[k] = exponential(logit[k] - most_logit);
                sum += weight[k];
                priors += prior[k];
            }
            out[row] = std::log(sum) + most - std::log(priors) - most_logit;
            if (!d_logits) continue;
            T *d_logit = d_logits + row * mix, *d_at = d_mean + 2 * row * mix, *d_deviation = d_log_std + 2 * row * mix;
            T *d_skew = d_correlation + row * mix, share = 1 / sum, prior_share = 1 / priors;
            SIMD for (long k = 0; k < mix; k++) {
                // The posterior probability of the component.
                T p = weight[k] * share, up = positive[k], down = 1 / up, less = across[k], more = along[k];
                T u = (more + less) / 2, v = (more - less) / 2;
                T by_u = (less * (1 + up) + more * (1 + down)) / 4, by_v = (more * (1 + down) - less * (1 + up)) / 4;
                d_logit[k] = p - prior[k] * prior_share;
                d_at[2 * k] = p * by_u * exponential(-deviation[2 * k]);
                d_at[2 * k + 1] = p * by_v * exponential(-deviation[2 * k + 1]);
                d_deviation[2 * k] = p * (by_u * u - 1);
                d_deviation[2 * k + 1] = p * (by_v * v - 1);
                d_skew[k] = p * ((1 - down) / (1 + down) - (less * less * up - more * more * down) / 4);
            }
        }
    }
}

EXPORT(log_density)
