/* Writes a flattened device tree (Devicetree Specification 0.4, chapter 5) into a buffer of the caller's. */
#ifndef FDT_H
#define FDT_H

#include <stddef.h>
#include <stdint.h>

enum { FDT_STRINGS_MOST = 2048 };

struct fdt {
	uint8_t *start;
	size_t room, at;
	char strings[FDT_STRINGS_MOST];
	size_t string_bytes;
};

void fdt_begin(struct fdt *fdt, uint8_t *at, size_t room);
/* Closes the root; returns the tree's size. Ends the process where the buffer was too small. */
size_t fdt_end(struct fdt *fdt);
void fdt_node(struct fdt *fdt, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fdt_end_node(struct fdt *fdt);
void fdt_flag(struct fdt *fdt, const char *name);
void fdt_string(struct fdt *fdt, const char *name, const char *value);
void fdt_cells(struct fdt *fdt, const char *name, const uint32_t *cells, size_t count);
void fdt_cell(struct fdt *fdt, const char *name, uint32_t cell);
/* One 64-bit number, or an address and a size of two cells each. */
void fdt_u64(struct fdt *fdt, const char *name, uint64_t value);
void fdt_reg(struct fdt *fdt, uint64_t address, uint64_t bytes);

#endif
