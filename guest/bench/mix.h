/* A mix in the manner of CoreMark, written anew: lists, matrices, a state machine, a CRC over all. */
#ifndef MIX_H
#define MIX_H

#include <stdint.h>

uint64_t mix(uint64_t count);

#endif
