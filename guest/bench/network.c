/*
 * TCP through the machine's user networking, to a peer on the host's loopback, which the guest sees as its gateway. A
 * connection begins with two words, little endian: what the peer shall do, and how many bytes it is about.
 *
 *     1 take   the peer reads so many bytes and answers with their CRC-32, as a word
 *     2 give   it sends so many bytes: a megabyte of next_random from seed 1, over and over
 *     3 echo   it sends back whatever comes
 *
 * The peer's port is a word of the kernel's command line: `io.port=N`.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TAKE = 1, GIVE = 2, ECHO = 3 };
enum { MIB = 1 << 20, REQUEST_BYTES = 64, PATTERN_SEED = 1 };
static const char peer_address[] = "10.0.2.2";

static int peer_port(void)
{
	char line[4096];
	FILE *file = fopen("/proc/cmdline", "r");
	if (!file || !fgets(line, sizeof line, file))
		fail("/proc/cmdline");
	fclose(file);
	const char *word = strstr(line, "io.port=");
	return word ? atoi(word + strlen("io.port=")) : 0;
}

static void put(int connection, const void *data, size_t bytes)
{
	for (const char *at = data; bytes > 0;) {
		ssize_t sent = send(connection, at, bytes, 0);
		if (sent <= 0)
			fail("send");
		at += sent;
		bytes -= (size_t)sent;
	}
}

static void get(int connection, void *data, size_t bytes)
{
	for (char *at = data; bytes > 0;) {
		ssize_t got = recv(connection, at, bytes, 0);
		if (got <= 0)
			fail("recv");
		at += got;
		bytes -= (size_t)got;
	}
}

static int ask(uint64_t kind, uint64_t bytes)
{
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)peer_port())};
	inet_pton(AF_INET, peer_address, &peer.sin_addr);
	int connection = socket(AF_INET, SOCK_STREAM, 0);
	int on = 1;
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connection < 0 || connect(connection, (struct sockaddr *)&peer, sizeof peer) != 0)
		fail("connect");
	uint64_t words[2] = {kind, bytes};
	put(connection, words, sizeof words);
	return connection;
}

static void fill_random(uint64_t *words, size_t count)
{
	uint64_t state = PATTERN_SEED;
	for (size_t i = 0; i < count; i++)
		words[i] = next_random(&state);
}

static uint64_t run_send(uint64_t count)
{
	uint64_t *data = map_memory(MIB, 4096, PROT_READ | PROT_WRITE);
	fill_random(data, MIB / 8);
	uint64_t crc = 0;
	int connection = ask(TAKE, count * MIB);
	timing_start();
	for (uint64_t i = 0; i < count; i++)
		put(connection, data, MIB);
	get(connection, &crc, sizeof crc);
	timing_stop();
	close(connection);
	unmap_memory(data, MIB);
	return crc;
}

static uint64_t run_receive(uint64_t count)
{
	uint64_t *data = map_memory(count * MIB, 4096, PROT_READ | PROT_WRITE);
	memset(data, 1, count * MIB);
	int connection = ask(GIVE, count * MIB);
	timing_start();
	get(connection, data, count * MIB);
	timing_stop();
	close(connection);
	uint64_t sum = 0;
	for (uint64_t i = 0; i < count * MIB / 8; i++)
		sum = fold(sum, data[i]);
	unmap_memory(data, count * MIB);
	return sum;
}

static uint64_t run_requests(uint64_t count)
{
	uint64_t request[REQUEST_BYTES / 8], answer[REQUEST_BYTES / 8];
	uint64_t sum = 0;
	fill_random(request, REQUEST_BYTES / 8);
	int connection = ask(ECHO, 0);
	timing_start();
	for (uint64_t i = 0; i < count; i++) {
		request[0] = i;
		put(connection, request, sizeof request);
		get(connection, answer, sizeof answer);
		if (memcmp(request, answer, sizeof request) != 0)
			fail("echo");
		sum = fold(sum, answer[0] ^ answer[REQUEST_BYTES / 8 - 1]);
	}
	timing_stop();
	close(connection);
	return sum;
}

static uint64_t run_connections(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t answer = 0;
		timing_start();
		int connection = ask(ECHO, 0);
		put(connection, &i, sizeof i);
		get(connection, &answer, sizeof answer);
		close(connection);
		timing_stop();
		sum = fold(sum, answer);
	}
	return sum;
}

/* MiB, MiB, requests, connections. */
const struct workload workloads[] = {
	{"send", run_send, 128},
	{"receive", run_receive, 128},
	{"requests", run_requests, 4000},
	{"connections", run_connections, 400},
	{0},
};
