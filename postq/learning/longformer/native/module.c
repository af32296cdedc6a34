/* The Python module postq.learning.longformer._band: checks arrays, then works without the GIL. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <limits.h>
#include <stdlib.h>

#include "stream.h"

enum { FORWARD_ARRAYS = LSE + 1 };

/* What a call was given, until it is done. */
typedef struct {
    Py_buffer views[ARRAYS];
    Array arrays[ARRAYS];
    int held;
    Stream stream;
} Call;

static void end(Call *call)
{
    while (call->held) PyBuffer_Release(&call->views[--call->held]);
    free(call->stream.bounds);
}

/* Whether it is a float32 array of the first one's shape, the log-sum-exps' being without the last axis. */
static int fits(const Py_buffer *view, const Py_buffer *first, int axes)
{
    if (view->ndim != axes || view->itemsize != sizeof(float) || view->format[0] != 'f' || view->format[1])
        return 0;
    for (int i = 0; i < axes; i++) {
        if (view->shape[i] != first->shape[i] || view->shape[i] >= INT_MAX) return 0;
        if (view->strides[i] < 0 || view->strides[i] % (Py_ssize_t)sizeof(float)) return 0;
    }
    return axes < 3 || view->strides[2] == sizeof(float);
}

static int take(Call *call, PyObject *object, int place, int writable)
{
    Py_buffer *view = &call->views[call->held];
    if (PyObject_GetBuffer(object, view, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return 0;
    call->held++;
    if (!fits(view, &call->views[0], place == LSE ? 2 : 3)) {
        PyErr_Format(PyExc_ValueError, "array %d is no float32 array of the first one's shape", place + 1);
        return 0;
    }
    size_t token = (size_t)view->strides[0] / sizeof(float), head = (size_t)view->strides[1] / sizeof(float);
    call->arrays[place] = (Array){view->buf, token, head};
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
        if (bound < before || bound > tokens) {
            PyErr_SetString(PyExc_ValueError, "the bounds have to grow and stay within the stream");
            return 0;
        }
        call->stream.bounds[i] = (int)(before = bound);
    }
    call->stream.documents = size ? (int)size - 1 : 0;
    return 1;
}

static int read_stream(Call *call, PyObject *bounds)
{
    const Py_ssize_t *shape = call->views[0].shape;
    if (shape[2] < 1 || shape[2] % BAND_LANES || shape[2] > BAND_MOST_WIDTH) {
        PyErr_Format(
            PyExc_ValueError, "the width is no multiple of %d up to %d", BAND_LANES, BAND_MOST_WIDTH
        );
        return 0;
    }
    if (call->stream.reach < 1 || call->stream.threads < 1) {
        PyErr_SetString(PyExc_ValueError, "reach and threads have to be at least 1");
        return 0;
    }
    call->stream.heads = (int)shape[1];
    call->stream.width = (int)shape[2];
    return read_bounds(call, bounds, shape[0]);
}

/* Runs `work` without the GIL and lets go of everything. */
static PyObject *run(Call *call, PyObject *bounds, int (*work)(const Stream *, const Array[]))
{
    int done = 0;
    if (read_stream(call, bounds)) {
        Py_BEGIN_ALLOW_THREADS done = work(&call->stream, call->arrays);
        Py_END_ALLOW_THREADS if (!done) PyErr_NoMemory();
    }
    end(call);
    if (!done) return NULL;
    Py_RETURN_NONE;
}

static PyObject *forward(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *a[FORWARD_ARRAYS], *bounds;
    Call call = {.held = 0};
    int *reach = &call.stream.reach, *threads = &call.stream.threads;
    if (!PyArg_ParseTuple(
            args, "OOOOOO!ii:forward", a, a + 1, a + 2, a + 3, a + 4, &PyTuple_Type, &bounds, reach, threads
        ))
        return NULL;
    for (int i = 0; i < FORWARD_ARRAYS; i++)
        if ((i != LSE || a[i] != Py_None) && !take(&call, a[i], i, i >= OUTPUT)) return end(&call), NULL;
    return run(&call, bounds, stream_forward);
}

static PyObject *backward(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *a[ARRAYS], *bounds;
    Call call = {.held = 0};
    int *reach = &call.stream.reach, *threads = &call.stream.threads;
    if (!PyArg_ParseTuple(
            args, "OOOOOOOOOO!ii:backward", a, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6, a + 7, a + 8,
            &PyTuple_Type, &bounds, reach, threads
        ))
        return NULL;
    for (int i = 0; i < ARRAYS; i++)
        if (!take(&call, a[i], i, i >= QUERY_GRADIENT)) return end(&call), NULL;
    return run(&call, bounds, stream_backward);
}

static PyObject *available(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    return PyBool_FromLong(band_available());
}

static PyMethodDef methods[] = {
    {"available", available, METH_NOARGS, "Whether this processor runs the functions of this module."},
    {"forward", forward, METH_VARARGS,
     "(query, key, value, output, lse, bounds, reach, threads): writes output and lse."},
    {"backward", backward, METH_VARARGS,
     "(query, key, value, output, lse, gradient, query_gradient, key_gradient, value_gradient, bounds, "
     "reach, threads): writes the first, adds to the others."},
    {NULL, NULL, 0, NULL},
};

#else

static PyObject *available(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    Py_RETURN_FALSE;
}

static PyMethodDef methods[] = {
    {"available", available, METH_NOARGS, "False: there are no functions for this kind of processor."},
    {NULL, NULL, 0, NULL},
};

#endif

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_band", "Sliding-window attention on a CPU.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__band(void) { return PyModule_Create(&definition); }
