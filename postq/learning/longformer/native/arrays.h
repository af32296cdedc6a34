/* Arrays that a Python caller handed over. */
#ifndef POSTQ_ARRAYS_H
#define POSTQ_ARRAYS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

/* Views of arrays that are held until `let_go`. */
typedef struct {
    Py_buffer views[9];
    int count;
} Held;

/* float32, what holds the bits of bfloat16, and either of them. */
enum { FLOATS = 'f', SHORTS = 'h', EITHER = 0 };

/* Holds one more array of this kind and so many axes, none of them empty or, of several, as long as half a
 * billion, with steps of whole items forward. Raises ValueError otherwise and returns null. */
const Py_buffer *hold(Held *held, PyObject *object, int kind, int axes, int writable);

void let_go(Held *held);

/* Items from one index of an axis to the next. */
size_t stride(const Py_buffer *view, int axis);

/* Says what does not fit and returns 0. */
int refuse(const char *why);

PyObject *call_attend(PyObject *module, PyObject *args);
PyObject *call_attend_backward(PyObject *module, PyObject *args);
PyObject *call_pack(PyObject *module, PyObject *args);
PyObject *call_drop(PyObject *module, PyObject *args);
PyObject *call_multiply(PyObject *module, PyObject *args);

#endif
