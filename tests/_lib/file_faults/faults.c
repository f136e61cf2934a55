/* Preloaded into a process under test: fails one file operation below one folder, or lets the power fail there.
 *
 * Operations that count: opening (for reading too), writing, syncing, cutting, renaming and deleting files whose path
 * begins with the armed folder. The n-th one is struck. Nothing else in the process is touched. Kinds:
 *
 *   EIO      it fails with an I/O error                     FULL   it and all that take room fail with ENOSPC until disarmed
 *   SHORT    a write writes its first half, then the disk is full once; another operation fails with EIO
 *   KILL     SIGKILL before it                              TORN   half of a write reaches the file, then SIGKILL
 *   POWER    every write since the file's last sync is undone, newest first, then SIGKILL: a power cut that kept nothing
 *            it did not have to keep. (Names are not undone: renames and deletions count as kept.)
 *   SOME     the same with every second of those writes kept: what a disk with a cache may make of it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { EIO_ONCE, FULL, SHORT_WRITE, KILLED, TORN, POWER, SOME };
enum verdict { GO_ON, HALF, FAIL };

#define DESCRIPTORS 1024

struct undo { /* a write that no sync has followed yet */
    struct undo *older;
    dev_t device;
    ino_t inode;
    off_t at, size; /* where it wrote; the file's size before */
    size_t length;  /* of the bytes that stood there before */
    char path[PATH_MAX], bytes[];
};

static char folder[PATH_MAX];
static size_t folder_length;
static enum kind kind;
static long strike_at, operations, struck_at;
static char struck_name[32];
static int is_armed, disk_is_full;
static char ours[DESCRIPTORS]; /* descriptors of files in the folder */
static struct undo *newest;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (symbol == NULL) abort();
    return symbol;
}

/* --- for the test, through ctypes --- */

void faults_arm(const char *path, int which, long at) {
    snprintf(folder, sizeof folder, "%s/", path);
    folder_length = strlen(folder);
    kind = which, strike_at = at, operations = struck_at = 0, disk_is_full = 0, is_armed = 1;
}

void faults_disarm(void) { strike_at = 0, disk_is_full = 0; }

long faults_operations(void) { return operations; }

long faults_struck_at(void) { return struck_at; }

const char *faults_struck_name(void) { return struck_name; }

/* --- the power cut --- */

static void remember_write(int fd, off_t at, size_t length) {
    struct stat before;
    if ((kind != POWER && kind != SOME) || fstat(fd, &before) != 0 || !S_ISREG(before.st_mode)) return;
    struct undo *entry = malloc(sizeof *entry + length);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t named = entry == NULL ? -1 : readlink(link, entry->path, sizeof entry->path - 1);
    if (named < 0) abort();
    entry->path[named] = 0;
    entry->device = before.st_dev, entry->inode = before.st_ino, entry->at = at, entry->size = before.st_size;
    entry->length = 0;
    int reader = REAL(open64)(entry->path, O_RDONLY | O_CLOEXEC); /* fd may be for writing only */
    if (reader >= 0) {
        ssize_t got = length == 0 ? 0 : pread(reader, entry->bytes, length, at);
        entry->length = got < 0 ? 0 : (size_t)got;
        REAL(close)(reader);
    }
    entry->older = newest, newest = entry;
}

static void forget_writes(int fd) { /* they are on disk now */
    struct stat file;
    if (fstat(fd, &file) != 0) return;
    for (struct undo **link = &newest; *link != NULL;) {
        struct undo *entry = *link;
        if (entry->device == file.st_dev && entry->inode == file.st_ino) {
            *link = entry->older;
            free(entry);
        } else {
            link = &entry->older;
        }
    }
}

static void undo_writes(int every) {
    int number = 0;
    for (struct undo *entry = newest; entry != NULL; entry = entry->older) {
        if (++number % every != 0) continue;
        int fd = REAL(open64)(entry->path, O_WRONLY | O_CLOEXEC);
        struct stat file;
        if (fd < 0) continue; /* deleted since */
        if (fstat(fd, &file) == 0 && file.st_ino == entry->inode) {
            if (entry->length > 0 && REAL(pwrite64)(fd, entry->bytes, entry->length, entry->at) < 0) abort();
            if (every == 1 && REAL(ftruncate64)(fd, entry->size) != 0) abort();
        }
        REAL(close)(fd);
    }
}

