/* The gradients of one chunk by AMX, from the answers and log-sum-exps that the forward left.
 *
 * As in the forward the global token is one more panel behind the chunk's keys. Gradients of keys and values
 * are summed in float32 with numbers as rows and keys as columns, which is how AMX takes the tile's shares
 * without turning them, and turned once for the whole chunk.
 */
#include "amx_softmax.h"

/* Packed copies of what a chunk reads, gradients of its keys and values, and room for one tile. */
typedef struct {
    Number *score_keys, *score_values, *mix_keys;
    Number *queries, *gradients, *turned_queries, *turned_gradients;
    float *key_sums, *value_sums, *mixed, *shares, *pulls;
    Number *share_pairs, *pull_pairs;
} Space;

size_t band_backward_scratch(size_t keys, int reach, int width)
{
    size_t whole = keys + 2 * PANEL; /* at most */
    return (3 * whole / 2 + 2 * whole + 3 * ROWS) * width + 3 * tile_scores(reach);
}

static Space laid_out(float *scratch, int keys, int width, int reach)
{
    size_t part = (size_t)(keys + PANEL) * width, tile = ROWS * width, scores = tile_scores(reach);
    Space space = {.score_keys = (Number *)scratch};
    space.score_values = space.score_keys + part;
    space.mix_keys = space.score_values + part;
    space.queries = space.mix_keys + part;
    space.gradients = space.queries + tile;
    space.turned_queries = space.gradients + tile;
    space.turned_gradients = space.turned_queries + tile;
    space.key_sums = (float *)(space.turned_gradients + tile);
    space.value_sums = space.key_sums + part;
    space.mixed = space.value_sums + part;
    space.shares = space.mixed + tile;
    space.pulls = space.shares + scores;
    space.share_pairs = (Number *)(space.pulls + scores);
    space.pull_pairs = space.share_pairs + scores;
    return space;
}

INNER void pack_chunk(const Band *band, Chunk chunk, int keys, Space space)
{
    size_t behind = (size_t)keys * band->width;
    pack_key_panels(band->key, chunk.first_key, chunk.keys, band->width, space.score_keys);
    pack_key_panels(band->value, chunk.first_key, chunk.keys, band->width, space.score_values);
    pack_value_panels(band->key, chunk.first_key, chunk.keys, band->width, space.mix_keys);
    pack_key_panels(band->key, 0, 1, band->width, space.score_keys + behind);
    pack_key_panels(band->value, 0, 1, band->width, space.score_values + behind);
    pack_value_panels(band->key, 0, 1, band->width, space.mix_keys + behind);
    memset(space.key_sums, 0, 2 * (behind + PANEL * band->width) * sizeof(float));
}

INNER void pack_tile(const Band *band, const Gradients *all, Tile tile, Space space)
{
    int width = band->width;
    pack_numbers(band->query, tile.start, tile.rows, ROWS, width, space.queries);
    pack_numbers(all->gradient, tile.start, tile.rows, ROWS, width, space.gradients);
    pack_value_panels((Rows){space.queries, width}, 0, ROWS, width, space.turned_queries);
    pack_value_panels((Rows){space.gradients, width}, 0, ROWS, width, space.turned_gradients);
    turn_panel(space.turned_queries, width);
    turn_panel(space.turned_gradients, width);
}

INNER float narrow_dot(const Number *a, const Number *b, int width)
{
    Vector sum = nought();
    for (int c = 0; c < width; c += LANES)
        sum = fused(widened(load_narrow(a + c)), widened(load_narrow(b + c)), sum);
    return sum_of(sum);
}

/* What the softmax of a row hangs on. */
typedef struct {
    float *scores, *pulls, lse, whole;
    Draw draw;
} Line;

/* Scores that the row does not see become -inf, all of them where there is no such row. */
INNER void hide(float *scores, Seen seen, int columns)
{
    int begin = seen.from / LANES * LANES, end = rounded_up(seen.to, LANES);
    const Vector unseen = broadcast(-INFINITY);
    if (begin < end) hide_edges(scores, seen);
    for (int c = 0; c < begin; c += LANES) store(scores + c, unseen);
    for (int c = end; c < columns; c += LANES) store(scores + c, unseen);
}

INNER Line line_of(const Band *band, Chunk chunk, Tile tile, const Gradients *all, Space space, int row)
{
    Line line = {space.shares + row * tile.row, space.pulls + row * tile.row, 0, 0, {.key = 0}};
    float *global = line.scores + tile.columns;
    store(global + LANES, broadcast(-INFINITY));
    if (row >= tile.rows) {
        hide(line.scores, (Seen){0, 0}, tile.columns + LANES);
        return line;
    }
    size_t query = (size_t)(tile.start + row);
    const Number *output = all->output.at + query * all->output.stride;
    store(global, choose(first_lanes(1), load(global), broadcast(-INFINITY)));
    hide(line.scores, seen_by(band, chunk, tile, row), tile.columns);
    line.lse = all->lse.at[query * all->lse.stride];
    line.whole = narrow_dot(output, space.gradients + (size_t)row * band->width, band->width);
    line.draw = draw_of(band, chunk, tile, row);
    return line;
}

/* A vector of shares as dropout leaves them, and of their pulls: the gradients of scores, share times
 * (gradient · value - gradient · answer). */
typedef struct {
    Narrow share, pull;
} Pulled;

