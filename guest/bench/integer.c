/*
 * Integer work: hashes (table, rotate and multiply kinds), calls and returns, indirect branches, sorting. The mix of
 * list, matrix and state machine is in mix.c.
 */
#include "bench.h"
#include "mix.h"

#include <string.h>

static uint8_t data[65536];

static void fill(uint64_t seed)
{
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(next_random(&seed) >> 32);
}

/* CRC-32 a byte at a time through a table (polynomial of Ethernet). */
static uint64_t crc32(uint64_t count)
{
	static uint32_t table[256];
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;
		for (int bit = 0; bit < 8; bit++)
			value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0);
		table[i] = value;
	}
	fill(1);
	uint32_t crc = ~0u;
	for (uint64_t n = 0; n < count; n++)
		for (size_t i = 0; i < sizeof data; i++)
			crc = table[(crc ^ data[i]) & 255] ^ (crc >> 8);
	return ~crc;
}

static inline uint32_t rotate(uint32_t value, int by)
{
	return (value >> by) | (value << (32 - by));
}

/* The round constants are the first bits of the cube roots of primes; this finds them without a table in the source. */
static uint32_t cube_root_bits(uint32_t prime)
{
	/* The largest r (36 fraction bits are more than needed) with r^3 <= prime * 2^96, by bisection on 32 + 3 bits. */
	uint64_t low = 0, high = 8ull << 32;
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		unsigned __int128 square = (unsigned __int128)middle * middle;
		unsigned __int128 cube_high = (square >> 32) * middle;
		if ((cube_high >> 64) < prime)
			low = middle;
		else
			high = middle;
	}
	return (uint32_t)low;
}

/* SHA-256's compression function over the data, a chain of blocks. */
static uint64_t sha256(uint64_t count)
{
	static uint32_t k[64];
	for (uint32_t candidate = 2, found = 0; found < 64; candidate++) {
		int is_prime = 1;
		for (uint32_t d = 2; d * d <= candidate; d++)
			if (candidate % d == 0)
				is_prime = 0;
		if (is_prime)
			k[found++] = cube_root_bits(candidate);
	}
	fill(2);
	uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	for (uint64_t n = 0; n < count; n++)
		for (size_t at = 0; at < sizeof data; at += 64) {
			uint32_t w[64], s[8];
			for (int i = 0; i < 16; i++) {
				const uint8_t *p = data + at + 4 * i;
				w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
			}
			for (int i = 16; i < 64; i++) {
				uint32_t a = w[i - 15], b = w[i - 2];
				w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >> 3)) + w[i - 7] +
				       (rotate(b, 17) ^ rotate(b, 19) ^ (b >> 10));
			}
			memcpy(s, h, sizeof s);
			for (int i = 0; i < 64; i++) {
				uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
				uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
				uint32_t t = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + choice + k[i] + w[i];
				uint32_t u = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;
				memmove(s + 1, s, 7 * sizeof s[0]);
				s[4] += t;
				s[0] = t + u;
			}
			for (int i = 0; i < 8; i++)
				h[i] += s[i];
		}
	return (uint64_t)h[0] << 32 | h[7];
}

/* A hash of 64-bit words by multiply and rotate, four lanes at once. */
static uint64_t hash64(uint64_t count)
{
	const uint64_t p = 0x9e3779b185ebca87ull, q = 0xc2b2ae3d27d4eb4full;
	fill(3);
	uint64_t lane[4] = {p, q, p ^ q, p + q};
	for (uint64_t n = 0; n < count; n++)
		for (size_t at = 0; at < sizeof data; at += 32)
			for (int i = 0; i < 4; i++) {
				uint64_t word;
				memcpy(&word, data + at + 8 * i, 8);
				uint64_t x = lane[i] + word * q;
				lane[i] = (x << 31 | x >> 33) * p;
			}
	return lane[0] ^ lane[1] ^ lane[2] ^ lane[3];
}

/* Calls and returns: two functions of a few instructions that call each other. */
static __attribute__((noinline, optimize("no-optimize-sibling-calls"))) uint64_t fibonacci(uint64_t n)
{
	OPAQUE(n);
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static uint64_t calls(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++)
		sum = fold(sum, fibonacci(20 + (n & 3)));
	return sum;
}

