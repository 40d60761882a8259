/* The floor of scripts/bench.sh: the least that starting so many processes costs on this machine.
 *
 *   floor THREADS COUNT AT PROGRAM ARG...
 *
 * At the second AT (since the epoch; 0: now) THREADS threads start PROGRAM with its arguments COUNT times in all, each
 * with posix_spawn(3) and a wait for its end, and do nothing else. Exit codes: 0 all ran and exited with 0, 1 not,
 * 2 usage. */
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static char **command;
static atomic_long left;
static atomic_int failed;
static struct timespec due;

static void *start_them(void *unused)
{
    char *nothing[] = {NULL};
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL);
    while (atomic_fetch_sub(&left, 1) > 0) {
        pid_t pid;
        int status = -1;
        if (posix_spawn(&pid, command[0], NULL, NULL, command, nothing) == 0)
            waitpid(pid, &status, 0);
        if (status != 0)
            failed = 1;
    }
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    int threads = atoi(argv[1]);
    left = atol(argv[2]);
    due.tv_sec = atoll(argv[3]);
    command = argv + 4;
    pthread_t ids[threads];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, start_them, NULL) != 0)
            return 1;
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    return failed;
}
