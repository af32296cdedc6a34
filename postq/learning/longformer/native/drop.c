/* Dropout in blocks, each of which draws by itself. */
#include "drop.h"

#include <string.h>

#include "dropout.h"

enum { BLOCK = 1 << 14 };

typedef uint16_t Half __attribute__((vector_size(2 * LANES)));

INNER Vector taken(Run run, size_t at)
{
    if (!run.narrow) return load_any((const float *)run.at + at);
    Half half;
    memcpy(&half, (const uint16_t *)run.at + at, sizeof half);
    return (Vector)(__builtin_convertvector(half, Bits) << 16);
}

/* To even; NaN stays NaN. */
INNER void given(Run run, size_t at, Vector x)
{
    if (!run.narrow) return store_any((float *)run.at + at, x);
    Bits bits = (Bits)x, none = (Bits)(x != x);
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    Half half = __builtin_convertvector((none & 0x7fc0u) | (~none & bits), Half);
    memcpy((uint16_t *)run.at + at, &half, sizeof half);
}

INNER void drop_vector(Run from, const float *added, Run to, size_t at, Vector fate)
{
    Vector x = taken(from, at) * fate;
    if (added) x += load_any(added + at);
    given(to, at, x);
}

/* What is left over when a block is no multiple of a vector goes through copies. */
INNER void drop_rest(Run from, const float *added, Run to, size_t at, size_t count, Vector fate)
{
    float wide[3][LANES] = {{0}};
    size_t bytes = count * (from.narrow ? sizeof(uint16_t) : sizeof(float));
    Run source = {wide[0], from.narrow}, target = {wide[1], to.narrow};
    memcpy(wide[0], (char *)from.at + at * (from.narrow ? sizeof(uint16_t) : sizeof(float)), bytes);
    if (added) memcpy(wide[2], added + at, count * sizeof(float));
    drop_vector(source, added ? wide[2] : NULL, target, 0, fate);
    size_t size = to.narrow ? sizeof(uint16_t) : sizeof(float);
    memcpy((char *)to.at + at * size, wide[1], count * size);
}

WIDE static void drop_block(Run from, const float *added, Run to, size_t start, size_t stop, Dropout dropout)
{
    Luck luck = luck_of(dropout, (int)(start / BLOCK));
    size_t at = start;
    for (; at + LANES <= stop; at += LANES)
        drop_vector(from, added, to, at, fates(dropout, luck, (int)(at - start)));
    if (at < stop) drop_rest(from, added, to, at, stop - at, fates(dropout, luck, (int)(at - start)));
}

void drop_run(Run from, const float *added, Run to, size_t count, Dropout dropout, int threads)
{
    ptrdiff_t blocks = (ptrdiff_t)((count + BLOCK - 1) / BLOCK);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (ptrdiff_t i = 0; i < blocks; i++) {
        size_t start = (size_t)i * BLOCK, stop = start + BLOCK < count ? start + BLOCK : count;
        drop_block(from, added, to, start, stop, dropout);
    }
}
