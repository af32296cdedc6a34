/* Sixteen floats at a time, and the few functions of them that both directions need. */
#ifndef POSTQ_VECTORS_H
#define POSTQ_VECTORS_H

#include <immintrin.h>
#include <stddef.h>

#include "band.h"

enum { LANES = BAND_LANES };

#define WIDE __attribute__((target("avx512f")))
#define INNER static inline __attribute__((always_inline, target("avx512f")))
#define UNROLLED _Pragma("GCC unroll 16")

typedef __m512 Vector;

/* e to the x, within 1.3 units in the last place above -87 (Cephes' polynomial). NaN stays NaN; far below 0
 * gives 0. */
INNER Vector exponential(Vector x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); /* of a NaN the second operand comes back */
    Vector n = _mm512_roundscale_ps(
        _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC
    );
    Vector r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145752f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), r);
    Vector p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

INNER float dot(const float *a, const float *b, int width)
{
    Vector sum = _mm512_setzero_ps();
    for (int c = 0; c < width; c += LANES)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(a + c), _mm512_loadu_ps(b + c), sum);
    return _mm512_reduce_add_ps(sum);
}

/* to += factor * from */
INNER void add_scaled(float *to, float factor, const float *from, int width)
{
    Vector f = _mm512_set1_ps(factor);
    for (int c = 0; c < width; c += LANES)
        _mm512_storeu_ps(to + c, _mm512_fmadd_ps(f, _mm512_loadu_ps(from + c), _mm512_loadu_ps(to + c)));
}

#endif
