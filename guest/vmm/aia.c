/*
 * KVM's own interrupt controllers: an APLIC that sends messages, and an IMSIC for each hart, by guest interrupt files
 * of the host's IMSICs or emulated (Documentation/virt/kvm/devices: RISC-V AIA; asm/kvm.h).
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

static int device = -1;
static unsigned ids;

int has_aia(void)
{
	return device >= 0;
}

unsigned aia_ids(void)
{
	return ids;
}

static int try_attribute(unsigned long request, uint32_t group, uint64_t attribute, void *value)
{
	struct kvm_device_attr one = {.group = group, .attr = attribute, .addr = (uintptr_t)value};
	return ioctl(device, request, &one);
}

static void set32(uint64_t attribute, uint32_t value)
{
	if (try_attribute(KVM_SET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_CONFIG, attribute, &value) != 0)
		fail_errno("KVM does not set the AIA's attribute %u to %u", (unsigned)attribute, value);
}

static void set_address(uint64_t which, uint64_t address)
{
	if (try_attribute(KVM_SET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_ADDR, which, &address) != 0)
		fail_errno("KVM does not put the AIA's part %u at %llx", (unsigned)which, (unsigned long long)address);
}

void create_aia(enum aia_mode mode, unsigned cpus)
{
	static const uint32_t modes[] = {
		[AIA_EMULATED] = KVM_DEV_RISCV_AIA_MODE_EMUL,
		[AIA_HARDWARE] = KVM_DEV_RISCV_AIA_MODE_HWACCEL,
		[AIA_AUTO] = KVM_DEV_RISCV_AIA_MODE_AUTO,
	};
	struct kvm_create_device create = {.type = KVM_DEV_TYPE_RISCV_AIA};
	if (ioctl(vm, KVM_CREATE_DEVICE, &create) != 0) {
		if (errno == ENODEV)
			fail("KVM has no AIA here: it needs harts with Ssaia (leave --aia out for a PLIC)");
		fail_errno("KVM makes no AIA");
	}
	device = (int)create.fd;
	set32(KVM_DEV_RISCV_AIA_CONFIG_MODE, modes[mode]);
	if (try_attribute(KVM_GET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_CONFIG, KVM_DEV_RISCV_AIA_CONFIG_IDS, &ids) != 0)
		fail_errno("KVM does not tell how many interrupts the AIA has");
	set32(KVM_DEV_RISCV_AIA_CONFIG_SRCS, SOURCES - 1);
	unsigned hart_bits = 0;
	while (1u << hart_bits < cpus)
		hart_bits++;
	set32(KVM_DEV_RISCV_AIA_CONFIG_HART_BITS, hart_bits);
	set32(KVM_DEV_RISCV_AIA_CONFIG_GUEST_BITS, 0);
	set_address(KVM_DEV_RISCV_AIA_ADDR_APLIC, APLIC_BASE);
	for (unsigned id = 0; id < cpus; id++)
		set_address(KVM_DEV_RISCV_AIA_ADDR_IMSIC(id), IMSIC_BASE + (uint64_t)id * KVM_DEV_RISCV_IMSIC_SIZE);
	if (try_attribute(KVM_SET_DEVICE_ATTR, KVM_DEV_RISCV_AIA_GRP_CTRL, KVM_DEV_RISCV_AIA_CTRL_INIT, NULL) != 0)
		fail_errno(mode == AIA_HARDWARE ? "KVM starts no AIA by the harts' guest interrupt files" : "KVM starts no AIA");
}
