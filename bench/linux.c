/* SPDX-License-Identifier: MIT */
/*
 * linux.c - see linux.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <signal.h>
#include <unistd.h>

#include "harness.h"
#include "linux.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct ask {
	enum linux_op op;
	unsigned int order;
	u64 bytes;
};

struct answer {
	double ns;		  /* a page */
	struct bench_turns turns; /* of faults */
	double cpu;		  /* seconds that this process has used so far, its children too */
};

static int chan = -1;
static pid_t peer;

/* ---- in the peer ---- */

static double cpu_seconds(void)
{
	static const int whose[] = { RUSAGE_SELF, RUSAGE_CHILDREN };
	struct rusage ru;
	double s = 0;

	for (int i = 0; i < 2; i++) {
		getrusage(whose[i], &ru);
		s += (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		     (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
	}
	return s;
}

/* Aligned for the largest folio, alone in its gigabyte of addresses, with the policy for @order. */
static char *region(const struct ask *a, u64 bytes, char *at)
{
	char *p = mmap(at, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, a->order ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

static bool populate(char *p, u64 bytes)
{
	return madvise(p, bytes, MADV_POPULATE_WRITE) == 0;
}

/* Time of a fork of everything that is populated; @cow: of breaking all pages after it instead. */
static double fork_ns(char *p, u64 bytes, bool cow)
{
	int pipefd[2], status;
	double t;
	pid_t pid;
	char c = 0;

	if (pipe(pipefd))
		return -1;
	t = bench_now();
	pid = fork();
	if (pid == 0) {
		/* stay until told, so that the pages are shared */
		close(pipefd[1]);
		_exit(read(pipefd[0], &c, 1) < 0);
	}
	t = bench_now() - t;
	if (pid > 0 && cow) {
		t = bench_now();
		populate(p, bytes);
		t = bench_now() - t;
	}
	close(pipefd[1]);
	close(pipefd[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return t;
}

/* Pins by registering the region as a buffer for I/O. */
static double pin_ns(char *p, u64 bytes)
{
	struct io_uring_params par = { 0 };
	struct iovec iov = { p, bytes };
	int fd = (int)syscall(SYS_io_uring_setup, 4, &par);
	double t, ns = -1;

	if (fd < 0)
		return -1;
	t = bench_now();
	if (!syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1))
		ns = bench_now() - t;
	close(fd);
	return ns;
}

static double mremap_ns(char *p, u64 bytes, char *to)
{
	double t = bench_now();

	if (mremap(p, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		return -1;
	t = bench_now() - t;
	munmap(to, bytes);
	return t;
}

static double mprotect_ns(char *p, u64 bytes)
{
	double t = bench_now();

	mprotect(p, bytes, PROT_READ);
	mprotect(p, bytes, PROT_READ | PROT_WRITE);
	return (bench_now() - t) / 2;
}

/* ---- in the peer: faults on one CPU and two ---- */

/* Shared by threads or processes. */
struct crowd {
	pthread_barrier_t gate;
	u64 windows;
	struct bench_turns turns;
};

struct member {
	struct crowd *crowd;
	char *window;
	u32 cpu;
};

static void pin(u32 cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void touch_windows(u32 cpu, void *ctx)
{
	const struct member *m = ctx;

	(void)cpu;
	for (u64 n = 0; n < m->crowd->windows; n++) {
		for (u64 off = 0; off < FAULT_WINDOW; off += PAGE_SIZE)
			((volatile char *)m->window)[off] = 1;
		madvise(m->window, FAULT_WINDOW, MADV_DONTNEED);
	}
}

static void *take_turns(void *arg)
{
	struct member *m = arg;

	pin(m->cpu);
	bench_turns_take(&m->crowd->turns, &m->crowd->gate, m->cpu, touch_windows, m);
	return NULL;
}

static bool turns_of_threads(struct member *m)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, take_turns, &m[1]))
		return false;
	take_turns(&m[0]);
	return !pthread_join(thread, NULL);
}

static bool turns_of_processes(struct member *m)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		take_turns(&m[1]);
		_exit(0);
	}
	if (pid < 0)
		return false;
	take_turns(&m[0]);
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static struct bench_turns faults(const struct ask *a)
{
	struct bench_turns turns = { 0 };
	char *base = (char *)(1ul << 40), *p = region(a, 2 * FAULT_APART, base);
	struct crowd *c =
		mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct member m[2] = { { c, p, 0 }, { c, p + FAULT_APART, 1 } };
	pthread_barrierattr_t attr;

	if (p && c != MAP_FAILED) {
		c->windows = a->bytes / FAULT_WINDOW;
		pthread_barrierattr_init(&attr);
		pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
		pthread_barrier_init(&c->gate, &attr, 2);
		if (a->op == LINUX_FAULT_THREADS ? turns_of_threads(m) : turns_of_processes(m))
			turns = c->turns;
		pin(0);
	}
	if (p)
		munmap(base, 2 * FAULT_APART);
	if (c != MAP_FAILED)
		munmap(c, sizeof(*c));
	return turns;
}

/* ---- in the peer: calls ---- */

/* Pages that compress as ordinary ones do, out of memory; @in: and back, which is what is measured then. */
static double page_ns(char *p, u64 bytes, bool in)
{
	u64 seed = 88172645463325252ull, *word = (u64 *)p;
	double t;

	for (u64 i = 0; i < bytes / sizeof(u64); i++)
		word[i] = i % 4 ? 0x2020202020202020ull : bench_rand(&seed);
	t = bench_now();
	if (madvise(p, bytes, MADV_PAGEOUT))
		return -1;
	t = bench_now() - t;
	if (!in)
		return t;
	t = bench_now();
	for (u64 off = 0; off < bytes; off += PAGE_SIZE)
		bench_use(((volatile char *)p)[off]);
	return bench_now() - t;
}

static double perform(const struct ask *a)
{
	char *base = (char *)(1ul << 40), *p = region(a, a->bytes, base);
	double ns = -1, t;

	if (!p)
		return -1;
	t = bench_now();
	if (!populate(p, a->bytes))
		return -1;
	t = bench_now() - t;
	switch (a->op) {
	case LINUX_POPULATE:
		ns = t;
		break;
	case LINUX_ZAP:
		t = bench_now();
		madvise(p, a->bytes, MADV_DONTNEED);
		ns = bench_now() - t;
		break;
	case LINUX_FORK:
	case LINUX_COW:
		ns = fork_ns(p, a->bytes, a->op == LINUX_COW);
		break;
	case LINUX_MPROTECT:
		ns = mprotect_ns(p, a->bytes);
		break;
	case LINUX_MREMAP:
		ns = mremap_ns(p, a->bytes, base + (1ul << 36));
		break;
	case LINUX_MREMAP_ODD:
		ns = mremap_ns(p, a->bytes, base + (1ul << 36) + PAGE_SIZE);
		break;
	case LINUX_PAGEOUT:
	case LINUX_PAGEIN:
		ns = page_ns(p, a->bytes, a->op == LINUX_PAGEIN);
		break;
	case LINUX_PIN:
		ns = pin_ns(p, a->bytes);
		break;
	default:
		break;
	}
	munmap(base, a->bytes);
	return ns < 0 ? ns : ns / (double)(a->bytes / PAGE_SIZE);
}

static void serve(int fd)
{
	struct ask a;

	pin(0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (recv(fd, &a, sizeof(a), 0) == (ssize_t)sizeof(a) && a.op != LINUX_QUIT) {
		struct answer ans = { 0 };

		if (a.op == LINUX_FAULT_THREADS || a.op == LINUX_FAULT_PROCESSES)
			ans.turns = faults(&a);
		else
			ans.ns = perform(&a);
		ans.cpu = cpu_seconds();
		if (send(fd, &ans, sizeof(ans), 0) != (ssize_t)sizeof(ans))
			break;
	}
	_exit(0);
}

/* ---- in the benchmark ---- */

bool linux_start(void)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		return false;
	fflush(stdout);
	peer = fork();
	if (peer == 0) {
		close(fd[0]);
		serve(fd[1]);
	}
	close(fd[1]);
	chan = fd[0];
	return peer > 0;
}

void linux_stop(void)
{
	struct ask a = { .op = LINUX_QUIT };

	if (chan < 0)
		return;
	send(chan, &a, sizeof(a), 0);
	close(chan);
	chan = -1;
	waitpid(peer, NULL, 0);
	bench_peer_seconds = 0;
}

/* False: there is no peer. */
static bool linux_ask(const struct ask *a, struct answer *ans)
{
	if (chan < 0 || send(chan, a, sizeof(*a), 0) != (ssize_t)sizeof(*a) ||
	    recv(chan, ans, sizeof(*ans), 0) != (ssize_t)sizeof(*ans))
		return false;
	bench_peer_seconds = ans->cpu;
	return true;
}

double linux_run(enum linux_op op, unsigned int order, u64 bytes)
{
	struct answer ans;

	return linux_ask(&(struct ask){ op, order, bytes }, &ans) ? ans.ns : -1;
}

struct bench_turns linux_faults(bool threads, u64 windows)
{
	const struct ask a = { .op = threads ? LINUX_FAULT_THREADS : LINUX_FAULT_PROCESSES,
			       .bytes = windows * FAULT_WINDOW };
	struct answer ans;

	return linux_ask(&a, &ans) ? ans.turns : (struct bench_turns){ 0 };
}

bool linux_has_zram(void)
{
	FILE *f = fopen("/proc/swaps", "re");
	char line[256];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, "/zram") != NULL;
	fclose(f);
	return found;
}

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* "always [madvise] never": the chosen one; empty if there is no such setting. */
static void setting(const char *name, char *value, size_t size)
{
	char path[128], text[128] = "", *open, *close;
	FILE *f;

	*value = 0;
	snprintf(path, sizeof(path), THP "%s", name);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	open = strchr(text, '[');
	close = strchr(text, ']');
	if (open && close > open)
		snprintf(value, size, "%.*s", (int)(close - open - 1), open + 1);
}

static bool set(const char *name, const char *value)
{
	char path[128];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), THP "%s", name);
	f = fopen(path, "we");
	if (!f)
		return false;
	ok = fputs(value, f) >= 0;
	return fclose(f) == 0 && ok;
}

static bool allows(const char *value)
{
	return !strcmp(value, "always") || !strcmp(value, "madvise") || !strcmp(value, "inherit");
}

static char was_2m[32], was_64k[32];

bool linux_use_order(unsigned int order)
{
	char all[32], now[32];

	setting("enabled", all, sizeof(all));
	if (!order)
		return true;
	if (!allows(all))
		return false;
	if (order == 9) {
		setting("hugepages-2048kB/enabled", now, sizeof(now));
		return !*now || allows(now);
	}
	/* the kernel takes the largest that is allowed: that must be this one */
	if (order != 4 || !bench_opt.thp)
		return false;
	setting("hugepages-2048kB/enabled", was_2m, sizeof(was_2m));
	setting("hugepages-64kB/enabled", was_64k, sizeof(was_64k));
	return *was_2m && *was_64k && set("hugepages-2048kB/enabled", "never") &&
	       set("hugepages-64kB/enabled", "madvise");
}

void linux_unuse_order(void)
{
	if (*was_2m)
		set("hugepages-2048kB/enabled", was_2m);
	if (*was_64k)
		set("hugepages-64kB/enabled", was_64k);
	was_2m[0] = was_64k[0] = 0;
}
