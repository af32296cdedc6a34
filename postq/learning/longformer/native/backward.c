/* The gradients of one chunk, from the answers and log-sum-exps that the forward left. */
#include "dropout.h"
#include "packed.h"
#include "products.h"
#include "softmax.h"

/* Packed copies of what a chunk reads, its keys' gradients, and room for one tile. */
typedef struct {
    float *key_panels, *value_panels, *keys, *key_gradients, *value_gradients;
    float *queries, *gradients, *mixed, *shares, *pulls;
} Space;

size_t band_backward_scratch(size_t keys, int reach, int width)
{
    return (5 * (keys + PANEL) + 3 * ROWS) * width + 2 * tile_scores(reach);
}

static Space laid_out(float *scratch, int keys, int width, int reach)
{
    size_t part = (size_t)keys * width;
    float *tile = scratch + 5 * part, *scores = tile + 3 * ROWS * width;
    return (Space){
        scratch,
        scratch + part,
        scratch + 2 * part,
        scratch + 3 * part,
        scratch + 4 * part,
        tile,
        tile + ROWS * width,
        tile + 2 * ROWS * width,
        scores,
        scores + ROWS * row_of_scores(reach),
    };
}

/* What each row of a tile got from the global token, and the product of its answer with its gradient. */
typedef struct {
    float share[ROWS], pull[ROWS];
} Global;

/* Pulls are gradients of scores: share times (gradient · value - gradient · answer). Both come to stand in
 * `space`. */
INNER Global pull(const Band *band, Chunk chunk, Tile tile, const Gradients *all, Space space)
{
    Global global;
    int width = band->width, first_key = chunk.first_key + tile.panel * PANEL;
    multiply_panels(space.queries, space.key_panels, tile, width, space.shares);
    multiply_panels(space.gradients, space.value_panels, tile, width, space.pulls);
    clear_rest(space.shares, tile);
    clear_rest(space.pulls, tile);
    for (int r = 0; r < tile.rows; r++) {
        size_t query = (size_t)(tile.start + r);
        float *shares = space.shares + r * tile.row, *pulls = space.pulls + r * tile.row,
              *gradient = space.gradients + r * width;
        float lse = all->lse.at[query * all->lse.stride],
              whole = dot(all->output.at + query * all->output.stride, gradient, width);
        Seen seen = seen_by(band, chunk, tile, r);
        Luck luck = luck_of(band->dropout, tile.start + r);
        hide_edges(shares, seen);
        exponentiate(shares, seen, tile.columns, lse);
        meet_fates(pulls, tile.columns, first_key, band->dropout, luck);
        for (int c = 0; c < tile.columns; c += LANES)
            store(pulls + c, load(shares + c) * (load(pulls + c) - broadcast(whole)));
        meet_fates(shares, tile.columns, first_key, band->dropout, luck);
        float share = expf(dot(space.queries + r * width, band->key.at, width) - lse);
        float fate = global_fate(band->dropout, luck);
        global.share[r] = share * fate;
        global.pull[r] = share * (fate * dot(gradient, band->value.at, width) - whole);
    }
    return global;
}

INNER void add_gradients(Floats to, Chunk chunk, int width, const float *from)
{
    for (int j = 0; j < chunk.keys; j++)
        add_scaled(to.at + (size_t)(chunk.first_key + j) * to.stride, 1.0f, from + (size_t)j * width, width);
}

/* The queries' gradients of one tile, and what its rows add to the global token's. */
INNER void finish_tile(const Band *band, Tile tile, const Gradients *all, Space space, Global global)
{
    int width = band->width;
    for (int r = 0; r < tile.rows; r++) {
        float *to = all->query.at + (size_t)(tile.start + r) * all->query.stride,
              *mixed = space.mixed + r * width;
        add_scaled(mixed, global.pull[r], band->key.at, width);
        for (int c = 0; c < width; c += LANES) store_any(to + c, load(mixed + c) * broadcast(band->scale));
        add_scaled(all->global_key, global.pull[r], space.queries + r * width, width);
        add_scaled(all->global_value, global.share[r], space.gradients + r * width, width);
    }
}

WIDE void band_backward(const Band *band, Chunk chunk, const Gradients *all, float *scratch)
{
    int width = band->width, keys = rounded_up(chunk.keys, PANEL);
    Space space = laid_out(scratch, keys, width, band->reach);
    pack_panels(band->key, chunk.first_key, chunk.keys, width, space.key_panels);
    pack_panels(band->value, chunk.first_key, chunk.keys, width, space.value_panels);
    pack_rows(band->key, chunk.first_key, chunk.keys, keys, width, 1.0f, space.keys);
    memset(space.key_gradients, 0, 2 * (size_t)keys * width * sizeof(float));
    memset(all->global_key, 0, (size_t)width * sizeof(float));
    memset(all->global_value, 0, (size_t)width * sizeof(float));
    for (int start = chunk.start; start < chunk.stop; start += ROWS) {
        Tile tile = tile_at(band, chunk, start);
        pack_rows(band->query, start, tile.rows, ROWS, width, band->scale, space.queries);
        pack_rows(all->gradient, start, tile.rows, ROWS, width, 1.0f, space.gradients);
        Global global = pull(band, chunk, tile, all, space);
        mix_rows(space.pulls, space.keys, tile, width, space.mixed);
        spread_rows(space.pulls, space.queries, tile, width, space.key_gradients);
        spread_rows(space.shares, space.gradients, tile, width, space.value_gradients);
        finish_tile(band, tile, all, space, global);
    }
    add_gradients(all->key, chunk, width, space.key_gradients);
    add_gradients(all->value, chunk, width, space.value_gradients);
}
