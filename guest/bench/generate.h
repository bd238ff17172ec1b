/* Writing RISC-V instructions into memory: the few formats that the code-run-once and rewriting workloads need. */
#ifndef GENERATE_H
#define GENERATE_H

#include <stdint.h>

enum { A0 = 10, RA = 1 };

static inline uint32_t encode_r(uint32_t funct7, uint32_t rs2, uint32_t rs1, uint32_t funct3, uint32_t rd)
{
	return funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x33;
}

static inline uint32_t encode_addi(uint32_t rd, uint32_t rs1, int32_t immediate)
{
	return (uint32_t)immediate << 20 | rs1 << 15 | rd << 7 | 0x13;
}

static inline uint32_t encode_xori(uint32_t rd, uint32_t rs1, int32_t immediate)
{
	return encode_addi(rd, rs1, immediate) | 4 << 12;
}

/* Rotations are not in rv64gc; a logical shift by 1 to 63. */
static inline uint32_t encode_srli(uint32_t rd, uint32_t rs1, uint32_t by)
{
	return encode_addi(rd, rs1, (int32_t)(by & 63)) | 5 << 12;
}

static inline uint32_t encode_ld(uint32_t rd, uint32_t rs1, int32_t offset)
{
	return (uint32_t)offset << 20 | rs1 << 15 | 3 << 12 | rd << 7 | 0x03;
}

static inline uint32_t encode_sd(uint32_t rs2, uint32_t rs1, uint32_t offset)
{
	return (offset >> 5 & 127) << 25 | rs2 << 20 | rs1 << 15 | 3 << 12 | (offset & 31) << 7 | 0x23;
}

/* bne rs1, rs2, over the next instruction. */
static inline uint32_t encode_bne_skip(uint32_t rs1, uint32_t rs2)
{
	return rs2 << 20 | rs1 << 15 | 1 << 12 | 8 << 7 | 0x63;
}

static inline uint32_t encode_ret(void)
{
	return RA << 15 | 0x67;
}

/* This hart's own view of the code it wrote; enough where one hart runs. */
static inline void fence_i(void)
{
	__asm__ volatile("fence.i" ::: "memory");
}

#endif
