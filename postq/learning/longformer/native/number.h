/* What queries, keys, values and answers are made of, and by how many a head's width may grow: float32, or
 * with POSTQ_AMX bfloat16, of which C knows the bits alone. */
#ifndef POSTQ_NUMBER_H
#define POSTQ_NUMBER_H

#include <stdint.h>

#ifdef POSTQ_AMX
typedef uint16_t Number;
enum { WIDTH_STEP = 32 };
#else
typedef float Number;
enum { WIDTH_STEP = 16 };
#endif

#endif
