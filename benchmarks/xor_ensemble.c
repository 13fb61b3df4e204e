/* The paper's XOR network under (8) and (10) in reduced coordinates, many lanes at once, by Heun's method with a fixed
 * step: what one machine can do when the equations are written out by hand. The benchmark compiles it and loads it.
 *
 *     S δ = γ₂ − ϑ(G_ξ ẋ + G_M Ẇ) − G_ξ V_ξ/m_x,   S = G_ξ G_ξᵀ/m_x + G_M G_Mᵀ/m_W
 *     Ẅ_jk = −ϑ Ẇ_jk + σ'(a_j) δ_j x_k/m_W,         δ_j of neurons 3, 4, 5: those of the inputs are eliminated
 *
 * Lanes go through the compiler's vectors: LANES of them stay in the nearest cache for the whole run, threads share the
 * blocks. Sine, cosine and tanh are Taylor sums on reduced arguments, exact to a few roundings, since a call of the C
 * library is a vector only on some systems. SINGLE: float instead of double.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define STATE 12 /* w31 w32 w41 w42 w53 w54 and their velocities */
#define INLINE static inline __attribute__((always_inline))

#ifdef SINGLE
typedef float real;
typedef int32_t whole;
#define BIAS 127
#define MANTISSA 23
#define LEAST -80.0f
#define FMA __builtin_fmaf
#define RINT __builtin_rintf
#define LN2_HIGH 0.693145751953125f /* so short that n times it is exact */
#define LN2_LOW 1.42860682030941723212e-6f
#define HALF_PI_HIGH 1.57079601287841796875f
#define HALF_PI_LOW 3.139164786504813e-7f
#else
typedef double real;
typedef int64_t whole;
#define BIAS 1023
#define MANTISSA 52
#define LEAST -600.0
#define FMA __builtin_fma
#define RINT __builtin_rint
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define HALF_PI_HIGH 1.57079632673412561417e+00
#define HALF_PI_LOW 6.07710050650619224932e-11
#endif

#define R(x) ((real)(x))

INLINE real power_of_two(real n) {
    whole bits = ((whole)n + BIAS) << MANTISSA;
    real made;
    memcpy(&made, &bits, sizeof made);
    return made;
}

/* e^y for y <= 0 */
INLINE real decay(real y) {
    y = y < LEAST ? LEAST : y;
    real n = RINT(y * R(1.44269504088896340736));
    real r = FMA(-n, LN2_LOW, FMA(-n, LN2_HIGH, y));
    real sum = R(1.0 / 5040);
#ifndef SINGLE
    sum = 1.0 / 6227020800.0;
    sum = FMA(sum, r, 1.0 / 479001600.0);
    sum = FMA(sum, r, 1.0 / 39916800.0);
    sum = FMA(sum, r, 1.0 / 3628800.0);
    sum = FMA(sum, r, 1.0 / 362880.0);
    sum = FMA(sum, r, 1.0 / 40320.0);
    sum = FMA(sum, r, 1.0 / 5040.0);
#endif
    sum = FMA(sum, r, R(1.0 / 720));
    sum = FMA(sum, r, R(1.0 / 120));
    sum = FMA(sum, r, R(1.0 / 24));
    sum = FMA(sum, r, R(1.0 / 6));
    sum = FMA(sum, r, R(0.5));
    sum = FMA(sum, r, R(1));
    sum = FMA(sum, r, R(1));
    return sum * power_of_two(n);
}

INLINE real hyperbolic_tangent(real a) {
    real size = a < 0 ? -a : a;
    real e = decay(-2 * size);
    real value = (1 - e) / (1 + e);
    return a < 0 ? -value : value;
}

INLINE void sine_cosine(real angle, real *sine, real *cosine) {
    real n = RINT(angle * R(0.636619772367581343));
    real r = FMA(-n, HALF_PI_LOW, FMA(-n, HALF_PI_HIGH, angle)), z = r * r;
#ifdef SINGLE
    real s = R(1.0 / 362880), c = R(1.0 / 40320);
#else
    real s = -1.0 / 1307674368000.0, c = 1.0 / 20922789888000.0;
    s = FMA(s, z, 1.0 / 6227020800.0);
    s = FMA(s, z, -1.0 / 39916800.0);
    s = FMA(s, z, 1.0 / 362880.0);
    c = FMA(c, z, -1.0 / 87178291200.0);
    c = FMA(c, z, 1.0 / 479001600.0);
    c = FMA(c, z, -1.0 / 3628800.0);
    c = FMA(c, z, 1.0 / 40320.0);
#endif
    s = FMA(s, z, R(-1.0 / 5040));
    s = FMA(s, z, R(1.0 / 120));
    s = FMA(s, z, R(-1.0 / 6));
    s = FMA(s * z, r, r);
    c = FMA(c, z, R(-1.0 / 720));
    c = FMA(c, z, R(1.0 / 24));
    c = FMA(c, z, R(-0.5));
    c = FMA(c, z, R(1));
    whole quadrant = (whole)n;
    real first = quadrant & 1 ? c : s, second = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -first : first;
    *cosine = (quadrant + 1) & 2 ? -second : second;
}

