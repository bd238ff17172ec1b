/*
 * A guest's part in a measurement of path failures: for PEER, until its stdin ends,
 *
 * - sends a numbered datagram to port 7000 each ten milliseconds, and keeps which came from there, and when;
 * - keeps one TCP connection to port 7001, on which both ends count up, ten milliseconds a step.
 *
 * Then it prints all of that as JSON: times in milliseconds of CLOCK_MONOTONIC.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { INTERVAL_MS = 10, UDP_PORT = 7000, TCP_PORT = 7001, MOST = 200000, DATA_BYTES = 64 };

struct entry {
	uint32_t number;
	double at_ms;
};

struct tcp {
	int socket;
	uint32_t sent, got;
	int is_broken, is_out_of_order;
	unsigned char part[4];
	int part_bytes;
};

static struct entry sent[MOST], got[MOST];
static int sent_count, got_count;

static double now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static struct sockaddr_in address_of(const char *host, int port) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	if (host != NULL && inet_pton(AF_INET, host, &address.sin_addr) != 1) {
		fprintf(stderr, "%s is no address\n", host);
		exit(1);
	}
	return address;
}

static void send_next(int udp, const struct sockaddr_in *peer, struct tcp *tcp) {
	unsigned char data[DATA_BYTES] = {0};
	uint32_t number = htonl((uint32_t)sent_count + 1);
	memcpy(data, &number, sizeof number);
	if (sent_count < MOST) {
		sent[sent_count].number = (uint32_t)sent_count + 1;
		sent[sent_count++].at_ms = now_ms();
	}
	(void)!sendto(udp, data, sizeof data, 0, (const struct sockaddr *)peer, sizeof *peer);
	number = htonl(tcp->sent + 1);
	ssize_t written = send(tcp->socket, &number, sizeof number, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (written == (ssize_t)sizeof number) tcp->sent++;
	else if (written < 0 && errno != EAGAIN) tcp->is_broken = 1;
}

static void receive_udp(int udp) {
	unsigned char data[2048];
	while (recv(udp, data, sizeof data, MSG_DONTWAIT) >= 4) {
		if (got_count == MOST) return;
		uint32_t number;
		memcpy(&number, data, sizeof number);
		got[got_count].number = ntohl(number);
		got[got_count++].at_ms = now_ms();
	}
}

static void receive_tcp(struct tcp *tcp) {
	unsigned char data[4096];
	ssize_t bytes = recv(tcp->socket, data, sizeof data, MSG_DONTWAIT);
	if (bytes == 0 || (bytes < 0 && errno != EAGAIN)) tcp->is_broken = 1;
	for (ssize_t i = 0; i < bytes; i++) {
		tcp->part[tcp->part_bytes++] = data[i];
		if (tcp->part_bytes < 4) continue;
		uint32_t number;
		memcpy(&number, tcp->part, sizeof number);
		if (ntohl(number) != ++tcp->got) tcp->is_out_of_order = 1;
		tcp->part_bytes = 0;
	}
}

static void print_entries(const char *name, const struct entry *entries, int count) {
	printf("\"%s\":[", name);
	for (int i = 0; i < count; i++)
		printf("%s[%u,%.3f]", i == 0 ? "" : ",", entries[i].number, entries[i].at_ms);
	printf("],");
}

int main(int count, char **words) {
	if (count != 2) {
		fprintf(stderr, "session PEER\n");
		return 1;
	}
	struct sockaddr_in peer = address_of(words[1], UDP_PORT), own = address_of(NULL, UDP_PORT);
	struct sockaddr_in far = address_of(words[1], TCP_PORT);
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (udp < 0 || bind(udp, (struct sockaddr *)&own, sizeof own) != 0) fail("udp");
	struct tcp tcp = {.socket = socket(AF_INET, SOCK_STREAM, 0)};
	if (tcp.socket < 0 || connect(tcp.socket, (struct sockaddr *)&far, sizeof far) != 0) fail("tcp");
	double due_ms = now_ms();
	for (;;) {
		double left_ms = due_ms - now_ms();
		if (left_ms <= 0) {
			send_next(udp, &peer, &tcp);
			due_ms = due_ms + INTERVAL_MS > now_ms() ? due_ms + INTERVAL_MS : now_ms() + INTERVAL_MS;
			continue;
		}
		struct pollfd ready[] = {{udp, POLLIN, 0}, {tcp.is_broken ? -1 : tcp.socket, POLLIN, 0}, {0, POLLIN, 0}};
		if (poll(ready, 3, (int)left_ms + 1) <= 0) continue;
		if (ready[0].revents) receive_udp(udp);
		if (ready[1].revents) receive_tcp(&tcp);
		char ignored[64];
		if (ready[2].revents && read(0, ignored, sizeof ignored) <= 0) break;
	}
	printf("{");
	print_entries("sent", sent, sent_count);
	print_entries("got", got, got_count);
	printf("\"tcp\":{\"sent\":%u,\"got\":%u,\"isBroken\":%s,\"isOutOfOrder\":%s}}\n", tcp.sent, tcp.got,
				 tcp.is_broken ? "true" : "false", tcp.is_out_of_order ? "true" : "false");
	return 0;
}
