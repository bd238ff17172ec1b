/*
 * What programs do to a file system, told line by line: the same on a shared folder as on any file system of Linux's.
 *     session FOLDER      an empty folder; what is left in it is to be compared, too
 * Nothing that is told depends on time, on inode numbers, or on the order of entries.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GiB (1LL << 30)
enum { FILES = 300, LINES = 40, WRITERS = 4 };

static void told(const char *what, long long result) {
  printf("%s: ", what);
  if (result < 0)
    printf("%s\n", strerrorname_np(errno));
  else
    printf("%lld\n", result);
}
#define TELL(call) (errno = 0, told(#call, (long long)(call)))

static void show(const char *path) {
  struct stat stat;
  if (lstat(path, &stat) != 0)
    printf("%s: %s\n", path, strerrorname_np(errno));
  else if (S_ISDIR(stat.st_mode))
    printf("%s: folder %o\n", path, stat.st_mode & 07777);
  else
    printf("%s: %o %lld bytes, %d names\n", path, stat.st_mode, (long long)stat.st_size, (int)stat.st_nlink);
}

static void content(int fd, long long at, size_t count) {
  char bytes[64] = "";
  long got = pread(fd, bytes, count, at);
  printf("read at %lld: %ld [", at, got);
  for (long i = 0; i < got; i++) printf(bytes[i] >= ' ' ? "%c" : "\\%o", bytes[i]);
  printf("]\n");
}

static void files(void) {
  int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0640);
  TELL(pwrite(fd, "hello, world", 12, 0));
  TELL(open("file", O_RDWR | O_CREAT | O_EXCL, 0640));
  TELL(open("none", O_RDONLY));
  TELL(open("file", O_RDONLY | O_DIRECTORY));
  TELL(open("file/below", O_RDONLY));
  content(fd, 7, 20);
  TELL(rename("file", "renamed"));
  content(fd, 0, 5);
  TELL(unlink("renamed"));
  TELL(pwrite(fd, "still", 5, 20));
  content(fd, 0, 40);
  struct stat stat;
  fstat(fd, &stat);
  printf("an unlinked file has %d names and %lld bytes\n", (int)stat.st_nlink, (long long)stat.st_size);
  TELL(ftruncate(fd, 3));
  content(fd, 0, 40);
  close(fd);
  show("renamed");
  fd = open("appended", O_WRONLY | O_CREAT | O_APPEND, 0600);
  TELL(write(fd, "one ", 4));
  TELL(pwrite(fd, "two ", 4, 0));
  close(fd);
  fd = open("appended", O_RDWR);
  content(fd, 0, 40);
  close(open("appended", O_WRONLY | O_TRUNC));
  show("appended");
  TELL(fsync(fd));
  TELL(fdatasync(fd));
  close(fd);
}

static void mappings(void) {
  int fd = open("mapped", O_RDWR | O_CREAT, 0644);
  TELL(ftruncate(fd, 3 * 4096 + 100));
  char *map = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  TELL(map == MAP_FAILED);
  if (map != MAP_FAILED) {
    strcpy(map, "first page");
    strcpy(map + 2 * 4096 + 10, "third page");
    TELL(msync(map, 4 * 4096, MS_SYNC));
    content(fd, 0, 12);
    content(fd, 2 * 4096 + 10, 12);
    TELL(pwrite(fd, "written", 7, 4096));
    printf("mapped: %.7s\n", map + 4096);
    munmap(map, 4 * 4096);
  }
  char *copy = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  copy[0] = 'F';
  printf("private: %s\n", copy);
  content(fd, 0, 10);
  munmap(copy, 4096);
  close(fd);
  show("mapped");
}

static void sparse(void) {
  int fd = open("sparse", O_RDWR | O_CREAT, 0644);
  TELL(pwrite(fd, "far", 3, 2 * GiB + 5));
  TELL(pwrite(fd, "start", 5, 0));
  content(fd, 2 * GiB, 10);
  content(fd, GiB, 4);
  show("sparse");
  TELL(ftruncate(fd, 5 * GiB));
  TELL(lseek(fd, 0, SEEK_END));
  TELL(ftruncate(fd, 2 * GiB + 8));
  close(fd);
}

static void links(void) {
  char target[64] = "";
  close(open("pointed", O_WRONLY | O_CREAT, 0644));
  TELL(symlink("pointed", "soft"));
  TELL(symlink("/nowhere/at/all", "dangling"));
  TELL(symlink("loop", "loop"));
  TELL(symlink("pointed", "soft"));
  TELL(readlink("dangling", target, sizeof target));
  printf("%s\n", target);
  TELL(access("soft", F_OK));
  TELL(access("dangling", F_OK));
  TELL(open("loop", O_RDONLY));
  TELL(open("soft", O_RDONLY | O_NOFOLLOW));
  TELL(link("pointed", "hard"));
  show("hard");
  TELL(link("pointed", "hard"));
  TELL(rename("pointed", "hard"));
  TELL(unlink("pointed"));
  show("hard");
  TELL(link("soft", "hardsoft"));
  show("hardsoft");
}

static void folders(void) {
  TELL(mkdir("d", 0755));
  TELL(mkdir("d", 0755));
  TELL(mkdir("d/e", 0700));
  TELL(rmdir("d"));
  TELL(unlink("d"));
  TELL(rename("d", "d/e/f"));
  TELL(mkdir("full", 0755));
  close(open("full/x", O_WRONLY | O_CREAT, 0644));
  TELL(rename("d", "full"));
  TELL(rename("d/e", "empty"));
  TELL(rename("d", "empty"));
  TELL(chdir("empty"));
  TELL(rename("../empty", "../moved"));
  close(open("made-inside", O_WRONLY | O_CREAT, 0644));
  TELL(chdir(".."));
  show("moved/made-inside");
  char name[300];
  memset(name, 'n', sizeof name);
  name[255] = 0;
  TELL(mkdir(name, 0755));
  name[255] = 'n';
  name[256] = 0;
  TELL(mkdir(name, 0755));
  TELL(mkdir("\xff\x01 not text", 0755));
}

static void many(void) {
  char name[32];
  TELL(mkdir("many", 0755));
  for (int i = 0; i < FILES; i++) {
    sprintf(name, "many/%d", i);
    int fd = open(name, O_WRONLY | O_CREAT, 0644);
    if (write(fd, name, strlen(name)) < 0) told("write", -1);
    close(fd);
  }
  for (int pass = 0; pass < 2; pass++) {
    DIR *folder = opendir("many");
    long sum = 0, count = 0, wrong = 0;
    struct dirent *entry;
    while ((entry = readdir(folder))) {
      if (entry->d_name[0] == '.') continue;
      sum += atoi(entry->d_name);
      count++;
      wrong += entry->d_type != DT_REG;
      sprintf(name, "many/%.20s", entry->d_name);
      if (pass == 0 && atoi(entry->d_name) % 10 != 7) unlink(name);
    }
    printf("%ld entries, sum %ld, %ld of another kind\n", count, sum, wrong);
    closedir(folder);
  }
}

static void modes(void) {
  umask(0);
  close(open("open-to-all", O_WRONLY | O_CREAT, 0666));
  TELL(mkdir("sticky", 01777));
  umask(027);
  close(open("masked", O_WRONLY | O_CREAT, 0666));
  TELL(mkdir("masked-folder", 0777));
  umask(022);
  TELL(chmod("masked", 0751));
  TELL(chmod("none", 0751));
  show("open-to-all");
  show("sticky");
  show("masked");
  show("masked-folder");
  TELL(mkdir("private", 0700));
  close(open("private/x", O_WRONLY | O_CREAT, 0644));
  /* In whole seconds, to which the client rounds. */
  struct timespec times[2] = {{1000000000, 0}, {1234567890, 0}};
  TELL(utimensat(AT_FDCWD, "masked", times, 0));
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_sec = 7;
  TELL(utimensat(AT_FDCWD, "masked", times, 0));
  struct stat stat;
  lstat("masked", &stat);
  printf("%lld.%09ld %lld.%09ld\n", (long long)stat.st_atim.tv_sec, stat.st_atim.tv_nsec,
         (long long)stat.st_mtim.tv_sec, stat.st_mtim.tv_nsec);
  fflush(stdout);
  if (fork() == 0) {
    if (setuid(1000) != 0) exit(1);
    TELL(open("private/x", O_RDONLY));
    TELL(open("masked", O_WRONLY));
    TELL(open("open-to-all", O_WRONLY));
    TELL(mkdir("not-allowed", 0755));
    fflush(stdout);
    _exit(0);
  }
  wait(0);
}