/* One neuron: its output, slope, output's velocity and γ₂ = −(σ'' ȧ² + 2σ' Σ ẇ ẋ). */
INLINE real neuron(real w, real u, real w_dot, real u_dot, real x, real z, real x_dot, real z_dot, real *slope,
                   real *velocity, real *closing) {
    real value = hyperbolic_tangent(w * x + u * z);
    real a_dot = w * x_dot + u * z_dot + w_dot * x + u_dot * z;
    *slope = 1 - value * value;
    *velocity = *slope * a_dot;
    *closing = 2 * *slope * (value * a_dot * a_dot - (w_dot * x_dot + u_dot * z_dot));
    return value;
}

/* Rates of a block of lanes at y[number][lane]; input[0..1]: angular frequencies, input[2..3]: phases. */
INLINE void rates(real t, real y[STATE][LANES], real input[4][LANES], const real constant[4], real dy[STATE][LANES]) {
    const real target = constant[0], mass_x = constant[1], mass_W = constant[2], theta = constant[3];
    const real share = mass_x / mass_W, per_mass = 1 / mass_W;
    for (int i = 0; i < LANES; i++) {
        real x1, x2, c1, c2, s3, s4, s5, v3, v4, v5, g3, g4, g5;
        real f1 = input[0][i], f2 = input[1][i];
        sine_cosine(f1 * t + input[2][i], &x1, &c1);
        sine_cosine(f2 * t + input[3][i], &x2, &c2);
        real v1 = f1 * c1, v2 = f2 * c2;
        real w31 = y[0][i], w32 = y[1][i], w41 = y[2][i], w42 = y[3][i], w53 = y[4][i], w54 = y[5][i];
        real u31 = y[6][i], u32 = y[7][i], u41 = y[8][i], u42 = y[9][i], u53 = y[10][i], u54 = y[11][i];
        real x3 = neuron(w31, w32, u31, u32, x1, x2, v1, v2, &s3, &v3, &g3);
        real x4 = neuron(w41, w42, u41, u42, x1, x2, v1, v2, &s4, &v4, &g4);
        real x5 = neuron(w53, w54, u53, u54, x3, x4, v3, v4, &s5, &v5, &g5);
        /* right side times m_x: of an input −(ë + ϑė), which its elimination carries on */
        real r1 = f1 * f1 * x1 - theta * v1, r2 = f2 * f2 * x2 - theta * v2;
        real r3 = mass_x * (g3 + s3 * (w31 * r1 + w32 * r2)), r4 = mass_x * (g4 + s4 * (w41 * r1 + w42 * r2));
        real r5 = mass_x * g5 - (x5 - target), p = s5 * w53, q = s5 * w54;
        real inputs = x1 * x1 + x2 * x2;
        real i3 = 1 / (1 + share * s3 * s3 * inputs), i4 = 1 / (1 + share * s4 * s4 * inputs);
        real d5 = 1 + p * p + q * q + share * s5 * s5 * (x3 * x3 + x4 * x4) - p * p * i3 - q * q * i4;
        real delta5 = (r5 + p * r3 * i3 + q * r4 * i4) / d5;
        real delta3 = (r3 + p * delta5) * i3, delta4 = (r4 + q * delta5) * i4;
        real k3 = s3 * delta3 * per_mass, k4 = s4 * delta4 * per_mass, k5 = s5 * delta5 * per_mass;
        dy[0][i] = u31, dy[1][i] = u32, dy[2][i] = u41, dy[3][i] = u42, dy[4][i] = u53, dy[5][i] = u54;
        dy[6][i] = k3 * x1 - theta * u31, dy[7][i] = k3 * x2 - theta * u32;
        dy[8][i] = k4 * x1 - theta * u41, dy[9][i] = k4 * x2 - theta * u42;
        dy[10][i] = k5 * x3 - theta * u53, dy[11][i] = k5 * x4 - theta * u54;
    }
}

static void block(long steps, real h, real y[STATE][LANES], real input[4][LANES], const real constant[4]) {
    real first[STATE][LANES], moved[STATE][LANES], second[STATE][LANES];
    for (long n = 0; n < steps; n++) {
        rates(n * h, y, input, constant, first);
        for (int k = 0; k < STATE; k++)
            for (int i = 0; i < LANES; i++) moved[k][i] = y[k][i] + h * first[k][i];
        rates((n + 1) * h, moved, input, constant, second);
        for (int k = 0; k < STATE; k++)
            for (int i = 0; i < LANES; i++) y[k][i] += h / 2 * (first[k][i] + second[k][i]);
    }
}

/* state [12][lanes] is moved by so many steps; input [4][lanes]; constant: target, m_x, m_W, ϑ. */
void heun(long lanes, long steps, double h, real *state, const real *input, const double *constant, int threads) {
    const real same[4] = {R(constant[0]), R(constant[1]), R(constant[2]), R(constant[3])};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long start = 0; start < lanes; start += LANES) {
        real y[STATE][LANES], e[4][LANES];
        for (int i = 0; i < LANES; i++) { /* the last lane fills the last block */
            long lane = start + i < lanes ? start + i : lanes - 1;
            for (int k = 0; k < STATE; k++) y[k][i] = state[k * lanes + lane];
            for (int k = 0; k < 4; k++) e[k][i] = input[k * lanes + lane];
        }
        block(steps, R(h), y, e, same);
        for (int i = 0; i < LANES && start + i < lanes; i++)
            for (int k = 0; k < STATE; k++) state[k * lanes + start + i] = y[k][i];
    }
}