static _Noreturn void die(void) {
    for (;;) raise(SIGKILL);
}

/* --- one operation --- */

static enum verdict step(const char *name, int takes_room) {
    if (!is_armed) return GO_ON;
    operations++;
    if (disk_is_full && takes_room) {
        errno = ENOSPC;
        return FAIL;
    }
    if (operations != strike_at) return GO_ON;
    struck_at = operations;
    snprintf(struck_name, sizeof struck_name, "%s", name);
    int is_write = strcmp(name, "write") == 0;
    switch (kind) {
    case EIO_ONCE: errno = EIO; return FAIL;
    case FULL: disk_is_full = 1; errno = ENOSPC; return takes_room ? FAIL : GO_ON;
    case SHORT_WRITE: errno = EIO; return is_write ? HALF : FAIL;
    case KILLED: die();
    case TORN:
        if (is_write) return HALF;
        die();
    case POWER: undo_writes(1); die();
    case SOME: undo_writes(2); die();
    }
    return GO_ON;
}

static int is_ours(int fd) { return is_armed && fd >= 0 && fd < DESCRIPTORS && ours[fd]; }

static int is_inside(const char *path) { return is_armed && strncmp(path, folder, folder_length) == 0; }

static int opened(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS) ours[fd] = 1;
    return fd;
}

#define OPEN(function)                                              \
    int function(const char *path, int flags, ...) {                \
        va_list rest;                                               \
        va_start(rest, flags);                                      \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                               \
        if (!is_inside(path)) return REAL(function)(path, flags, mode); \
        if (step("open", (flags & O_CREAT) && access(path, F_OK) != 0) != GO_ON) return -1; \
        return opened(REAL(function)(path, flags, mode));           \
    }
OPEN(open)
OPEN(open64)

int openat(int directory, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!is_inside(path)) return REAL(openat)(directory, path, flags, mode);
    return step("open", 0) == GO_ON ? opened(REAL(openat)(directory, path, flags, mode)) : -1;
}

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS) ours[fd] = 0;
    return REAL(close)(fd);
}

static ssize_t put(int fd, const void *bytes, size_t length, off_t at, int is_placed) {
    enum verdict verdict = step("write", 1);
    if (verdict == FAIL) return -1;
    off_t place = is_placed ? at : lseek(fd, 0, SEEK_CUR);
    size_t whole = verdict == HALF ? length / 2 : length;
    remember_write(fd, place, whole);
    ssize_t written = is_placed ? REAL(pwrite64)(fd, bytes, whole, at) : REAL(write)(fd, bytes, whole);
    if (verdict == HALF && kind == TORN) die();
    if (verdict == HALF) disk_is_full = 1; /* what is tried next fails: SQLite tries the other half */
    return written;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return is_ours(fd) ? put(fd, bytes, length, 0, 0) : REAL(write)(fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return is_ours(fd) ? put(fd, bytes, length, at, 1) : REAL(pwrite)(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    return is_ours(fd) ? put(fd, bytes, length, at, 1) : REAL(pwrite64)(fd, bytes, length, at);
}

#define SYNC(function)                                       \
    int function(int fd) {                                   \
        if (!is_ours(fd)) return REAL(function)(fd);         \
        if (step("sync", 0) != GO_ON) return -1;             \
        int result = REAL(function)(fd);                     \
        if (result == 0) forget_writes(fd);                  \
        return result;                                       \
    }
SYNC(fsync)
SYNC(fdatasync)

#define CUT(function, type)                                  \
    int function(int fd, type length) {                      \
        if (!is_ours(fd)) return REAL(function)(fd, length); \
        if (step("cut", 1) != GO_ON) return -1;              \
        struct stat before;                                  \
        if (fstat(fd, &before) == 0 && before.st_size > length) remember_write(fd, length, before.st_size - length); \
        return REAL(function)(fd, length);                   \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    if (is_inside(to) && step("rename", 0) != GO_ON) return -1;
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    if (is_inside(path) && step("unlink", 0) != GO_ON) return -1;
    return REAL(unlink)(path);
}
