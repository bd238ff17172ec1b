/* Virtual processors: a thread each, which enters the guest and answers what comes out of it. */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* SBI specification 3.0, chapter 12: the debug console; KVM leaves it to us. */
enum { SBI_DBCN = 0x4442434e, DBCN_WRITE = 0, DBCN_READ = 1, DBCN_WRITE_BYTE = 2 };
enum { SBI_NOT_SUPPORTED = -2, SBI_INVALID_PARAM = -3 };

struct vcpu {
	int fd;
	struct kvm_run *run;
	pthread_t thread;
};

static struct vcpu vcpus[CPUS_MOST];
static unsigned vcpu_count;
static atomic_ulong mmio_exits, sbi_exits, interrupted_exits, csr_exits;

static uint64_t full_id(uint64_t id)
{
	return KVM_REG_RISCV | KVM_REG_SIZE_U64 | id;
}

int try_get_register(unsigned vcpu, uint64_t id, uint64_t *value)
{
	struct kvm_one_reg one = {.id = full_id(id), .addr = (uintptr_t)value};
	return ioctl(vcpus[vcpu].fd, KVM_GET_ONE_REG, &one);
}

int try_set_register(unsigned vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg one = {.id = full_id(id), .addr = (uintptr_t)&value};
	return ioctl(vcpus[vcpu].fd, KVM_SET_ONE_REG, &one);
}

uint64_t get_register(unsigned vcpu, uint64_t id)
{
	uint64_t value;
	if (try_get_register(vcpu, id, &value) != 0)
		fail_errno("KVM does not tell register %llx of processor %u", (unsigned long long)id, vcpu);
	return value;
}

void set_register(unsigned vcpu, uint64_t id, uint64_t value)
{
	if (try_set_register(vcpu, id, value) != 0)
		fail_errno("KVM does not set register %llx of processor %u", (unsigned long long)id, vcpu);
}

int vcpu_fd(unsigned id)
{
	return vcpus[id].fd;
}

void create_vcpus(unsigned count)
{
	int most = kvm_has(KVM_CAP_MAX_VCPUS);
	if (most > 0 && count > (unsigned)most)
		fail("KVM has at most %d processors for a guest", most);
	int bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		fail("KVM's size of a processor's area is %d", bytes);
	for (unsigned id = 0; id < count; id++) {
		struct vcpu *vcpu = &vcpus[id];
		vcpu->fd = ioctl(vm, KVM_CREATE_VCPU, (unsigned long)id);
		if (vcpu->fd < 0)
			fail_errno("KVM makes no processor %u", id);
		vcpu->run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
		if (vcpu->run == MAP_FAILED)
			fail_errno("the area of processor %u", id);
		/* Off unless asked for; a kernel without it has no debug console, and guests do without. */
		try_set_register(id, KVM_REG_RISCV_SBI_EXT | KVM_REG_RISCV_SBI_SINGLE | KVM_RISCV_SBI_EXT_DBCN, 1);
	}
	vcpu_count = count;
}

/* Little-endian, of 1 to 8 bytes. */
static void answer_mmio(struct kvm_run *run)
{
	uint64_t at = run->mmio.phys_addr, value = 0;
	int is_uart = at - UART_BASE < UART_BYTES, is_plic = !has_aia() && at - PLIC_BASE < PLIC_BYTES;
	size_t bytes = run->mmio.len <= 8 ? run->mmio.len : 8;
	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, bytes);
		if (is_uart)
			uart_write(at - UART_BASE, value);
		else if (is_plic)
			plic_write(at - PLIC_BASE, value);
		return;
	}
	/* Nothing is there: reads as zero, and writes are lost. */
	value = is_uart ? uart_read(at - UART_BASE) : is_plic ? plic_read(at - PLIC_BASE) : 0;
	memcpy(run->mmio.data, &value, bytes);
}

