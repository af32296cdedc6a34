/* Products of matrices with a packed one, float32, summed in short runs: as exact as MKL's, at the speed of
 * AVX-512. */
#ifndef POSTQ_MULTIPLY_H
#define POSTQ_MULTIPLY_H

#include <stddef.h>

/* Of `row` and `column`, the floats from one row or column to the next, one is 1. */
typedef struct {
    float *at;
    int rows, columns;
    size_t row, column;
} Matrix;

/* Floats, aligned to 64 bytes, that a packed (out, in) weight takes. */
size_t packed_size(Matrix weight);

void pack_weight(Matrix weight, float *packed, int threads);

/* output (rows, out), whose columns are 1 apart, is `states` (rows, in) times the packed weight (out, in),
 * transposed, plus `bias` (out) where it is not null, or else what it was where `add`. How a row is summed
 * depends on nothing else. Returns whether there was memory enough. */
int multiply(Matrix states, const float *packed, const float *bias, Matrix output, int add, int threads);

#endif
