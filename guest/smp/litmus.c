/*
 * Several harts on one memory, as Linux programs see them: litmus tests of the memory model (RVWMO), counters by every
 * kind of atomic, locks, futexes. Prints a line for each, and ends with 1 if something happened that must not.
 *
 *   litmus [ROUNDS]
 *
 * A litmus test runs SLOTS instances a round, each on words of its own, in pages that only these threads use. The
 * threads start a round together, and walk the instances in the same direction, so that they meet now and then.
 * Outcomes: Unprivileged specification, "RVWMO Memory Consistency Model" and its explanatory material.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLOTS = 512, MOST_THREADS = 4, WORDS = 32 };

/* Two words in cache lines of their own, and what each thread read. */
struct slot {
	volatile uint32_t x;
	uint32_t apart[WORDS - 1];
	volatile uint32_t y;
	uint32_t apart_too[WORDS - 1];
	uint32_t read[MOST_THREADS][2];
	uint32_t end[WORDS - 2 * MOST_THREADS];
};

static struct slot slots[SLOTS];
static int failures;

#define STORE(at, value) __asm__ volatile("sw %1, %0" : "=m"(at) : "r"(value) : "memory")
#define LOAD(to, at) __asm__ volatile("lw %0, %1" : "=r"(to) : "m"(at) : "memory")
#define FENCE(before, after) __asm__ volatile("fence " #before ", " #after ::: "memory")
#define FENCE_TSO() __asm__ volatile("fence.tso" ::: "memory")

struct litmus {
	const char *name;
	int threads;
	void (*run)(struct slot *slot, int thread);
	/* Whether what was read, and what is left, is what must not be. */
	int (*is_forbidden)(const struct slot *slot);
	/* What the model allows and a processor that waits for nothing shows: proof that threads met. */
	int (*is_relaxed)(const struct slot *slot);
};

static int both_zero(const struct slot *slot)
{
	return slot->read[0][0] == 0 && slot->read[1][0] == 0;
}

/* Store buffering: without a fence both may read 0. */
static void store_buffer(struct slot *slot, int thread)
{
	uint32_t value;
	if (thread == 0) {
		STORE(slot->x, 1);
		LOAD(value, slot->y);
	} else {
		STORE(slot->y, 1);
		LOAD(value, slot->x);
	}
	slot->read[thread][0] = value;
}

static void store_buffer_fenced(struct slot *slot, int thread)
{
	uint32_t value;
	if (thread == 0) {
		STORE(slot->x, 1);
		FENCE(w, r);
		LOAD(value, slot->y);
	} else {
		STORE(slot->y, 1);
		FENCE(rw, rw);
		LOAD(value, slot->x);
	}
	slot->read[thread][0] = value;
}

/* Message passing: y says that x is there. */
static int flag_without_message(const struct slot *slot)
{
	return slot->read[1][0] == 1 && slot->read[1][1] == 0;
}

static void message_fenced(struct slot *slot, int thread)
{
	uint32_t flag, value;
	if (thread == 0) {
		STORE(slot->x, 1);
		FENCE(w, w);
		STORE(slot->y, 1);
		return;
	}
	LOAD(flag, slot->y);
	FENCE(r, r);
	LOAD(value, slot->x);
	slot->read[1][0] = flag;
	slot->read[1][1] = value;
}

static void message_tso(struct slot *slot, int thread)
{
	uint32_t flag, value;
	if (thread == 0) {
		STORE(slot->x, 1);
		FENCE_TSO();
		STORE(slot->y, 1);
		return;
	}
	LOAD(flag, slot->y);
	FENCE_TSO();
	LOAD(value, slot->x);
	slot->read[1][0] = flag;
	slot->read[1][1] = value;
}

static void message_atomic(struct slot *slot, int thread)
{
	uint32_t flag, value;
	if (thread == 0) {
		STORE(slot->x, 1);
		__asm__ volatile("amoswap.w.rl zero, %1, %0" : "+A"(slot->y) : "r"(1) : "memory");
		return;
	}
	__asm__ volatile("lr.w.aq %0, %1" : "=r"(flag) : "A"(slot->y) : "memory");
	LOAD(value, slot->x);
	slot->read[1][0] = flag;
	slot->read[1][1] = value;
}