/* Backtracking: recursion with a loop and unpredictable branches in it. */
static __attribute__((noinline)) uint64_t place_queens(uint32_t all, uint32_t columns, uint32_t left, uint32_t right)
{
	if (columns == all)
		return 1;
	uint64_t found = 0;
	for (uint32_t free = all & ~(columns | left | right); free;) {
		uint32_t bit = free & -free;
		free ^= bit;
		found += place_queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
	}
	return found;
}

static uint64_t queens(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++)
		sum = fold(sum, place_queens((1u << 8) - 1, 0, 0, 0));
	return sum;
}

/* A byte-code interpreter: one indirect branch for each of its instructions. */
static uint64_t indirect(uint64_t count)
{
	static const void *const labels[8] = {&&add, &&sub, &&xor, &&shift, &&multiply, &&swap, &&skip, &&mix};
	static const void *program[1024];
	uint64_t seed = 5, a = 1, b = 2;
	for (int i = 0; i < 1024; i++)
		program[i] = labels[next_random(&seed) >> 61];
	for (uint64_t n = 0; n < count; n++) {
		int at = 0;
#define NEXT                                                                                                           \
	do {                                                                                                           \
		if (at >= 1024)                                                                                        \
			goto end;                                                                                      \
		goto *program[at++];                                                                                   \
	} while (0)
		NEXT;
	add:
		a += b;
		NEXT;
	sub:
		b -= a ^ 3;
		NEXT;
	xor:
		a ^= b >> 7;
		NEXT;
	shift:
		b = b << 5 | b >> 59;
		NEXT;
	multiply:
		a *= 0x10001;
		NEXT;
	swap : {
		uint64_t t = a;
		a = b;
		b = t;
	}
		NEXT;
	skip:
		at += (int)(a & 1);
		NEXT;
	mix:
		a += 0x9e3779b9;
		b ^= a;
		NEXT;
#undef NEXT
	end:;
	}
	return a ^ b;
}

/* Calls through pointers: virtual methods. */
typedef uint64_t (*operation)(uint64_t);
static __attribute__((noinline)) uint64_t op_increment(uint64_t x) { return x + 1; }
static __attribute__((noinline)) uint64_t op_double(uint64_t x) { return x << 1; }
static __attribute__((noinline)) uint64_t op_invert(uint64_t x) { return ~x; }
static __attribute__((noinline)) uint64_t op_scramble(uint64_t x) { return x * 0x9e3779b97f4a7c15ull; }

static uint64_t pointers(uint64_t count)
{
	static const operation all[4] = {op_increment, op_double, op_invert, op_scramble};
	operation list[256];
	uint64_t seed = 6, x = 1;
	for (int i = 0; i < 256; i++)
		list[i] = all[next_random(&seed) >> 62];
	for (uint64_t n = 0; n < count; n++)
		for (int i = 0; i < 256; i++)
			x = list[i](x);
	return x;
}

static uint64_t numbers[16384];

static void quick_sort(uint64_t *low, uint64_t *high)
{
	while (high - low > 12) {
		uint64_t pivot = low[(high - low) / 2];
		uint64_t *i = low, *j = high - 1;
		for (;;) {
			while (*i < pivot)
				i++;
			while (pivot < *j)
				j--;
			if (i >= j)
				break;
			uint64_t t = *i;
			*i++ = *j;
			*j-- = t;
		}
		quick_sort(low, i);
		low = i;
	}
	for (uint64_t *i = low + 1; i < high; i++) {
		uint64_t value = *i, *j = i;
		for (; j > low && j[-1] > value; j--)
			*j = j[-1];
		*j = value;
	}
}

static uint64_t sorting(uint64_t count)
{
	uint64_t sum = 0, seed = 7;
	for (uint64_t n = 0; n < count; n++) {
		for (int i = 0; i < 16384; i++)
			numbers[i] = next_random(&seed);
		quick_sort(numbers, numbers + 16384);
		for (int i = 1; i < 16384; i += 97) {
			if (numbers[i - 1] > numbers[i])
				return 0;
			sum = fold(sum, numbers[i]);
		}
	}
	return sum;
}

const struct workload workloads[] = {
	{"crc32", crc32, 1000},
	{"sha256", sha256, 150},
	{"hash64", hash64, 20000},
	{"calls", calls, 1000},
	{"queens", queens, 5000},
	{"indirect", indirect, 20000},
	{"pointers", pointers, 60000},
	{"sorting", sorting, 400},
	{"mix", mix, 20000},
	{0},
};
