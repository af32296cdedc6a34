/* AMX's tiles and AVX-512's bfloat16, spelled out number by number after
 * Intel's description, so that the build for AMX can be tested on processors
 * without them. The rest of AVX-512 is emulated too. */
#ifndef POSTQ_EMULATED_AMX_H
#define POSTQ_EMULATED_AMX_H

#include "emulated_avx512.h"

typedef union {
  float sums[16][16];
  uint16_t numbers[16][32];
  unsigned char rows[16][64];
} EmulatedTile;

static __thread EmulatedTile tiles[8];

EMULATED float float_of(uint16_t number) {
  union {
    uint32_t bits;
    float x;
  } wide = {(uint32_t)number << 16};
  return wide.x;
}

/* To even, subnormal numbers to 0. */
EMULATED uint16_t number_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (isnan(x))
    return bits >> 16 | 0x40;
  if (!(bits & 0x7f800000))
    return bits >> 16 & 0x8000;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

typedef uint16_t EmulatedNumbers __attribute__((vector_size(32)));

EMULATED __m256i converted(__m512 x) {
  EmulatedNumbers r;
  EACH r[i] = number_of(x[i]);
  return (__m256i)r;
}

EMULATED void tile_loaded(int tile, const void *from, size_t step) {
  EACH memcpy(tiles[tile].rows[i], (const char *)from + i * step, 64);
}

EMULATED void tile_stored(int tile, void *to, size_t step) {
  EACH memcpy((char *)to + i * step, tiles[tile].rows[i], 64);
}

/* It touches nothing but tiles, so no sanitizer has to slow it down. */
__attribute__((SIMD, noinline, unused, optimize("O3"),
               no_sanitize("address", "undefined"))) static void
tile_multiplied(int to, int left, int right) {
  float rows[16][32], columns[32][16];
  for (int i = 0; i < 16; i++)
    for (int c = 0; c < 32; c++) {
      rows[i][c] = float_of(tiles[left].numbers[i][c]);
      columns[2 * i + c % 2][c / 2] = float_of(tiles[right].numbers[i][c]);
    }
  for (int row = 0; row < 16; row++)
    for (int c = 0; c < 32; c++)
      EACH tiles[to].sums[row][i] += rows[row][c] * columns[c][i];
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(shape) ((void)(shape))
#define _tile_release() ((void)0)
#define _tile_zero(tile) memset(&tiles[tile], 0, sizeof tiles[tile])
#define _tile_loadd tile_loaded
#define _tile_stored tile_stored
#define _tile_dpbf16ps tile_multiplied
#define _mm512_cvtneps_pbh converted

#endif
