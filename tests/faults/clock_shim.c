/* The time of day, off by the seconds that stand in a mapped file, for the processes of the node.

   Only CLOCK_REALTIME moves; monotonic time and every wait stay with the kernel. libfaketime does
   not do here: it makes clock_nanosleep with an absolute deadline, which is how Python sleeps, fail.

   cc -shared -fPIC -O2 clock_shim.c -o clock_shim.so
   LD_PRELOAD=.../clock_shim.so FAULTS_CLOCK=FILE program        FILE: one int64, native order */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void map_offset(void) {
    const char *name = getenv("FAULTS_CLOCK");
    int handle = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (handle < 0) return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, handle, 0);
    if (page != MAP_FAILED) offset = page;
    close(handle);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (out) *out = precise.tv_sec;
    return precise.tv_sec;
}
