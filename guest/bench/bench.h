/*
 * What every bench program shares: a table of workloads, a clock, a random sequence. A workload does `count` units of
 * work and returns a checksum of its results, which must be the same on every machine.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

struct workload {
	const char *name;
	uint64_t (*run)(uint64_t count);
	/* Sized so that QEMU's translator takes about a second. */
	uint64_t count;
};

/* The program's workloads, ended by a row without name. */
extern const struct workload workloads[];

/*
 * A workload is timed from its call to its return, unless it times itself: then only what lies between timing_start
 * and timing_stop counts (any number of pairs), so that preparing data or generating code does not.
 */
void timing_start(void);
void timing_stop(void);

/* Says what failed and ends the program. */
void fail(const char *what) __attribute__((noreturn));

/* Zeroed memory of its own mapping, aligned to `alignment` (a power of two, at least a page). */
void *map_memory(size_t bytes, size_t alignment, int protection);
void unmap_memory(void *memory, size_t bytes);

/* xorshift64*: good enough for data, the same everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

/* One step of a checksum over 64-bit values. */
static inline uint64_t fold(uint64_t sum, uint64_t value)
{
	sum ^= value;
	sum *= 0x9e3779b97f4a7c15ull;
	return sum ^ (sum >> 29);
}

/* The bits of a double, so that a checksum notices a wrong last bit. */
static inline uint64_t bits_of(double value)
{
	union {
		double number;
		uint64_t bits;
	} both = {.number = value};
	return both.bits;
}

/* Keeps the compiler from seeing through a value. */
#define OPAQUE(value) __asm__ volatile("" : "+r"(value))

#endif
