/*
 * The guest's device tree: harts as KVM has them, RAM, the serial port, and one interrupt controller.
 * Bindings: Documentation/devicetree/bindings of Linux (riscv/cpus.yaml, sifive,plic-1.0.0.yaml, riscv,aplic.yaml,
 * riscv,imsics.yaml, 8250.yaml).
 */
#include "fdt.h"
#include "vmm.h"

#include <linux/kvm.h>

/* Phandles: the controller's, the IMSICs', and from CPU_PHANDLE on each hart's own. */
enum { CONTROLLER = 1, IMSICS = 2, CPU_PHANDLE = 16 };
/* Of an interrupt at the hart (scause), and of a line at the APLIC (level, active high). */
enum { SUPERVISOR_EXTERNAL = 9, LEVEL_HIGH = 4 };

static void write_chosen(struct fdt *fdt, const struct options *options, uint64_t initrd, uint64_t initrd_bytes)
{
	fdt_node(fdt, "chosen");
	fdt_string(fdt, "bootargs", options->append);
	fdt_string(fdt, "stdout-path", "/soc/serial@10000000");
	if (initrd_bytes > 0) {
		fdt_u64(fdt, "linux,initrd-start", initrd);
		fdt_u64(fdt, "linux,initrd-end", initrd + initrd_bytes);
	}
	fdt_end_node(fdt);
}

static void write_cpus(struct fdt *fdt, unsigned count)
{
	fdt_node(fdt, "cpus");
	fdt_cell(fdt, "#address-cells", 1);
	fdt_cell(fdt, "#size-cells", 0);
	fdt_cell(fdt, "timebase-frequency", (uint32_t)timebase_frequency());
	for (unsigned id = 0; id < count; id++) {
		fdt_node(fdt, "cpu@%u", id);
		fdt_string(fdt, "device_type", "cpu");
		fdt_string(fdt, "compatible", "riscv");
		fdt_cell(fdt, "reg", id);
		fdt_string(fdt, "status", "okay");
		fdt_string(fdt, "riscv,isa", isa_string());
		fdt_string(fdt, "mmu-type", mmu_type());
		if (cache_block_bytes('m'))
			fdt_cell(fdt, "riscv,cbom-block-size", cache_block_bytes('m'));
		if (cache_block_bytes('z'))
			fdt_cell(fdt, "riscv,cboz-block-size", cache_block_bytes('z'));
		fdt_node(fdt, "interrupt-controller");
		fdt_string(fdt, "compatible", "riscv,cpu-intc");
		fdt_flag(fdt, "interrupt-controller");
		fdt_cell(fdt, "#interrupt-cells", 1);
		fdt_cell(fdt, "phandle", CPU_PHANDLE + id);
		fdt_end_node(fdt);
		fdt_end_node(fdt);
	}
	fdt_end_node(fdt);
}

/* To each hart's supervisor external interrupt, in order. */
static void write_parents(struct fdt *fdt, unsigned cpus)
{
	uint32_t cells[2 * CPUS_MOST];
	for (unsigned id = 0; id < cpus; id++) {
		cells[2 * id] = CPU_PHANDLE + id;
		cells[2 * id + 1] = SUPERVISOR_EXTERNAL;
	}
	fdt_cells(fdt, "interrupts-extended", cells, 2 * cpus);
}

static void write_plic(struct fdt *fdt, unsigned cpus)
{
	fdt_node(fdt, "plic@%llx", (unsigned long long)PLIC_BASE);
	fdt_string(fdt, "compatible", "sifive,plic-1.0.0");
	fdt_reg(fdt, PLIC_BASE, PLIC_BYTES);
	fdt_flag(fdt, "interrupt-controller");
	fdt_cell(fdt, "#interrupt-cells", 1);
	fdt_cell(fdt, "#address-cells", 0);
	fdt_cell(fdt, "riscv,ndev", SOURCES - 1);
	write_parents(fdt, cpus);
	fdt_cell(fdt, "phandle", CONTROLLER);
	fdt_end_node(fdt);
}

static void write_aia(struct fdt *fdt, unsigned cpus)
{
	fdt_node(fdt, "imsics@%llx", (unsigned long long)IMSIC_BASE);
	fdt_string(fdt, "compatible", "riscv,imsics");
	fdt_reg(fdt, IMSIC_BASE, (uint64_t)cpus * KVM_DEV_RISCV_IMSIC_SIZE);
	fdt_flag(fdt, "interrupt-controller");
	fdt_cell(fdt, "#interrupt-cells", 0);
	fdt_flag(fdt, "msi-controller");
	fdt_cell(fdt, "#msi-cells", 0);
	fdt_cell(fdt, "riscv,num-ids", aia_ids());
	write_parents(fdt, cpus);
	fdt_cell(fdt, "phandle", IMSICS);
	fdt_end_node(fdt);
	fdt_node(fdt, "aplic@%llx", (unsigned long long)APLIC_BASE);
	fdt_string(fdt, "compatible", "riscv,aplic");
	fdt_reg(fdt, APLIC_BASE, KVM_DEV_RISCV_APLIC_SIZE);
	fdt_flag(fdt, "interrupt-controller");
	fdt_cell(fdt, "#interrupt-cells", 2);
	fdt_cell(fdt, "#address-cells", 0);
	fdt_cell(fdt, "msi-parent", IMSICS);
	fdt_cell(fdt, "riscv,num-sources", SOURCES - 1);
	fdt_cell(fdt, "phandle", CONTROLLER);
	fdt_end_node(fdt);
}

static void write_uart(struct fdt *fdt)
{
	const uint32_t line[] = {UART_SOURCE, LEVEL_HIGH};
	fdt_node(fdt, "serial@%llx", (unsigned long long)UART_BASE);
	fdt_string(fdt, "compatible", "ns16550a");
	fdt_reg(fdt, UART_BASE, UART_BYTES);
	fdt_cell(fdt, "clock-frequency", 3686400);
	fdt_cells(fdt, "interrupts", line, has_aia() ? 2 : 1);
	fdt_end_node(fdt);
}

size_t write_tree(uint8_t *at, size_t room, const struct options *options, uint64_t initrd, uint64_t initrd_bytes)
{
	static struct fdt fdt;
	fdt_begin(&fdt, at, room);
	fdt_string(&fdt, "compatible", "kagemusha,vmm");
	fdt_string(&fdt, "model", "kagemusha,vmm");
	fdt_cell(&fdt, "#address-cells", 2);
	fdt_cell(&fdt, "#size-cells", 2);
	write_chosen(&fdt, options, initrd, initrd_bytes);
	fdt_node(&fdt, "memory@%llx", (unsigned long long)RAM_BASE);
	fdt_string(&fdt, "device_type", "memory");
	fdt_reg(&fdt, RAM_BASE, ram_bytes);
	fdt_end_node(&fdt);
	write_cpus(&fdt, options->cpus);
	fdt_node(&fdt, "soc");
	fdt_string(&fdt, "compatible", "simple-bus");
	fdt_cell(&fdt, "#address-cells", 2);
	fdt_cell(&fdt, "#size-cells", 2);
	fdt_cell(&fdt, "interrupt-parent", CONTROLLER);
	fdt_flag(&fdt, "ranges");
	if (has_aia())
		write_aia(&fdt, options->cpus);
	else
		write_plic(&fdt, options->cpus);
	write_uart(&fdt);
	fdt_end_node(&fdt);
	return fdt_end(&fdt);
}
