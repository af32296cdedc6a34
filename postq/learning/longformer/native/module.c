/* The Python modules postq.learning.longformer._avx2, _avx512 and _amx, of one source. */
#include "arrays.h"

#include "band.h"
#include "tile.h"

#if defined(POSTQ_AVX2)
#define NAME "_avx2"
#define INITIALIZER PyInit__avx2
#elif defined(POSTQ_AMX)
#define NAME "_amx"
#define INITIALIZER PyInit__amx
#else
#define NAME "_avx512"
#define INITIALIZER PyInit__avx512
#endif

static PyObject *available(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    return PyBool_FromLong(band_available());
}

static PyMethodDef methods[] = {
    {"available", available, METH_NOARGS, "Whether this processor runs the functions of this module."},
    {"attend", call_attend, METH_VARARGS,
     "(query, key, value, output, lse, bounds, reach, threads, dropout, seed): writes output and lse."},
    {"attend_backward", call_attend_backward, METH_VARARGS,
     "(query, key, value, output, lse, gradient, query_gradient, key_gradient, value_gradient, bounds, "
     "reach, threads, dropout, seed): writes the query's gradient, adds to the others."},
#ifndef POSTQ_AMX
    {"drop", call_drop, METH_VARARGS,
     "(from, added, to, dropout, seed, threads): writes to, what is left of from plus added."},
    {"pack", call_pack, METH_VARARGS, "(weight, packed, threads): writes packed."},
    {"multiply", call_multiply, METH_VARARGS,
     "(states, packed, bias, output, add, threads): writes output, or adds to it."},
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, NAME, "Attention and products on a CPU.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC INITIALIZER(void)
{
    band_available(); /* asks the operating system for what the functions need */
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "panel", PANEL) == 0 &&
        PyModule_AddIntConstant(module, "lanes", LANES) == 0)
        return module;
    Py_XDECREF(module);
    return NULL;
}