/* Load buffering: each stores what the other is to have read before. */
static int both_one(const struct slot *slot)
{
	return slot->read[0][0] == 1 && slot->read[1][0] == 1;
}

static void load_buffer_fenced(struct slot *slot, int thread)
{
	uint32_t value;
	if (thread == 0) {
		LOAD(value, slot->x);
		FENCE(r, w);
		STORE(slot->y, 1);
	} else {
		LOAD(value, slot->y);
		FENCE(r, w);
		STORE(slot->x, 1);
	}
	slot->read[thread][0] = value;
}

/* R: x, then y to 1; y to 2, then x is read. */
static int last_is_two_and_unseen(const struct slot *slot)
{
	return slot->y == 2 && slot->read[1][0] == 0;
}

static void write_then_read_fenced(struct slot *slot, int thread)
{
	uint32_t value;
	if (thread == 0) {
		STORE(slot->x, 1);
		FENCE(rw, w);
		STORE(slot->y, 1);
		return;
	}
	STORE(slot->y, 2);
	FENCE(iorw, iorw);
	LOAD(value, slot->x);
	slot->read[1][0] = value;
}

/* 2+2W: each stores to both, in opposite orders. */
static int both_first(const struct slot *slot)
{
	return slot->x == 1 && slot->y == 1;
}

static void writes_fenced(struct slot *slot, int thread)
{
	if (thread == 0) {
		STORE(slot->x, 1);
		FENCE(w, w);
		STORE(slot->y, 2);
	} else {
		STORE(slot->y, 1);
		FENCE(w, w);
		STORE(slot->x, 2);
	}
}

/* CoRR: reads of one word do not go back. */
static int goes_back(const struct slot *slot)
{
	return slot->read[1][0] == 1 && slot->read[1][1] == 0;
}

static void same_word(struct slot *slot, int thread)
{
	uint32_t first, second;
	if (thread == 0) {
		STORE(slot->x, 1);
		return;
	}
	LOAD(first, slot->x);
	LOAD(second, slot->x);
	slot->read[1][0] = first;
	slot->read[1][1] = second;
}

/* WRC: who is told by somebody who has seen it sees it, too. */
static int told_and_unseen(const struct slot *slot)
{
	return slot->read[1][0] == 1 && slot->read[2][0] == 1 && slot->read[2][1] == 0;
}

static void causality_fenced(struct slot *slot, int thread)
{
	uint32_t first, second;
	if (thread == 0) {
		STORE(slot->x, 1);
	} else if (thread == 1) {
		LOAD(first, slot->x);
		FENCE(r, w);
		STORE(slot->y, 1);
		slot->read[1][0] = first;
	} else {
		LOAD(first, slot->y);
		FENCE(r, r);
		LOAD(second, slot->x);
		slot->read[2][0] = first;
		slot->read[2][1] = second;
	}
}

/* IRIW: two who read see two stores in the same order. */
static int orders_differ(const struct slot *slot)
{
	return slot->read[2][0] == 1 && slot->read[2][1] == 0 && slot->read[3][0] == 1 && slot->read[3][1] == 0;
}

static void readers_fenced(struct slot *slot, int thread)
{
	uint32_t first, second;
	switch (thread) {
	case 0:
		STORE(slot->x, 1);
		return;
	case 1:
		STORE(slot->y, 1);
		return;
	case 2:
		LOAD(first, slot->x);
		FENCE(rw, rw);
		LOAD(second, slot->y);
		break;
	default:
		LOAD(first, slot->y);
		FENCE(rw, rw);
		LOAD(second, slot->x);
		break;
	}
	slot->read[thread][0] = first;
	slot->read[thread][1] = second;
}

