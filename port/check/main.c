/* SPDX-License-Identifier: MIT */
/*
 * main.c - octavo race: the command.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine.h"

extern const struct scenario *const __start_check_scenarios[];
extern const struct scenario *const __stop_check_scenarios[];

static struct {
	struct options opt;
	const char *html, *recorded;
	bool list, json, quiet, alone, print_record;
	u32 jobs;
	u32 nr_names;
	char **names;
} args;

static const char usage_text[] =
	"usage: octavo race [SCENARIO...] [options]\n"
	"\n"
	"Explores interleavings, and what each load may read, of short programs on the core's "
	"lockless protocols.\n"
	"A SCENARIO is a name or its start; none: all.\n"
	"\n"
	"  --list             the scenarios\n"
	"  --bound N          preemptions in one execution (usual: the scenario's, mostly 2)\n"
	"  --stale N          loads that may read an old store (usual: the scenario's, mostly 2; "
	"0: interleavings only)\n"
	"  --faults N         injected failures\n"
	"  --mode dfs|pct|random   exhaustive (usual), or at random until --seconds or "
	"--executions\n"
	"  --depth N          of PCT: kinds of bug that need N ordering constraints (usual 3)\n"
	"  --seconds N        stop after that long\n"
	"  --executions N     stop after that many\n"
	"  --seed N           of the random modes\n"
	"  --replay STRING    the one execution that a violation printed as its schedule\n"
	"  --html FILE        the trace of a violation as a page\n"
	"  --json             one object a scenario on one line\n"
	"  --record FILE      compare the number of executions with what FILE says; fewer is a "
	"failure\n"
	"  --no-cut           explore also what is known to be the same as something explored "
	"elsewhere\n"
	"  --print-record     print what --record compares with\n"
	"  --jobs N           scenarios at a time (usual: 1)\n"
	"  --quiet            only what is wrong, and a last line\n"
	"\n"
	"Exit status: 0 nothing found, 1 a violation (or fewer executions than recorded), 2 "
	"misuse.\n";

static void __noreturn usage_error(const char *what, const char *arg)
{
	fprintf(stderr, "octavo race: %s%s%s (--help shows how it is used)\n", what, arg ? " " : "",
		arg ? arg : "");
	exit(2);
}

static void on_interrupt(int sig)
{
	(void)sig;
	if (interrupted)
		_exit(130);
	interrupted = 1;
}

/* ---- arguments ---- */

static const char *value_of(int argc, char **argv, int *i)
{
	if (*i + 1 >= argc)
		usage_error("no value for", argv[*i]);
	return argv[++*i];
}

static long number(const char *name, const char *s)
{
	char *end;
	long v = strtol(s, &end, 10);

	if (end == s || *end || v < 0)
		usage_error("not a number:", name);
	return v;
}

static void parse_mode(const char *s)
{
	if (!strcmp(s, "dfs"))
		args.opt.strategy = DFS;
	else if (!strcmp(s, "pct"))
		args.opt.strategy = PCT;
	else if (!strcmp(s, "random"))
		args.opt.strategy = RANDOM;
	else
		usage_error("no such mode:", s);
}

static bool parse_number(const char *a, const char *v)
{
	if (!strcmp(a, "--bound"))
		args.opt.bound = (int)number(a, v);
	else if (!strcmp(a, "--stale"))
		args.opt.stale = (int)number(a, v);
	else if (!strcmp(a, "--faults"))
		args.opt.faults = (int)number(a, v);
	else if (!strcmp(a, "--depth"))
		args.opt.depth = (int)number(a, v);
	else if (!strcmp(a, "--seconds"))
		args.opt.seconds = (double)number(a, v);
	else if (!strcmp(a, "--executions"))
		args.opt.max_executions = (u64)number(a, v);
	else if (!strcmp(a, "--seed"))
		args.opt.seed = (u64)number(a, v);
	else if (!strcmp(a, "--jobs"))
		args.jobs = (u32)number(a, v);
	else
		return false;
	return true;
}

