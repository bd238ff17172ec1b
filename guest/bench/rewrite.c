/*
 * Code that rewrites itself: patches an immediate, makes the change visible (fence.i, or the kernel's call for it),
 * calls the result, again and again. `page` patches one of 64 functions in a page and calls eight of them, as the
 * inline caches of a JIT compiler do.
 */
#include "bench.h"
#include "generate.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef uint64_t (*generated)(uint64_t value);

enum { FUNCTION_WORDS = 16, FUNCTIONS = 64 };

static uint32_t *map_code(size_t bytes)
{
	return map_memory(bytes, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* value * 3 + immediate, folded. */
static void write_function(uint32_t *code, int32_t immediate)
{
	code[0] = encode_addi(A0, A0, immediate);
	code[1] = encode_srli(A0 + 1, A0, 7);
	code[2] = encode_r(0, A0 + 1, A0, 4, A0);
	for (int i = 3; i < 13; i++)
		code[i] = encode_addi(A0, A0, i);
	code[13] = encode_r(0, A0, A0, 0, A0 + 1);
	code[14] = encode_r(0, A0 + 1, A0, 0, A0);
	code[15] = encode_ret();
}

static void flush_by_kernel(uint32_t *from, uint32_t *to)
{
	/* riscv_flush_icache(start, end, flags): 259; flags 0: every thread. */
	syscall(259, from, to, 0);
}

static uint64_t rewrite(uint64_t count, int by_kernel)
{
	uint32_t *code = map_code(4096);
	uint64_t value = 1;
	write_function(code, 0);
	for (uint64_t n = 0; n < count; n++) {
		code[0] = encode_addi(A0, A0, (int32_t)(n % 2000));
		if (by_kernel)
			flush_by_kernel(code, code + FUNCTION_WORDS);
		else
			fence_i();
		value = ((generated)(void *)code)(value);
	}
	unmap_memory(code, 4096);
	return value;
}

static uint64_t fence(uint64_t count) { return rewrite(count, 0); }
static uint64_t kernel_call(uint64_t count) { return rewrite(count, 1); }

static uint64_t page(uint64_t count)
{
	size_t bytes = FUNCTIONS * FUNCTION_WORDS * 4;
	uint32_t *code = map_code(bytes);
	uint64_t value = 1;
	for (int i = 0; i < FUNCTIONS; i++)
		write_function(code + i * FUNCTION_WORDS, i);
	for (uint64_t n = 0; n < count; n++) {
		code[n * 7 % FUNCTIONS * FUNCTION_WORDS] = encode_addi(A0, A0, (int32_t)(n % 1999));
		fence_i();
		for (uint64_t i = 0; i < 8; i++)
			value = ((generated)(void *)(code + (n * 5 + i) % FUNCTIONS * FUNCTION_WORDS))(value);
	}
	unmap_memory(code, bytes);
	return value;
}

/* A small compiler's life: writes 8 functions anew, calls each 100 times. */
static uint64_t compile(uint64_t count)
{
	size_t bytes = 64 << 10;
	uint32_t *code = map_code(bytes);
	uint64_t value = 1, places = bytes / 4 / FUNCTION_WORDS;
	for (uint64_t n = 0; n < count; n++) {
		for (uint64_t i = 0; i < 8; i++)
			write_function(code + (n * 8 + i) % places * FUNCTION_WORDS, (int32_t)((n + i) % 1000));
		fence_i();
		for (uint64_t i = 0; i < 800; i++)
			value = ((generated)(void *)(code + (n * 8 + i % 8) % places * FUNCTION_WORDS))(value);
	}
	unmap_memory(code, bytes);
	return value;
}

const struct workload workloads[] = {
	{"fence", fence, 40000},
	{"kernel", kernel_call, 40000},
	{"page", page, 50000},
	{"compile", compile, 2500},
	{0},
};