static const struct litmus tests[] = {
	{"SB", 2, store_buffer, NULL, both_zero},
	{"SB+fence.w.r+fence.rw.rw", 2, store_buffer_fenced, both_zero, NULL},
	{"MP+fence.w.w+fence.r.r", 2, message_fenced, flag_without_message, NULL},
	{"MP+fence.tso+fence.tso", 2, message_tso, flag_without_message, NULL},
	{"MP+amoswap.rl+lr.aq", 2, message_atomic, flag_without_message, NULL},
	{"LB+fence.r.w+fence.r.w", 2, load_buffer_fenced, both_one, NULL},
	{"R+fence.rw.w+fence", 2, write_then_read_fenced, last_is_two_and_unseen, NULL},
	{"2+2W+fence.w.w+fence.w.w", 2, writes_fenced, both_first, NULL},
	{"CoRR", 2, same_word, goes_back, NULL},
	{"WRC+fence.r.w+fence.r.r", 3, causality_fenced, told_and_unseen, NULL},
	{"IRIW+fence.rw.rw+fence.rw.rw", 4, readers_fenced, orders_differ, NULL},
};

/* All threads of a test, at a round's beginning and end: by yields, as there may be fewer processors than threads. */
static volatile uint32_t arrived;

static void meet(int threads, uint32_t *round)
{
	*round += (uint32_t)threads;
	__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	for (int turns = 0; (int32_t)(__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) - *round) < 0; turns++)
		if (turns > 100)
			sched_yield();
}

struct work {
	const struct litmus *test;
	int thread, rounds;
	uint64_t forbidden, relaxed;
};

static void *run_litmus(void *argument)
{
	struct work *work = argument;
	const struct litmus *test = work->test;
	uint32_t round = 0;
	for (int n = 0; n < work->rounds; n++) {
		if (work->thread == 0)
			memset(slots, 0, sizeof slots);
		meet(test->threads, &round);
		for (int i = 0; i < SLOTS; i++)
			test->run(&slots[i], work->thread);
		meet(test->threads, &round);
		if (work->thread != 0)
			continue;
		for (int i = 0; i < SLOTS; i++) {
			work->forbidden += test->is_forbidden && test->is_forbidden(&slots[i]);
			work->relaxed += test->is_relaxed && test->is_relaxed(&slots[i]);
		}
	}
	return NULL;
}

static void start_all(int count, void *(*run)(void *), void *arguments, size_t bytes)
{
	pthread_t threads[MOST_THREADS];
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, run, (char *)arguments + (size_t)i * bytes) != 0)
			exit(2);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void litmus(const struct litmus *test, int rounds)
{
	struct work works[MOST_THREADS];
	arrived = 0;
	for (int i = 0; i < test->threads; i++)
		works[i] = (struct work){test, i, rounds, 0, 0};
	start_all(test->threads, run_litmus, works, sizeof works[0]);
	failures += works[0].forbidden != 0;
	printf("%s %d instances, forbidden %lu, relaxed %lu\n", test->name, rounds * SLOTS, (unsigned long)works[0].forbidden,
	       (unsigned long)works[0].relaxed);
	fflush(stdout);
}

/* Counters by each kind of atomic: nothing is lost. */
static uint64_t added, by_pairs, swapped_sum, locked_count, lock, largest;
static volatile uint32_t small_word;

struct counting {
	int thread, turns;
	uint64_t left;
};

static void *count(void *argument)
{
	struct counting *mine = argument;
	uint64_t held = 1;
	for (int i = 0; i < mine->turns; i++) {
		__asm__ volatile("amoadd.d zero, %1, %0" : "+A"(added) : "r"(1L) : "memory");
		uint64_t old, failed;
		__asm__ volatile("1: lr.d %0, %2\n addi %0, %0, 1\n sc.d %1, %0, %2\n bnez %1, 1b"
				 : "=&r"(old), "=&r"(failed), "+A"(by_pairs)
				 :
				 : "memory");
		/* Tokens that go round: their sum stays. */
		__asm__ volatile("amoswap.d %0, %2, %1" : "=r"(old), "+A"(swapped_sum) : "r"(held) : "memory");
		held = old;
		uint64_t mine_now = (uint64_t)i * MOST_THREADS + (uint64_t)mine->thread;
		__asm__ volatile("amomaxu.d zero, %1, %0" : "+A"(largest) : "r"(mine_now) : "memory");
		__asm__ volatile("amoadd.w zero, %1, %0" : "+A"(small_word) : "r"(3) : "memory");
		do
			__asm__ volatile("amoswap.d.aq %0, %2, %1" : "=r"(old), "+A"(lock) : "r"(1L) : "memory");
		while (old && (sched_yield(), 1));
		locked_count++;
		__asm__ volatile("amoswap.d.rl zero, zero, %0" : "+A"(lock) : : "memory");
	}
	mine->left = held;
	return NULL;
}

