/* What KVM gives the guest's harts, told as a device tree tells it (riscv,isa; extensions.yaml of Linux). */
#define _GNU_SOURCE
#include "vmm.h"

#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

struct extension {
	unsigned id;
	const char *name;
};

#define LETTER(name, id) {KVM_RISCV_ISA_EXT_##id, name}
/* In the order of the manual's naming rules. */
static const struct extension extensions[] = {
	LETTER("i", I), LETTER("m", M), LETTER("a", A), LETTER("f", F), LETTER("d", D), LETTER("c", C), LETTER("v", V),
	LETTER("zicbom", ZICBOM), LETTER("zicboz", ZICBOZ), LETTER("zicntr", ZICNTR), LETTER("zicond", ZICOND),
	LETTER("zicsr", ZICSR), LETTER("zifencei", ZIFENCEI), LETTER("zihintntl", ZIHINTNTL),
	LETTER("zihintpause", ZIHINTPAUSE), LETTER("zihpm", ZIHPM), LETTER("zimop", ZIMOP), LETTER("zacas", ZACAS),
	LETTER("zawrs", ZAWRS), LETTER("zfa", ZFA), LETTER("zfh", ZFH), LETTER("zfhmin", ZFHMIN), LETTER("zca", ZCA),
	LETTER("zcb", ZCB), LETTER("zcd", ZCD), LETTER("zcmop", ZCMOP), LETTER("zba", ZBA), LETTER("zbb", ZBB),
	LETTER("zbc", ZBC), LETTER("zbkb", ZBKB), LETTER("zbkc", ZBKC), LETTER("zbkx", ZBKX), LETTER("zbs", ZBS),
	LETTER("zknd", ZKND), LETTER("zkne", ZKNE), LETTER("zknh", ZKNH), LETTER("zkr", ZKR), LETTER("zksed", ZKSED),
	LETTER("zksh", ZKSH), LETTER("zkt", ZKT), LETTER("ztso", ZTSO), LETTER("zvbb", ZVBB), LETTER("zvbc", ZVBC),
	LETTER("zvfh", ZVFH), LETTER("zvfhmin", ZVFHMIN), LETTER("zvkb", ZVKB), LETTER("zvkg", ZVKG),
	LETTER("zvkned", ZVKNED), LETTER("zvknha", ZVKNHA), LETTER("zvknhb", ZVKNHB), LETTER("zvksed", ZVKSED),
	LETTER("zvksh", ZVKSH), LETTER("zvkt", ZVKT), LETTER("smstateen", SMSTATEEN), LETTER("ssaia", SSAIA),
	LETTER("sscofpmf", SSCOFPMF), LETTER("sstc", SSTC), LETTER("svinval", SVINVAL), LETTER("svnapot", SVNAPOT),
	LETTER("svpbmt", SVPBMT),
};
enum { EXTENSIONS = sizeof extensions / sizeof extensions[0] };

static char is_left_out[EXTENSIONS];

static uint64_t register_of(const struct extension *extension)
{
	return KVM_REG_RISCV_ISA_EXT | KVM_REG_RISCV_ISA_SINGLE | extension->id;
}

/* KVM can switch some off; of the others the guest is only not told. */
static void leave_out_one(const char *name, size_t length)
{
	for (unsigned i = 0; i < EXTENSIONS; i++) {
		if (strlen(extensions[i].name) != length || strncmp(extensions[i].name, name, length) != 0)
			continue;
		is_left_out[i] = 1;
		uint64_t has;
		for (unsigned id = 0; id < CPUS_MOST && vcpu_fd(id) > 0; id++)
			if (try_get_register(id, register_of(&extensions[i]), &has) == 0 && has)
				try_set_register(id, register_of(&extensions[i]), 0);
		return;
	}
	fail("%.*s is no extension that KVM knows", (int)length, name);
}

void leave_out(const char *names)
{
	for (const char *at = names; at && *at;) {
		size_t length = strcspn(at, ",");
		leave_out_one(at, length);
		at += length + (at[length] == ',');
	}
}

const char *isa_string(void)
{
	static char text[1024];
	size_t length = (size_t)sprintf(text, "rv64");
	for (unsigned i = 0; i < EXTENSIONS; i++) {
		uint64_t has = 0;
		if (is_left_out[i] || try_get_register(0, register_of(&extensions[i]), &has) != 0 || !has)
			continue;
		int is_letter = extensions[i].name[1] == 0;
		length += (size_t)snprintf(text + length, sizeof text - length, is_letter ? "%s" : "_%s", extensions[i].name);
	}
	return text;
}

const char *mmu_type(void)
{
	/* satp's MODE (Privileged specification, section 12.1.11). */
	switch (get_register(0, KVM_REG_RISCV_CONFIG | KVM_REG_RISCV_CONFIG_REG(satp_mode))) {
	case 10: return "riscv,sv57";
	case 9: return "riscv,sv48";
	default: return "riscv,sv39";
	}
}

uint64_t timebase_frequency(void)
{
	return get_register(0, KVM_REG_RISCV_TIMER | KVM_REG_RISCV_TIMER_REG(frequency));
}

unsigned cache_block_bytes(char management_or_zero)
{
	uint64_t bytes = 0;
	uint64_t id = management_or_zero == 'm' ? KVM_REG_RISCV_CONFIG_REG(zicbom_block_size)
						: KVM_REG_RISCV_CONFIG_REG(zicboz_block_size);
	return try_get_register(0, KVM_REG_RISCV_CONFIG | id, &bytes) == 0 ? (unsigned)bytes : 0;
}
