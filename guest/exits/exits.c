/*
 * What leaving a guest costs: a program for a bare hart in supervisor mode, over any SBI. As a guest of KVM each unit of
 * work is an exit of one kind; as the only guest of a machine the same work shows what the level below takes. It prints
 * what the bench's programs print (guest/bench/bench.c) and switches the machine off.
 *
 *   null        ecall: the SBI's version, which KVM answers by itself
 *   device      a read of the serial port's line status: KVM leaves it to user space
 *   page        the first touch of a page of RAM: KVM maps it
 *   timer       a timer interrupt that is due at once: by stimecmp with Sstc (no exit of its own), else by the SBI
 *   sbi-timer   the same by the SBI's set_timer
 *   sleep       wfi until a timer 20 us ahead: time beyond that is what sleeping and waking takes
 *
 * The kernel's command line may say exits.permille=N (the size) and exits.run=NAME,... (which).
 */
#include <stddef.h>
#include <stdint.h>

#define UART ((volatile uint8_t *)0x10000000)
enum { THR = 0, LSR = 5, LSR_EMPTY = 0x20 };
enum { SBI_BASE = 0x10, SBI_TIME = 0x54494d45, SBI_SRST = 0x53525354 };
enum { SIE_TIMER = 1 << 5, SSTATUS_SIE = 2 };
enum { TREE_MOST = 1 << 20 };

struct loop {
	const char *name;
	void (*run)(uint64_t count);
	uint64_t count;
};

static const uint8_t *tree;
static uint32_t tree_bytes;
static uint64_t frequency;
static int has_sstc;
static volatile uint64_t interrupts;

static long sbi(long extension, long function, long first, long second)
{
	register long a0 __asm__("a0") = first;
	register long a1 __asm__("a1") = second;
	register long a6 __asm__("a6") = function;
	register long a7 __asm__("a7") = extension;
	__asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a6), "r"(a7) : "memory");
	return a1;
}

static void print(const char *text)
{
	for (; *text; text++) {
		while (!(UART[LSR] & LSR_EMPTY))
			;
		UART[THR] = (uint8_t)*text;
	}
}

static void print_number(uint64_t value, unsigned base, unsigned digits)
{
	char text[24];
	char *at = text + sizeof text - 1;
	*at = 0;
	for (unsigned n = 0; n < digits || value; n++, value /= base)
		*--at = "0123456789abcdef"[value % base];
	print(at);
}

