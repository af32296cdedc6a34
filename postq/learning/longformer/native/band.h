/* Sliding-window attention of one head of one document on a CPU, forward and backward.
 *
 * A document is tokens 0 to n-1. Token 0 is global: every query 1 to n-1 sees it besides the keys at most
 * `reach` away; its own answer is not computed here. A chunk is a run of queries, the unit of parallel work,
 * with packed copies of the keys they see; a tile is a few of its queries. A tile's scores stay in the cache
 * as whole rows, so the softmax needs no running maximum. All arithmetic is float32, but for the products of a
 * build for AMX, whose factors are bfloat16; and it is the same whatever the number of threads.
 */
#ifndef POSTQ_BAND_H
#define POSTQ_BAND_H

#include <stddef.h>
#include <stdint.h>

#include "number.h"

enum { BAND_MOST_WIDTH = 128 }; /* in steps of WIDTH_STEP */

/* The tokens of one head: `at` is the document's first, `stride` the numbers from one token to the next. */
typedef struct {
    Number *at;
    size_t stride;
} Rows;

/* The same of floats in any build: one for each token, or as many as it has numbers. */
typedef struct {
    float *at;
    size_t stride;
} Floats;

/* A share is dropped when its 32 random bits are under `below`, and multiplied by `raise` when not. */
typedef struct {
    uint64_t seed;
    uint32_t below;
    float raise;
} Dropout;

typedef struct {
    Rows query, key, value;
    int tokens, width, reach;
    float scale;
    Dropout dropout; /* its seed is this head's and document's own */
} Band;

/* Queries [start, stop) and the keys they see, the global one apart: [first_key, first_key + keys). */
typedef struct {
    int start, stop, first_key, keys;
} Chunk;

/* Chunks two apart share no key but the global one. */
int band_chunks(int tokens, int reach);
Chunk band_chunk(int tokens, int reach, int number);

/* Floats of scratch memory, aligned to 64 bytes, that a chunk of at most so many keys needs. */
size_t band_forward_scratch(size_t keys, int reach, int width);
size_t band_backward_scratch(size_t keys, int reach, int width);

/* Writes the answers of the chunk's queries, and the log-sum-exp of their scores where `lse.at` is not null.
 */
void band_forward(const Band *band, Chunk chunk, Rows output, Floats lse, float *scratch);

/* What the backward reads (output, gradient, lse) and where it leaves gradients: the queries' are written,
 * those of keys and values added to, and the chunk's share of the global token's written to global_key and
 * global_value (width floats). */
typedef struct {
    Rows output, gradient;
    Floats lse, query, key, value;
    float *global_key, *global_value;
} Gradients;

void band_backward(const Band *band, Chunk chunk, const Gradients *gradients, float *scratch);

/* Before and after a thread's calls of the above. */
void band_enter(void);
void band_leave(void);

/* Whether this processor and operating system run these functions. */
int band_available(void);

#endif
