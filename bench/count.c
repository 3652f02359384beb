/* SPDX-License-Identifier: MIT */
/*
 * count.c - instructions an operation, exactly: this program runs itself under callgrind with two
 * numbers of operations and divides the difference. Start-up cancels out, the figure repeats to the
 * instruction. Blind to caches and TLBs.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

static const struct {
	const struct bench_count *counts;
	const unsigned int *nr;
} all_counts[] = {
	{ frames_counts, &nr_frames_counts }, { folios_counts, &nr_folios_counts },
	{ slab_counts, &nr_slab_counts },     { space_counts, &nr_space_counts },
	{ unmap_counts, &nr_unmap_counts },   { gup_counts, &nr_gup_counts },
	{ vmap_counts, &nr_vmap_counts },
};

int bench_count_child(const char *name, const char *which, unsigned long n)
{
	for (unsigned int i = 0; i < sizeof(all_counts) / sizeof(all_counts[0]); i++)
		for (unsigned int k = 0; k < *all_counts[i].nr; k++) {
			const struct bench_count *c = &all_counts[i].counts[k];

			if (strcmp(c->name, name))
				continue;
			bench_boot(1ull << 30, 2, true);
			if (c->setup)
				c->setup();
			(strcmp(which, "peer") ? c->run : c->peer_run)(n);
			return 0;
		}
	fprintf(stderr, "octavo bench: nothing to count is called %s\n", name);
	return 2;
}

static bool have_valgrind(void)
{
	return system("command -v valgrind >/dev/null 2>&1") == 0;
}

/* The "summary:" (or "totals:") line of a callgrind file; negative if there is none. */
static double callgrind_total(const char *path)
{
	char line[256];
	double v = -1;
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "totals: %lf", &v) == 1 || sscanf(line, "summary: %lf", &v) == 1)
			break;
	fclose(f);
	return v;
}

static double run_counted(const char *name, const char *which, unsigned long n)
{
	char self[4096], cg[64] = "/tmp/octavo-count-XXXXXX", out[128], num[32];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int fd = mkstemp(cg), status;
	double v;
	pid_t pid;

	if (len < 0 || fd < 0)
		return -1;
	close(fd);
	self[len] = 0;
	snprintf(out, sizeof(out), "--callgrind-out-file=%s", cg);
	snprintf(num, sizeof(num), "%lu", n);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(127);
		execlp("valgrind", "valgrind", "-q", "--tool=callgrind", out, self, "bench",
		       "--count-child", name, which, num, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		v = -1;
	else
		v = callgrind_total(cg);
	unlink(cg);
	return v;
}

double bench_count_one(const char *name, const char *which)
{
	/* whole tables; the difference is exact whatever they are */
	const unsigned long n1 = bench_opt.quick ? 1024 : 20480, n2 = 3 * n1;
	double a, b;

	if (!have_valgrind())
		return -1;
	a = run_counted(name, which, n1);
	b = run_counted(name, which, n2);

	return a < 0 || b < 0 ? -1 : (b - a) / (double)(n2 - n1);
}

void bench_count_rows(const struct bench_count *counts, unsigned int nr)
{
	char name[64];

	if (!have_valgrind()) {
		bench_note("no instruction counts: valgrind is not installed");
		return;
	}
	for (unsigned int i = 0; i < nr; i++) {
		double v = bench_count_one(counts[i].name, "octavo"), peer = 0;

		if (counts[i].peer)
			peer = bench_count_one(counts[i].name, "peer");
		snprintf(name, sizeof(name), "%s/instructions", counts[i].name);
		if (v < 0)
			bench_note("%s could not be counted", counts[i].name);
		else
			bench_value(name, "in", v, counts[i].peer, peer);
	}
}
