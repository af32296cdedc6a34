/* The answers of one chunk by AMX: scores, softmax, mixed values.
 *
 * The global token's key and value are one more panel behind those of the chunk, of which the first column
 * alone counts. Scores, their softmax and all sums are float32; shares are rounded to bfloat16 for the
 * product with the values, and divided by the sum of what they were before.
 */
#include "amx_softmax.h"

/* Packed copies of what a chunk reads, and room for one tile. */
typedef struct {
    Number *keys, *values, *queries;
    float *mixed, *scores;
} Space;

size_t band_forward_scratch(size_t keys, int reach, int width)
{
    return (keys + 2 * PANEL + 2 * ROWS) * width + tile_scores(reach);
}

static Space laid_out(float *scratch, int keys, int width)
{
    size_t part = (size_t)(keys + PANEL) * width;
    Space space = {.keys = (Number *)scratch};
    space.values = space.keys + part;
    space.queries = space.values + part;
    space.mixed = (float *)(space.queries + ROWS * width);
    space.scores = space.mixed + ROWS * width;
    return space;
}

/* The scores of a row become shares in place, the global token's at `columns`. Returns their sum before any
 * is dropped, and the greatest score in `top`. */
INNER float share_out(float *row, Seen seen, int columns, float scale, Draw draw, float *top)
{
    int begin = seen.from / LANES * LANES, end = rounded_up(seen.to, LANES);
    const Vector factor = broadcast(scale * LOG2_OF_E);
    Number *shares = (Number *)row;
    float global = row[columns];
    hide_edges(row, seen);
    Vector most = broadcast(global);
#pragma GCC unroll 4
    for (int c = begin; c < end; c += LANES) most = greater(most, load(row + c));
    *top = greatest_of(most);
    Vector offset = broadcast(*top) * factor, sum = nought();
    memset(shares, 0, (size_t)begin * sizeof(Number));
#pragma GCC unroll 4
    for (int c = begin; c < end; c += LANES) {
        Vector share = two_to_the(fused(load(row + c), factor, -offset));
        store_narrow(shares + c, narrowed(left_over(share, draw, c)));
        sum += share;
    }
    memset(shares + end, 0, (size_t)(columns + PANEL - end) * sizeof(Number));
    float first = two_to_the(fused(broadcast(global), factor, -offset))[0];
    Vector left = broadcast(first * global_fate(draw.dropout, draw.luck));
    store_narrow(shares + columns, narrowed(choose(first_lanes(1), left, nought())));
    return sum_of(sum) + first;
}

/* The tile's answers before they are divided by `sums`; `tops` are the greatest scores. */
INNER void answer(const Band *band, Chunk chunk, Tile tile, Space space, float *tops, float *sums)
{
    const size_t panel = (size_t)PANEL * band->width;
    const size_t behind = rounded_up(chunk.keys, PANEL) / PANEL * panel, first = tile.panel * panel;
    int panels = tile.columns / PANEL;
    for (int p = 0; p <= panels; p++)
        score_panel(
            space.queries, space.keys + (p < panels ? first + p * panel : behind), band->width,
            space.scores + p * PANEL, tile.row
        );
    for (int r = 0; r < tile.rows; r++)
        sums[r] = share_out(
            space.scores + r * tile.row, seen_by(band, chunk, tile, r), tile.columns, band->scale,
            draw_of(band, chunk, tile, r), tops + r
        );
    mix_panels(
        space.scores, tile.row, space.values + first, panels, space.values + behind, band->width, space.mixed
    );
}

INNER void pack_chunk(const Band *band, Chunk chunk, int keys, Space space)
{
    size_t behind = (size_t)keys * band->width;
    pack_key_panels(band->key, chunk.first_key, chunk.keys, band->width, space.keys);
    pack_value_panels(band->value, chunk.first_key, chunk.keys, band->width, space.values);
    pack_key_panels(band->key, 0, 1, band->width, space.keys + behind);
    pack_value_panels(band->value, 0, 1, band->width, space.values + behind);
}

WIDE void band_forward(const Band *band, Chunk chunk, Rows output, Floats lse, float *scratch)
{
    int width = band->width, keys = rounded_up(chunk.keys, PANEL);
    Space space = laid_out(scratch, keys, width);
    pack_chunk(band, chunk, keys, space);
    for (int start = chunk.start; start < chunk.stop; start += ROWS) {
        Tile tile = tile_at(band, chunk, start);
        float tops[ROWS], sums[ROWS];
        pack_numbers(band->query, start, tile.rows, ROWS, width, space.queries);
        answer(band, chunk, tile, space, tops, sums);
        for (int r = 0; r < tile.rows; r++) {
            Number *to = output.at + (size_t)(start + r) * output.stride;
            for (int c = 0; c < width; c += LANES)
                store_narrow(to + c, narrowed(load(space.mixed + r * width + c) / broadcast(sums[r])));
            if (lse.at) lse.at[(size_t)(start + r) * lse.stride] = tops[r] * band->scale + logf(sums[r]);
        }
    }
}
