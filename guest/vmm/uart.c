/*
 * A 16550A, as far as drivers of one see it: its transmitter is always ready, its modem lines always up, its speed of
 * no consequence. Input waits in a ring longer than the chip's own, so that whoever types is rarely held up.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

enum { DATA = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
enum { IER_RECEIVED = 1, IER_TRANSMITTED = 2, LCR_DIVISOR = 0x80, MCR_LOOP = 0x10 };
enum { IIR_NONE = 1, IIR_TRANSMITTED = 2, IIR_RECEIVED = 4, IIR_FIFOS = 0xc0, FCR_ENABLE = 1, FCR_CLEAR_INPUT = 2 };
enum { LSR_DATA = 1, LSR_EMPTY = 0x60, MSR_UP = 0xb0 };
enum { RING = 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_room = PTHREAD_COND_INITIALIZER;
static uint8_t ring[RING];
static unsigned first, waiting;
static uint8_t ier, fcr, lcr, mcr, scr, divisor[2];
/* That the transmitter has become empty and nobody has been told. */
static int is_transmitted;
static int level;

static uint8_t identify(void)
{
	if (ier & IER_RECEIVED && waiting > 0)
		return IIR_RECEIVED;
	if (ier & IER_TRANSMITTED && is_transmitted)
		return IIR_TRANSMITTED;
	return IIR_NONE;
}

static void update(void)
{
	int now = identify() != IIR_NONE;
	if (now != level)
		set_interrupt(UART_SOURCE, now);
	level = now;
}

void uart_input(const uint8_t *bytes, size_t count)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++) {
		while (waiting == RING)
			pthread_cond_wait(&has_room, &lock);
		ring[(first + waiting++) % RING] = bytes[i];
		update();
	}
	pthread_mutex_unlock(&lock);
}

void console_write(const uint8_t *bytes, size_t count)
{
	while (count > 0) {
		ssize_t written = write(STDOUT_FILENO, bytes, count);
		if (written > 0) {
			bytes += written;
			count -= (size_t)written;
		} else if (errno != EINTR)
			return; /* nobody listens any more; the guest goes on */
	}
}

static uint8_t take_input(void)
{
	if (waiting == 0)
		return 0;
	uint8_t byte = ring[first];
	first = (first + 1) % RING;
	waiting--;
	pthread_cond_signal(&has_room);
	return byte;
}

static uint8_t read_locked(uint64_t at)
{
	switch (at) {
	case DATA: return lcr & LCR_DIVISOR ? divisor[0] : take_input();
	case IER: return lcr & LCR_DIVISOR ? divisor[1] : ier;
	case IIR_FCR: {
		uint8_t cause = identify();
		if (cause == IIR_TRANSMITTED)
			is_transmitted = 0; /* to be told is enough */
		return cause | (fcr & FCR_ENABLE ? IIR_FIFOS : 0);
	}
	case LCR: return lcr;
	case MCR: return mcr;
	case LSR: return LSR_EMPTY | (waiting > 0 ? LSR_DATA : 0);
	/* In the loop the modem's outputs are its inputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD. */
	case MSR:
		return mcr & MCR_LOOP ? (uint8_t)((mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 12) << 4) : (uint8_t)MSR_UP;
	case SCR: return scr;
	default: return 0;
	}
}

static void write_locked(uint64_t at, uint8_t value)
{
	switch (at) {
	case DATA:
		if (lcr & LCR_DIVISOR) {
			divisor[0] = value;
			break;
		}
		if (!(mcr & MCR_LOOP))
			console_write(&value, 1);
		is_transmitted = 1;
		break;
	case IER:
		if (lcr & LCR_DIVISOR) {
			divisor[1] = value;
			break;
		}
		/* Who begins to ask hears that the transmitter is empty. */
		if (value & ~ier & IER_TRANSMITTED)
			is_transmitted = 1;
		ier = value & 15;
		break;
	case IIR_FCR:
		if (value & FCR_CLEAR_INPUT) {
			first = waiting = 0;
			pthread_cond_signal(&has_room);
		}
		fcr = value;
		break;
	case LCR: lcr = value; break;
	case MCR: mcr = value; break;
	case SCR: scr = value; break;
	}
}

uint64_t uart_read(uint64_t offset)
{
	pthread_mutex_lock(&lock);
	uint8_t value = read_locked(offset);
	update();
	pthread_mutex_unlock(&lock);
	return value;
}

void uart_write(uint64_t offset, uint64_t value)
{
	pthread_mutex_lock(&lock);
	write_locked(offset, (uint8_t)value);
	update();
	pthread_mutex_unlock(&lock);
}
