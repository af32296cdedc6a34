/* The Python function `drop`. */
#include "arrays.h"

#include "drop.h"

/* Consecutive numbers of either kind, as many as `count` unless that is 0. */
static int as_run(const Py_buffer *view, Py_ssize_t count, Run *run)
{
    if (!view) return 0;
    if (stride(view, 0) != 1) return refuse("an array is not of consecutive numbers");
    if (count && view->shape[0] != count) return refuse("the arrays are not of one length");
    *run = (Run){view->buf, view->itemsize == sizeof(short)};
    return 1;
}

static int take(Held *held, PyObject *from, PyObject *added, PyObject *to, Run runs[3])
{
    runs[1].at = NULL;
    if (!as_run(hold(held, from, EITHER, 1, 0), 0, &runs[0])) return 0;
    Py_ssize_t count = held->views[0].shape[0];
    if (added != Py_None && !as_run(hold(held, added, FLOATS, 1, 0), count, &runs[1])) return 0;
    return as_run(hold(held, to, EITHER, 1, 1), count, &runs[2]);
}

PyObject *call_drop(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *from, *added, *to;
    Held held = {.count = 0};
    Run runs[3];
    double dropout;
    unsigned long long seed;
    int threads;
    if (!PyArg_ParseTuple(args, "OOOdKi:drop", &from, &added, &to, &dropout, &seed, &threads)) return NULL;
    int fit = (threads > 0 || refuse("threads have to be at least 1")) &&
              ((dropout > 0 && dropout < 1) || refuse("the dropout has to be over 0 and under 1")) &&
              take(&held, from, added, to, runs);
    if (fit) {
        Dropout what = {seed, (uint32_t)(dropout * 4294967296.0), (float)(1.0 / (1.0 - dropout))};
        size_t count = (size_t)held.views[0].shape[0];
        Py_BEGIN_ALLOW_THREADS
        drop_run(runs[0], runs[1].at, runs[2], count, what, threads);
        Py_END_ALLOW_THREADS
    }
    let_go(&held);
    if (!fit) return NULL;
    Py_RETURN_NONE;
}