static void power_off(void)
{
	sbi(SBI_SRST, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

static uint64_t now(void)
{
	uint64_t time;
	__asm__ volatile("rdtime %0" : "=r"(time));
	return time;
}

static uint32_t tree_word(uint32_t at)
{
	const uint8_t *bytes = tree + at;
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Where a text stands in the device tree, whatever it belongs to; NULL: nowhere. Enough for what is asked here. */
static const char *find(const char *text)
{
	size_t length = 0;
	while (text[length])
		length++;
	for (uint32_t at = 0; at + length <= tree_bytes; at++) {
		size_t same = 0;
		while (same < length && tree[at + same] == (uint8_t)text[same])
			same++;
		if (same == length)
			return (const char *)tree + at;
	}
	return NULL;
}

/* timebase-frequency: the property's name lies in the block of strings, its value behind the token that refers to it. */
static uint32_t find_frequency(void)
{
	const char *name = find("timebase-frequency");
	if (!name)
		return 0;
	uint32_t offset = (uint32_t)((const uint8_t *)name - tree) - tree_word(12);
	for (uint32_t at = tree_word(8); at + 16 <= tree_word(12); at += 4)
		if (tree_word(at) == 3 && tree_word(at + 4) == 4 && tree_word(at + 8) == offset)
			return tree_word(at + 12);
	return 0;
}

__attribute__((interrupt("supervisor"), aligned(4))) static void handle_trap(void)
{
	uint64_t cause;
	__asm__ volatile("csrr %0, scause" : "=r"(cause));
	if (cause != (1ull << 63 | 5)) {
		print("failed trap ");
		print_number(cause, 16, 16);
		print("\n");
		power_off();
	}
	/* The timer stays due: whoever wants another sets it and lets it in again. */
	__asm__ volatile("csrc sie, %0" : : "r"(SIE_TIMER));
	interrupts++;
}

static void set_stimecmp(uint64_t at)
{
	__asm__ volatile("csrw 0x14d, %0" : : "r"(at));
}

static void set_sbi_timer(uint64_t at)
{
	sbi(SBI_TIME, 0, (long)at, 0);
}

static void run_null(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		sbi(SBI_BASE, 0, 0, 0);
}

static void run_device(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		(void)UART[LSR];
}

extern uint8_t image_end[];

/* Pages behind the program, each once. */
static void run_page(uint64_t count)
{
	static uint64_t next;
	if (next == 0)
		next = ((uint64_t)image_end + 0x1fffff) & ~0x1fffffull;
	for (uint64_t n = 0; n < count; n++, next += 4096)
		*(volatile uint64_t *)next = n;
}

static void wait_for(void (*set)(uint64_t), uint64_t at, int sleeps)
{
	uint64_t before = interrupts;
	set(at);
	__asm__ volatile("csrs sie, %0" : : "r"(SIE_TIMER));
	while (interrupts == before)
		if (sleeps)
			__asm__ volatile("wfi");
}

static void run_timer(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		wait_for(has_sstc ? set_stimecmp : set_sbi_timer, now(), 0);
}

static void run_sbi_timer(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		wait_for(set_sbi_timer, now(), 0);
}

static void run_sleep(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		wait_for(has_sstc ? set_stimecmp : set_sbi_timer, now() + frequency / 50000, 1);
}

/* Sized so that QEMU takes about a second as the second level. */
static const struct loop loops[] = {
	{"null", run_null, 200000},	{"device", run_device, 40000},	     {"page", run_page, 8000},
	{"timer", run_timer, 400000},	{"sbi-timer", run_sbi_timer, 100000}, {"sleep", run_sleep, 5000},
};

static uint64_t option(const char *name, uint64_t otherwise)
{
	const char *at = find(name);
	if (!at)
		return otherwise;
	while (*at != '=')
		at++;
	uint64_t value = 0;
	for (at++; *at >= '0' && *at <= '9'; at++)
		value = 10 * value + (uint64_t)(*at - '0');
	return value;
}

/* Whether the list behind exits.run= has the name; without such a list everything is wanted. */
static int is_wanted(const char *name)
{
	const char *at = find("exits.run=");
	if (!at)
		return 1;
	for (at += 10; *at > ' ';) {
		const char *rest = name;
		while (*rest && *at == *rest)
			at++, rest++;
		if (*rest == 0 && (*at <= ' ' || *at == ','))
			return 1;
		while (*at > ' ' && *at != ',')
			at++;
		at += *at == ',';
	}
	return 0;
}

static void measure(const struct loop *loop, uint64_t permille)
{
	uint64_t count = loop->count * permille / 1000;
	if (count == 0)
		count = 1;
	print("begin ");
	print(loop->name);
	print("\n");
	uint64_t before = interrupts, began = now();
	loop->run(count);
	uint64_t ticks = now() - began;
	print(loop->name);
	print(" ");
	print_number(count, 10, 1);
	print(" ");
	/* In the checksum's place: interrupts taken. */
	print_number(interrupts - before, 16, 16);
	print(" ");
	print_number(ticks / frequency, 10, 1);
	print(".");
	print_number(ticks % frequency * 1000000000u / frequency, 10, 9);
	print("\n");
}

void main(const uint8_t *device_tree)
{
	tree = device_tree;
	tree_bytes = tree_word(4);
	if (tree_word(0) != 0xd00dfeed || tree_bytes > TREE_MOST)
		power_off();
	frequency = find_frequency();
	has_sstc = find("_sstc") != NULL;
	__asm__ volatile("csrw stvec, %0" : : "r"(handle_trap));
	__asm__ volatile("csrs sstatus, %0" : : "r"(SSTATUS_SIE));
	print("program exits\n");
	uint64_t permille = option("exits.permille", 1000);
	for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++)
		if (is_wanted(loops[i].name))
			measure(&loops[i], permille);
	print("bench: done\n");
	power_off();
}
