/*
 * What a kernel is busy with: system calls, reading the clock, pipes and the context switches behind them, signals,
 * fork, exec, page faults, changes of protection.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t getpid_calls(uint64_t count)
{
	uint64_t same = 0;
	long self = getpid();
	for (uint64_t n = 0; n < count; n++)
		same += (uint64_t)(syscall(SYS_getpid) == self);
	return same;
}

/* Time must not run backwards; how far it ran is no part of the checksum. */
static uint64_t clock_reads(uint64_t count)
{
	struct timespec last = {0}, now;
	uint64_t forwards = 0;
	for (uint64_t n = 0; n < count; n++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		forwards += now.tv_sec > last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec >= last.tv_nsec);
		last = now;
	}
	return forwards;
}

/* 4 KiB through a pipe that one process writes and reads. */
static uint64_t pipe_blocks(uint64_t count)
{
	static uint8_t from[4096], to[4096];
	int ends[2];
	uint64_t sum = 0;
	if (pipe(ends) < 0)
		fail("pipe");
	for (uint64_t n = 0; n < count; n++) {
		memset(from, (int)n, 64);
		if (write(ends[1], from, sizeof from) != sizeof from || read(ends[0], to, sizeof to) != sizeof to)
			fail("pipe transfer");
		sum = fold(sum, to[n % 64]);
	}
	close(ends[0]);
	close(ends[1]);
	return sum;
}

static void wait_for(pid_t child, int code)
{
	int status;
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail("child");
}

/* A byte to another process and back: two context switches. */
static uint64_t ping_pong(uint64_t count)
{
	int there[2], back[2];
	uint64_t sum = 0;
	if (pipe(there) < 0 || pipe(back) < 0)
		fail("pipe");
	pid_t child = fork();
	uint8_t byte = 0;
	if (child == 0) {
		for (uint64_t n = 0; n < count; n++) {
			if (read(there[0], &byte, 1) != 1)
				_exit(1);
			byte = (uint8_t)(byte * 5 + 1);
			if (write(back[1], &byte, 1) != 1)
				_exit(1);
		}
		_exit(3);
	}
	for (uint64_t n = 0; n < count; n++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			fail("ping-pong");
		sum = fold(sum, byte);
	}
	wait_for(child, 3);
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	return sum;
}

/* A byte round a ring of processes, and a block through a row of them as a shell's pipeline passes it on. */
enum { RING = 24, PIPELINE = 5, BLOCK = 4096 };

static uint64_t pass_on(uint64_t count, int processes, size_t bytes)
{
	static uint8_t block[BLOCK];
	int ends[RING + 1][2];
	pid_t children[RING];
	uint64_t sum = 0;
	for (int i = 0; i <= processes; i++)
		if (pipe(ends[i]) < 0)
			fail("pipe");
	for (int i = 0; i < processes; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			for (uint64_t n = 0; n < count; n++) {
				if (read(ends[i][0], block, bytes) != (ssize_t)bytes)
					_exit(1);
				block[n % bytes] = (uint8_t)(block[n % bytes] * 5 + i);
				if (write(ends[i + 1][1], block, bytes) != (ssize_t)bytes)
					_exit(1);
			}
			_exit(3);
		}
	}
	for (uint64_t n = 0; n < count; n++) {
		if (write(ends[0][1], block, bytes) != (ssize_t)bytes ||
		    read(ends[processes][0], block, bytes) != (ssize_t)bytes)
			fail("ring");
		sum = fold(sum, block[n % bytes]);
	}
	for (int i = 0; i < processes; i++)
		wait_for(children[i], 3);
	for (int i = 0; i <= processes; i++) {
		close(ends[i][0]);
		close(ends[i][1]);
	}
	return sum;
}

static uint64_t ring(uint64_t count)
{
	return pass_on(count, RING, 1);
}

static uint64_t pipeline(uint64_t count)
{
	return pass_on(count, PIPELINE, BLOCK);
}

/* Two processes that give way to each other. */
static uint64_t yields(uint64_t count)
{
	pid_t child = fork();
	for (uint64_t n = 0; n < count; n++)
		sched_yield();
	if (child == 0)
		_exit(4);
	wait_for(child, 4);
	return count;
}

static volatile uint64_t handled;

static void handle(int number)
{
	handled += (uint64_t)number;
}

static uint64_t signals(uint64_t count)
{
	struct sigaction action = {.sa_handler = handle};
	handled = 0;
	sigaction(SIGUSR1, &action, NULL);
	pid_t self = getpid();
	for (uint64_t n = 0; n < count; n++)
		kill(self, SIGUSR1);
	return handled;
}

static uint64_t forks(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++) {
		pid_t child = fork();
		if (child == 0)
			_exit(5);
		wait_for(child, 5);
	}
	return count;
}

static __attribute__((noinline)) pid_t start_itself(void)
{
	char *arguments[] = {"/proc/self/exe", "child", NULL};
	pid_t child = vfork();
	if (child == 0) {
		execv(arguments[0], arguments);
		_exit(1);
	}
	return child;
}

static uint64_t execs(uint64_t count)
{
	for (uint64_t n = 0; n < count; n++)
		wait_for(start_itself(), 7);
	return count;
}

/* Touches 1 MiB of fresh memory, a page at a time. */
static uint64_t faults(uint64_t count)
{
	size_t bytes = 1 << 20;
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++) {
		volatile uint8_t *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (area == MAP_FAILED)
			fail("mmap");
		for (size_t i = 0; i < bytes; i += 4096)
			sum += area[i] += (uint8_t)n;
		munmap((void *)area, bytes);
	}
	return sum;
}

static uint64_t protections(uint64_t count)
{
	size_t bytes = 64 << 10;
	volatile uint8_t *area = map_memory(bytes, 4096, PROT_READ | PROT_WRITE);
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++) {
		for (size_t i = 0; i < bytes; i += 4096)
			area[i]++;
		mprotect((void *)area, bytes, PROT_READ);
		for (size_t i = 0; i < bytes; i += 4096)
			sum += area[i];
		mprotect((void *)area, bytes, PROT_READ | PROT_WRITE);
	}
	unmap_memory((void *)area, bytes);
	return sum;
}

const struct workload workloads[] = {
	{"getpid", getpid_calls, 700000},
	{"clock", clock_reads, 5000000},
	{"pipe", pipe_blocks, 60000},
	{"ping-pong", ping_pong, 10000},
	{"ring", ring, 800},
	{"pipeline", pipeline, 3000},
	{"yield", yields, 20000},
	{"signals", signals, 40000},
	{"fork", forks, 600},
	{"exec", execs, 400},
	{"faults", faults, 200},
	{"protect", protections, 6000},
	{0},
};
