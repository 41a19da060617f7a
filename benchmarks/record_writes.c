/* Records, in order, what a process writes below $RECORD_BELOW, and what it syncs, into the file $RECORD_TO:
 *
 *     KIND PATH OFFSET LENGTH\n DATA
 *
 * KIND is W (write), T (truncate to OFFSET), S (fsync or fdatasync, of a file or a directory), R (rename, DATA is the
 * new path) or U (unlink). benchmarks/offline_power.py replays it up to some moment, as a disk might hold it after the
 * power went. Built with: cc -shared -fPIC -o record_writes.so record_writes.c -ldl -lpthread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_descriptor = -1;

static ssize_t real_write(int descriptor, const void *data, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    return real(descriptor, data, length);
}

static int path_of(int descriptor, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, size - 1);
    const char *below = getenv("RECORD_BELOW");
    if (length <= 0 || !below) return 0;
    path[length] = 0;
    return strncmp(path, below, strlen(below)) == 0;
}

static void record(char kind, const char *path, long long offset, const void *data, size_t length) {
    char head[4200];
    if (log_descriptor < 0) log_descriptor = open(getenv("RECORD_TO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int size = snprintf(head, sizeof head, "%c %s %lld %zu\n", kind, path, offset, length);
    if (real_write(log_descriptor, head, size) != size || (length && real_write(log_descriptor, data, length) < 0)) abort();
}

/* What the call did and its record stand in the same order for all threads. */
#define RECORDED(type, call, kind, offset, data, length)                      \
    char path[4096];                                                          \
    if (!path_of(descriptor, path, sizeof path)) return call;                 \
    pthread_mutex_lock(&lock);                                                \
    type done = call;                                                         \
    if (done >= 0) record(kind, path, offset, data, length);                  \
    pthread_mutex_unlock(&lock);                                              \
    return done;

ssize_t write(int descriptor, const void *data, size_t count) {
    char path[4096];
    if (!path_of(descriptor, path, sizeof path)) return real_write(descriptor, data, count);
    pthread_mutex_lock(&lock);
    ssize_t done = real_write(descriptor, data, count);
    int flags = fcntl(descriptor, F_GETFL);
    off_t end = lseek(descriptor, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
    if (done > 0) record('W', path, end - done, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int descriptor, const void *data, size_t count, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    RECORDED(ssize_t, real(descriptor, data, count, offset), 'W', offset, data, (size_t)done)
}

ssize_t pwrite(int descriptor, const void *data, size_t count, off_t offset) {
    return pwrite64(descriptor, data, count, offset);
}

int ftruncate64(int descriptor, off64_t size) {
    static int (*real)(int, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "ftruncate64");
    RECORDED(int, real(descriptor, size), 'T', size, 0, 0)
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }

int fsync(int descriptor) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    RECORDED(int, real(descriptor), 'S', 0, 0, 0)
}

int fdatasync(int descriptor) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    RECORDED(int, real(descriptor), 'S', 0, 0, 0)
}

int rename(const char *old, const char *new) {
    static int (*real)(const char *, const char *);
    const char *below = getenv("RECORD_BELOW");
    if (!real) real = dlsym(RTLD_NEXT, "rename");
    pthread_mutex_lock(&lock);
    int done = real(old, new);
    if (!done && below && strncmp(old, below, strlen(below)) == 0) record('R', old, 0, new, strlen(new));
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    static int (*real)(const char *);
    const char *below = getenv("RECORD_BELOW");
    if (!real) real = dlsym(RTLD_NEXT, "unlink");
    pthread_mutex_lock(&lock);
    int done = real(path);
    if (!done && below && strncmp(path, below, strlen(below)) == 0) record('U', path, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
