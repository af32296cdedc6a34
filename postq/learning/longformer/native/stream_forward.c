/* The answers of a stream, its tasks shared out over the threads. */
#include <stdlib.h>

#include "plan.h"

int stream_forward(const Stream *stream, const Array arrays[])
{
    Plan plan = plan_of(stream);
    int failed = !plan.tasks;
    if (failed) return 0;
#pragma omp parallel num_threads(stream->threads) reduction(| : failed)
    {
        float *scratch = scratch_for(band_forward_scratch, &plan, stream->width);
        failed = !scratch;
        band_enter();
#pragma omp for schedule(dynamic)
        for (int i = 0; i < plan.count; i++) {
            if (failed) continue;
            Task task = plan.tasks[i];
            Band band = band_of(stream, arrays, task);
            Chunk chunk = band_chunk(task.tokens, task.reach, task.number);
            band_forward(&band, chunk, rows_of(arrays[OUTPUT], task), floats_of(arrays[LSE], task), scratch);
        }
        band_leave();
        free(scratch);
    }
    free(plan.tasks);
    return !failed;
}
