/*
 * The disk /dev/vda, past the guest's page cache (O_DIRECT). Only the transfers are timed; what they read goes into the
 * checksum between them. What is written depends on the place alone, so that the whole disk can be compared afterwards.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/fs.h>

enum { MIB = 1 << 20, SMALL_BYTES = 4096, THREADS = 8 };

static int disk;
static uint64_t disk_bytes;

static void open_disk(void)
{
	if (disk_bytes > 0)
		return;
	disk = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0 || ioctl(disk, BLKGETSIZE64, &disk_bytes) != 0 || disk_bytes < MIB)
		fail("/dev/vda");
}

static void read_at(void *data, size_t bytes, uint64_t offset)
{
	if (pread(disk, data, bytes, (off_t)offset) != (ssize_t)bytes)
		fail("pread");
}

static void write_at(const void *data, size_t bytes, uint64_t offset)
{
	if (pwrite(disk, data, bytes, (off_t)offset) != (ssize_t)bytes)
		fail("pwrite");
}

static uint64_t fold_all(uint64_t sum, const uint64_t *words, size_t bytes)
{
	for (size_t i = 0; i < bytes / 8; i++)
		sum = fold(sum, words[i]);
	return sum;
}

static void fill_at(uint64_t *words, size_t bytes, uint64_t offset)
{
	uint64_t state = offset + 1;
	for (size_t i = 0; i < bytes / 8; i++)
		words[i] = next_random(&state);
}

static uint64_t run_sync(uint64_t count)
{
	open_disk();
	uint64_t *data = map_memory(SMALL_BYTES, SMALL_BYTES, PROT_READ | PROT_WRITE);
	uint64_t state = 3;
	if (fdatasync(disk) != 0)
		fail("fdatasync");
	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = next_random(&state) % (disk_bytes / SMALL_BYTES) * SMALL_BYTES;
		fill_at(data, SMALL_BYTES, at);
		timing_start();
		write_at(data, SMALL_BYTES, at);
		if (fdatasync(disk) != 0)
			fail("fdatasync");
		timing_stop();
	}
	unmap_memory(data, SMALL_BYTES);
	return state;
}

static uint64_t run_write(uint64_t count)
{
	open_disk();
	uint64_t *data = map_memory(MIB, MIB, PROT_READ | PROT_WRITE);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = i * MIB % disk_bytes;
		fill_at(data, MIB, at);
		timing_start();
		write_at(data, MIB, at);
		timing_stop();
	}
	unmap_memory(data, MIB);
	return count;
}

static uint64_t run_read(uint64_t count)
{
	open_disk();
	uint64_t *data = map_memory(MIB, MIB, PROT_READ | PROT_WRITE);
	uint64_t sum = 0;
	for (uint64_t i = 0; i < count; i++) {
		timing_start();
		read_at(data, MIB, i * MIB % disk_bytes);
		timing_stop();
		sum = fold_all(sum, data, MIB);
	}
	unmap_memory(data, MIB);
	return sum;
}

/* Reads so many blocks at places of its own sequence; one at a time. The first word of each counts. */
struct reader {
	pthread_t thread;
	uint64_t state, count, sum;
};

static void *read_blocks(void *given)
{
	struct reader *reader = given;
	uint64_t *data = map_memory(SMALL_BYTES, SMALL_BYTES, PROT_READ | PROT_WRITE);
	for (uint64_t i = 0; i < reader->count; i++) {
		read_at(data, SMALL_BYTES, next_random(&reader->state) % (disk_bytes / SMALL_BYTES) * SMALL_BYTES);
		reader->sum = fold(fold(reader->sum, data[0]), data[SMALL_BYTES / 8 - 1]);
	}
	unmap_memory(data, SMALL_BYTES);
	return NULL;
}

static uint64_t run_random(uint64_t count)
{
	open_disk();
	struct reader reader = {.state = 5, .count = count};
	read_blocks(&reader);
	return reader.sum;
}

static uint64_t run_deep(uint64_t count)
{
	open_disk();
	struct reader readers[THREADS];
	uint64_t sum = 0;
	for (int i = 0; i < THREADS; i++) {
		readers[i] = (struct reader){.state = 7 + (uint64_t)i, .count = (count + THREADS - 1) / THREADS};
		if (pthread_create(&readers[i].thread, NULL, read_blocks, &readers[i]) != 0)
			fail("pthread_create");
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		sum = fold(sum, readers[i].sum);
	}
	return sum;
}

/* Blocks of 4 KiB, MiB, MiB, blocks, blocks by eight threads. The first has nothing else to flush. */
const struct workload workloads[] = {
	{"sync-4k", run_sync, 300},
	{"write-1m", run_write, 512},
	{"read-1m", run_read, 512},
	{"read-4k", run_random, 4000},
	{"read-4k-deep", run_deep, 16000},
	{0},
};
