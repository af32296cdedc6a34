/* Vectors of LANES floats, and the few functions of them that both directions need. */
#ifndef POSTQ_VECTORS_H
#define POSTQ_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "processor.h"

#define WIDE __attribute__((SIMD))
#define UNROLLED _Pragma("GCC unroll 16")

INNER Vector nought(void) { return broadcast(0.0f); }

typedef uint32_t Whole __attribute__((vector_size(4 * LANES)));

/* 1.5 times 2^23: what is added to it loses its fraction, and leaves its whole part in the lowest bits. */
#define SHIFT broadcast(12582912.0f)

/* x times 2 to the n, where n was added to SHIFT; both results have to be normal numbers. Instructions that
 * round and scale take twice as long on some processors. */
INNER Vector times_power(Vector x, Vector shifted) { return (Vector)((Whole)x + ((Whole)shifted << 23)); }

/* e to the x, within 1.3 units in the last place from -60 to 87 (Cephes' polynomial). NaN as it is computed
 * stays NaN. What is further below counts as -60: nothing beside 1, and not so little that its products would
 * be subnormal, which are slow. */
INNER Vector exponential(Vector x)
{
    x = lesser(broadcast(87.0f), greater(broadcast(-60.0f), x)); /* of a NaN the second operand comes back */
    Vector shifted = fused(x, broadcast(1.44269504f), SHIFT), n = shifted - SHIFT;
    Vector r = fused(-n, broadcast(0.693145752f), x);
    r = fused(-n, broadcast(1.42860677e-6f), r);
    Vector p = broadcast(1.9875691500e-4f);
    p = fused(p, r, broadcast(1.3981999507e-3f));
    p = fused(p, r, broadcast(8.3334519073e-3f));
    p = fused(p, r, broadcast(4.1665795894e-2f));
    p = fused(p, r, broadcast(1.6666665459e-1f));
    p = fused(p, r, broadcast(5.0000001201e-1f));
    return times_power(fused(r * r, p, r + broadcast(1.0f)), shifted);
}

/* 2 to the x, within 1e-7 of it, from -87 to 127; further below as above. */
INNER Vector two_to_the(Vector x)
{
    x = greater(broadcast(-87.0f), x);
    Vector shifted = x + SHIFT, r = x - (shifted - SHIFT);
    Vector p = broadcast(1.327647129e-3f); /* fitted to the least greatest relative error */
    p = fused(p, r, broadcast(9.675540961e-3f));
    p = fused(p, r, broadcast(5.550713092e-2f));
    p = fused(p, r, broadcast(2.402212024e-1f));
    p = fused(p, r, broadcast(6.931469440e-1f));
    p = fused(p, r, broadcast(1.0f));
    return times_power(p, shifted);
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
