/*
 * A mix in the manner of CoreMark, written anew: sort and search a linked list, multiply small matrices of 16-bit
 * numbers, scan text with a state machine, and chain a 16-bit CRC through all the results.
 */
#include "mix.h"

#include "bench.h"

struct node {
	struct node *next;
	uint16_t key, value;
};

enum { NODES = 128, SIZE = 12, TEXT = 512 };

static struct node nodes[NODES];
static int16_t left[SIZE][SIZE], right[SIZE][SIZE];
static int32_t product[SIZE][SIZE];
static char text[TEXT + 1];

static uint16_t crc16(uint16_t crc, uint32_t value)
{
	for (int bit = 0; bit < 32; bit++, value >>= 1)
		crc = (uint16_t)((crc >> 1) ^ ((crc ^ value) & 1 ? 0xa001 : 0));
	return crc;
}

static int is_before(const struct node *a, const struct node *b, int by_key)
{
	return by_key ? a->key < b->key : a->value < b->value;
}

/* Merge sort that joins runs of doubling length. */
static struct node *sort_list(struct node *list, int by_key)
{
	for (int run = 1;; run *= 2) {
		struct node *rest = list, *head = 0, **tail = &head;
		int merges = 0;
		while (rest) {
			struct node *a = rest, *b = rest;
			int a_left = 0, b_left = run;
			while (b && a_left < run) {
				b = b->next;
				a_left++;
			}
			while (a_left > 0 || (b_left > 0 && b)) {
				int takes_a = a_left > 0 && (b_left == 0 || !b || !is_before(b, a, by_key));
				struct node **from = takes_a ? &a : &b;
				if (takes_a)
					a_left--;
				else
					b_left--;
				*tail = *from;
				tail = &(*from)->next;
				*from = (*from)->next;
			}
			rest = b;
			merges++;
		}
		*tail = 0;
		list = head;
		if (merges <= 1)
			return list;
	}
}

static uint16_t lists(uint16_t crc)
{
	struct node *list = &nodes[0];
	uint64_t seed = crc + 1u;
	for (int i = 0; i < NODES; i++) {
		nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : 0;
		nodes[i].key = (uint16_t)next_random(&seed);
		nodes[i].value = (uint16_t)(nodes[i].key * 7 + i);
	}
	list = sort_list(list, 1);
	for (int wanted = 0; wanted < 16; wanted++) {
		struct node *at = list;
		while (at && at->value % 16 != wanted)
			at = at->next;
		crc = crc16(crc, at ? at->key : 0xffff);
	}
	list = sort_list(list, 0);
	struct node *reversed = 0;
	while (list) {
		struct node *next = list->next;
		list->next = reversed;
		reversed = list;
		list = next;
	}
	for (int i = 0; i < 8; i++, reversed = reversed->next)
		crc = crc16(crc, reversed->value);
	return crc;
}

static uint16_t matrices(uint16_t crc)
{
	for (int i = 0; i < SIZE; i++)
		for (int j = 0; j < SIZE; j++) {
			left[i][j] = (int16_t)(i * 31 + j * crc);
			right[i][j] = (int16_t)(j * 17 - i + crc);
		}
	for (int i = 0; i < SIZE; i++)
		for (int j = 0; j < SIZE; j++) {
			int32_t sum = 0;
			for (int k = 0; k < SIZE; k++)
				sum = (int32_t)((uint32_t)sum + (uint32_t)(left[i][k] * right[k][j]));
			product[i][j] = sum;
		}
	for (int i = 0; i < SIZE; i++)
		crc = crc16(crc, (uint32_t)(product[i][i] >> 3) & 0xffffff);
	return crc;
}

enum state { START, SIGN, DIGITS, POINT, FRACTION, EXPONENT, POWER, INVALID, STATES };

static enum state step(enum state state, char c)
{
	int is_digit = c >= '0' && c <= '9';
	switch (state) {
	case START:
		return is_digit ? DIGITS : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID;
	case SIGN:
		return is_digit ? DIGITS : c == '.' ? POINT : INVALID;
	case DIGITS:
		return is_digit ? DIGITS : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
	case POINT:
	case FRACTION:
		return is_digit ? FRACTION : c == 'e' && state == FRACTION ? EXPONENT : INVALID;
	case EXPONENT:
		return is_digit || c == '-' ? POWER : INVALID;
	case POWER:
		return is_digit ? POWER : INVALID;
	default:
		return INVALID;
	}
}

static uint16_t scan(uint16_t crc)
{
	static const char letters[] = "0123456789.+-e,,";
	uint32_t counts[STATES] = {0};
	uint64_t seed = crc + 99u;
	for (int i = 0; i < TEXT; i++)
		text[i] = letters[next_random(&seed) >> 60];
	enum state state = START;
	for (const char *at = text; *at; at++) {
		if (*at == ',') {
			counts[state]++;
			state = START;
		} else {
			state = step(state, *at);
		}
	}
	for (int i = 0; i < STATES; i++)
		crc = crc16(crc, counts[i]);
	return crc;
}

uint64_t mix(uint64_t count)
{
	uint16_t crc = 0;
	for (uint64_t n = 0; n < count; n++) {
		crc = lists(crc);
		crc = matrices(crc);
		crc = scan(crc);
	}
	return crc;
}