static void expect(const char *what, uint64_t found, uint64_t wanted)
{
	failures += found != wanted;
	printf("%s %lu%s\n", what, (unsigned long)found, found == wanted ? "" : ", which is wrong");
	fflush(stdout);
}

static void atomics(int turns)
{
	struct counting all[MOST_THREADS];
	for (int i = 0; i < MOST_THREADS; i++)
		all[i] = (struct counting){i, turns, 0};
	start_all(MOST_THREADS, count, all, sizeof all[0]);
	uint64_t tokens = swapped_sum;
	for (int i = 0; i < MOST_THREADS; i++)
		tokens += all[i].left;
	uint64_t total = (uint64_t)turns * MOST_THREADS;
	expect("amoadd", added, total);
	expect("lr and sc", by_pairs, total);
	expect("amoswap's tokens", tokens, MOST_THREADS);
	expect("amomaxu", largest, total - 1);
	expect("amoadd.w", small_word, (uint32_t)(3 * total));
	expect("lock", locked_count, total);
}

/* A ring of threads that wake each other through futexes, and a queue under a mutex with conditions. */
static volatile int32_t turn[MOST_THREADS];

static void *ring(void *argument)
{
	struct counting *mine = argument;
	int next = (mine->thread + 1) % MOST_THREADS;
	for (int i = 0; i < mine->turns; i++) {
		for (int32_t seen; (seen = __atomic_load_n(&turn[mine->thread], __ATOMIC_ACQUIRE)) <= i;)
			syscall(SYS_futex, &turn[mine->thread], FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
		mine->left++;
		__atomic_add_fetch(&turn[next], 1, __ATOMIC_RELEASE);
		syscall(SYS_futex, &turn[next], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
	return NULL;
}

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_filled = PTHREAD_COND_INITIALIZER, is_emptied = PTHREAD_COND_INITIALIZER;
static uint64_t queue[8];
static unsigned filled, from, to;
static uint64_t produced, consumed;

static void *queues(void *argument)
{
	struct counting *mine = argument;
	int produces = mine->thread % 2 == 0;
	for (int i = 0; i < mine->turns; i++) {
		pthread_mutex_lock(&queue_lock);
		while (filled == (produces ? 8u : 0u))
			pthread_cond_wait(produces ? &is_emptied : &is_filled, &queue_lock);
		if (produces) {
			uint64_t value = (uint64_t)i * 0x9e3779b97f4a7c15u + (uint64_t)mine->thread;
			queue[to++ % 8] = value;
			produced += value;
			filled++;
			pthread_cond_signal(&is_filled);
		} else {
			consumed += queue[from++ % 8];
			filled--;
			pthread_cond_signal(&is_emptied);
		}
		pthread_mutex_unlock(&queue_lock);
	}
	return NULL;
}

static void futexes(int turns)
{
	struct counting all[MOST_THREADS];
	for (int i = 0; i < MOST_THREADS; i++)
		all[i] = (struct counting){i, turns, 0};
	turn[0] = 1;
	start_all(MOST_THREADS, ring, all, sizeof all[0]);
	uint64_t passed = 0;
	for (int i = 0; i < MOST_THREADS; i++)
		passed += all[i].left;
	expect("futex ring", passed, (uint64_t)turns * MOST_THREADS);
	start_all(MOST_THREADS, queues, all, sizeof all[0]);
	expect("queue", consumed, produced);
}

int main(int count, char **words)
{
	int rounds = count > 1 ? atoi(words[1]) : 100;
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
		litmus(&tests[i], rounds);
	atomics(rounds * 100);
	futexes(rounds * 20);
	printf(failures ? "%d wrong\n" : "all right\n", failures);
	return failures != 0;
}
