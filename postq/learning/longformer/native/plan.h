/* Cutting a stream into tasks; every task is computed alike whoever does it. */
#ifndef POSTQ_PLAN_H
#define POSTQ_PLAN_H

#include "stream.h"

/* One chunk of one head of one document, which begins at token `first`. */
typedef struct {
    int first, tokens, reach, head, number;
} Task;

typedef struct {
    Task *tasks;
    int count;
    size_t keys; /* the most of a chunk */
    int reach; /* the widest of a document */
} Plan;

typedef size_t (*Scratch)(size_t keys, int reach, int width);

/* Its tasks are null where there is no memory for them. */
Plan plan_of(const Stream *stream);

/* Room for the chunks of a plan, which `size` measures, or null. */
float *scratch_for(Scratch size, const Plan *plan, int width);

/* A task's tokens in an array of numbers or of floats. */
Rows rows_of(Array array, Task task);
Floats floats_of(Array array, Task task);

Band band_of(const Stream *stream, const Array arrays[], Task task);

#endif
