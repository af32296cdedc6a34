/* Tiles of 16 rows of 64 bytes that are multiplied at once: what AMX offers, beside AVX-512 for the rest. */
#ifndef POSTQ_AMX_H
#define POSTQ_AMX_H

#include <immintrin.h>
#include <stdint.h>

#ifndef SIMD /* or a test emulates it */
#include <sys/syscall.h>
#include <unistd.h>

#define SIMD target("avx512f,avx512bf16,amx-tile,amx-bf16")
#define AVAILABLE (amx_permitted())

/* Linux gives tiles, whose 8 KB it has to save for every thread, to processes that ask. */
static inline int amx_permitted(void)
{
    enum { REQUEST = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("avx512bf16") &&
           !syscall(SYS_arch_prctl, REQUEST, TILE_DATA);
}
#endif

#include "avx512.h"

enum { TILE_ROWS = 16, TILE_NUMBERS = 32, TILE_FLOATS = 16 };

/* The shape of all eight tiles. Not a local variable: the compiler takes 8 of its bytes to be read. */
static const struct {
    unsigned char palette, start, reserved[14];
    unsigned short bytes[16];
    unsigned char rows[16];
} TILES = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* For this thread, until it rests them. */
INNER void set_tiles(void) { _tile_loadconfig(&TILES); }
INNER void rest_tiles(void) { _tile_release(); }

typedef uint16_t Narrow __attribute__((vector_size(2 * LANES)));
typedef uint32_t Pairs __attribute__((vector_size(4 * LANES)));

/* Sixteen floats as bfloat16, rounded to even; and back. */
INNER Narrow narrowed(Vector x) { return (Narrow)_mm512_cvtneps_pbh(x); }
INNER Vector widened(Narrow x) { return (Vector)(__builtin_convertvector(x, Pairs) << 16); }

INNER Narrow load_narrow(const uint16_t *from) { return (Narrow)_mm256_loadu_si256((const __m256i *)from); }
INNER void store_narrow(uint16_t *to, Narrow x) { _mm256_storeu_si256((__m256i *)to, (__m256i)x); }

/* Numbers of two rows side by side, as AMX wants the factor on the right. */
INNER Pairs paired(Narrow even, Narrow odd)
{
    return __builtin_convertvector(even, Pairs) | __builtin_convertvector(odd, Pairs) << 16;
}

#endif
