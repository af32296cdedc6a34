/* The gradients of a stream, its tasks shared out over the threads. */
#include <stdlib.h>

#include "plan.h"

static Gradients gradients_of(const Stream *stream, const Array arrays[], Task task, float *shares)
{
    return (Gradients){
        .output = rows_of(arrays[OUTPUT], task),
        .gradient = rows_of(arrays[GRADIENT], task),
        .lse = floats_of(arrays[LSE], task),
        .query = floats_of(arrays[QUERY_GRADIENT], task),
        .key = floats_of(arrays[KEY_GRADIENT], task),
        .value = floats_of(arrays[VALUE_GRADIENT], task),
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
        band_enter();
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
        band_leave();
        free(scratch);
    }
    return !failed;
}

/* Adds the chunks' shares to the global tokens' gradients, always in the same order. */
static void add_shares(const Stream *stream, const Array arrays[], const Plan *plan, const float *shares)
{
    for (int i = 0; i < plan->count; i++) {
        float *key = floats_of(arrays[KEY_GRADIENT], plan->tasks[i]).at;
        float *value = floats_of(arrays[VALUE_GRADIENT], plan->tasks[i]).at;
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
