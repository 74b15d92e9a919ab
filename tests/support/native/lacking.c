/* Makes the calls named in LACKING fail, in programs that load this library with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

static int lacks(const char *name) {
  const char *names = getenv("LACKING");
  return names != NULL && strstr(names, name) != NULL;
}

#define LACK(name, error) \
  if (lacks(name)) {      \
    errno = error;        \
    return -1;            \
  }
#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

int link(const char *a, const char *b) {
  LACK("hardlink", EPERM)
  return NEXT(int (*)(const char *, const char *), "link")(a, b);
}
int linkat(int c, const char *a, int d, const char *b, int flags) {
  LACK("hardlink", EPERM)
  return NEXT(int (*)(int, const char *, int, const char *, int), "linkat")(c, a, d, b, flags);
}
int symlink(const char *a, const char *b) {
  LACK("symlink", EPERM)
  return NEXT(int (*)(const char *, const char *), "symlink")(a, b);
}
int symlinkat(const char *a, int d, const char *b) {
  LACK("symlink", EPERM)
  return NEXT(int (*)(const char *, int, const char *), "symlinkat")(a, d, b);
}
int flock(int descriptor, int how) {
  LACK("flock", lacks("ENOLCK") ? ENOLCK : EOPNOTSUPP)
  return NEXT(int (*)(int, int), "flock")(descriptor, how);
}
int fsync(int descriptor) {
  struct stat status;
  if (lacks("fsync") && fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
    errno = EINVAL;
    return -1;
  }
  return NEXT(int (*)(int), "fsync")(descriptor);
}
int chmod(const char *path, mode_t mode) {
  LACK("chmod", EPERM)
  return NEXT(int (*)(const char *, mode_t), "chmod")(path, mode);
}
int fchmod(int descriptor, mode_t mode) {
  LACK("chmod", EPERM)
  return NEXT(int (*)(int, mode_t), "fchmod")(descriptor, mode);
}
int fchmodat(int folder, const char *path, mode_t mode, int flags) {
  LACK("chmod", EPERM)
  return NEXT(int (*)(int, const char *, mode_t, int), "fchmodat")(folder, path, mode, flags);
}
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
  LACK("utime", EPERM)
  return NEXT(int (*)(int, const char *, const struct timespec *, int), "utimensat")(folder, path, times, flags);
}
int futimens(int descriptor, const struct timespec times[2]) {
  LACK("utime", EPERM)
  return NEXT(int (*)(int, const struct timespec *), "futimens")(descriptor, times);
}
int rename(const char *a, const char *b) {
  LACK("rename", EIO)
  return NEXT(int (*)(const char *, const char *), "rename")(a, b);
}
