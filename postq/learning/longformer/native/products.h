/* The matrix products of one tile with packed operands. */
#ifndef POSTQ_PRODUCTS_H
#define POSTQ_PRODUCTS_H

#include "tile.h"
#include "vectors.h"

enum { RUN = 192 };
/* Columns summed in one run before they join the total, since long runs of float32 lose digits. */

/* Sums of ROWS x PANEL products: `count` columns of rows, which lie `row` floats apart and their columns
 * `column` apart, with as many rows of a panel. */
INNER void
sum_products(const float *rows, size_t row, size_t column, const float *panel, int count, Vector sum[ROWS][2])
{
    UNROLLED
    for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int c = 0; c < count; c++) {
        Vector low = _mm512_load_ps(panel + c * PANEL), high = _mm512_load_ps(panel + c * PANEL + LANES);
        UNROLLED
        for (int r = 0; r < ROWS; r++) {
            Vector x = _mm512_set1_ps(rows[r * row + c * column]);
            sum[r][0] = _mm512_fmadd_ps(x, low, sum[r][0]);
            sum[r][1] = _mm512_fmadd_ps(x, high, sum[r][1]);
        }
    }
}

/* (ROWS, columns) products of the tile's rows (ROWS, width) with packed panels. */
INNER void multiply_panels(const float *rows, const float *panels, Tile tile, int width, float *scores)
{
    for (int at = 0; at < tile.columns; at += PANEL) {
        Vector sum[ROWS][2];
        sum_products(rows, width, 1, panels + (size_t)(tile.panel * PANEL + at) * width, width, sum);
        UNROLLED
        for (int r = 0; r < ROWS; r++) {
            _mm512_store_ps(scores + r * tile.row + at, sum[r][0]);
            _mm512_store_ps(scores + r * tile.row + at + LANES, sum[r][1]);
        }
    }
}

/* `rows` x (16 * vectors) of mix_rows: constants, so that the sums stay in registers. */
INNER void mix_block(
    const float *shares, size_t row, const float *mixed, int count, int width, float *to, const int rows,
    const int vectors
)
{
    for (int begin = 0; begin < count; begin += RUN) {
        Vector sum[ROWS][4];
        UNROLLED
        for (int r = 0; r < rows; r++) UNROLLED
        for (int c = 0; c < vectors; c++) sum[r][c] = _mm512_setzero_ps();
        for (int k = begin; k < least(begin + RUN, count); k++) {
            Vector part[4];
            UNROLLED
            for (int c = 0; c < vectors; c++) part[c] = _mm512_load_ps(mixed + (size_t)k * width + c * LANES);
            UNROLLED
            for (int r = 0; r < rows; r++) {
                Vector x = _mm512_set1_ps(shares[r * row + k]);
                UNROLLED
                for (int c = 0; c < vectors; c++) sum[r][c] = _mm512_fmadd_ps(x, part[c], sum[r][c]);
            }
        }
        UNROLLED
        for (int r = 0; r < rows; r++) UNROLLED
        for (int c = 0; c < vectors; c++) {
            float *place = to + (size_t)r * width + c * LANES;
            _mm512_store_ps(place, begin ? _mm512_add_ps(_mm512_load_ps(place), sum[r][c]) : sum[r][c]);
        }
    }
}

/* to (ROWS, width) = shares (ROWS, columns) · mixed (columns, width); `mixed` is of the chunk's first key. */
INNER void mix_rows(const float *shares, const float *mixed, Tile tile, int width, float *to)
{
    const float *first = mixed + (size_t)tile.panel * PANEL * width;
    int c = 0;
    for (; c + 4 * LANES <= width; c += 4 * LANES)
        for (int r = 0; r < ROWS; r += ROWS / 2)
            mix_block(
                shares + r * tile.row, tile.row, first + c, tile.columns, width, to + r * width + c, ROWS / 2,
                4
            );
    for (; c + 2 * LANES <= width; c += 2 * LANES)
        mix_block(shares, tile.row, first + c, tile.columns, width, to + c, ROWS, 2);
    for (; c < width; c += LANES)
        mix_block(shares, tile.row, first + c, tile.columns, width, to + c, ROWS, 1);
}

/* `keys` x (16 * vectors) of spread_rows. */
INNER void spread_block(
    const float *shares, size_t row, const float *rows, int width, float *to, const int keys,
    const int vectors
)
{
    Vector sum[16][4];
    UNROLLED
    for (int k = 0; k < keys; k++) UNROLLED
    for (int c = 0; c < vectors; c++) sum[k][c] = _mm512_load_ps(to + (size_t)k * width + c * LANES);
    for (int r = 0; r < ROWS; r++) {
        Vector part[4];
        UNROLLED
        for (int c = 0; c < vectors; c++) part[c] = _mm512_load_ps(rows + r * width + c * LANES);
        UNROLLED
        for (int k = 0; k < keys; k++) {
            Vector x = _mm512_set1_ps(shares[r * row + k]);
            UNROLLED
            for (int c = 0; c < vectors; c++) sum[k][c] = _mm512_fmadd_ps(x, part[c], sum[k][c]);
        }
    }
    UNROLLED
    for (int k = 0; k < keys; k++) UNROLLED
    for (int c = 0; c < vectors; c++) _mm512_store_ps(to + (size_t)k * width + c * LANES, sum[k][c]);
}

/* to (columns, width) += transpose of shares (ROWS, columns) · rows (ROWS, width); `to` is of the chunk's
 * first key. */
INNER void spread_rows(const float *shares, const float *rows, Tile tile, int width, float *to)
{
    float *first = to + (size_t)tile.panel * PANEL * width;
    for (int k = 0; k < tile.columns; k += 4) {
        float *place = first + (size_t)k * width;
        int c = 0;
        for (; c + 4 * LANES <= width; c += 4 * LANES)
            spread_block(shares + k, tile.row, rows + c, width, place + c, 4, 4);
        for (; c + 2 * LANES <= width; c += 2 * LANES)
            spread_block(shares + k, tile.row, rows + c, width, place + c, 4, 2);
        for (; c < width; c += LANES) spread_block(shares + k, tile.row, rows + c, width, place + c, 4, 1);
    }
}

#endif
