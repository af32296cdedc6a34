/* Cutting a stream into tasks and sharing them out; every task is computed alike whoever does it. */
#include "stream.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "mixing.h"

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

/* Its tasks are null where there is no memory for them. */
static Plan plan_of(const Stream *stream)
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

static float *scratch_for(Scratch size, const Plan *plan, int width)
{
    size_t bytes = size(plan->keys, plan->reach, width) * sizeof(float);
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static Rows rows_of(Array array, Task task)
{
    size_t at = (size_t)task.first * array.token + (size_t)task.head * array.head;
    return (Rows){array.at ? array.at + at : NULL, array.token};
}

/* Every head of every document draws from a seed of its own. */
static Dropout dropout_of(const Stream *stream, Task task)
{
    Dropout dropout = stream->dropout;
    uint64_t number = (uint64_t)task.first * (uint64_t)stream->heads + (uint64_t)task.head;
    dropout.seed = scrambled(dropout.seed ^ scrambled(number));
    return dropout;
}

static Band band_of(const Stream *stream, const Array arrays[], Task task)
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

int stream_forward(const Stream *stream, const Array arrays[])
{
    Plan plan = plan_of(stream);
    int failed = !plan.tasks;
    if (failed) return 0;
#pragma omp parallel num_threads(stream->threads) reduction(| : failed)
    {
        float *scratch = scratch_for(band_forward_scratch, &plan, stream->width);
        failed = !scratch;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < plan.count; i++) {
            if (failed) continue;
            Task task = plan.tasks[i];
            Band band = band_of(stream, arrays, task);
            Chunk chunk = band_chunk(task.tokens, task.reach, task.number);
            band_forward(&band, chunk, rows_of(arrays[OUTPUT], task), rows_of(arrays[LSE], task), scratch);
        }
        free(scratch);
    }
    free(plan.tasks);
    return !failed;
}

static Gradients gradients_of(const Stream *stream, const Array arrays[], Task task, float *shares)
{
    return (Gradients){
        .output = rows_of(arrays[OUTPUT], task),
        .gradient = rows_of(arrays[GRADIENT], task),
        .lse = rows_of(arrays[LSE], task),
        .query = rows_of(arrays[QUERY_GRADIENT], task),
        .key = rows_of(arrays[KEY_GRADIENT], task),
        .value = rows_of(arrays[VALUE_GRADIENT], task),
        .global_key = shares,
        .global_value = shares + stream->width,
    };
}

/* Even chunks first, then odd ones: chunks that run side by side then add to no common key. Each leaves its
 * share of the global token's gradients in `shares`. Returns whether there was memory enough. */
static int run_chunks(const Stream *stream, const Array arrays[], const Plan *plan, float *shares)
{
    int failed = 0;
#pragma omp parallel num_threads(stream->threads) reduction(| : failed)
    {
        float *scratch = scratch_for(band_backward_scratch, plan, stream->width);
        failed = !scratch;
        for (int odd = 0; odd < 2; odd++) {
#pragma omp for schedule(dynamic)
            for (int i = 0; i < plan->count; i++) {
                Task task = plan->tasks[i];
                if (failed || task.number % 2 != odd) continue;
                Band band = band_of(stream, arrays, task);
                Chunk chunk = band_chunk(task.tokens, task.reach, task.number);
                Gradients all = gradients_of(stream, arrays, task, shares + (size_t)i * 2 * stream->width);
                band_backward(&band, chunk, &all, scratch);
            }
        }
        free(scratch);
    }
    return !failed;
}

/* Adds the chunks' shares to the global tokens' gradients, always in the same order. */
static void add_shares(const Stream *stream, const Array arrays[], const Plan *plan, const float *shares)
{
    for (int i = 0; i < plan->count; i++) {
        float *key = rows_of(arrays[KEY_GRADIENT], plan->tasks[i]).at;
        float *value = rows_of(arrays[VALUE_GRADIENT], plan->tasks[i]).at;
        for (int c = 0; c < stream->width; c++) key[c] += *shares++;
        for (int c = 0; c < stream->width; c++) value[c] += *shares++;
    }
}

int stream_backward(const Stream *stream, const Array arrays[])
{
    Plan plan = plan_of(stream);
    float *shares = plan.tasks ? malloc(((size_t)plan.count + 1) * 2 * stream->width * sizeof(float)) : NULL;
    int done = shares && run_chunks(stream, arrays, &plan, shares);
    if (done) add_shares(stream, arrays, &plan, shares);
    free(shares);
    free(plan.tasks);
    return done;
}
