/*
 * vmm: boots a Linux Image in a virtual machine of KVM, its console on the terminal. Options in `usage`.
 * The exit code is 0 after the guest's poweroff or reboot, 1 after one that the guest calls a failure, 125 when
 * something of the machine's own went wrong.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

static const char usage[] =
	"usage: vmm --kernel FILE [OPTIONS]\n"
	"  -k, --kernel FILE    a Linux Image for riscv64, not compressed\n"
	"  -i, --initrd FILE    its initial file system\n"
	"  -a, --append WORDS   its command line\n"
	"  -m, --memory SIZE    its RAM: MiB, or with K, M or G behind the number (default 128M)\n"
	"  -c, --cpus N         virtual processors (default 1, at most 8)\n"
	"      --aia MODE       off: a PLIC (default); emulated, hardware, auto: KVM's APLIC and IMSICs\n"
	"      --without LIST   extensions that the guest is not told of (sstc,zbb)\n"
	"      --stats          at the end, exits by reason on stderr\n"
	"Ctrl-a x ends the machine, Ctrl-a a sends Ctrl-a.\n";

static struct termios terminal;
static int is_terminal_raw;
static int ended = -1;
static int exit_code;

static void restore_terminal(void)
{
	if (is_terminal_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
	is_terminal_raw = 0;
}

static void say_failure(const char *format, va_list arguments, int error)
{
	restore_terminal();
	fputs("vmm: ", stderr);
	vfprintf(stderr, format, arguments);
	if (error)
		fprintf(stderr, ": %s", strerror(error));
	fputc('\n', stderr);
	_exit(EXIT_PLATFORM);
}

void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say_failure(format, arguments, 0);
	__builtin_unreachable();
}

void fail_errno(const char *format, ...)
{
	int error = errno;
	va_list arguments;
	va_start(arguments, format);
	say_failure(format, arguments, error);
	__builtin_unreachable();
}

void end_machine(int code)
{
	exit_code = code;
	eventfd_write(ended, 1);
}

static uint64_t parse_size(const char *text)
{
	char *end;
	errno = 0;
	uint64_t number = strtoull(text, &end, 10);
	int shift = *end == 0 || *end == 'M' ? 20 : *end == 'K' ? 10 : *end == 'G' ? 30 : -1;
	if (end == text || *text == '-' || errno || shift < 0 || (*end && end[1]) || number > UINT64_MAX >> 30)
		fail("%s is no size: use a number with K, M or G behind it, as in 128M", text);
	return number << shift;
}

static enum aia_mode parse_aia(const char *text)
{
	static const char *const names[] = {"off", "emulated", "hardware", "auto"};
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text, names[i]) == 0)
			return (enum aia_mode)i;
	fail("there is no AIA mode %s: choose off, emulated, hardware or auto", text);
}

static unsigned parse_cpus(const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);
	if (end == text || *end || number < 1 || number > CPUS_MOST)
		fail("%s is no number of processors: use 1 to %d", text, CPUS_MOST);
	return (unsigned)number;
}

static struct options parse(int count, char **words)
{
	enum { AIA = 256, WITHOUT, STATS };
	static const struct option names[] = {
		{"kernel", required_argument, NULL, 'k'}, {"initrd", required_argument, NULL, 'i'},
		{"append", required_argument, NULL, 'a'}, {"memory", required_argument, NULL, 'm'},
		{"cpus", required_argument, NULL, 'c'},   {"aia", required_argument, NULL, AIA},
		{"without", required_argument, NULL, WITHOUT}, {"stats", no_argument, NULL, STATS},
		{"help", no_argument, NULL, 'h'},         {0},
	};
	struct options options = {.append = "console=ttyS0", .memory_bytes = 128 << 20, .cpus = 1};
	for (int letter; (letter = getopt_long(count, words, "k:i:a:m:c:h", names, NULL)) >= 0;)
		switch (letter) {
		case 'k': options.kernel = optarg; break;
		case 'i': options.initrd = optarg; break;
		case 'a': options.append = optarg; break;
		case 'm': options.memory_bytes = parse_size(optarg); break;
		case 'c': options.cpus = parse_cpus(optarg); break;
		case AIA: options.aia = parse_aia(optarg); break;
		case WITHOUT: options.without = optarg; break;
		case STATS: options.stats = 1; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(EXIT_PLATFORM);
		}
	if (optind < count)
		fail("%s is no option: vmm --help lists them", words[optind]);
	if (!options.kernel)
		fail("no kernel is given: use --kernel FILE");
	return options;
}

static void make_terminal_raw(void)
{
	if (tcgetattr(STDIN_FILENO, &terminal) != 0)
		return;
	struct termios raw = terminal;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0)
		fail_errno("the terminal cannot be set");
	is_terminal_raw = 1;
	atexit(restore_terminal);
}

/* What is typed goes to the guest, but for the escape key. Without a terminal every byte does. */
static void type(const uint8_t *bytes, size_t count)
{
	enum { ESCAPE = 1 };
	static int is_escaped;
	for (size_t i = 0; i < count; i++) {
		if (is_terminal_raw && !is_escaped && bytes[i] == ESCAPE) {
			is_escaped = 1;
			continue;
		}
		if (is_escaped && bytes[i] == 'x')
			end_machine(0);
		else if (!is_escaped || bytes[i] == 'a') {
			uint8_t byte = is_escaped ? ESCAPE : bytes[i];
			uart_input(&byte, 1);
		}
		is_escaped = 0;
	}
}

/* A thread of its own, for a guest that does not read holds it up. */
static void *pass_input(void *unused)
{
	(void)unused;
	for (;;) {
		uint8_t bytes[256];
		ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
		if (count > 0)
			type(bytes, (size_t)count);
		else if (count == 0 || errno != EINTR)
			return NULL; /* the input has ended; the guest goes on */
	}
}

int main(int count, char **words)
{
	struct options options = parse(count, words);
	ended = eventfd(0, EFD_CLOEXEC);
	if (ended < 0)
		fail_errno("eventfd");
	open_kvm();
	create_ram(options.memory_bytes);
	create_vcpus(options.cpus);
	leave_out(options.without);
	create_interrupts(options.aia, options.cpus);
	struct entry entry = load_guest(&options);
	make_terminal_raw();
	start_vcpus(entry);
	pthread_t input;
	if (pthread_create(&input, NULL, pass_input, NULL) != 0)
		fail("no thread for the input");
	eventfd_t ends;
	while (eventfd_read(ended, &ends) != 0 && errno == EINTR)
		;
	restore_terminal();
	if (options.stats)
		print_exits();
	_exit(exit_code);
}