static void answer_sbi(struct kvm_run *run)
{
	unsigned long *arguments = run->riscv_sbi.args, *results = run->riscv_sbi.ret;
	results[0] = (unsigned long)SBI_NOT_SUPPORTED;
	results[1] = 0;
	if (run->riscv_sbi.extension_id != SBI_DBCN)
		return;
	results[0] = 0;
	if (run->riscv_sbi.function_id == DBCN_WRITE_BYTE) {
		uint8_t byte = (uint8_t)arguments[0];
		console_write(&byte, 1);
	} else if (run->riscv_sbi.function_id == DBCN_WRITE) {
		/* As much as we like; the guest asks again for the rest. */
		unsigned long bytes = arguments[0] < 4096 ? arguments[0] : 4096;
		const uint8_t *at = arguments[2] == 0 ? guest_memory(arguments[1], bytes) : NULL;
		if (at) {
			console_write(at, bytes);
			results[1] = bytes;
		} else
			results[0] = (unsigned long)SBI_INVALID_PARAM;
	} else if (run->riscv_sbi.function_id != DBCN_READ)
		results[0] = (unsigned long)SBI_NOT_SUPPORTED;
	/* A read finds nothing: what is typed goes to the UART. */
}

static void say_where(unsigned id)
{
	uint64_t pc = 0, scause = 0, stval = 0;
	try_get_register(id, KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(regs.pc), &pc);
	try_get_register(id, KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_REG(scause), &scause);
	try_get_register(id, KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_REG(stval), &stval);
	fprintf(stderr, "vmm: processor %u at pc %llx (scause %llx, stval %llx)\r\n", id, (unsigned long long)pc,
		(unsigned long long)scause, (unsigned long long)stval);
}

static void end_by_event(const struct kvm_run *run)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
	case KVM_SYSTEM_EVENT_RESET:
		/* The second word of SBI's system reset: 0, no reason; 1, a failure (section 10.1). */
		end_machine(run->system_event.ndata > 0 && run->system_event.data[0] == 1 ? 1 : 0);
		return;
	default:
		fail("the guest ended in a way that is not known: system event %u", run->system_event.type);
	}
}

static void *run_vcpu(void *argument)
{
	struct vcpu *vcpu = argument;
	unsigned id = (unsigned)(vcpu - vcpus);
	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) != 0 && errno != EINTR && errno != EAGAIN) {
			int error = errno;
			say_where(id);
			errno = error;
			fail_errno("processor %u cannot go on", id);
		}
		switch (vcpu->run->exit_reason) {
		case KVM_EXIT_MMIO:
			mmio_exits++;
			answer_mmio(vcpu->run);
			break;
		case KVM_EXIT_RISCV_SBI:
			sbi_exits++;
			answer_sbi(vcpu->run);
			break;
		case KVM_EXIT_RISCV_CSR:
			csr_exits++; /* what we return: the old value, zero */
			vcpu->run->riscv_csr.ret_value = 0;
			break;
		case KVM_EXIT_INTR:
			interrupted_exits++;
			break;
		case KVM_EXIT_SYSTEM_EVENT:
			end_by_event(vcpu->run);
			return NULL;
		case KVM_EXIT_FAIL_ENTRY:
			say_where(id);
			fail("KVM cannot enter the guest: reason %llx",
			     (unsigned long long)vcpu->run->fail_entry.hardware_entry_failure_reason);
		case KVM_EXIT_INTERNAL_ERROR:
			say_where(id);
			fail("KVM gives up: internal error %u", vcpu->run->internal.suberror);
		default:
			say_where(id);
			fail("KVM left the guest for reason %u, which is not known here", vcpu->run->exit_reason);
		}
	}
}

void start_vcpus(struct entry entry)
{
	/* Harts but the first are stopped until the guest starts them (SBI's HSM, KVM's doing). */
	set_register(0, KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(regs.pc), entry.kernel);
	set_register(0, KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(regs.a0), 0);
	set_register(0, KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(regs.a1), entry.tree);
	for (unsigned id = 0; id < vcpu_count; id++)
		if (pthread_create(&vcpus[id].thread, NULL, run_vcpu, &vcpus[id]) != 0)
			fail("no thread for processor %u", id);
}

void print_exits(void)
{
	fprintf(stderr, "vmm: exits to us: %lu mmio, %lu sbi, %lu csr, %lu interrupted\n", mmio_exits, sbi_exits, csr_exits,
		interrupted_exits);
}