static void parse(int argc, char **argv)
{
	args.opt =
		(struct options){ .bound = -1, .stale = -1, .faults = -1, .depth = 3, .seed = 1 };
	args.jobs = 1;
	args.names = calloc((size_t)argc, sizeof(*args.names));
	if (!args.names)
		abort();
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];

		if (a[0] != '-') {
			args.names[args.nr_names++] = argv[i];
		} else if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
			fputs(usage_text, stdout);
			exit(0);
		} else if (!strcmp(a, "--list")) {
			args.list = true;
		} else if (!strcmp(a, "--json")) {
			args.json = true;
		} else if (!strcmp(a, "--print-record")) {
			args.print_record = true;
		} else if (!strcmp(a, "--quiet")) {
			args.quiet = true;
		} else if (!strcmp(a, "--no-cut")) {
			args.opt.all = true;
		} else if (!strcmp(a, "--all")) {
			continue;
		} else if (!strcmp(a, "--mode")) {
			parse_mode(value_of(argc, argv, &i));
		} else if (!strcmp(a, "--replay")) {
			args.opt.replay = value_of(argc, argv, &i);
		} else if (!strcmp(a, "--html")) {
			args.html = value_of(argc, argv, &i);
		} else if (!strcmp(a, "--record")) {
			args.recorded = value_of(argc, argv, &i);
		} else if (i + 1 >= argc || !parse_number(a, argv[i + 1])) {
			usage_error("no such option, or no value for it:", a);
		} else {
			i++;
		}
	}
	if (args.opt.strategy != DFS && !args.opt.seconds && !args.opt.max_executions)
		args.opt.seconds = 5;
}

/* ---- what is run ---- */

static bool chosen(const struct scenario *sc)
{
	for (u32 i = 0; i < args.nr_names; i++)
		if (!strcmp(sc->name, args.names[i]))
			return true;
	for (u32 i = 0; i < args.nr_names; i++) {
		bool exact = false;

		/* a whole name means that scenario and not those that begin with it */
		for (const struct scenario *const *s = __start_check_scenarios;
		     s < __stop_check_scenarios; s++)
			exact |= !strcmp((*s)->name, args.names[i]);
		if (!exact && !strncmp(sc->name, args.names[i], strlen(args.names[i])))
			return true;
	}
	return args.nr_names == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct scenario *const *)a)->name,
		      (*(const struct scenario *const *)b)->name);
}

static u32 pick_scenarios(const struct scenario **list)
{
	u32 n = 0;

	for (const struct scenario *const *s = __start_check_scenarios; s < __stop_check_scenarios;
	     s++)
		if (chosen(*s))
			list[n++] = *s;
	qsort(list, n, sizeof(*list), by_name);
	return n;
}

static void list_scenarios(const struct scenario **list, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		const char *mark = list[i]->expects == EXPECT_VIOLATION	  ? "must fail: "
				   : list[i]->expects == EXPECT_NOT_FOUND ? "not found: "
									  : "";

		printf("%-28s %s%s%s%s%s\n", list[i]->name, mark, list[i]->about,
		       list[i]->rows ? " (" : "", list[i]->rows ? list[i]->rows : "",
		       list[i]->rows ? ")" : "");
	}
}

/* The recorded number of executions of a scenario; 0: none. */
static u64 recorded_executions(const char *name)
{
	char line[256], key[128];
	unsigned long v, found = 0;
	FILE *f = args.recorded ? fopen(args.recorded, "r") : NULL;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%127s %lu", key, &v) == 2 && !strcmp(key, name))
			found = v;
	fclose(f);
	return found;
}

static const char *how_far(const struct result *r)
{
	static char buf[64];

	if (args.opt.replay)
		return r->diverged ? "the schedule does not fit" : "replayed";
	if (args.opt.strategy != DFS)
		snprintf(buf, sizeof(buf), "sampled");
	else if (r->complete)
		snprintf(buf, sizeof(buf), "complete to %d preemptions", r->bound);
	else
		snprintf(buf, sizeof(buf), "%s %d preemptions",
			 r->outcome == VIOLATION ? "with"
			 : r->interrupted	 ? "INTERRUPTED at"
						 : "CAPPED at",
			 r->bound + 1);
	return buf;
}

/* Is it as the scenario says it must be? */
static bool as_expected(const struct scenario *sc, const struct result *r, const char **what)
{
	u64 rec = recorded_executions(sc->name);

	*what = "";
	if (args.opt.replay)
		return r->outcome != VIOLATION && !r->diverged;
	if (sc->expects == EXPECT_VIOLATION) {
		*what = r->outcome == VIOLATION ? "found, as it must be" : "NOT FOUND";
		return r->outcome == VIOLATION;
	}
	if (r->outcome == VIOLATION) {
		*what = "VIOLATION";
		return false;
	}
	*what = sc->expects == EXPECT_NOT_FOUND ? "not found (a known limit)" : "ok";
	if (rec && (r->executions < rec - rec / 5 || !r->complete)) {
		*what = "FEWER EXECUTIONS THAN RECORDED";
		return false;
	}
	return !args.recorded || r->complete || r->interrupted;
}

