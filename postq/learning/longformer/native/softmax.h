/* The softmax of a tile's rows of scores. */
#ifndef POSTQ_SOFTMAX_H
#define POSTQ_SOFTMAX_H

#include <math.h>
#include <string.h>

#include "tile.h"
#include "vectors.h"

/* Rows of scores past the tile's last query, so that nothing odd comes of them. */
static inline void clear_rest(float *scores, Tile tile)
{
    memset(scores + tile.rows * tile.row, 0, (ROWS - tile.rows) * tile.row * sizeof(float));
}

/* Scores that a row does not see become -inf where they share a vector with some that it sees. */
INNER void hide_edges(float *row, Seen seen)
{
    int begin = seen.from / LANES * LANES, end = rounded_up(seen.to, LANES);
    const Vector unseen = _mm512_set1_ps(-INFINITY);
    __mmask16 after = (__mmask16)(0xffffu << (seen.from - begin)),
              before = (__mmask16)(0xffffu >> (end - seen.to));
    _mm512_store_ps(row + begin, _mm512_mask_mov_ps(unseen, after, _mm512_load_ps(row + begin)));
    _mm512_store_ps(row + end - LANES, _mm512_mask_mov_ps(unseen, before, _mm512_load_ps(row + end - LANES)));
}

/* Scores of one row become e^(score - top), 0 where it does not see the key. Returns their sum. */
INNER float exponentiate(float *row, Seen seen, int columns, float top)
{
    int begin = seen.from / LANES * LANES, end = rounded_up(seen.to, LANES);
    Vector sum = _mm512_setzero_ps();
    memset(row, 0, (size_t)begin * sizeof(float));
    memset(row + end, 0, (size_t)(columns - end) * sizeof(float));
    for (int c = begin; c < end; c += LANES) {
        Vector share = exponential(_mm512_sub_ps(_mm512_load_ps(row + c), _mm512_set1_ps(top)));
        _mm512_store_ps(row + c, share);
        sum = _mm512_add_ps(sum, share);
    }
    return _mm512_reduce_add_ps(sum);
}

#endif
