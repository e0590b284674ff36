/* Preloaded into a process, records what it asks the disk to keep, in order, and can make fsync fail.
 *
 * SHIM_ROOT  folder whose files are watched
 * SHIM_LOG   where the record goes (outside of SHIM_ROOT)
 * SHIM_FAIL  while this file exists, fsync of watched files whose name has "journal.sqlite" fails with EIO
 *
 * A record is a line and, for W, that many bytes after it (identity of a file: its inode):
 *   C inode path      a name was made          R old new   a name was moved      U path     a name was removed
 *   W inode offset n  bytes were written       T inode n   cut or grown to n bytes
 *   B inode           an fsync began           S inode     it returned: what was written before B is durable
 *   F inode           it failed                D path      names of a folder are durable
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static int record_fd = -1;
static char root[PATH_MAX];

static void raw_write(const void *data, size_t size) {
    while (size > 0) {
        long done = syscall(SYS_write, record_fd, data, size);
        if (done <= 0) _exit(99);
        data = (const char *)data + done;
        size -= (size_t)done;
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("SHIM_LOG"), *where = getenv("SHIM_ROOT");
    if (!log || !where) return;
    snprintf(root, sizeof root, "%s", where);
    record_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(const void *data, size_t size, const char *format, ...) {
    char line[2 * PATH_MAX + 64];
    va_list rest;
    va_start(rest, format);
    int length = vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    pthread_mutex_lock(&guard);
    raw_write(line, (size_t)length);
    if (size) raw_write(data, size);
    pthread_mutex_unlock(&guard);
}

static int watched_path(const char *path) {
    return record_fd >= 0 && root[0] && strncmp(path, root, strlen(root)) == 0;
}

/* Inode of a watched file or folder, 0 for another descriptor; `path` gets its name. */
static unsigned long watched(int fd, char *path, mode_t *mode) {
    char link[64];
    struct stat about;
    int saved = errno;
    unsigned long found = 0;
    if (record_fd >= 0 && fd != record_fd) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        if (length > 0) {
            path[length] = 0;
            if (watched_path(path) && fstat(fd, &about) == 0 &&
                (S_ISREG(about.st_mode) || S_ISDIR(about.st_mode))) {
                found = (unsigned long)about.st_ino;
                *mode = about.st_mode;
            }
        }
    }
    errno = saved;
    return found;
}

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    struct stat about;
    int is_new = (flags & O_CREAT) && watched_path(path) && lstat(path, &about) != 0;
    int fd = real(path, flags, mode);
    if (fd >= 0 && is_new && fstat(fd, &about) == 0)
        note(NULL, 0, "C %lu %s\n", (unsigned long)about.st_ino, path);
    else if (fd >= 0 && (flags & O_TRUNC) && watched_path(path) && fstat(fd, &about) == 0)
        note(NULL, 0, "T %lu 0\n", (unsigned long)about.st_ino);
    return fd;
}

#define MODE_OF(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) \
    { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return opened((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"), path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return opened((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"), path, flags, mode);
}

static void wrote(int fd, const void *data, ssize_t size, off_t offset) {
    char path[PATH_MAX];
    mode_t mode = 0;
    unsigned long inode = size > 0 ? watched(fd, path, &mode) : 0;
    if (inode && S_ISREG(mode)) note(data, (size_t)size, "W %lu %ld %ld\n", inode, (long)offset, (long)size);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    ssize_t done = real(fd, data, size);
    if (done > 0 && record_fd >= 0) {
        int saved = errno;
        off_t end = lseek(fd, 0, SEEK_CUR);
        errno = saved;
        if (end >= 0) wrote(fd, data, done, end - done);
    }
    return done;
}

#define PWRITE(name) ssize_t name(int fd, const void *data, size_t size, off_t offset) { \
    static ssize_t (*real)(int, const void *, size_t, off_t); \
    if (!real) real = dlsym(RTLD_NEXT, #name); \
    ssize_t done = real(fd, data, size, offset); \
    wrote(fd, data, done, offset); \
    return done; }
PWRITE(pwrite)
PWRITE(pwrite64)

#define CUT(name) int name(int fd, off_t size) { \
    static int (*real)(int, off_t); \
    char path[PATH_MAX]; mode_t mode = 0; \
    if (!real) real = dlsym(RTLD_NEXT, #name); \
    int result = real(fd, size); \
    unsigned long inode = result == 0 ? watched(fd, path, &mode) : 0; \
    if (inode) note(NULL, 0, "T %lu %ld\n", inode, (long)size); \
    return result; }
CUT(ftruncate)
CUT(ftruncate64)

#define SYNC(name) int name(int fd) { \
    static int (*real)(int); \
    char path[PATH_MAX]; mode_t mode = 0; \
    if (!real) real = dlsym(RTLD_NEXT, #name); \
    unsigned long inode = watched(fd, path, &mode); \
    const char *fail = getenv("SHIM_FAIL"); \
    if (inode && S_ISREG(mode)) note(NULL, 0, "B %lu\n", inode); \
    if (inode && fail && strstr(path, "journal.sqlite") && access(fail, F_OK) == 0) { \
        note(NULL, 0, "F %lu\n", inode); errno = EIO; return -1; } \
    int result = real(fd); \
    if (inode && result == 0) { \
        if (S_ISDIR(mode)) note(NULL, 0, "D %s\n", path); else note(NULL, 0, "S %lu\n", inode); } \
    return result; }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *old, const char *new) {
    static int (*real)(const char *, const char *);
    if (!real) real = dlsym(RTLD_NEXT, "rename");
    int result = real(old, new);
    if (result == 0 && watched_path(old)) note(NULL, 0, "R %s %s\n", old, new);
    return result;
}

int unlink(const char *path) {
    static int (*real)(const char *);
    if (!real) real = dlsym(RTLD_NEXT, "unlink");
    int result = real(path);
    if (result == 0 && watched_path(path)) note(NULL, 0, "U %s\n", path);
    return result;
}
