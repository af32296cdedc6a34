/* The Python functions `pack` and `multiply`. */
#include "arrays.h"

#include <stdint.h>

#include "multiply.h"

/* One axis has to be of consecutive floats, the columns where only they will do. */
static int as_matrix(const Py_buffer *view, int by_rows, Matrix *matrix)
{
    if (!view) return 0;
    *matrix = (Matrix){view->buf, (int)view->shape[0], (int)view->shape[1], stride(view, 0), stride(view, 1)};
    if (matrix->columns == 1 && (by_rows || matrix->row != 1)) matrix->column = 1;
    if (matrix->rows == 1 && matrix->column != 1) matrix->row = 1;
    if (matrix->column == 1 || (!by_rows && matrix->row == 1)) return 1;
    return refuse("no axis of a matrix is of consecutive floats");
}

static int is_packed(const Py_buffer *view, Matrix weight)
{
    if (!view) return 0;
    if (stride(view, 0) == 1 && (size_t)view->shape[0] == packed_size(weight) &&
        (uintptr_t)view->buf % 64 == 0)
        return 1;
    return refuse("the packed weight is of another size or not aligned to 64 bytes");
}

static int is_bias(const Py_buffer *view, Matrix output)
{
    if (!view) return 0;
    return (view->shape[0] == output.columns && stride(view, 0) == 1) ||
           refuse("the bias is not one float for each column");
}

static int check_threads(int threads) { return threads > 0 || refuse("threads have to be at least 1"); }

PyObject *call_pack(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *from, *to;
    Held held = {.count = 0};
    Matrix weight;
    int threads, fit;
    if (!PyArg_ParseTuple(args, "OOi:pack", &from, &to, &threads)) return NULL;
    fit = check_threads(threads) && as_matrix(hold(&held, from, FLOATS, 2, 0), 0, &weight) &&
          is_packed(hold(&held, to, FLOATS, 1, 1), weight);
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        pack_weight(weight, held.views[1].buf, threads);
        Py_END_ALLOW_THREADS
    }
    let_go(&held);
    if (!fit) return NULL;
    Py_RETURN_NONE;
}

/* What `multiply` was given. */
typedef struct {
    PyObject *states, *packed, *bias, *output;
    int add, threads;
} Factors;

static int hold_factors(Held *held, Factors given, Matrix *states, Matrix *output)
{
    if (!check_threads(given.threads)) return 0;
    if (!as_matrix(hold(held, given.states, FLOATS, 2, 0), 0, states)) return 0;
    if (!as_matrix(hold(held, given.output, FLOATS, 2, 1), 1, output)) return 0;
    if (states->rows != output->rows) return refuse("states and output have not as many rows");
    Matrix weight = {NULL, output->columns, states->columns, 0, 0};
    if (!is_packed(hold(held, given.packed, FLOATS, 1, 0), weight)) return 0;
    if (given.bias == Py_None) return 1;
    if (given.add) return refuse("a product is added either to its bias or to the output");
    return is_bias(hold(held, given.bias, FLOATS, 1, 0), *output);
}

PyObject *call_multiply(PyObject *module, PyObject *args)
{
    (void)module;
    Factors given;
    Held held = {.count = 0};
    Matrix states, output;
    int done = 0;
    if (!PyArg_ParseTuple(
            args, "OOOOpi:multiply", &given.states, &given.packed, &given.bias, &given.output, &given.add,
            &given.threads
        ))
        return NULL;
    if (hold_factors(&held, given, &states, &output)) {
        const float *packed = held.views[2].buf, *bias = held.count > 3 ? held.views[3].buf : NULL;
        Py_BEGIN_ALLOW_THREADS
        done = multiply(states, packed, bias, output, given.add, given.threads);
        Py_END_ALLOW_THREADS
        if (!done) PyErr_NoMemory();
    }
    let_go(&held);
    if (!done) return NULL;
    Py_RETURN_NONE;
}
