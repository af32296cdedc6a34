#include "plan.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "mixing.h"

/* A window wider than its document is cut to it: what a document costs, and how it rounds, depends on nothing
 * else. */
static Task document_of(const Stream *stream, int i)
{
    int first = stream->bounds[i], tokens = stream->bounds[i + 1] - first;
    return (Task){first, tokens, stream->reach < tokens ? stream->reach : tokens, 0, 0};
}

static void measure(const Stream *stream, Plan *plan, size_t *tasks)
{
    for (int i = 0; i < stream->documents; i++) {
        Task task = document_of(stream, i);
        int chunks = band_chunks(task.tokens, task.reach);
        *tasks += (size_t)stream->heads * chunks;
        if (task.reach > plan->reach) plan->reach = task.reach;
        for (int number = 0; number < chunks; number++) {
            size_t keys = (size_t)band_chunk(task.tokens, task.reach, number).keys;
            if (keys > plan->keys) plan->keys = keys;
        }
    }
}

Plan plan_of(const Stream *stream)
{
    Plan plan = {NULL, 0, 0, 0};
    size_t tasks = 0;
    measure(stream, &plan, &tasks);
    if (tasks >= INT_MAX || !(plan.tasks = malloc((tasks + 1) * sizeof(Task)))) return plan;
    for (int i = 0; i < stream->documents; i++) {
        Task task = document_of(stream, i);
        for (task.number = 0; task.number < band_chunks(task.tokens, task.reach); task.number++)
            for (task.head = 0; task.head < stream->heads; task.head++) plan.tasks[plan.count++] = task;
    }
    return plan;
}

float *scratch_for(Scratch size, const Plan *plan, int width)
{
    size_t bytes = size(plan->keys, plan->reach, width) * sizeof(float);
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static size_t first_of(Array array, Task task)
{
    return (size_t)task.first * array.token + (size_t)task.head * array.head;
}

Rows rows_of(Array array, Task task)
{
    return (Rows){(Number *)array.at + first_of(array, task), array.token};
}

Floats floats_of(Array array, Task task)
{
    return (Floats){array.at ? (float *)array.at + first_of(array, task) : NULL, array.token};
}

/* Every head of every document draws from a seed of its own. */
static Dropout dropout_of(const Stream *stream, Task task)
{
    Dropout dropout = stream->dropout;
    uint64_t number = (uint64_t)task.first * (uint64_t)stream->heads + (uint64_t)task.head;
    dropout.seed = scrambled(dropout.seed ^ scrambled(number));
    return dropout;
}

Band band_of(const Stream *stream, const Array arrays[], Task task)
{
    return (Band){
        .query = rows_of(arrays[QUERY], task),
        .key = rows_of(arrays[KEY], task),
        .value = rows_of(arrays[VALUE], task),
        .tokens = task.tokens,
        .width = stream->width,
        .reach = task.reach,
        .scale = 1.0f / sqrtf((float)stream->width),
        .dropout = dropout_of(stream, task),
    };
}
