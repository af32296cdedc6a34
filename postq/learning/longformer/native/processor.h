/* The instructions that this build is for: AVX2 where POSTQ_AVX2 is defined, AVX-512 otherwise. */
#ifndef POSTQ_PROCESSOR_H
#define POSTQ_PROCESSOR_H

#ifdef POSTQ_AVX2
#include "avx2.h"
#else
#include "avx512.h"
#endif

#endif