INNER Pulled pulled(Line line, int c, int columns, Vector factor)
{
    Vector share = two_to_the(fused(load(line.scores + c), factor, -broadcast(line.lse * LOG2_OF_E)));
    Vector pull = load(line.pulls + c), left = share;
    if (line.draw.dropout.below) {
        Vector fate = fates(line.draw.dropout, line.draw.luck, c < columns ? line.draw.key + c : 0);
        left *= fate;
        pull *= fate;
    }
    return (Pulled){narrowed(left), narrowed(share * (pull - broadcast(line.whole)))};
}

/* Scores of two rows become pulls, in bfloat16 and in place, and both rows' shares and pulls stand side by
 * side in `share_pairs` and `pull_pairs`. */
INNER void pull_rows(Line even, Line odd, Tile tile, float scale, Number *share_pairs, Number *pull_pairs)
{
    const Vector factor = broadcast(scale * LOG2_OF_E);
    for (int c = 0; c < tile.columns + PANEL; c += LANES) {
        Pulled a = pulled(even, c, tile.columns, factor), b = pulled(odd, c, tile.columns, factor);
        store_narrow((Number *)even.scores + c, a.pull);
        store_narrow((Number *)odd.scores + c, b.pull);
        *(Pairs *)(share_pairs + c / LANES * PACKED_TILE) = paired(a.share, b.share);
        *(Pairs *)(pull_pairs + c / LANES * PACKED_TILE) = paired(a.pull, b.pull);
    }
}

INNER void pull_tile(const Band *band, Chunk chunk, Tile tile, const Gradients *all, Space space)
{
    const size_t panel = (size_t)PANEL * band->width;
    const size_t behind = rounded_up(chunk.keys, PANEL) / PANEL * panel, first = tile.panel * panel;
    int panels = tile.columns / PANEL, width = band->width;
    for (int p = 0; p <= panels; p++) {
        size_t at = p < panels ? first + p * panel : behind;
        score_panel(space.queries, space.score_keys + at, width, space.shares + p * PANEL, tile.row);
        score_panel(space.gradients, space.score_values + at, width, space.pulls + p * PANEL, tile.row);
    }
    for (int r = 0; r < ROWS; r += 2)
        pull_rows(
            line_of(band, chunk, tile, all, space, r), line_of(band, chunk, tile, all, space, r + 1), tile,
            band->scale, space.share_pairs + r / 2 * TILE_NUMBERS, space.pull_pairs + r / 2 * TILE_NUMBERS
        );
    mix_panels(
        space.shares, tile.row, space.mix_keys + first, panels, space.mix_keys + behind, width, space.mixed
    );
}

/* Adds what the tile gives to the gradients of the keys and values that it sees, and of the global ones. */
INNER void spread_tile(Chunk chunk, Tile tile, Space space, int width)
{
    int keys = rounded_up(chunk.keys, PANEL), panels = tile.columns / PANEL;
    size_t row = (size_t)(keys + PANEL);
    for (int p = 0; p <= panels; p++) {
        size_t at = p < panels ? (size_t)(tile.panel + p) * PANEL : (size_t)keys, pairs = 2 * p * PACKED_TILE;
        spread_panel(space.turned_queries, space.pull_pairs + pairs, width, space.key_sums + at, row);
        spread_panel(space.turned_gradients, space.share_pairs + pairs, width, space.value_sums + at, row);
    }
}

/* Adds `factor` times sums, turned, to the chunk's keys or values, and writes those of the global token. */
INNER void add_sums(const float *sums, float factor, Chunk chunk, int width, Floats to, float *global)
{
    int keys = rounded_up(chunk.keys, PANEL);
    size_t row = (size_t)(keys + PANEL);
    for (int c = 0; c < width; c++) global[c] = factor * sums[(size_t)c * row + keys];
    for (int j = 0; j < chunk.keys; j += LANES)
        for (int c = 0; c < width; c += LANES) {
            Vector a[LANES];
            UNROLLED
            for (int i = 0; i < LANES; i++) a[i] = load(sums + (size_t)(c + i) * row + j);
            turn(a);
            for (int i = 0; i < least(LANES, chunk.keys - j); i++) {
                float *at = to.at + (size_t)(chunk.first_key + j + i) * to.stride + c;
                store_any(at, fused(a[i], broadcast(factor), load_any(at)));
            }
        }
}

WIDE void band_backward(const Band *band, Chunk chunk, const Gradients *all, float *scratch)
{
    int width = band->width, keys = rounded_up(chunk.keys, PANEL);
    Space space = laid_out(scratch, keys, width, band->reach);
    pack_chunk(band, chunk, keys, space);
    for (int start = chunk.start; start < chunk.stop; start += ROWS) {
        Tile tile = tile_at(band, chunk, start);
        pack_tile(band, all, tile, space);
        pull_tile(band, chunk, tile, all, space);
        spread_tile(chunk, tile, space, width);
        for (int r = 0; r < tile.rows; r++)
            for (int c = 0; c < width; c += LANES)
                store_any(
                    all->query.at + (size_t)(start + r) * all->query.stride + c,
                    load(space.mixed + r * width + c) * broadcast(band->scale)
                );
    }
    add_sums(space.key_sums, band->scale, chunk, width, all->key, all->global_key);
    add_sums(space.value_sums, 1.0f, chunk, width, all->value, all->global_value);
}
