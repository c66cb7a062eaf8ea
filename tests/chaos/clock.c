/* A clock of its own for one Python program, loaded before all else (LD_PRELOAD).

   CHAOS_CLOCK names a file of eight bytes: by how many nanoseconds the program's clock is ahead. It may change at any
   time. Only Python itself is told a wrong time: other libraries hand the kernel deadlines by this clock, and the
   kernel has the right one. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *found = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED)
        ahead = found;
}

static int is_python(void *caller) {
    Dl_info about;
    if (dladdr(caller, &about) == 0 || about.dli_fname == NULL)
        return 0;
    const char *slash = strrchr(about.dli_fname, '/');
    const char *name = slash == NULL ? about.dli_fname : slash + 1;
    return strncmp(name, "python", 6) == 0 || strncmp(name, "libpython", 9) == 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = (int)syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && clock == CLOCK_REALTIME && ahead != NULL && *ahead != 0 && is_python(__builtin_return_address(0))) {
        int64_t all = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + *ahead;
        now->tv_sec = all / 1000000000;
        now->tv_nsec = all % 1000000000;
    }
    return done;
}
