/* The Python functions `attend` and `attend_backward`. */
#include "arrays.h"

#include <stdint.h>
#include <stdlib.h>

#include "stream.h"

enum { NUMBERS = sizeof(Number) == sizeof(float) ? FLOATS : SHORTS };

typedef struct {
    Held held;
    Array arrays[ARRAYS];
    Stream stream;
} Call;

static void end(Call *call)
{
    let_go(&call->held);
    free(call->stream.bounds);
}

/* Arrays have the first one's shape, the log-sum-exps without its last axis, which is of consecutive numbers.
 */
static int take(Call *call, PyObject *object, int place, int writable)
{
    int axes = place == LSE ? 2 : 3, kind = place == LSE || place > GRADIENT ? FLOATS : NUMBERS;
    const Py_buffer *view = hold(&call->held, object, kind, axes, writable), *first = &call->held.views[0];
    if (!view) return 0;
    for (int i = 0; i < axes; i++)
        if (view->shape[i] != first->shape[i]) return refuse("the arrays are not of one shape");
    if (axes == 3 && stride(view, 2) != 1) return refuse("the last axis is not of consecutive numbers");
    call->arrays[place] = (Array){view->buf, stride(view, 0), stride(view, 1)};
    return 1;
}

static int read_bounds(Call *call, PyObject *bounds, Py_ssize_t tokens)
{
    Py_ssize_t size = PyTuple_Size(bounds);
    call->stream.bounds = malloc((size_t)(size + 1) * sizeof(int));
    if (!call->stream.bounds) return PyErr_NoMemory(), 0;
    long before = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        long bound = PyLong_AsLong(PyTuple_GetItem(bounds, i));
        if (PyErr_Occurred()) return 0;
        if (bound < before || bound > tokens)
            return refuse("the bounds have to grow and stay within the stream");
        call->stream.bounds[i] = (int)(before = bound);
    }
    call->stream.documents = size ? (int)size - 1 : 0;
    return 1;
}

/* Dropout of 0 is none at all. */
static int read_dropout(Call *call, double dropout, unsigned long long seed)
{
    if (!(dropout >= 0 && dropout < 1)) return refuse("the dropout has to be at least 0 and under 1");
    uint32_t below = (uint32_t)(dropout * 4294967296.0);
    call->stream.dropout = (Dropout){seed, below, (float)(1.0 / (1.0 - dropout))};
    return 1;
}

static int read_stream(Call *call, PyObject *bounds)
{
    const Py_ssize_t *shape = call->held.views[0].shape;
    if (shape[2] < 1 || shape[2] % WIDTH_STEP || shape[2] > BAND_MOST_WIDTH)
        return refuse("the width is no multiple of the step, or over 128");
    if (call->stream.reach < 1 || call->stream.threads < 1)
        return refuse("reach and threads have to be at least 1");
    call->stream.heads = (int)shape[1];
    call->stream.width = (int)shape[2];
    return read_bounds(call, bounds, shape[0]);
}

/* Runs `work` without the GIL and lets go of everything. */
static PyObject *run(Call *call, PyObject *bounds, int (*work)(const Stream *, const Array[]))
{
    int done = 0;
    if (read_stream(call, bounds)) {
        Py_BEGIN_ALLOW_THREADS
        done = work(&call->stream, call->arrays);
        Py_END_ALLOW_THREADS
        if (!done) PyErr_NoMemory();
    }
    end(call);
    if (!done) return NULL;
    Py_RETURN_NONE;
}

PyObject *call_attend(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *a[LSE + 1], *bounds;
    Call call = {.held = {.count = 0}};
    int *reach = &call.stream.reach, *threads = &call.stream.threads;
    double dropout;
    unsigned long long seed;
    if (!PyArg_ParseTuple(
            args, "OOOOOO!iidK:attend", a, a + 1, a + 2, a + 3, a + 4, &PyTuple_Type, &bounds, reach, threads,
            &dropout, &seed
        ))
        return NULL;
    if (!read_dropout(&call, dropout, seed)) return NULL;
    for (int i = 0; i <= LSE; i++)
        if ((i != LSE || a[i] != Py_None) && !take(&call, a[i], i, i >= OUTPUT)) return end(&call), NULL;
    return run(&call, bounds, stream_forward);
}

PyObject *call_attend_backward(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *a[ARRAYS], *bounds;
    Call call = {.held = {.count = 0}};
    int *reach = &call.stream.reach, *threads = &call.stream.threads;
    double dropout;
    unsigned long long seed;
    if (!PyArg_ParseTuple(
            args, "OOOOOOOOOO!iidK:attend_backward", a, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6, a + 7,
            a + 8, &PyTuple_Type, &bounds, reach, threads, &dropout, &seed
        ))
        return NULL;
    if (!read_dropout(&call, dropout, seed)) return NULL;
    for (int i = 0; i < ARRAYS; i++)
        if (!take(&call, a[i], i, i >= QUERY_GRADIENT)) return end(&call), NULL;
    return run(&call, bounds, stream_backward);
}
