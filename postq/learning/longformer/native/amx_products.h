/* The matrix products of one tile of queries in bfloat16, each of 16 rows, 32 summands and 16 columns at
 * once.
 *
 * AMX wants the factor on the right with neighbouring summands side by side, so a panel of 32 keys is packed
 * as pairs: for the scores of each 32 of their numbers, and of 16 keys, 16 rows (a pair of numbers) of 16
 * pairs (a key each); as values of each 16 of their numbers 16 rows (a pair of keys) of 16 pairs (a number
 * each).
 */
#ifndef POSTQ_AMX_PRODUCTS_H
#define POSTQ_AMX_PRODUCTS_H

#include <string.h>

#include "tile.h"
#include "vectors.h"

enum { PACKED_TILE = TILE_ROWS * TILE_NUMBERS };

/* Tokens [start, start + count) as rows of `width`; rows up to `padded` are 0. */
INNER void pack_numbers(Rows from, int start, int count, int padded, int width, Number *to)
{
    for (int j = 0; j < count; j++)
        memcpy(
            to + (size_t)j * width, from.at + (size_t)(start + j) * from.stride,
            (size_t)width * sizeof(Number)
        );
    memset(to + (size_t)count * width, 0, (size_t)(padded - count) * width * sizeof(Number));
}

/* 16 tokens, `count` of them real and the others 0, and 32 numbers of each. */
INNER void pack_key_tile(const Number *from, size_t stride, int count, Number *to)
{
    Vector a[LANES];
    UNROLLED
    for (int i = 0; i < LANES; i++)
        a[i] = i < count ? load_any((const float *)(from + i * stride)) : nought();
    turn(a);
    UNROLLED
    for (int i = 0; i < LANES; i++) store((float *)(to + i * TILE_NUMBERS), a[i]);
}

/* Tokens [start, start + count) as panels for scores; tokens past the end are 0. */
INNER void pack_key_panels(Rows from, int start, int count, int width, Number *to)
{
    for (int j = 0; j < rounded_up(count, PANEL); j += LANES) {
        const Number *rows = from.at + (size_t)(start + j) * from.stride;
        Number *panel = to + (size_t)(j / PANEL) * PANEL * width + j % PANEL / LANES * PACKED_TILE;
        for (int c = 0; c < width; c += TILE_NUMBERS, panel += 2 * PACKED_TILE)
            pack_key_tile(rows + c, from.stride, most(0, least(LANES, count - j)), panel);
    }
}

INNER Narrow numbers_of(const Number *from, int present) { return present ? load_narrow(from) : (Narrow){0}; }

/* The same tokens as panels for mixing. */
INNER void pack_value_panels(Rows from, int start, int count, int width, Number *to)
{
    for (int j = 0; j < rounded_up(count, PANEL); j += 2) {
        const Number *even = from.at + (size_t)(start + j) * from.stride, *odd = even + from.stride;
        Number *pair = to + (size_t)(j / PANEL) * PANEL * width + j % PANEL / 2 * TILE_NUMBERS;
        for (int c = 0; c < width; c += LANES, pair += PACKED_TILE)
            *(Pairs *)pair = paired(numbers_of(even + c, j < count), numbers_of(odd + c, j + 1 < count));
    }
}

/* Makes the compiler finish what it writes to memory: it does not see that tiles are loaded from there. */
#define WRITTEN __asm__ volatile("" ::: "memory")

/* Sums of two blocks of rows, in the first four tiles: those of the first block times two tiles of columns,
 * and those of the second. */
INNER void clear_sums(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

/* `step` is the bytes from one row to the next of both blocks. */
INNER void
add_products(const void *first, const void *second, size_t step, const Number *left, const Number *right)
{
    _tile_loadd(4, first, step);
    _tile_loadd(5, second, step);
    _tile_loadd(6, left, TILE_NUMBERS * sizeof(Number));
    _tile_loadd(7, right, TILE_NUMBERS * sizeof(Number));
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* `row` is the floats from one row of sums to the next. */
INNER void store_sums(float *to, size_t row)
{
    size_t step = row * sizeof(float);
    _tile_stored(0, to, step);
    _tile_stored(1, to + TILE_FLOATS, step);
    _tile_stored(2, to + BLOCK_ROWS * row, step);
    _tile_stored(3, to + BLOCK_ROWS * row + TILE_FLOATS, step);
}

INNER void load_sums(const float *from, size_t row)
{
    size_t step = row * sizeof(float);
    _tile_loadd(0, from, step);
    _tile_loadd(1, from + TILE_FLOATS, step);
    _tile_loadd(2, from + BLOCK_ROWS * row, step);
    _tile_loadd(3, from + BLOCK_ROWS * row + TILE_FLOATS, step);
}

/* ROWS queries times the keys of one panel. */
INNER void score_panel(const Number *queries, const Number *panel, int width, float *scores, size_t row)
{
    WRITTEN;
    clear_sums();
    for (int c = 0; c < width; c += TILE_NUMBERS, panel += 2 * PACKED_TILE)
        add_products(
            queries + c, queries + (size_t)BLOCK_ROWS * width + c, width * sizeof(Number), panel,
            panel + PACKED_TILE
        );
    store_sums(scores, row);
}

/* ROWS rows of shares, which lie where a float each was, times the values of `count` panels and of one more.
 */
INNER void mix_panels(
    const float *shares, size_t row, const Number *values, int count, const Number *last, int width,
    float *mixed
)
{
    WRITTEN;
    const size_t panel = (size_t)PANEL * width, step = row * sizeof(float);
    for (int c = 0; c < width; c += 2 * TILE_FLOATS) {
        const Number *first = (const Number *)shares, *second = (const Number *)(shares + BLOCK_ROWS * row);
        clear_sums();
        for (int p = 0; p <= count; p++) {
            const Number *tile = (p < count ? values + p * panel : last) + (size_t)c * TILE_NUMBERS;
            add_products(first + p * PANEL, second + p * PANEL, step, tile, tile + PACKED_TILE);
        }
        store_sums(mixed + c, width);
    }
}

/* A panel of values turned, so that its rows are numbers, of each 32 tokens. */
INNER void turn_panel(Number *panel, int width)
{
    for (int c = 0; c < width; c += LANES, panel += PACKED_TILE) {
        Vector a[LANES];
        UNROLLED
        for (int i = 0; i < LANES; i++) a[i] = load((const float *)(panel + i * TILE_NUMBERS));
        turn(a);
        UNROLLED
        for (int i = 0; i < LANES; i++) store((float *)(panel + i * TILE_NUMBERS), a[i]);
    }
}

/* Adds what ROWS queries, turned, give by their pairs of shares to each number (a row) of each key of a
 * panel. */
INNER void spread_panel(const Number *turned, const Number *pairs, int width, float *sums, size_t row)
{
    WRITTEN;
    for (int c = 0; c < width; c += 2 * BLOCK_ROWS, turned += 2 * PACKED_TILE, sums += 2 * BLOCK_ROWS * row) {
        load_sums(sums, row);
        add_products(turned, turned + PACKED_TILE, TILE_NUMBERS * sizeof(Number), pairs, pairs + PACKED_TILE);
        store_sums(sums, row);
    }
}

#endif