static int run_scenario(const struct scenario *sc)
{
	struct result res;
	struct report rep;
	const char *what;
	bool fine;

	explore(sc, &args.opt, &res);
	fine = as_expected(sc, &res, &what);
	rep = (struct report){ sc, res.why, res.schedule, res.executions, res.bound };
	if (args.json) {
		printf("{\"scenario\":\"%s\",\"outcome\":\"%s\",\"expected\":%s,\"complete\":%s,"
		       "\"bound\":%d,"
		       "\"executions\":%lu,\"cut\":%lu,\"ends\":%lu,\"total\":%lu,\"longest\":%u,"
		       "\"locations\":%u,"
		       "\"seconds\":%.3f",
		       sc->name, res.outcome == VIOLATION ? "violation" : "clean",
		       fine ? "true" : "false", res.complete ? "true" : "false", res.bound,
		       (unsigned long)res.executions, (unsigned long)res.cut,
		       (unsigned long)res.ends, (unsigned long)res.total, res.longest,
		       res.locations, res.seconds);
		if (res.outcome == VIOLATION)
			trace_json(&rep);
		printf("}\n");
	} else if (args.print_record) {
		if (res.complete && sc->expects != EXPECT_VIOLATION)
			printf("%s %lu\n", sc->name, (unsigned long)res.executions);
	} else if (!args.quiet || !fine) {
		printf("%-28s %10lu executions, %s, longest %u, %.2f s: %s\n", sc->name,
		       (unsigned long)res.executions, how_far(&res), res.longest, res.seconds,
		       what);
		if (args.opt.replay ||
		    (res.outcome == VIOLATION && (sc->expects != EXPECT_VIOLATION || args.alone)))
			trace_text(&rep);
	}
	if (res.outcome == VIOLATION && args.html && !trace_html(&rep, args.html))
		usage_error("cannot write", args.html);
	fflush(stdout);
	if (args.opt.replay && res.diverged)
		return 2;
	return fine ? 0 : 1;
}

/* Each scenario in a process of its own, at most args.jobs at a time. */
static int run_parallel(const struct scenario **list, u32 n)
{
	u32 running = 0;
	int worst = 0;

	for (u32 i = 0; i < n || running;) {
		if (i < n && running < args.jobs && !interrupted) {
			pid_t pid = fork();

			if (pid < 0) {
				perror("octavo-race: fork");
				exit(2);
			}
			if (pid == 0)
				_exit(run_scenario(list[i]));
			i++;
			running++;
		} else if (running) {
			int st;

			if (wait(&st) < 0)
				continue;
			running--;
			if (!WIFEXITED(st))
				worst = 1;
			else if (WEXITSTATUS(st) > worst)
				worst = WEXITSTATUS(st);
		} else {
			break;
		}
	}
	return worst;
}

int main(int argc, char **argv)
{
	static const struct scenario *list[1024];
	struct sigaction sa = { .sa_handler = on_interrupt };
	int status = 0;
	u32 n;

	parse(argc, argv);
	n = pick_scenarios(list);
	if (!n)
		usage_error("no such scenario:", args.names[0]);
	if (args.list) {
		list_scenarios(list, n);
		return 0;
	}
	args.alone = n == 1;
	if (args.opt.replay && n != 1)
		usage_error("--replay needs one scenario", NULL);
	sigaction(SIGINT, &sa, NULL);
	args.opt.progress = isatty(2) && !args.quiet && !args.json && args.jobs == 1;
	arena_map();
	plain_init();
	if (args.jobs > 1)
		status = run_parallel(list, n);
	else
		/* the first says where it was, however early it is interrupted */
		for (u32 i = 0; i < n && (!i || !interrupted); i++)
			status = max(status, run_scenario(list[i]));
	if (!args.json && !args.print_record && n > 1)
		printf("%u scenarios: %s\n", n,
		       interrupted ? "interrupted"
		       : status	   ? "not all as they must be"
				   : "all as they must be");
	return status;
}
