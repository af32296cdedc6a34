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
    const Vector unseen = broadcast(-INFINITY);
    float *last = row + end - LANES;
    store(row + begin, choose(first_lanes(seen.from - begin), unseen, load(row + begin)));
    store(last, choose(first_lanes(LANES - (end - seen.to)), load(last), unseen));
}

/* Scores of one row become e^(score - top), 0 where it does not see the key. Returns their sum. */
INNER float exponentiate(float *row, Seen seen, int columns, float top)
{
    int begin = seen.from / LANES * LANES, end = rounded_up(seen.to, LANES);
    Vector sum = nought();
    memset(row, 0, (size_t)begin * sizeof(float));
    memset(row + end, 0, (size_t)(columns - end) * sizeof(float));
    for (int c = begin; c < end; c += LANES) {
        Vector share = exponential(load(row + c) - broadcast(top));
        store(row + c, share);
        sum += share;
    }
    return sum_of(sum);
}

#endif
