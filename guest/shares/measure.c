/*
 * How fast a file system is: measure FOLDER MEGABYTES FILES. Lines of a name and nanoseconds: one large file written, synced,
 * and read anew; small files made, looked at, read, and removed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, SMALL = 2048 };
static char block[BLOCK];
static struct timespec began;

static void begin(void) { clock_gettime(CLOCK_MONOTONIC, &began); }

static void end(const char *what) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  printf("%s %lld\n", what, (now.tv_sec - began.tv_sec) * 1000000000LL + now.tv_nsec - began.tv_nsec);
  fflush(stdout);
}

static void check(int ok, const char *what) {
  if (ok) return;
  perror(what);
  exit(1);
}

int main(int count, char **arguments) {
  check(count == 4 && chdir(arguments[1]) == 0, "folder");
  int megabytes = atoi(arguments[2]), files = atoi(arguments[3]);
  memset(block, 'x', BLOCK);
  begin();
  int fd = open("large", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  for (int i = 0; i < megabytes; i++) check(write(fd, block, BLOCK) == BLOCK, "write");
  check(fsync(fd) == 0, "fsync");
  close(fd);
  end("write");
  begin();
  fd = open("large", O_RDONLY);
  for (int i = 0; i < megabytes; i++) check(read(fd, block, BLOCK) == BLOCK, "read");
  close(fd);
  end("read");
  unlink("large");
  char name[32];
  struct stat stat;
  mkdir("small", 0755);
  begin();
  for (int i = 0; i < files; i++) {
    sprintf(name, "small/%d", i);
    fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    check(write(fd, block, SMALL) == SMALL, "write");
    close(fd);
  }
  end("create");
  begin();
  for (int i = 0; i < files; i++) {
    sprintf(name, "small/%d", i);
    check(lstat(name, &stat) == 0, "lstat");
  }
  end("stat");
  begin();
  for (int i = 0; i < files; i++) {
    sprintf(name, "small/%d", i);
    fd = open(name, O_RDONLY);
    check(read(fd, block, SMALL) == SMALL, "read");
    close(fd);
  }
  end("open-read");
  begin();
  for (int i = 0; i < files; i++) {
    sprintf(name, "small/%d", i);
    unlink(name);
  }
  end("remove");
  rmdir("small");
  return 0;
}
