/* Vectors of LANES floats, and the few functions of them that both directions need. */
#ifndef POSTQ_VECTORS_H
#define POSTQ_VECTORS_H

#include <stddef.h>

#include "processor.h"

#define WIDE __attribute__((SIMD))
#define UNROLLED _Pragma("GCC unroll 16")

INNER Vector nought(void) { return broadcast(0.0f); }

/* e to the x, within 1.3 units in the last place from -87 to 87 (Cephes' polynomial). NaN stays NaN; far
 * below 0 gives 0, far above infinity. */
INNER Vector exponential(Vector x)
{
    x = lesser(
        broadcast(104.0f), greater(broadcast(-104.0f), x)
    ); /* of a NaN the second operand comes back */
    Vector n = rounded(x * broadcast(1.44269504f));
    Vector r = fused(-n, broadcast(0.693145752f), x);
    r = fused(-n, broadcast(1.42860677e-6f), r);
    Vector p = broadcast(1.9875691500e-4f);
    p = fused(p, r, broadcast(1.3981999507e-3f));
    p = fused(p, r, broadcast(8.3334519073e-3f));
    p = fused(p, r, broadcast(4.1665795894e-2f));
    p = fused(p, r, broadcast(1.6666665459e-1f));
    p = fused(p, r, broadcast(5.0000001201e-1f));
    return times_power(fused(r * r, p, r + broadcast(1.0f)), n);
}

INNER float dot(const float *a, const float *b, int width)
{
    Vector sum = nought();
    for (int c = 0; c < width; c += LANES) sum = fused(load_any(a + c), load_any(b + c), sum);
    return sum_of(sum);
}

/* to += factor * from */
INNER void add_scaled(float *to, float factor, const float *from, int width)
{
    Vector f = broadcast(factor);
    for (int c = 0; c < width; c += LANES) store_any(to + c, fused(f, load_any(from + c), load_any(to + c)));
}

#endif
