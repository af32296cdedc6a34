/* Copies of streams in which every load is of consecutive floats: keys that are scored in panels (width,
 * PANEL), what is mixed in rows of `width`. */
#ifndef POSTQ_PACKED_H
#define POSTQ_PACKED_H

#include <string.h>

#include "tile.h"
#include "vectors.h"

/* Tokens [start, start + count) as rows of `width`, times `factor`; rows up to `padded` are 0. */
INNER void pack_rows(Rows from, int start, int count, int padded, int width, float factor, float *to)
{
    Vector f = broadcast(factor);
    for (int j = 0; j < count; j++)
        for (int c = 0; c < width; c += LANES)
            store(to + (size_t)j * width + c, f * load_any(from.at + (size_t)(start + j) * from.stride + c));
    memset(to + (size_t)count * width, 0, (size_t)(padded - count) * width * sizeof(float));
}

/* Up to LANES rows of up to as many floats, `stride` apart, as their transpose, filled up with 0, with rows
 * PANEL apart. */
INNER void transpose(const float *from, size_t stride, int rows, int columns, float *to)
{
    const Lanes present = first_lanes(columns);
    Vector a[LANES];
    UNROLLED
    for (int i = 0; i < LANES; i++) a[i] = i < rows ? load_lanes(from + i * stride, present) : nought();
    turn(a);
    UNROLLED
    for (int i = 0; i < LANES; i++) store(to + (size_t)i * PANEL, a[i]);
}

/* Tokens [start, start + count) as panels (width, PANEL); tokens past the end are 0. */
INNER void pack_panels(Rows from, int start, int count, int width, float *to)
{
    for (int j = 0; j < rounded_up(count, PANEL); j += LANES) {
        float *panel = to + (size_t)(j / PANEL) * PANEL * width + j % PANEL;
        const float *rows = from.at + (size_t)(start + j) * from.stride;
        for (int c = 0; c < width; c += LANES)
            transpose(
                rows + c, from.stride, most(0, least(LANES, count - j)), LANES, panel + (size_t)c * PANEL
            );
    }
}

#endif
