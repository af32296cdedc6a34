/* Holding arrays, and checking what no function could work with. */
#include "arrays.h"

#include <limits.h>

/* Sums of a few lengths, such as a document's and twice its window's, then stay within an int. Packed
 * weights, the only long arrays of one axis, are counted otherwise. */
enum { MOST_LENGTH = INT_MAX / 4 };

int refuse(const char *why) { return PyErr_SetString(PyExc_ValueError, why), 0; }

static int is_of(const Py_buffer *view, int kind)
{
    Py_ssize_t bytes = kind == FLOATS ? sizeof(float) : sizeof(short);
    return view->itemsize == bytes && view->format[0] == kind && !view->format[1];
}

static int usable(const Py_buffer *view, int kind, int axes)
{
    int known = kind == EITHER ? is_of(view, FLOATS) || is_of(view, SHORTS) : is_of(view, kind);
    if (view->ndim != axes || !known) return 0;
    for (int i = 0; i < axes; i++)
        if (view->shape[i] < 1 || (axes > 1 && view->shape[i] > MOST_LENGTH) || view->strides[i] < 0 ||
            view->strides[i] % view->itemsize)
            return 0;
    return 1;
}

const Py_buffer *hold(Held *held, PyObject *object, int kind, int axes, int writable)
{
    Py_buffer *view = &held->views[held->count];
    if (PyObject_GetBuffer(object, view, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return NULL;
    held->count++;
    if (usable(view, kind, axes)) return view;
    PyErr_Format(
        PyExc_ValueError, "array %d is no %s array of %d axes, or empty, too long or backwards", held->count,
        kind == FLOATS   ? "float32"
        : kind == SHORTS ? "int16"
                         : "float32 or int16",
        axes
    );
    return NULL;
}

void let_go(Held *held)
{
    while (held->count) PyBuffer_Release(&held->views[--held->count]);
}

size_t stride(const Py_buffer *view, int axis) { return (size_t)(view->strides[axis] / view->itemsize); }
