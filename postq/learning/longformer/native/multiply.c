/* Cutting a product into blocks that fit the caches, and the products of one block. */
#include "multiply.h"

#include <stdlib.h>

#include "packed.h"
#include "products.h"

enum { PACKED_COLUMNS = 128, BLOCK_TILES = 21, BLOCK_RUNS = 4, FEW_PANELS = 4 };
/* Columns of a weight that are packed at once; tiles of rows, and runs of their summands: 774 kB. */

/* Panels [panel, end) of the output's columns, for rows [row, row + rows). */
typedef struct {
    int row, rows, panel, end;
} Block;

static int panels_of(int columns) { return (columns + PANEL - 1) / PANEL; }

size_t packed_size(Matrix weight) { return (size_t)panels_of(weight.rows) * PANEL * weight.columns; }

/* PACKED_COLUMNS columns of PANEL rows of a weight whose rows are of consecutive floats, or fewer where it
 * ends. */
INNER void pack_across(Matrix weight, int row, int column, float *to)
{
    float block[PACKED_COLUMNS * PANEL] __attribute__((aligned(64)));
    int columns = least(PACKED_COLUMNS, weight.columns - column);
    const float *from = weight.at + (size_t)row * weight.row + column;
    for (int at = 0; at < PANEL; at += LANES) {
        int rows = most(0, least(LANES, weight.rows - row - at));
        for (int c = 0; c < columns; c += LANES)
            transpose(
                from + at * weight.row + c, weight.row, rows, least(LANES, columns - c),
                block + c * PANEL + at
            );
    }
    memcpy(to, block, (size_t)columns * PANEL * sizeof(float));
}

/* The same of a weight whose columns are. */
static void pack_along(Matrix weight, int row, int column, float *to)
{
    int rows = least(PANEL, weight.rows - row), columns = least(PACKED_COLUMNS, weight.columns - column);
    for (int c = 0; c < columns; c++) {
        memcpy(
            to + c * PANEL, weight.at + row + (size_t)(column + c) * weight.column,
            (size_t)rows * sizeof(float)
        );
        memset(to + c * PANEL + rows, 0, (size_t)(PANEL - rows) * sizeof(float));
    }
}

WIDE static void pack_panel(Matrix weight, int panel, float *to)
{
    for (int c = 0; c < weight.columns; c += PACKED_COLUMNS) {
        if (weight.column == 1)
            pack_across(weight, panel * PANEL, c, to + (size_t)c * PANEL);
        else
            pack_along(weight, panel * PANEL, c, to + (size_t)c * PANEL);
    }
}

void pack_weight(Matrix weight, float *packed, int threads)
{
#pragma omp parallel for num_threads(threads)
    for (int panel = 0; panel < panels_of(weight.rows); panel++)
        pack_panel(weight, panel, packed + (size_t)panel * PANEL * weight.columns);
}

/* Where a tile's run of summands lies in the scratch of its block. */
static float *tile_in(float *scratch, int run, int tile)
{
    return scratch + (size_t)(run * BLOCK_TILES + tile) * ROWS * RUN;
}

/* Copies summands [from, from + count) of a tile's rows; missing rows are 0. */
static void pack_tile(Matrix states, int row, int rows, int from, int count, float *to)
{
    const float *at = states.at + (size_t)row * states.row + (size_t)from * states.column;
    if (rows < ROWS) memset(to, 0, ROWS * RUN * sizeof(float));
    if (states.column == 1)
        for (int r = 0; r < rows; r++)
            memcpy(to + r * RUN, at + (size_t)r * states.row, (size_t)count * sizeof(float));
    else
        for (int c = 0; c < count; c++)
            memcpy(to + c * ROWS, at + (size_t)c * states.column, (size_t)rows * sizeof(float));
}

/* Writes `base` plus `sum`, `base` being the output itself where it is null, for `rows` of a block's rows and
 * all of a panel's columns. */
INNER void
join(Vector sum[BLOCK_ROWS][PANEL_VECTORS], const float *base, Matrix output, int row, int rows, int column)
{
    UNROLLED
    for (int r = 0; r < BLOCK_ROWS; r++) {
        if (r >= rows) break;
        float *to = output.at + (size_t)(row + r) * output.row + column;
        const float *from = base ? base : to;
        UNROLLED
        for (int v = 0; v < PANEL_VECTORS; v++)
            store_any(to + v * LANES, load_any(from + v * LANES) + sum[r][v]);
    }
}

/* The same where the output ends within the panel; writing some lanes of a vector cost a seventh of a
 * product's time on a Zen 3. */
