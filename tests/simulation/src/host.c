// What a simulated process gets from its host: randomness that follows from SIMULATION_SEED, and a
// wall clock that stands still. Without the variable both are the system's.
//
// Hash maps, `select!`, jitter and UUIDs draw from getrandom. The code under test measures time
// with tokio's clock, which the simulation advances; the wall clock only shows up in texts and
// metrics.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int mode; // 0: not determined yet, 1: simulated, 2: the system's
static uint64_t state;

static int is_simulated(void) {
    if (!mode) {
        const char *seed = getenv("SIMULATION_SEED");
        if (seed) state = strtoull(seed, NULL, 10);
        mode = seed ? 1 : 2;
    }
    return mode == 1;
}

// SplitMix64.
static uint64_t next(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    if (!is_simulated()) return syscall(SYS_getrandom, buffer, length, flags);
    for (size_t done = 0; done < length; done += 8) {
        uint64_t word = next();
        size_t rest = length - done;
        memcpy((char *)buffer + done, &word, rest < 8 ? rest : 8);
    }
    return (ssize_t)length;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int is_wall_clock = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (!is_wall_clock || !is_simulated()) return (int)syscall(SYS_clock_gettime, clock, now);
    now->tv_sec = 1800000000; // 2027-01-15
    now->tv_nsec = 0;
    return 0;
}
