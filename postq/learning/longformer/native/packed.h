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
    Vector f = _mm512_set1_ps(factor);
    for (int j = 0; j < count; j++)
        for (int c = 0; c < width; c += LANES)
            _mm512_store_ps(
                to + (size_t)j * width + c,
                _mm512_mul_ps(f, _mm512_loadu_ps(from.at + (size_t)(start + j) * from.stride + c))
            );
    memset(to + (size_t)count * width, 0, (size_t)(padded - count) * width * sizeof(float));
}

/* Up to 16 rows of up to 16 floats, `stride` apart, as their transpose, filled up with 0, with rows PANEL
 * apart. */
INNER void transpose(const float *from, size_t stride, int rows, int columns, float *to)
{
    const __mmask16 present = (__mmask16)(0xffffu >> (LANES - columns));
    Vector a[LANES], b[LANES];
    UNROLLED
    for (int i = 0; i < LANES; i++)
        a[i] = i < rows ? _mm512_maskz_loadu_ps(present, from + i * stride) : _mm512_setzero_ps();
    UNROLLED
    for (int i = 0; i < LANES; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    UNROLLED
    for (int i = 0; i < LANES; i += 4) UNROLLED
    for (int half = 0; half < 2; half++) {
        __m512d low = _mm512_castps_pd(b[i + half]), high = _mm512_castps_pd(b[i + 2 + half]);
        a[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
        a[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
    /* a[4g + c] holds column c of each of its four lanes, for rows 4g to 4g + 3. */
    UNROLLED
    for (int c = 0; c < 4; c++) {
        Vector even01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88),
               odd01 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
        Vector even23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88),
               odd23 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
        _mm512_store_ps(to + (size_t)(c + 0) * PANEL, _mm512_shuffle_f32x4(even01, even23, 0x88));
        _mm512_store_ps(to + (size_t)(c + 8) * PANEL, _mm512_shuffle_f32x4(even01, even23, 0xdd));
        _mm512_store_ps(to + (size_t)(c + 4) * PANEL, _mm512_shuffle_f32x4(odd01, odd23, 0x88));
        _mm512_store_ps(to + (size_t)(c + 12) * PANEL, _mm512_shuffle_f32x4(odd01, odd23, 0xdd));
    }
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
