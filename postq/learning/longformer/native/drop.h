/* Dropout of consecutive numbers: what is dropped follows from a seed, so that no mask is kept. */
#ifndef POSTQ_DROP_H
#define POSTQ_DROP_H

#include <stddef.h>

#include "band.h"

/* float32, or the bits of bfloat16. */
typedef struct {
    void *at;
    int narrow;
} Run;

/* Writes `count` numbers of `from`, those that are dropped as 0 and the others raised, each plus its
 * neighbour in `added` unless that is null. The same seed drops the same ones. */
void drop_run(Run from, const float *added, Run to, size_t count, Dropout dropout, int threads);

#endif
