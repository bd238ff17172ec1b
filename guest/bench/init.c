/*
 * The first process of a bench guest. The kernel's command line says what to run: `bench.run=CLASS[/NAME],...` and
 * `bench.permille=N` (the size). It runs the programs of /bench one after the other and powers the machine off.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAMES_MOST = 200 };

static char line[4096];

static char *option(const char *name)
{
	size_t length = strlen(name);
	for (char *word = strstr(line, name); word; word = strstr(word + 1, name))
		if ((word == line || word[-1] == ' ') && word[length] == '=')
			return strndup(word + length + 1, strcspn(word + length + 1, " \n"));
	return NULL;
}

static void run(char **arguments)
{
	printf("program %s\n", arguments[0] + strlen("/bench/"));
	pid_t child = fork();
	if (child == 0) {
		execv(arguments[0], arguments);
		perror(arguments[0]);
		_exit(127);
	}
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
		printf("failed %s %x\n", arguments[0], status);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 4096);
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	FILE *file = fopen("/proc/cmdline", "r");
	if (!file || !fgets(line, sizeof line, file))
		printf("failed cmdline 0\n");
	char *wanted = option("bench.run");
	char *permille = option("bench.permille");
	printf("bench: ready\n");
	/* Names of one class that stand together become one call of its program. */
	char *arguments[NAMES_MOST + 3];
	char program[64] = "";
	int count = 0;
	for (char *word = wanted ? strtok(wanted, ",") : NULL; word; word = strtok(NULL, ",")) {
		char *slash = strchr(word, '/');
		char path[64];
		snprintf(path, sizeof path, "/bench/%.*s", (int)(slash ? slash - word : (long)strlen(word)), word);
		if (count > 0 && (strcmp(path, program) != 0 || count == NAMES_MOST + 2)) {
			arguments[count] = NULL;
			run(arguments);
			count = 0;
		}
		if (count == 0) {
			strcpy(program, path);
			arguments[count++] = program;
			arguments[count++] = permille ? permille : "1000";
		}
		if (slash)
			arguments[count++] = slash + 1;
	}
	if (count > 0) {
		arguments[count] = NULL;
		run(arguments);
	}
	printf("bench: done\n");
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