/* Writers append lines at once; each also has a file of its own, and holds a lock while it counts. */
static void together(void) {
  char line[16], name[16];
  close(open("log", O_WRONLY | O_CREAT, 0644));
  close(open("count", O_WRONLY | O_CREAT, 0644));
  fflush(stdout);
  for (int writer = 0; writer < WRITERS; writer++) {
    if (fork() != 0) continue;
    int log = open("log", O_WRONLY | O_APPEND);
    sprintf(name, "own-%d", writer);
    int own = open(name, O_WRONLY | O_CREAT, 0644);
    for (int i = 0; i < LINES; i++) {
      sprintf(line, "%d %05d\n", writer, i);
      if (write(log, line, 8) != 8 || write(own, line, 8) != 8) _exit(1);
      if (i % 10 != 0) continue;
      int count = open("count", O_RDWR), number = 0;
      flock(count, LOCK_EX);
      if (pread(count, &number, sizeof number, 0) < 0) _exit(1);
      number++;
      if (pwrite(count, &number, sizeof number, 0) < 0) _exit(1);
      flock(count, LOCK_UN);
      close(count);
    }
    _exit(0);
  }
  int status = 0, bad = 0;
  while (wait(&status) > 0) bad += status != 0;
  int number = 0, fd = open("count", O_RDONLY);
  if (read(fd, &number, sizeof number) < 0) bad++;
  printf("counted %d, %d went wrong\n", number, bad);
  close(fd);
  for (int writer = 0; writer < WRITERS; writer++) {
    sprintf(name, "own-%d", writer);
    show(name);
  }
  show("log");
  /* In whatever order they came. */
  unlink("log");
}

