/*
 * KVM's doors, the guest's RAM (one memory slot), and what lies in it at the start:
 *
 *   RAM_BASE        + text_offset (2 MiB)              end - TREE_ROOM        end
 *   |                 kernel: image, then its bss ...    initrd | device tree |
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int kvm = -1, vm = -1;
uint8_t *ram;
uint64_t ram_bytes;

enum { TREE_ROOM = 64 << 10, HUGE_PAGE = 2 << 20 };

/* The head of a riscv Image (Documentation/arch/riscv/boot-image-header.rst). */
struct image_head {
	uint32_t code[2];
	uint64_t text_offset, image_size, flags;
	uint32_t version, reserved;
	uint64_t reserved_too, magic;
	char magic2[4];
	uint32_t reserved_three;
};

void open_kvm(void)
{
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0 && errno == ENOENT)
		fail("there is no /dev/kvm: load the module kvm, on a machine whose harts have the H extension");
	if (kvm < 0)
		fail_errno("/dev/kvm cannot be opened");
	int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		fail("KVM has API version %d, not %d", version, KVM_API_VERSION);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		fail_errno("KVM makes no virtual machine");
}

int kvm_has(int capability)
{
	return ioctl(vm, KVM_CHECK_EXTENSION, capability);
}

void create_ram(uint64_t bytes)
{
	if (bytes < 16 << 20 || bytes % PAGE)
		fail("the guest's memory is too small or no whole number of pages: give at least 16M");
	/* Aligned, so that the host can back it by huge pages. */
	uint8_t *area = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		fail_errno("%llu MiB of memory for the guest", (unsigned long long)(bytes >> 20));
	ram = area + (-(uintptr_t)area & (HUGE_PAGE - 1));
	ram_bytes = bytes;
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = RAM_BASE,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)ram,
	};
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0)
		fail_errno("KVM does not take the guest's memory");
}

uint8_t *guest_memory(uint64_t gpa, uint64_t bytes)
{
	if (gpa < RAM_BASE || gpa - RAM_BASE > ram_bytes || bytes > ram_bytes - (gpa - RAM_BASE))
		return NULL;
	return ram + (gpa - RAM_BASE);
}

static int open_file(const char *path, uint64_t *bytes)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &status) != 0)
		fail_errno("%s cannot be read", path);
	if (!S_ISREG(status.st_mode))
		fail("%s is no file", path);
	*bytes = (uint64_t)status.st_size;
	return file;
}

static void read_file(const char *path, int file, uint8_t *to, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes;) {
		ssize_t count = read(file, to + done, bytes - done);
		if (count == 0)
			fail("%s became shorter while it was read", path);
		if (count > 0)
			done += (uint64_t)count;
		else if (errno != EINTR)
			fail_errno("%s cannot be read", path);
	}
	close(file);
}

/* Loads the Image; gives its address, and the end of what it claims in `end`. */
static uint64_t load_kernel(const char *path, uint64_t limit, uint64_t *end)
{
	uint64_t bytes;
	int file = open_file(path, &bytes);
	struct image_head head = {0};
	if (bytes < sizeof head || pread(file, &head, sizeof head, 0) != sizeof head || memcmp(head.magic2, "RSC\x05", 4) != 0)
		fail("%s is no Linux Image for riscv (a compressed one has to be decompressed before)", path);
	uint64_t claimed = head.image_size > bytes ? head.image_size : bytes;
	if (head.text_offset > limit || claimed > limit - head.text_offset)
		fail("%s needs %llu MiB of memory, more than there is: give more with --memory", path,
		     (unsigned long long)((head.text_offset + claimed) >> 20));
	read_file(path, file, ram + head.text_offset, bytes);
	*end = head.text_offset + claimed;
	return RAM_BASE + head.text_offset;
}

struct entry load_guest(const struct options *options)
{
	uint64_t tree = ram_bytes - TREE_ROOM, kernel_end = 0, initrd = tree, initrd_bytes = 0;
	uint64_t kernel = load_kernel(options->kernel, tree, &kernel_end);
	if (options->initrd) {
		int file = open_file(options->initrd, &initrd_bytes);
		if (initrd_bytes > tree - kernel_end)
			fail("%s does not fit into the guest's memory beside the kernel: give more with --memory", options->initrd);
		initrd = (tree - initrd_bytes) & ~(uint64_t)(PAGE - 1);
		if (initrd < kernel_end)
			fail("%s does not fit into the guest's memory beside the kernel: give more with --memory", options->initrd);
		read_file(options->initrd, file, ram + initrd, initrd_bytes);
	}
	write_tree(ram + tree, TREE_ROOM, options, RAM_BASE + initrd, initrd_bytes);
	return (struct entry){kernel, RAM_BASE + tree};
}
