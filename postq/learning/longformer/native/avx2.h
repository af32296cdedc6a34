/* Eight floats at a time: what AVX2 offers, and the shapes that suit its 16 registers. */
#ifndef POSTQ_AVX2_H
#define POSTQ_AVX2_H

#include <immintrin.h>

#define SIMD target("avx2,fma")

enum { LANES = 8, PANEL_VECTORS = 3, BLOCK_ROWS = 4, TILE_BLOCKS = 3 };
/* 12 of the registers hold the sums of a block. */
enum { MIX_VECTORS = 3, MIX_ROWS = 4, PAIR_ROWS = 6, SPREAD_VECTORS = 3 };
enum { STEPS = 2 };
/* Summands a turn of the innermost loop, where its own cost counts. */

typedef __m256 Vector;
typedef __m256i Lanes;

#define INNER static inline __attribute__((always_inline, SIMD))

INNER Vector broadcast(float x) { return _mm256_set1_ps(x); }
INNER Vector load(const float *from) { return _mm256_load_ps(from); }
INNER Vector load_any(const float *from) { return _mm256_loadu_ps(from); }
INNER void store(float *to, Vector x) { _mm256_store_ps(to, x); }
INNER void store_any(float *to, Vector x) { _mm256_storeu_ps(to, x); }

INNER Vector fused(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
INNER Vector greater(Vector a, Vector b) { return _mm256_max_ps(a, b); }
INNER Vector lesser(Vector a, Vector b) { return _mm256_min_ps(a, b); }

INNER float sum_of(Vector x)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

INNER float greatest_of(Vector x)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

/* The first `count` of a vector's lanes, 0 to all of them. */
INNER Lanes first_lanes(int count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INNER Vector load_lanes(const float *from, Lanes lanes) { return _mm256_maskload_ps(from, lanes); }
INNER void store_lanes(float *to, Lanes lanes, Vector x) { _mm256_maskstore_ps(to, lanes, x); }

INNER Vector choose(Lanes lanes, Vector yes, Vector no)
{
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(lanes));
}

/* Rows become columns, in place. */
INNER void turn(Vector a[LANES])
{
    Vector b[LANES];
#pragma GCC unroll 4
    for (int i = 0; i < LANES; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < LANES; i += 4)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m256d low = _mm256_castps_pd(b[i + half]), high = _mm256_castps_pd(b[i + 2 + half]);
            a[i + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            a[i + 2 * half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    /* a[4g + c] holds columns c and 4 + c, for rows 4g to 4g + 3. */
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        Vector low = a[c], high = a[4 + c];
        a[c] = _mm256_permute2f128_ps(low, high, 0x20);
        a[4 + c] = _mm256_permute2f128_ps(low, high, 0x31);
    }
}

#define AVAILABLE (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))

#endif
