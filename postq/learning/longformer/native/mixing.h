/* Random bits as a function of a number. */
#ifndef POSTQ_MIXING_H
#define POSTQ_MIXING_H

#include <stdint.h>

/* SplitMix64's mixing (Steele, Lea and Flood 2014): nearby numbers give unrelated ones. */
static inline uint64_t scrambled(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif
