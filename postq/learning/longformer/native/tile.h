/* Which scores a tile has: ROWS queries against the keys of whole panels. */
#ifndef POSTQ_TILE_H
#define POSTQ_TILE_H

#include <stddef.h>

#include "band.h"
#include "processor.h"

enum { ROWS = BLOCK_ROWS * TILE_BLOCKS, PANEL = PANEL_VECTORS * LANES };

static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }
static inline int rounded_up(int count, int multiple) { return (count + multiple - 1) / multiple * multiple; }

/* The columns of a tile's scores are the keys of whole panels, of which row r sees [from, to). */
typedef struct {
    int start, rows; /* queries [start, start + rows), rows at most ROWS */
    int panel, columns; /* the first panel, and the keys of all its panels */
    size_t row; /* floats from one row of scores to the next */
} Tile;

typedef struct {
    int from, to;
} Seen;

static inline size_t row_of_scores(int reach)
{
    return (size_t)rounded_up(2 * reach + ROWS, PANEL) + 2 * PANEL;
}

/* The floats of a tile's scores. */
static inline size_t tile_scores(int reach) { return ROWS * row_of_scores(reach); }

static inline Tile tile_at(const Band *band, Chunk chunk, int start)
{
    int rows = least(ROWS, chunk.stop - start);
    int from = most(start - band->reach, chunk.first_key) - chunk.first_key;
    int to = least(start + rows + band->reach, chunk.first_key + chunk.keys) - chunk.first_key;
    int panel = from / PANEL, columns = rounded_up(to - panel * PANEL, PANEL);
    return (Tile){start, rows, panel, columns, row_of_scores(band->reach)};
}

static inline Seen seen_by(const Band *band, Chunk chunk, Tile tile, int row)
{
    int query = tile.start + row, origin = chunk.first_key + tile.panel * PANEL;
    int from = most(query - band->reach, chunk.first_key);
    int to = least(query + band->reach + 1, chunk.first_key + chunk.keys);
    return (Seen){from - origin, to - origin};
}

#endif
