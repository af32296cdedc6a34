/* The answers of one chunk: scores, softmax, mixed values. */
#include "dropout.h"
#include "packed.h"
#include "products.h"
#include "softmax.h"

/* Packed copies of what a chunk reads, and room for one tile. */
typedef struct {
    float *panels, *values, *queries, *mixed, *scores;
} Space;

size_t band_forward_scratch(size_t keys, int reach, int width)
{
    return (2 * (keys + PANEL) + 2 * ROWS) * width + tile_scores(reach);
}

static Space laid_out(float *scratch, int keys, int width)
{
    Space space = {.panels = scratch};
    space.values = space.panels + (size_t)keys * width;
    space.queries = space.values + (size_t)keys * width;
    space.mixed = space.queries + ROWS * width;
    space.scores = space.mixed + ROWS * width;
    return space;
}

INNER float highest(const float *row, Seen seen)
{
    int begin = seen.from / LANES * LANES, end = rounded_up(seen.to, LANES);
    Vector top = broadcast(-INFINITY);
    for (int c = begin; c < end; c += LANES) top = greater(top, load(row + c));
    return greatest_of(top);
}

/* The tile's answers before they are divided by `sums`; `shares` are the global token's, `tops` what was
 * taken off the scores. */
INNER void
answer(const Band *band, Chunk chunk, Tile tile, Space space, float *tops, float *shares, float *sums)
{
    multiply_panels(space.queries, space.panels, tile, band->width, space.scores);
    clear_rest(space.scores, tile);
    for (int r = 0; r < tile.rows; r++) {
        float *row = space.scores + r * tile.row,
              global = dot(space.queries + r * band->width, band->key.at, band->width);
        Seen seen = seen_by(band, chunk, tile, r);
        hide_edges(row, seen);
        tops[r] = fmaxf(global, highest(row, seen));
        shares[r] = expf(global - tops[r]);
        sums[r] = shares[r] + exponentiate(row, seen, tile.columns, tops[r]);
        Luck luck = luck_of(band->dropout, tile.start + r);
        shares[r] *= global_fate(band->dropout, luck);
        meet_fates(row, tile.columns, chunk.first_key + tile.panel * PANEL, band->dropout, luck);
    }
    mix_rows(space.scores, space.values, tile, band->width, space.mixed);
}

WIDE void band_forward(const Band *band, Chunk chunk, Rows output, Floats lse, float *scratch)
{
    int width = band->width, keys = rounded_up(chunk.keys, PANEL);
    Space space = laid_out(scratch, keys, width);
    pack_panels(band->key, chunk.first_key, chunk.keys, width, space.panels);
    pack_rows(band->value, chunk.first_key, chunk.keys, keys, width, 1.0f, space.values);
    for (int start = chunk.start; start < chunk.stop; start += ROWS) {
        Tile tile = tile_at(band, chunk, start);
        float tops[ROWS], shares[ROWS], sums[ROWS];
        pack_rows(band->query, start, tile.rows, ROWS, width, band->scale, space.queries);
        answer(band, chunk, tile, space, tops, shares, sums);
        for (int r = 0; r < tile.rows; r++) {
            float *to = output.at + (size_t)(start + r) * output.stride;
            add_scaled(space.mixed + r * width, shares[r], band->value.at, width);
            for (int c = 0; c < width; c += LANES)
                store_any(to + c, load(space.mixed + r * width + c) / broadcast(sums[r]));
            if (lse.at) lse.at[(size_t)(start + r) * lse.stride] = tops[r] + logf(sums[r]);
        }
    }
}
