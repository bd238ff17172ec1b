/*
 * Code that runs once: megabytes of instructions, generated into fresh memory, executed a single time. Only the
 * execution is timed. In `straight` a block is 1 MiB without a branch; in `branches` every fourth instruction is a
 * branch; in `functions` 16 instructions make a function, called from a table.
 */
#include "bench.h"
#include "generate.h"

#include <sys/mman.h>

enum { CODE_BYTES = 1 << 20, WORDS = CODE_BYTES / 4, FUNCTION_WORDS = 16 };

typedef uint64_t (*generated)(uint64_t value, uint64_t *memory);

static uint32_t *map_code(void)
{
	return map_memory(CODE_BYTES, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* Works on a0 and a2 to a7; a1 points at eight words. */
static uint32_t random_instruction(uint64_t *seed)
{
	uint64_t random = next_random(seed);
	uint32_t rd = A0 + (uint32_t)(random >> 8 & 7), rs1 = A0 + (uint32_t)(random >> 12 & 7);
	uint32_t rs2 = A0 + (uint32_t)(random >> 16 & 7), offset = (uint32_t)(random >> 20 & 7) * 8;
	int32_t immediate = (int32_t)(random >> 32 & 4095) - 2048;
	if (rd == A0 + 1)
		rd = A0;
	/* a1 differs from run to run, so its value must not flow into the sum. */
	if (rs1 == A0 + 1)
		rs1 = A0 + 2;
	if (rs2 == A0 + 1)
		rs2 = A0 + 3;
	switch (random >> 60) {
	case 0:
	case 1:
	case 2:
		return encode_addi(rd, rs1, immediate);
	case 3:
	case 4:
		return encode_xori(rd, rs1, immediate);
	case 5:
	case 6:
		return encode_r(0, rs2, rs1, 0, rd);
	case 7:
		return encode_r(0x20, rs2, rs1, 0, rd);
	case 8:
		return encode_r(0, rs2, rs1, 4, rd);
	case 9:
		return encode_r(1, rs2, rs1, 0, rd);
	case 10:
		return encode_srli(rd, rs1, (uint32_t)(random >> 40));
	case 11:
		return encode_r(0, rs2, rs1, 6, rd);
	case 12:
	case 13:
		return encode_ld(rd, A0 + 1, (int32_t)offset);
	default:
		return encode_sd(rs2, A0 + 1, offset);
	}
}

/* a2 to a7 get values of their own first: they hold the caller's leftovers. */
static int start_function(uint32_t *code)
{
	for (uint32_t i = 2; i < 8; i++)
		code[i - 2] = encode_addi(A0 + i, A0, (int32_t)(i * 37));
	return 6;
}

static uint64_t run_block(uint64_t seed, int branch_every)
{
	static uint64_t memory[8];
	uint32_t *code = map_code();
	for (int i = start_function(code); i < WORDS - 1; i++)
		code[i] = branch_every && i % branch_every == 0 && i < WORDS - 2
				  ? encode_bne_skip(A0 + 2 + (uint32_t)i / 4 % 6, A0)
				  : random_instruction(&seed);
	code[WORDS - 1] = encode_ret();
	fence_i();
	timing_start();
	uint64_t sum = ((generated)(void *)code)(seed, memory);
	timing_stop();
	unmap_memory(code, CODE_BYTES);
	return fold(sum, memory[3]);
}

static uint64_t straight(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++)
		sum = fold(sum, run_block(n + 21, 0));
	return sum;
}

static uint64_t branches(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++)
		sum = fold(sum, run_block(n + 22, 4));
	return sum;
}

static uint64_t functions(uint64_t count)
{
	uint64_t sum = 0, memory[8] = {0};
	for (uint64_t n = 0; n < count; n++) {
		uint64_t seed = n + 23;
		uint32_t *code = map_code();
		for (int at = 0; at < WORDS; at += FUNCTION_WORDS) {
			for (int i = start_function(code + at); i < FUNCTION_WORDS - 1; i++)
				code[at + i] = random_instruction(&seed);
			code[at + FUNCTION_WORDS - 1] = encode_ret();
		}
		fence_i();
		timing_start();
		for (int at = 0; at < WORDS; at += FUNCTION_WORDS)
			sum = fold(sum, ((generated)(void *)(code + at))(sum, memory));
		timing_stop();
		unmap_memory(code, CODE_BYTES);
	}
	return sum;
}

const struct workload workloads[] = {
	{"straight", straight, 8},
	{"branches", branches, 2},
	{"functions", functions, 4},
	{0},
};
