/* A library libnvidia-ml.so.1 for tests. The file named by NVML_SCENARIO has lines "query index value": the value is
 * text or numbers, "!15" the error to give, "hang" or "crash". A query that is not there is not supported (3).
 * With OLD it is a library of before 535, which knows one query by its older name only.
 * Devices are handles 1, 2, ...; instance m of device d (from 0) is device 100 * (d + 1) + m in the scenario. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static __thread char value[256];

static volatile int hanging;

static void hang(void) {
    hanging = 1;
    for (;;) pause();
}

/* The library's own end waits for a call that hangs. */
__attribute__((destructor)) static void end(void) {
    if (hanging) hang();
}

static int look(const char *query, long index) {
    char line[512], name[64];
    long number;
    int offset, result = 3;
    FILE *file = fopen(getenv("NVML_SCENARIO"), "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s %ld %n", name, &number, &offset) < 2 || strcmp(name, query) || number != index) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(value, sizeof value, "%s", line + offset);
        result = value[0] == '!' ? atoi(value + 1) : 0;
        if (!strcmp(value, "hang")) hang();
        if (!strcmp(value, "crash")) raise(SIGSEGV);
        break;
    }
    if (file) fclose(file);
    return result;
}

static int number(const char *query, void *device, unsigned *out) {
    int result = look(query, (long)device - 1);
    *out = result ? 0 : (unsigned)strtoul(value, 0, 10);
    return result;
}

static int text(const char *query, void *device, char *out, unsigned size) {
    int result = look(query, (long)device - 1);
    if (!result) snprintf(out, size, "%s", value);
    return result;
}

static int two(const char *query, void *device, unsigned *first, unsigned *second) {
    int result = look(query, (long)device - 1);
    return result ? result : sscanf(value, "%u %u", first, second) == 2 ? 0 : 999;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return look("init", 0); }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text("driver", (void *)1, out, size); }
int nvmlSystemGetCudaDriverVersion_v2(unsigned *out) { return number("cuda", (void *)1, out); }
int nvmlDeviceGetCount_v2(unsigned *out) { return number("count", (void *)1, out); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
    int result = look("handle", index);
    *out = (void *)(long)(index + 1);
    return result == 3 ? 0 : result;
}

int nvmlDeviceGetName(void *device, char *out, unsigned size) { return text("name", device, out, size); }
int nvmlDeviceGetUUID(void *device, char *out, unsigned size) { return text("uuid", device, out, size); }
int nvmlDeviceGetComputeMode(void *device, unsigned *out) { return number("mode", device, out); }
int nvmlDeviceGetAddressingMode(void *device, unsigned *out) { return number("ats", device, out + 1); } /* version, value */
int nvmlDeviceGetMinorNumber(void *device, unsigned *out) { return number("minor", device, out); }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out) { (void)sensor; return number("temp", device, out); }

#ifdef OLD
#define nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons
#endif
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *out) {
    int result = look("clocks", (long)device - 1);
    *out = result ? 0 : strtoull(value, 0, 0);
    return result;
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *next) { return two("mig", device, now, next); }
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *out) { return number("instances", device, out); }
int nvmlDeviceGetGpuInstanceId(void *device, unsigned *out) { return number("gi", device, out); }
int nvmlDeviceGetComputeInstanceId(void *device, unsigned *out) { return number("ci", device, out); }

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    return two("capability", device, (unsigned *)major, (unsigned *)minor);
}

int nvmlDeviceGetPciInfo_v3(void *device, char *out) {
    return text("pci", device, out + 36, 32); /* busId, after the old bus id and five numbers */
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *out) {
    int result = look("memory", (long)device - 1);
    out[0] = out[1] = result ? 0 : strtoull(value, 0, 10);
    out[2] = look("used", (long)device - 1) ? 0 : strtoull(value, 0, 10);
    return result;
}

/* The first device or instance of that name; devices of a handle that fails fail here, too. */
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out) {
    for (long device = 0; device < 1000; device++) {
        if (look("uuid", device) || strcmp(value, uuid)) continue;
        *out = (void *)(device + 1);
        int result = look("handle", device);
        return result == 3 ? 0 : result;
    }
    return 6;
}

/* A line "use": the percentage of the device, of its memory. */
int nvmlDeviceGetUtilizationRates(void *device, unsigned *out) {
    out[1] = 0;
    return number("use", device, out);
}

/* A line "shares": PID PERCENT of one process, or "none" where nothing used the device lately. */
int nvmlDeviceGetProcessUtilization(void *device, void *out, unsigned *count, unsigned long long since) {
    struct { unsigned pid; unsigned long long time; unsigned sm, memory, encoder, decoder; } *samples = out;
    int result = look("shares", (long)device - 1);
    if (result) return result;
    if (!strcmp(value, "none")) return 6;
    if (!out) { *count = 2; return 7; }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    memset(out, 0, 2 * sizeof *samples); /* the second one is of no process, as the driver gives them */
    samples[0].time = now.tv_sec * 1000000ull + now.tv_nsec / 1000;
    samples[1].time = since;
    sscanf(value, "%u %u", &samples[0].pid, &samples[0].sm);
    return 0;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **out) {
    long instance = 100 * (long)device + index;
    *out = (void *)(instance + 1);
    return look("uuid", instance) == 3 ? 6 : 0;
}

/* A line "process": the id of one process, and the bytes that it has there. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *out) {
    int result = look("process", (long)device - 1);
    if (result) { *count = 0; return result == 3 ? 0 : result; }
    *count = 1;
    if (!out) return 7; /* insufficient size */
    memset(out, 0, 24);
    sscanf(value, "%u %llu", (unsigned *)out, (unsigned long long *)out + 1);
    return 0;
}
