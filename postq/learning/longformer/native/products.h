/* The matrix products of one tile with packed operands. */
#ifndef POSTQ_PRODUCTS_H
#define POSTQ_PRODUCTS_H

#include "tile.h"
#include "vectors.h"

enum { RUN = 192, SPREAD_KEYS = 4 };
/* Columns summed in one run before they join the total, since long runs of float32 lose digits. */

/* Sums of BLOCK_ROWS x PANEL products: `count` columns of rows, which lie `row` floats apart and their
 * columns `column` apart, with as many rows of a panel. */
INNER void sum_products(
    const float *rows, size_t row, size_t column, const float *panel, int count,
    Vector sum[BLOCK_ROWS][PANEL_VECTORS]
)
{
    UNROLLED
    for (int r = 0; r < BLOCK_ROWS; r++) UNROLLED
    for (int v = 0; v < PANEL_VECTORS; v++) sum[r][v] = nought();
#pragma GCC unroll STEPS
    for (int c = 0; c < count; c++) {
        Vector part[PANEL_VECTORS];
        UNROLLED
        for (int v = 0; v < PANEL_VECTORS; v++) part[v] = load(panel + c * PANEL + v * LANES);
        UNROLLED
        for (int r = 0; r < BLOCK_ROWS; r++) {
            Vector x = broadcast(rows[r * row + c * column]);
            UNROLLED
            for (int v = 0; v < PANEL_VECTORS; v++) sum[r][v] = fused(x, part[v], sum[r][v]);
        }
    }
}

/* (ROWS, columns) products of the tile's rows (ROWS, width) with packed panels. */
INNER void multiply_panels(const float *rows, const float *panels, Tile tile, int width, float *scores)
{
    for (int at = 0; at < tile.columns; at += PANEL)
        for (int first = 0; first < ROWS; first += BLOCK_ROWS) {
            Vector sum[BLOCK_ROWS][PANEL_VECTORS];
            float *to = scores + first * tile.row + at;
            sum_products(
                rows + first * width, width, 1, panels + (size_t)(tile.panel * PANEL + at) * width, width, sum
            );
            UNROLLED
            for (int r = 0; r < BLOCK_ROWS; r++) UNROLLED
            for (int v = 0; v < PANEL_VECTORS; v++) store(to + r * tile.row + v * LANES, sum[r][v]);
        }
}

/* `rows` x (LANES * vectors) of mix_rows: constants, so that the sums stay in registers. */
INNER void mix_block(
    const float *shares, size_t row, const float *mixed, int count, int width, float *to, const int rows,
    const int vectors
)
{
    for (int begin = 0; begin < count; begin += RUN) {
        Vector sum[PAIR_ROWS][MIX_VECTORS];
        UNROLLED
        for (int r = 0; r < rows; r++) UNROLLED
        for (int c = 0; c < vectors; c++) sum[r][c] = nought();
        for (int k = begin; k < least(begin + RUN, count); k++) {
            Vector part[MIX_VECTORS];
            UNROLLED
            for (int c = 0; c < vectors; c++) part[c] = load(mixed + (size_t)k * width + c * LANES);
            UNROLLED
            for (int r = 0; r < rows; r++) {
                Vector x = broadcast(shares[r * row + k]);
                UNROLLED
                for (int c = 0; c < vectors; c++) sum[r][c] = fused(x, part[c], sum[r][c]);
            }
        }
        UNROLLED
        for (int r = 0; r < rows; r++) UNROLLED
        for (int c = 0; c < vectors; c++) {
            float *place = to + (size_t)r * width + c * LANES;
            if (begin) sum[r][c] += load(place);
            store(place, sum[r][c]);
        }
    }
}

/* All rows of columns [c, c + vectors) of mix_rows. */
INNER void mix_columns(
    const float *shares, const float *first, Tile tile, int width, float *to, const int rows,
    const int vectors
)
{
    for (int r = 0; r < ROWS; r += rows)
        mix_block(shares + r * tile.row, tile.row, first, tile.columns, width, to + r * width, rows, vectors);
}

/* to (ROWS, width) = shares (ROWS, columns) · mixed (columns, width); `mixed` is of the chunk's first key. */
INNER void mix_rows(const float *shares, const float *mixed, Tile tile, int width, float *to)
{
    const float *first = mixed + (size_t)tile.panel * PANEL * width;
    int c = 0;
    for (; c + MIX_VECTORS * LANES <= width; c += MIX_VECTORS * LANES)
        mix_columns(shares, first + c, tile, width, to + c, MIX_ROWS, MIX_VECTORS);
    for (; c + 2 * LANES <= width; c += 2 * LANES)
        mix_columns(shares, first + c, tile, width, to + c, PAIR_ROWS, 2);
    for (; c < width; c += LANES) mix_columns(shares, first + c, tile, width, to + c, PAIR_ROWS, 1);
}

/* SPREAD_KEYS x (LANES * vectors) of spread_rows. */
INNER void
spread_block(const float *shares, size_t row, const float *rows, int width, float *to, const int vectors)
{
    Vector sum[SPREAD_KEYS][SPREAD_VECTORS];
    UNROLLED
    for (int k = 0; k < SPREAD_KEYS; k++) UNROLLED
    for (int c = 0; c < vectors; c++) sum[k][c] = nought();
    for (int r = 0; r < ROWS; r++) {
        Vector part[SPREAD_VECTORS];
        UNROLLED
        for (int c = 0; c < vectors; c++) part[c] = load(rows + r * width + c * LANES);
        UNROLLED
        for (int k = 0; k < SPREAD_KEYS; k++) {
            Vector x = broadcast(shares[r * row + k]);
            UNROLLED
            for (int c = 0; c < vectors; c++) sum[k][c] = fused(x, part[c], sum[k][c]);
        }
    }
    UNROLLED
    for (int k = 0; k < SPREAD_KEYS; k++) UNROLLED
    for (int c = 0; c < vectors; c++) {
        float *place = to + (size_t)k * width + c * LANES;
        store(place, load(place) + sum[k][c]);
    }
}

/* to (columns, width) += transpose of shares (ROWS, columns) · rows (ROWS, width); `to` is of the chunk's
 * first key. */
INNER void spread_rows(const float *shares, const float *rows, Tile tile, int width, float *to)
{
    float *first = to + (size_t)tile.panel * PANEL * width;
    for (int k = 0; k < tile.columns; k += SPREAD_KEYS) {
        float *place = first + (size_t)k * width;
        int c = 0;
        for (; c + SPREAD_VECTORS * LANES <= width; c += SPREAD_VECTORS * LANES)
            spread_block(shares + k, tile.row, rows + c, width, place + c, SPREAD_VECTORS);
        for (; c + 2 * LANES <= width; c += 2 * LANES)
            spread_block(shares + k, tile.row, rows + c, width, place + c, 2);
        for (; c < width; c += LANES) spread_block(shares + k, tile.row, rows + c, width, place + c, 1);
    }
}

#endif
