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

/* What the shares of keys `key` to `key` + 15 are multiplied by: 0, or enough to keep their expectation. The
 * two rounds of mixing are Wellons' lowbias32 with the query's luck put in. */
INNER Vector fates(Dropout dropout, Luck luck, int key)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i x = _mm512_mullo_epi32(
        _mm512_add_epi32(_mm512_set1_epi32(key), lanes), _mm512_set1_epi32((int)0x9e3779b1u)
    );
    x = _mm512_add_epi32(x, _mm512_set1_epi32((int)luck.first));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x7feb352d));
    x = _mm512_xor_si512(x, _mm512_set1_epi32((int)luck.second));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x846ca68bu));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
    __mmask16 kept = _mm512_cmpge_epu32_mask(x, _mm512_set1_epi32((int)dropout.below));
    return _mm512_maskz_mov_ps(kept, _mm512_set1_ps(dropout.raise));
}

/* The global token's, which is key 0. */
INNER float global_fate(Dropout dropout, Luck luck)
{
    return dropout.below ? _mm512_cvtss_f32(fates(dropout, luck, 0)) : 1.0f;
}

/* Multiplies a row of scores' places by their fates; `key` is the first one's, counted from the document's
 * first token. */
INNER void meet_fates(float *row, int columns, int key, Dropout dropout, Luck luck)
{
    if (!dropout.below) return;
    for (int c = 0; c < columns; c += LANES)
        _mm512_store_ps(row + c, _mm512_mul_ps(_mm512_load_ps(row + c), fates(dropout, luck, key + c)));
}

#endif
