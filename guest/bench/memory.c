/*
 * Memory work: copies of many sizes, a copy whose source and destination fall on the same entries of any
 * direct-mapped translation cache, strides, pointer chases from a few pages to 64 MiB.
 */
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

enum { READ_WRITE = PROT_READ | PROT_WRITE };
#define MIB ((size_t)1 << 20)

/* Copies of 1 to 256 bytes at odd places. */
static uint64_t copy_small(uint64_t count)
{
	static uint8_t from[8192], to[8192];
	uint64_t seed = 9, sum = 0;
	for (int i = 0; i < 8192; i++)
		from[i] = (uint8_t)next_random(&seed);
	for (uint64_t n = 0; n < count; n++) {
		uint64_t random = next_random(&seed);
		size_t bytes = (random & 255) + 1;
		OPAQUE(bytes);
		memcpy(to + (random >> 8) % 7000, from + (random >> 24) % 7000, bytes);
	}
	for (int i = 0; i < 8192; i++)
		sum = fold(sum, to[i]);
	return sum;
}

static uint64_t copy_blocks(uint64_t count, size_t bytes)
{
	uint8_t *from = map_memory(bytes, 4096, READ_WRITE), *to = map_memory(bytes, 4096, READ_WRITE);
	uint64_t seed = 10, sum = 0;
	for (size_t i = 0; i < bytes; i += 8)
		*(uint64_t *)(from + i) = next_random(&seed);
	memset(to, 1, bytes);
	timing_start();
	for (uint64_t n = 0; n < count; n++) {
		from[n % bytes] ^= 0x55;
		memcpy(to, from, bytes);
	}
	timing_stop();
	for (size_t i = 0; i < bytes; i += 8)
		sum = fold(sum, *(uint64_t *)(to + i));
	unmap_memory(from, bytes);
	unmap_memory(to, bytes);
	return sum;
}

static uint64_t copy_4k(uint64_t count) { return copy_blocks(count, 4096); }
static uint64_t copy_4m(uint64_t count) { return copy_blocks(count, 4 * MIB); }

/* 64 MiB apart, word by word: a cache with one entry for both pages misses at each access. */
static uint64_t aliased(uint64_t count, int adds)
{
	size_t apart = 64 * MIB;
	uint64_t *from = map_memory(2 * apart, apart, READ_WRITE), *to = from + apart / 8, sum = 0;
	size_t words = 16 * 4096 / 8;
	uint64_t seed = 11;
	for (size_t i = 0; i < words; i++)
		from[i] = to[i] = next_random(&seed);
	timing_start();
	for (uint64_t n = 0; n < count; n++)
		for (size_t i = 0; i < words; i++) {
			uint64_t word = from[i] + n;
			OPAQUE(word);
			if (adds)
				to[i] += word;
			else
				to[i] = word;
		}
	timing_stop();
	for (size_t i = 0; i < words; i++)
		sum = fold(sum, to[i]);
	unmap_memory(from, 2 * apart);
	return sum;
}

static uint64_t copy_aliased(uint64_t count) { return aliased(count, 0); }
/* Here both pages are read: separate caches for reads and writes do not help. */
static uint64_t add_aliased(uint64_t count) { return aliased(count, 1); }

/* Reads and writes every `stride` bytes of 8 MiB. */
static uint64_t strides(uint64_t count, size_t stride)
{
	size_t bytes = 8 * MIB;
	uint8_t *area = map_memory(bytes, 4096, READ_WRITE);
	memset(area, 3, bytes);
	uint64_t sum = 0;
	timing_start();
	for (uint64_t n = 0; n < count; n++)
		for (size_t start = 0; start < stride; start += stride / 8)
			for (size_t i = start; i < bytes; i += stride)
				sum += area[i]++;
	timing_stop();
	unmap_memory(area, bytes);
	return sum;
}

static uint64_t stride_64(uint64_t count) { return strides(count, 64); }
static uint64_t stride_4k(uint64_t count) { return strides(count, 4096 + 64); }

static uint64_t fill(uint64_t count)
{
	size_t bytes = MIB;
	uint8_t *area = map_memory(bytes, 4096, READ_WRITE);
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++) {
		memset(area, (int)n, bytes);
		sum = fold(sum, area[n % bytes]);
	}
	unmap_memory(area, bytes);
	return sum;
}

/* Follows a random cycle through nodes of 64 bytes. */
static uint64_t chase(uint64_t count, size_t bytes)
{
	struct node {
		struct node *next;
		uint64_t value[7];
	};
	size_t nodes = bytes / sizeof(struct node);
	struct node *area = map_memory(bytes, 4096, READ_WRITE);
	uint64_t seed = 12, sum = 0;
	for (size_t i = 0; i < nodes; i++) {
		area[i].next = &area[i];
		area[i].value[0] = i;
	}
	/* Exchanging with an earlier node only (Sattolo) keeps it one cycle. */
	for (size_t i = nodes - 1; i > 0; i--) {
		size_t j = next_random(&seed) % i;
		struct node *t = area[i].next;
		area[i].next = area[j].next;
		area[j].next = t;
	}
	struct node *at = area;
	timing_start();
	for (uint64_t n = 0; n < count; n++) {
		at = at->next;
		sum += at->value[0];
	}
	timing_stop();
	unmap_memory(area, bytes);
	return sum;
}

static uint64_t chase_32k(uint64_t count) { return chase(count, 32 << 10); }
static uint64_t chase_1m(uint64_t count) { return chase(count, MIB); }
static uint64_t chase_8m(uint64_t count) { return chase(count, 8 * MIB); }
static uint64_t chase_64m(uint64_t count) { return chase(count, 64 * MIB); }

const struct workload workloads[] = {
	{"copy-small", copy_small, 6000000},
	{"copy-4k", copy_4k, 800000},
	{"copy-4m", copy_4m, 600},
	{"copy-aliased", copy_aliased, 1500},
	{"add-aliased", add_aliased, 1500},
	{"fill", fill, 4000},
	{"stride-64", stride_64, 100},
	{"stride-4k", stride_4k, 150},
	{"chase-32k", chase_32k, 200000000},
	{"chase-1m", chase_1m, 20000000},
	{"chase-8m", chase_8m, 3000000},
	{"chase-64m", chase_64m, 2000000},
	{0},
};
