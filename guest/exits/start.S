/*
 * The head of a Linux Image (Documentation/arch/riscv/boot-image-header.rst), so that any loader of kernels takes this
 * program for one; then a stack, and main. Position-independent: it runs where it was put.
 */
	.section .head, "ax"
	.global start
start:
	j enter
	.option norvc
	nop
	.dword 0x200000			/* text_offset: 2 MiB into RAM */
	.dword image_end - start	/* image_size */
	.dword 0			/* flags: little endian */
	.word 2				/* version 0.2 */
	.word 0
	.dword 0
	.ascii "RISCV\0\0\0"
	.ascii "RSC\5"
	.word 0

	.text
enter:
	csrw sie, zero
	lla sp, stack_end
	lla t0, bss_start
	lla t1, bss_end
1:	bgeu t0, t1, 2f
	sd zero, 0(t0)
	addi t0, t0, 8
	j 1b
	/* Floating point is on: the compiler may use it. */
2:	li t0, 0x2000
	csrs sstatus, t0
	/* a1 is the device tree. */
	mv a0, a1
	call main
3:	wfi
	j 3b

	.bss
	.balign 16
	.space 16384
stack_end:
