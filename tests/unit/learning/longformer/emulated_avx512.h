/* The AVX-512 that the compiled functions use, spelled out lane by lane after Intel's description, so that
 * their wider build can be tested on processors without it. Aligned loads and stores trap where the address
 * is not. */
#ifndef POSTQ_EMULATED_AVX512_H
#define POSTQ_EMULATED_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define SIMD target("avx2,fma")
#define AVAILABLE 1
#define EMULATED static inline __attribute__((always_inline, SIMD))
#define EACH for (int i = 0; i < 16; i++)

typedef union {
    __m512 whole;
    __m256 halves[2];
} Halves;

EMULATED __m512 same(float x)
{
    __m256 half = _mm256_set1_ps(x);
    return (Halves){.halves = {half, half}}.whole;
}

EMULATED __m512 loaded(const float *from)
{
    __m512 r;
    memcpy(&r, from, sizeof r);
    return r;
}

EMULATED void stored(float *to, __m512 x) { memcpy(to, &x, sizeof x); }

EMULATED __m512 loaded_aligned(const float *from)
{
    if ((uintptr_t)from % 64) __builtin_trap();
    return loaded(from);
}

EMULATED void stored_aligned(float *to, __m512 x)
{
    if ((uintptr_t)to % 64) __builtin_trap();
    stored(to, x);
}

EMULATED __m512 multiplied_and_added(__m512 a, __m512 b, __m512 c)
{
    Halves x = {a}, y = {b}, z = {c};
    for (int i = 0; i < 2; i++) z.halves[i] = _mm256_fmadd_ps(x.halves[i], y.halves[i], z.halves[i]);
    return z.whole;
}

EMULATED __m512 maxima(__m512 a, __m512 b)
{
    EACH b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
}

EMULATED __m512 minima(__m512 a, __m512 b)
{
    EACH b[i] = a[i] < b[i] ? a[i] : b[i];
    return b;
}

EMULATED float total(__m512 x)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}

EMULATED float maximum(__m512 x)
{
    float most = x[0];
    EACH most = x[i] > most ? x[i] : most;
    return most;
}

EMULATED __m512 loaded_where(__mmask16 lanes, const float *from)
{
    __m512 r;
    EACH r[i] = lanes >> i & 1 ? from[i] : 0;
    return r;
}

EMULATED void stored_where(float *to, __mmask16 lanes, __m512 x) { EACH if (lanes >> i & 1) to[i] = x[i]; }

EMULATED __m512 moved_where(__m512 otherwise, __mmask16 lanes, __m512 x)
{
    EACH if (lanes >> i & 1) otherwise[i] = x[i];
    return otherwise;
}

/* Of each quarter of both, `from` 0: its first two floats by turns; 2: its last two. */
EMULATED __m512 by_turns(__m512 a, __m512 b, int from)
{
    __m512 r;
    EACH r[i] = (i % 2 ? b : a)[i / 4 * 4 + from + i % 4 / 2];
    return r;
}

EMULATED __m512d pairs_by_turns(__m512d a, __m512d b, int from)
{
    __m512d r;
    for (int i = 0; i < 8; i++) r[i] = (i % 2 ? b : a)[i / 2 * 2 + from];
    return r;
}

EMULATED __m512 quarters(__m512 a, __m512 b, int which)
{
    __m512 r;
    EACH r[i] = (i < 8 ? a : b)[4 * (which >> i / 4 * 2 & 3) + i % 4];
    return r;
}

#define _mm512_set1_ps same
#define _mm512_load_ps loaded_aligned
#define _mm512_loadu_ps loaded
#define _mm512_store_ps stored_aligned
#define _mm512_storeu_ps stored
#define _mm512_fmadd_ps multiplied_and_added
#define _mm512_max_ps maxima
#define _mm512_min_ps minima
#define _mm512_reduce_add_ps total
#define _mm512_reduce_max_ps maximum
#define _mm512_maskz_loadu_ps loaded_where
#define _mm512_mask_storeu_ps stored_where
#define _mm512_mask_mov_ps moved_where
#define _mm512_unpacklo_ps(a, b) by_turns(a, b, 0)
#define _mm512_unpackhi_ps(a, b) by_turns(a, b, 2)
#define _mm512_unpacklo_pd(a, b) pairs_by_turns(a, b, 0)
#define _mm512_unpackhi_pd(a, b) pairs_by_turns(a, b, 1)
#define _mm512_shuffle_f32x4 quarters
#define _mm512_castps_pd(x) ((__m512d)(x))
#define _mm512_castpd_ps(x) ((__m512)(x))

#endif
