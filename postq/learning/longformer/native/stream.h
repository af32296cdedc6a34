/* Sliding-window attention of all heads of all documents of a packed stream, by several threads. */
#ifndef POSTQ_STREAM_H
#define POSTQ_STREAM_H

#include "band.h"

/* One array (tokens, heads, ...) of a stream: where it begins, and the numbers or floats from one token or head to
 * the next. */
typedef struct {
    void *at;
    size_t token, head;
} Array;

/* Document i is tokens [bounds[i], bounds[i + 1]), `reach` half the window. */
typedef struct {
    int *bounds, documents, heads, width, reach, threads;
    Dropout dropout;
} Stream;

/* The arrays of a call by their places; the forward uses the first five, and no LSE where its `at` is null.
 */
enum { QUERY, KEY, VALUE, OUTPUT, LSE, GRADIENT, QUERY_GRADIENT, KEY_GRADIENT, VALUE_GRADIENT, ARRAYS };

/* Writes OUTPUT and LSE of every token but the first of each document. Returns whether there was memory
 * enough. */
int stream_forward(const Stream *stream, const Array arrays[]);

/* Writes QUERY_GRADIENT and adds to KEY_GRADIENT and VALUE_GRADIENT. Returns whether there was memory enough.
 */
int stream_backward(const Stream *stream, const Array arrays[]);

#endif