/* As git keeps objects and its index: read-only files that get their name when they are whole, and locks that are files. */
static void repository(void) {
  char name[64], final[64];
  TELL(mkdir("objects", 0755));
  for (int i = 0; i < 40; i++) {
    sprintf(final, "objects/%02x", i % 8);
    mkdir(final, 0755);
    sprintf(name, "objects/tmp_obj_%d", i);
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0444);
    if (write(fd, name, strlen(name)) < 0) told("write", -1);
    fchmod(fd, 0444);
    close(fd);
    sprintf(final, "objects/%02x/%d", i % 8, i);
    if (i % 2 == 0 ? rename(name, final) : link(name, final) || unlink(name)) told(final, -1);
    fd = open(final, O_RDONLY);
    char *map = mmap(0, strlen(name), PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED || memcmp(map, name, strlen(name)) != 0) told(final, -1);
    munmap(map, strlen(name));
  }
  show("objects/07/7");
  for (int i = 0; i < 3; i++) {
    int fd = open("index.lock", O_RDWR | O_CREAT | O_EXCL, 0644);
    TELL(open("index.lock", O_RDWR | O_CREAT | O_EXCL, 0644));
    dprintf(fd, "index %d", i);
    close(fd);
    TELL(rename("index.lock", "index"));
  }
  int fd = open("index", O_RDONLY);
  content(fd, 0, 20);
  close(fd);
}

int main(int count, char **arguments) {
  umask(022);
  if (count != 2 || chdir(arguments[1]) != 0) return 2;
  files();
  mappings();
  sparse();
  links();
  folders();
  many();
  modes();
  together();
  repository();
  return 0;
}
