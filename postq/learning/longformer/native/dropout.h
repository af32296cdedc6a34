/* Which probabilities are dropped: a function of a seed, the query and the key, so that the backward finds
 * the same ones. */
#ifndef POSTQ_DROPOUT_H
#define POSTQ_DROPOUT_H

#include "mixing.h"
#include "tile.h"
#include "vectors.h"

/* A query's own 64 random bits. */
typedef struct {
    uint32_t first, second;
} Luck;

static inline Luck luck_of(Dropout dropout, int query)
{
    uint64_t bits = scrambled(dropout.seed + (uint64_t)query);
    return (Luck){(uint32_t)bits, (uint32_t)(bits >> 32)};
}

typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));

INNER Bits counted_from(int key)
{
    Bits found;
    UNROLLED
    for (int i = 0; i < LANES; i++) found[i] = (uint32_t)(key + i);
    return found;
}

/* What the shares of as many keys as a vector has lanes, from `key` on, are multiplied by: 0, or enough to
 * keep their expectation. The two rounds of mixing are Wellons' lowbias32 with the query's luck put in. */
INNER Vector fates(Dropout dropout, Luck luck, int key)
{
    Bits x = counted_from(key) * 0x9e3779b1u + luck.first;
    x = (x ^ x >> 16) * 0x7feb352du ^ luck.second;
    x = (x ^ x >> 15) * 0x846ca68bu;
    x ^= x >> 16;
    return (Vector)((Bits)(x >= dropout.below) & (Bits)broadcast(dropout.raise));
}

/* The global token's, which is key 0. */
INNER float global_fate(Dropout dropout, Luck luck)
{
    return dropout.below ? fates(dropout, luck, 0)[0] : 1.0f;
}

/* Multiplies a row of scores' places by their fates; `key` is the first one's, counted from the document's
 * first token. */
INNER void meet_fates(float *row, int columns, int key, Dropout dropout, Luck luck)
{
    if (!dropout.below) return;
    for (int c = 0; c < columns; c += LANES) store(row + c, load(row + c) * fates(dropout, luck, key + c));
}

#endif
