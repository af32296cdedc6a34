/* How a document is cut into chunks, and what a thread does before the first and after the last. */
#include "tile.h"
#include "vectors.h"

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

#ifdef POSTQ_AMX
WIDE void band_enter(void) { set_tiles(); }
WIDE void band_leave(void) { rest_tiles(); }
#else
void band_enter(void) {}
void band_leave(void) {}
#endif

int band_available(void) { return AVAILABLE; }
