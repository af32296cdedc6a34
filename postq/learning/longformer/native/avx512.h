/* Sixteen floats at a time: what AVX-512 offers, and the shapes that suit its 32 registers. */
#ifndef POSTQ_AVX512_H
#define POSTQ_AVX512_H

#include <immintrin.h>

#ifndef SIMD /* or a test emulates it */
#define SIMD target("avx512f")
#define AVAILABLE (__builtin_cpu_supports("avx512f"))
#endif

#ifdef POSTQ_AMX
enum { LANES = 16, PANEL_VECTORS = 2, BLOCK_ROWS = 16, TILE_BLOCKS = 2 };
/* Four of AMX's tiles hold the sums of two blocks and a panel. */
#else
enum { LANES = 16, PANEL_VECTORS = 2, BLOCK_ROWS = 12, TILE_BLOCKS = 1 };
/* 24 of the registers hold the sums of a block. */
#endif
enum { MIX_VECTORS = 4, MIX_ROWS = 6, PAIR_ROWS = 12, SPREAD_VECTORS = 4 };
enum { STEPS = 1 };
/* Summands a turn of the innermost loop, where its own cost counts. */

typedef __m512 Vector;
typedef __mmask16 Lanes;

#define INNER static inline __attribute__((always_inline, SIMD))

INNER Vector broadcast(float x) { return _mm512_set1_ps(x); }
INNER Vector load(const float *from) { return _mm512_load_ps(from); }
INNER Vector load_any(const float *from) { return _mm512_loadu_ps(from); }
INNER void store(float *to, Vector x) { _mm512_store_ps(to, x); }
INNER void store_any(float *to, Vector x) { _mm512_storeu_ps(to, x); }

INNER Vector fused(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
INNER Vector greater(Vector a, Vector b) { return _mm512_max_ps(a, b); }
INNER Vector lesser(Vector a, Vector b) { return _mm512_min_ps(a, b); }
INNER float sum_of(Vector x) { return _mm512_reduce_add_ps(x); }
INNER float greatest_of(Vector x) { return _mm512_reduce_max_ps(x); }

/* The first `count` of a vector's lanes, 0 to all of them. */
INNER Lanes first_lanes(int count) { return (Lanes)((1u << count) - 1); }
INNER Vector load_lanes(const float *from, Lanes lanes) { return _mm512_maskz_loadu_ps(lanes, from); }
INNER void store_lanes(float *to, Lanes lanes, Vector x) { _mm512_mask_storeu_ps(to, lanes, x); }
INNER Vector choose(Lanes lanes, Vector yes, Vector no) { return _mm512_mask_mov_ps(no, lanes, yes); }

/* Rows become columns, in place. */
INNER void turn(Vector a[LANES])
{
    Vector b[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 4)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m512d low = _mm512_castps_pd(b[i + half]), high = _mm512_castps_pd(b[i + 2 + half]);
            a[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    /* a[4g + c] holds column c of each of its four lanes, for rows 4g to 4g + 3. */
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        Vector even01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88),
               odd01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
        Vector even23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88),
               odd23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
        b[c] = _mm512_shuffle_f32x4(even01, even23, 0x88);
        b[c + 8] = _mm512_shuffle_f32x4(even01, even23, 0xdd);
        b[c + 4] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
        b[c + 12] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) a[i] = b[i];
}

#endif
