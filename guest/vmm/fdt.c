#include "fdt.h"
#include "vmm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, END = 9, HEAD_BYTES = 40, RESERVED_BYTES = 16 };

static void put(struct fdt *fdt, const void *bytes, size_t count)
{
	size_t padded = (count + 3) & ~(size_t)3;
	if (padded > fdt->room - fdt->at)
		fail("the guest's device tree does not fit into %zu bytes", fdt->room);
	memcpy(fdt->start + fdt->at, bytes, count);
	memset(fdt->start + fdt->at + count, 0, padded - count);
	fdt->at += padded;
}

static void put32(struct fdt *fdt, uint32_t value)
{
	uint32_t swapped = __builtin_bswap32(value);
	put(fdt, &swapped, 4);
}

static uint32_t string_offset(struct fdt *fdt, const char *name)
{
	for (size_t at = 0; at < fdt->string_bytes; at += strlen(fdt->strings + at) + 1)
		if (strcmp(fdt->strings + at, name) == 0)
			return (uint32_t)at;
	size_t bytes = strlen(name) + 1, at = fdt->string_bytes;
	if (bytes > FDT_STRINGS_MOST - at)
		fail("the guest's device tree has too many names");
	memcpy(fdt->strings + at, name, bytes);
	fdt->string_bytes += bytes;
	return (uint32_t)at;
}

static void property(struct fdt *fdt, const char *name, const void *bytes, size_t count)
{
	put32(fdt, PROPERTY);
	put32(fdt, (uint32_t)count);
	put32(fdt, string_offset(fdt, name));
	put(fdt, bytes, count);
}

void fdt_begin(struct fdt *fdt, uint8_t *at, size_t room)
{
	fdt->start = at;
	fdt->room = room;
	fdt->string_bytes = 0;
	/* The list of reserved memory is empty: one row of zeros. */
	memset(at, 0, HEAD_BYTES + RESERVED_BYTES);
	fdt->at = HEAD_BYTES + RESERVED_BYTES;
	fdt_node(fdt, "%s", "");
}

size_t fdt_end(struct fdt *fdt)
{
	fdt_end_node(fdt);
	put32(fdt, END);
	size_t structure = HEAD_BYTES + RESERVED_BYTES, strings = fdt->at;
	put(fdt, fdt->strings, fdt->string_bytes);
	size_t total = fdt->at;
	/* Magic, size, offsets of structure, strings and reserved memory, version 17 (as old as 16), the boot hart, sizes. */
	const uint32_t head[] = {0xd00dfeed, (uint32_t)total, (uint32_t)structure, (uint32_t)strings, HEAD_BYTES, 17, 16, 0,
				 (uint32_t)fdt->string_bytes, (uint32_t)(strings - structure)};
	fdt->at = 0;
	for (size_t i = 0; i < sizeof head / sizeof head[0]; i++)
		put32(fdt, head[i]);
	return total;
}

void fdt_node(struct fdt *fdt, const char *format, ...)
{
	char name[64];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(name, sizeof name, format, arguments);
	va_end(arguments);
	put32(fdt, BEGIN_NODE);
	put(fdt, name, strlen(name) + 1);
}

void fdt_end_node(struct fdt *fdt)
{
	put32(fdt, END_NODE);
}

void fdt_flag(struct fdt *fdt, const char *name)
{
	property(fdt, name, "", 0);
}

void fdt_string(struct fdt *fdt, const char *name, const char *value)
{
	property(fdt, name, value, strlen(value) + 1);
}

void fdt_cells(struct fdt *fdt, const char *name, const uint32_t *cells, size_t count)
{
	put32(fdt, PROPERTY);
	put32(fdt, (uint32_t)(4 * count));
	put32(fdt, string_offset(fdt, name));
	for (size_t i = 0; i < count; i++)
		put32(fdt, cells[i]);
}

void fdt_cell(struct fdt *fdt, const char *name, uint32_t cell)
{
	fdt_cells(fdt, name, &cell, 1);
}

void fdt_u64(struct fdt *fdt, const char *name, uint64_t value)
{
	const uint32_t cells[] = {(uint32_t)(value >> 32), (uint32_t)value};
	fdt_cells(fdt, name, cells, 2);
}

void fdt_reg(struct fdt *fdt, uint64_t address, uint64_t bytes)
{
	const uint32_t cells[] = {(uint32_t)(address >> 32), (uint32_t)address, (uint32_t)(bytes >> 32), (uint32_t)bytes};
	fdt_cells(fdt, "reg", cells, 4);
}
