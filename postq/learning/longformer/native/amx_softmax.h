/* The softmax of a tile's scores for AMX: its shares are written in bfloat16, where half of each score was.
 */
#ifndef POSTQ_AMX_SOFTMAX_H
#define POSTQ_AMX_SOFTMAX_H

#include "amx_products.h"
#include "dropout.h"
#include "softmax.h"

#define LOG2_OF_E 1.44269504f

/* Where a row's fates are found: the key of its first column, and the row's luck. */
typedef struct {
    Dropout dropout;
    Luck luck;
    int key;
} Draw;

INNER Draw draw_of(const Band *band, Chunk chunk, Tile tile, int row)
{
    Luck luck = luck_of(band->dropout, tile.start + row);
    return (Draw){band->dropout, luck, chunk.first_key + tile.panel * PANEL};
}

/* The shares of the keys from column `c` on, as far as dropout leaves them. */
INNER Vector left_over(Vector shares, Draw draw, int c)
{
    if (draw.dropout.below) shares *= fates(draw.dropout, draw.luck, draw.key + c);
    return shares;
}

#endif
