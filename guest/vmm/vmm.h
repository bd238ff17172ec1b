/*
 * A small virtual machine monitor over Linux KVM for RISC-V: what its parts share. The machine is a subset of QEMU's
 * `virt`: RAM at 0x80000000, a 16550A at 0x10000000, and a PLIC at 0x0c000000 (ours, by MMIO exits) or KVM's own
 * APLIC and IMSICs. KVM is the firmware: timers, IPIs, remote fences, starting and stopping harts, shutdown.
 * Interface: Documentation/virt/kvm/api.rst and devices/... of Linux 6.12; asm/kvm.h for riscv.
 */
#ifndef VMM_H
#define VMM_H

#include <stddef.h>
#include <stdint.h>

#define RAM_BASE 0x80000000ull
#define UART_BASE 0x10000000ull
#define UART_BYTES 0x100ull
#define UART_SOURCE 10u
#define PLIC_BASE 0x0c000000ull
#define PLIC_BYTES 0x600000ull
#define APLIC_BASE 0x0d000000ull
#define IMSIC_BASE 0x28000000ull

enum { CPUS_MOST = 8, SOURCES = 32, PAGE = 4096, EXIT_PLATFORM = 125 };

enum aia_mode { AIA_OFF, AIA_EMULATED, AIA_HARDWARE, AIA_AUTO };

struct options {
	const char *kernel, *initrd, *append;
	/* Extensions that the guest is not to see, with commas; or NULL. */
	const char *without;
	uint64_t memory_bytes;
	unsigned cpus;
	enum aia_mode aia;
	int stats;
};

/* Prints "vmm: ..." and ends the process with EXIT_PLATFORM. fail_errno adds what errno says. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void fail_errno(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* machine.c: KVM's file descriptors, the guest's RAM and what is loaded into it. */
extern int kvm, vm;
extern uint8_t *ram;
extern uint64_t ram_bytes;

/* Where a guest starts: gpa of its first instruction and of its device tree. */
struct entry {
	uint64_t kernel, tree;
};

void open_kvm(void);
int kvm_has(int capability);
void create_ram(uint64_t bytes);
/* The host's address of `bytes` bytes at a guest's address, or NULL where that is not all RAM. */
uint8_t *guest_memory(uint64_t gpa, uint64_t bytes);
struct entry load_guest(const struct options *options);

/* vcpu.c: one thread each. */
void create_vcpus(unsigned count);
void start_vcpus(struct entry entry);
int vcpu_fd(unsigned id);
uint64_t get_register(unsigned vcpu, uint64_t id);
void set_register(unsigned vcpu, uint64_t id, uint64_t value);
/* 0, or -1 and errno, where a register may be unknown or fixed. */
int try_get_register(unsigned vcpu, uint64_t id, uint64_t *value);
int try_set_register(unsigned vcpu, uint64_t id, uint64_t value);
void print_exits(void);

/* isa.c: what the harts have, as the device tree says it. */
void leave_out(const char *extensions);
const char *isa_string(void);
const char *mmu_type(void);
uint64_t timebase_frequency(void);
unsigned cache_block_bytes(char management_or_zero);

/* tree.c: the device tree; returns its size in bytes, at most `room`. */
size_t write_tree(uint8_t *at, size_t room, const struct options *options, uint64_t initrd, uint64_t initrd_bytes);

/* uart.c: a 16550A. Input waits until there is room for it. */
void uart_input(const uint8_t *bytes, size_t count);
uint64_t uart_read(uint64_t offset);
void uart_write(uint64_t offset, uint64_t value);
void console_write(const uint8_t *bytes, size_t count);

/* interrupts.c: level-triggered sources 1 to SOURCES - 1, by whichever controller there is. */
void create_interrupts(enum aia_mode mode, unsigned cpus);
void set_interrupt(unsigned source, int level);
uint64_t plic_read(uint64_t offset);
void plic_write(uint64_t offset, uint64_t value);

/* aia.c: KVM's interrupt controllers. Without AIA, has_aia() is 0. */
void create_aia(enum aia_mode mode, unsigned cpus);
int has_aia(void);
unsigned aia_ids(void);

/* main.c: ends the machine with this exit code, from any thread. */
void end_machine(int code);

#endif