INNER void join_end(
    Vector sum[BLOCK_ROWS][PANEL_VECTORS], const float *base, Matrix output, int row, int rows, int column
)
{
    for (int r = 0; r < least(BLOCK_ROWS, rows); r++) {
        float *to = output.at + (size_t)(row + r) * output.row + column;
        const float *from = base ? base : to;
        for (int v = 0; v < PANEL_VECTORS; v++) {
            Lanes lanes = first_lanes(most(0, least(LANES, output.columns - column - v * LANES)));
            store_lanes(to + v * LANES, lanes, load_lanes(from + v * LANES, lanes) + sum[r][v]);
        }
    }
}

/* Joins one run of a tile, whose packed summands are `from`, with those of a panel. */
INNER void multiply_tile(
    const float *from, int across, const float *panel, int count, const float *base, Matrix output, int row,
    int rows, int column
)
{
    for (int first = 0; first < rows; first += BLOCK_ROWS) {
        Vector sum[BLOCK_ROWS][PANEL_VECTORS];
        if (across)
            sum_products(from + first * RUN, RUN, 1, panel, count, sum);
        else
            sum_products(from + first, 1, ROWS, panel, count, sum);
        if (column + PANEL <= output.columns)
            join(sum, base, output, row + first, rows - first, column);
        else
            join_end(sum, base, output, row + first, rows - first, column);
    }
}

/* Rows and all summands of one block, a few runs at a time: those of all its tiles are packed, then
 * multiplied by panel after panel. */
WIDE static void multiply_block(
    Matrix states, const float *packed, const float *bias, Matrix output, int add, Block block, float *scratch
)
{
    static const float nothing[PANEL];
    const int begin_with_nothing = !add && !bias, across = states.column == 1;
    int tiles = (block.rows + ROWS - 1) / ROWS;
    for (int first = 0; first < states.columns; first += BLOCK_RUNS * RUN) {
        int runs = (least(BLOCK_RUNS * RUN, states.columns - first) + RUN - 1) / RUN;
        for (int run = 0; run < runs; run++)
            for (int tile = 0; tile < tiles; tile++)
                pack_tile(
                    states, block.row + tile * ROWS, least(ROWS, block.rows - tile * ROWS), first + run * RUN,
                    least(RUN, states.columns - first - run * RUN), tile_in(scratch, run, tile)
                );
        for (int panel = block.panel; panel < block.end; panel++)
            for (int run = 0; run < runs; run++) {
                int from = first + run * RUN, count = least(RUN, states.columns - from),
                    column = panel * PANEL;
                const float *weights = packed + ((size_t)panel * states.columns + from) * PANEL;
                const float *base = from ? NULL : begin_with_nothing ? nothing : bias ? bias + column : NULL;
                for (int tile = 0; tile < tiles; tile++)
                    multiply_tile(
                        tile_in(scratch, run, tile), across, weights, count, base, output,
                        block.row + tile * ROWS, least(ROWS, block.rows - tile * ROWS), column
                    );
            }
    }
}

/* As few blocks of rows as fit, all of about one size, and panels shared out among the threads, which so read
 * other weights at the same time. Rows are packed once for each block of panels, which a few of them repay.
 */
typedef struct {
    int tiles, row_blocks, panels, panel_blocks;
} Cut;

static Cut cut(Matrix output, int threads)
{
    int tiles = (output.rows + ROWS - 1) / ROWS, panels = panels_of(output.columns);
    int row_blocks = (tiles + BLOCK_TILES - 1) / BLOCK_TILES;
    int panel_blocks = most(least(threads, panels / FEW_PANELS), (threads + row_blocks - 1) / row_blocks);
    return (Cut){tiles, row_blocks, panels, least(panels, panel_blocks)};
}

static Block block_of(Cut cut, int rows, int number)
{
    int i = number / cut.panel_blocks, j = number % cut.panel_blocks;
    int row = (int)((long)cut.tiles * i / cut.row_blocks) * ROWS,
        end = (int)((long)cut.tiles * (i + 1) / cut.row_blocks) * ROWS;
    return (Block){
        row, least(end, rows) - row, cut.panels * j / cut.panel_blocks,
        cut.panels * (j + 1) / cut.panel_blocks
    };
}

int multiply(Matrix states, const float *packed, const float *bias, Matrix output, int add, int threads)
{
    int failed = 0;
    Cut cuts = cut(output, threads);
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        float *scratch = aligned_alloc(64, sizeof(float[BLOCK_RUNS][BLOCK_TILES][ROWS][RUN]));
        failed = !scratch;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < cuts.row_blocks * cuts.panel_blocks; i++)
            if (!failed)
                multiply_block(states, packed, bias, output, add, block_of(cuts, output.rows, i), scratch);
        free(scratch);
    }
    return !failed;
}
