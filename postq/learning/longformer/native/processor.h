/* The instructions that this build is for: those of POSTQ_AVX2 or POSTQ_AMX, and AVX-512 otherwise. */
#ifndef POSTQ_PROCESSOR_H
#define POSTQ_PROCESSOR_H

#if defined(POSTQ_AVX2)
#include "avx2.h"
#elif defined(POSTQ_AMX)
#include "amx.h"
#else
#include "avx512.h"
#endif

#endif
