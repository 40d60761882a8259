/* The supervised floor of scripts/bench.sh: what nobody can leave out who starts processes and answers for them.
 *
 *   supervised THREADS COUNT AT PROGRAM ARG...
 *
 * At the second AT (since the epoch; 0: now) THREADS threads start PROGRAM with its arguments COUNT times in all. For each
 * there are a pipe for the output, posix_spawn(3) with a process group of its own, a pidfd, poll(2) until both have ended,
 * the output read to its end, three short writes to a guard process, and a wait. Prints the CPU time that this process alone
 * took for a run, in microseconds. Exit codes: 0 all ran and exited with 0, 1 not, 2 usage. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char **command;
static atomic_long left;
static atomic_int failed;
static struct timespec due;
static int guard;

/* A process that reads what runs until its pipe is closed, as a guard does. */
static pid_t start_guard(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        char lines[4096];
        close(ends[1]);
        while (read(ends[0], lines, sizeof lines) > 0)
            ;
        _exit(0);
    }
    close(ends[0]);
    guard = ends[1];
    return pid;
}

static void tell(const char *what, long number)
{
    char line[96];
    int length = snprintf(line, sizeof line, "%s %ld 00000000-0000-0000-0000-000000000001/cluster-a/1\n", what, number);
    if (write(guard, line, (size_t)length) != length)
        failed = 1;
}

static int run(long number)
{
    static char *nothing[] = {NULL};
    int ends[2], status = -1, pidfd;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return 1;
    tell("starting", number);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int refused = posix_spawn(&pid, command[0], &actions, &attributes, command, nothing);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (refused != 0)
        return 1;
    tell("runs", pid);
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd watched[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = ends[0], .events = POLLIN}};
    while (watched[0].fd >= 0 || watched[1].fd >= 0) {
        char output[65536];
        if (poll(watched, 2, -1) < 0)
            return 1;
        if (watched[1].revents != 0 && read(ends[0], output, sizeof output) <= 0)
            watched[1].fd = -1;
        if (watched[0].revents != 0)
            watched[0].fd = -1;
    }
    waitpid(pid, &status, 0);
    close(pidfd);
    close(ends[0]);
    tell("over", number);
    return status;
}

static void *start_them(void *unused)
{
    long number;
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL);
    while ((number = atomic_fetch_sub(&left, 1)) > 0)
        if (run(number) != 0)
            failed = 1;
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    int threads = atoi(argv[1]);
    long count = atol(argv[2]);
    left = count;
    due.tv_sec = atoll(argv[3]);
    command = argv + 4;
    pid_t guarding = start_guard();
    pthread_t ids[threads];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, start_them, NULL) != 0)
            return 1;
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    long long spent = (own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1000000LL + own.ru_utime.tv_usec + own.ru_stime.tv_usec;
    printf("%lld\n", spent / count);
    close(guard);
    waitpid(guarding, NULL, 0);
    return failed;
}
