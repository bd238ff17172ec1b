/*
 * The main program of every bench program: `PROGRAM PERMILLE [NAME ...]` runs the workloads named (all without names)
 * at that part of their full size, and prints `begin NAME` and `NAME iterations checksum seconds` for each.
 * `PROGRAM child` does nothing at all: it is what the exec workload executes.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t started_ns, elapsed_ns;
static int times_itself;

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void timing_start(void)
{
	times_itself = 1;
	started_ns = now_ns();
}

void timing_stop(void)
{
	elapsed_ns += now_ns() - started_ns;
}

void fail(const char *what)
{
	perror(what);
	exit(1);
}

void *map_memory(size_t bytes, size_t alignment, int protection)
{
	char *area = mmap(NULL, bytes + alignment, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		fail("mmap");
	size_t skip = -(uintptr_t)area & (alignment - 1);
	if (skip > 0)
		munmap(area, skip);
	munmap(area + skip + bytes, alignment - skip);
	return area + skip;
}

void unmap_memory(void *memory, size_t bytes)
{
	munmap(memory, bytes);
}

static void measure(const struct workload *workload, uint64_t permille)
{
	uint64_t count = workload->count * permille / 1000;
	if (count == 0)
		count = 1;
	printf("begin %s\n", workload->name);
	times_itself = 0;
	elapsed_ns = 0;
	uint64_t began = now_ns();
	uint64_t sum = workload->run(count);
	uint64_t whole = now_ns() - began;
	uint64_t ns = times_itself ? elapsed_ns : whole;
	printf("%s %llu %016llx %llu.%09llu\n", workload->name, (unsigned long long)count, (unsigned long long)sum,
	       (unsigned long long)(ns / 1000000000u), (unsigned long long)(ns % 1000000000u));
}

static int is_wanted(const char *name, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return 1;
	return count == 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "child") == 0)
		_Exit(7);
	/* A line at a time, and nothing left in the buffer when a workload forks. */
	setvbuf(stdout, NULL, _IOLBF, 4096);
	uint64_t permille = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
	for (const struct workload *w = workloads; w->name; w++)
		if (is_wanted(w->name, argc - 2, argv + 2))
			measure(w, permille);
	return 0;
}
