/*
 * Interrupts of devices. With KVM's AIA a line goes to KVM. Without it this is the PLIC (RISC-V PLIC specification
 * 1.0.0, SiFive's layout): a context for each hart's supervisor mode, 31 sources, levels. Its output is the hart's
 * external interrupt, which KVM raises (KVM_INTERRUPT).
 *
 *   0x000000  priority of each source       0x002000 + 0x80 * context    enabled sources
 *   0x001000  pending sources               0x200000 + 0x1000 * context  threshold, claim and complete
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <sys/ioctl.h>

enum { PENDING_AT = 0x1000, ENABLE_AT = 0x2000, ENABLE_STEP = 0x80, CONTEXT_AT = 0x200000, CONTEXT_STEP = 0x1000 };
enum { PRIORITY_MOST = 7 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned contexts;
/* A bit for each source. A claimed source is not pending again before it is completed. */
static uint32_t levels, pending, claimed;
static uint32_t priorities[SOURCES];
static uint32_t enabled[CPUS_MOST], thresholds[CPUS_MOST];
static int is_raised[CPUS_MOST];

/* The pending source of the highest priority for this context, the lowest number first; 0: none. */
static unsigned best_source(unsigned context)
{
	unsigned best = 0;
	for (unsigned source = 1; source < SOURCES; source++)
		if ((pending & enabled[context]) >> source & 1 && priorities[source] > thresholds[context] &&
		    (best == 0 || priorities[source] > priorities[best]))
			best = source;
	return best;
}

static void update(void)
{
	pending |= levels & ~claimed;
	for (unsigned context = 0; context < contexts; context++) {
		int wanted = best_source(context) != 0;
		if (wanted == is_raised[context])
			continue;
		is_raised[context] = wanted;
		struct kvm_interrupt interrupt = {.irq = wanted ? KVM_INTERRUPT_SET : KVM_INTERRUPT_UNSET};
		if (ioctl(vcpu_fd(context), KVM_INTERRUPT, &interrupt) != 0)
			fail_errno("KVM takes no interrupt for processor %u", context);
	}
}

void create_interrupts(enum aia_mode mode, unsigned cpus)
{
	contexts = cpus;
	if (mode != AIA_OFF)
		create_aia(mode, cpus);
}

void set_interrupt(unsigned source, int level)
{
	if (has_aia()) {
		struct kvm_irq_level line = {.irq = source, .level = (uint32_t)level};
		if (ioctl(vm, KVM_IRQ_LINE, &line) != 0)
			fail_errno("KVM takes no interrupt from source %u", source);
		return;
	}
	pthread_mutex_lock(&lock);
	levels = level ? levels | 1u << source : levels & ~(1u << source);
	/* What nobody has claimed goes with its cause. */
	if (!level)
		pending &= ~(1u << source);
	update();
	pthread_mutex_unlock(&lock);
}

static unsigned claim(unsigned context)
{
	unsigned source = best_source(context);
	if (source) {
		pending &= ~(1u << source);
		claimed |= 1u << source;
		update();
	}
	return source;
}

static uint64_t read_locked(uint64_t at)
{
	if (at < 4 * SOURCES)
		return priorities[at / 4];
	if (at == PENDING_AT)
		return pending;
	if (at >= ENABLE_AT && at < ENABLE_AT + ENABLE_STEP * contexts)
		return (at - ENABLE_AT) % ENABLE_STEP == 0 ? enabled[(at - ENABLE_AT) / ENABLE_STEP] : 0;
	if (at < CONTEXT_AT || at >= CONTEXT_AT + CONTEXT_STEP * contexts)
		return 0;
	unsigned context = (unsigned)(at - CONTEXT_AT) / CONTEXT_STEP;
	switch (at % CONTEXT_STEP) {
	case 0: return thresholds[context];
	case 4: return claim(context);
	default: return 0;
	}
}

static void write_locked(uint64_t at, uint32_t value)
{
	if (at >= 4 && at < 4 * SOURCES)
		priorities[at / 4] = value & PRIORITY_MOST;
	else if (at >= ENABLE_AT && at < ENABLE_AT + ENABLE_STEP * contexts && (at - ENABLE_AT) % ENABLE_STEP == 0)
		enabled[(at - ENABLE_AT) / ENABLE_STEP] = value & ~1u;
	else if (at >= CONTEXT_AT && at < CONTEXT_AT + CONTEXT_STEP * contexts) {
		unsigned context = (unsigned)(at - CONTEXT_AT) / CONTEXT_STEP;
		if (at % CONTEXT_STEP == 0)
			thresholds[context] = value & PRIORITY_MOST;
		/* A completion counts for a source that the context has enabled. */
		else if (at % CONTEXT_STEP == 4 && value < SOURCES && enabled[context] >> value & 1)
			claimed &= ~(1u << value);
	}
	update();
}

uint64_t plic_read(uint64_t offset)
{
	pthread_mutex_lock(&lock);
	uint64_t value = offset % 4 == 0 ? read_locked(offset) : 0;
	pthread_mutex_unlock(&lock);
	return value;
}

void plic_write(uint64_t offset, uint64_t value)
{
	pthread_mutex_lock(&lock);
	if (offset % 4 == 0)
		write_locked(offset, (uint32_t)value);
	pthread_mutex_unlock(&lock);
}
