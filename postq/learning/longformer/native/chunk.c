/* How a document is cut into chunks, and how much room one needs. */
#include "tile.h"

/* Queries of a chunk: whole tiles, enough of them to repay packing, and twice the reach, so that chunks two
 * apart share no key. */
static int queries(int reach) { return rounded_up(most(504, 2 * reach), ROWS); }

int band_chunks(int tokens, int reach) { return tokens < 2 ? 0 : (tokens - 2) / queries(reach) + 1; }

Chunk band_chunk(int tokens, int reach, int number)
{
    int start = 1 + number * queries(reach), stop = least(start + queries(reach), tokens);
    int first = most(1, start - reach), last = least(tokens, stop + reach);
    return (Chunk){start, stop, first, last - first};
}

static size_t tile_rows(int width) { return (size_t)ROWS * width; }

static size_t tile_scores(int reach) { return ROWS * row_of_scores(reach); }

size_t band_forward_scratch(size_t keys, int reach, int width)
{
    return 2 * (keys + PANEL) * width + 2 * tile_rows(width) + tile_scores(reach);
}

size_t band_backward_scratch(size_t keys, int reach, int width)
{
    return 5 * (keys + PANEL) * width + 3 * tile_rows(width) + 2 * tile_scores(reach);
}

int band_available(void) { return AVAILABLE; }
