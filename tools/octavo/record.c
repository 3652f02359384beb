/* SPDX-License-Identifier: MIT */
/*
 * record.c - a machine as a text file of some hundred kilobytes. docs/footprint.md has the format:
 *
 *	octavo-machine 1
 *	label Linux 6.18.0 x86_64
 *	page-size 4096
 *	pcp-free 1200		pages on per-CPU free lists, counted as other kernel
 *	irregular 0
 *	mapped anon 5000	mapped frames of a type, where there are any
 *	runs
 *	hole 262144		that many frames
 *	anon/4 3		three of order 4
 *	kernel+ 7		mapped to user space
 *	end 6553600		frames described: all of the file is there
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "tool.h"

#define MAGIC "octavo-machine 1"

void record_write(const struct machine *m, FILE *f)
{
	const struct population *pop = &m->pop;

	fprintf(f, MAGIC "\nlabel %s\npage-size %lu\npcp-free %llu\nirregular %llu\n", m->label,
		PAGE_SIZE, (unsigned long long)pop->pcp_free, (unsigned long long)pop->irregular);
	for (int t = 0; t < POP_NR; t++)
		if (pop->total[t].mapped)
			fprintf(f, "mapped %s %llu\n", pop_type_name((enum pop_type)t),
				(unsigned long long)pop->total[t].mapped);
	fputs("runs\n", f);
	for (u64 i = 0; i < pop->nr_runs; i++) {
		const struct pop_run *r = &pop->run[i];

		fputs(pop_type_name((enum pop_type)r->type), f);
		if (r->mapped)
			fputc('+', f);
		if (r->order)
			fprintf(f, "/%u", r->order);
		fprintf(f, " %u\n", r->repeat);
	}
	fprintf(f, "end %llu\n", (unsigned long long)pop->end);
}

static bool number(const char *s, u64 limit, u64 *v)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*v = strtoull(s, &end, 10);
	return !errno && !*end && *v <= limit;
}

static int type_of(const char *name, size_t len)
{
	for (int t = 0; t < POP_NR; t++) {
		const char *n = pop_type_name((enum pop_type)t);

		if (strlen(n) == len && !memcmp(n, name, len))
			return t;
	}
	return -1;
}

/* "TYPE[+][/ORDER] REPEAT". False: malformed. */
static bool parse_run(struct population *pop, const char *line)
{
	size_t len = strcspn(line, "+/ ");
	int type = type_of(line, len);
	u64 order = 0, repeat;
	bool mapped = false;
	char digits[8];

	line += len;
	if (*line == '+') {
		mapped = true;
		line++;
	}
	if (*line == '/') {
		len = strcspn(++line, " ");
		if (len >= sizeof(digits))
			return false;
		memcpy(digits, line, len);
		digits[len] = '\0';
		if (!number(digits, POP_MAX_ORDER, &order))
			return false;
		line += len;
	}
	if (*line++ != ' ' || !number(line, POP_MAX_PFN, &repeat) || !repeat)
		return false;
	if (type < 0 || (mapped && type != POP_KERNEL) || repeat > (POP_MAX_PFN >> order) ||
	    pop->end + (repeat << order) > POP_MAX_PFN || pop->end & ((1ull << order) - 1))
		return false;
	pop_add(pop, (enum pop_type)type, (unsigned int)order, repeat,
		mapped ? repeat << order : 0);
	return true;
}

struct reader {
	struct machine *m;
	bool runs, ended;
	u64 mapped[POP_NR];
};

/* One line without its newline. False: malformed. */
static bool parse_line(struct reader *r, char *line)
{
	struct population *pop = &r->m->pop;
	char *arg = strchr(line, ' ');
	u64 v;

	if (*line == '#' || !*line)
		return true;
	if (r->ended)
		return false;
	if (r->runs && strncmp(line, "end ", 4))
		return parse_run(pop, line);
	if (!strcmp(line, "runs")) {
		r->runs = true;
		return true;
	}
	if (!arg)
		return false;
	*arg++ = '\0';
	if (!strcmp(line, "label")) {
		snprintf(r->m->label, sizeof(r->m->label), "%s", arg);
		/* It will be printed: nothing that a terminal obeys. */
		for (char *c = r->m->label; *c; c++)
			if ((unsigned char)*c < 0x20 || *c == 0x7f)
				*c = '?';
		return true;
	}
	if (!strcmp(line, "mapped")) {
		char *n = strchr(arg, ' ');
		int type = n ? type_of(arg, (size_t)(n - arg)) : -1;

		return type >= 0 && number(n + 1, POP_MAX_PFN, &r->mapped[type]);
	}
	if (!number(arg, POP_MAX_PFN, &v))
		return false;
	if (!strcmp(line, "page-size"))
		return v == PAGE_SIZE;
	if (!strcmp(line, "pcp-free"))
		pop->pcp_free = v;
	else if (!strcmp(line, "irregular"))
		pop->irregular = v;
	else if (r->runs && !strcmp(line, "end"))
		r->ended = v == pop->end;
	else
		return false;
	return strcmp(line, "end") || r->ended;
}

int record_read(struct machine *m, FILE *f, const char *name)
{
	struct reader r = { .m = m };
	unsigned long nr = 0;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	memset(m, 0, sizeof(*m));
	pop_init(&m->pop);
	while (!err && (len = getline(&line, &size, f)) > 0) {
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		if (!nr++ ? strcmp(line, MAGIC) : !parse_line(&r, line)) {
			if (nr == 1)
				tool_error("%s: not a recorded machine", name);
			else
				tool_error("%s:%lu: malformed", name, nr);
			err = -EINVAL;
		}
	}
	free(line);
	if (!err && ferror(f)) {
		tool_error("cannot read %s: %s", name, strerror(errno));
		err = -EIO;
	}
	if (!err && (!r.ended || !pop_frames(&m->pop))) {
		tool_error("%s: %s", name, nr ? "truncated" : "empty: not a recorded machine");
		err = -EINVAL;
	}
	if (!err && m->pop.failed) {
		tool_error("out of memory");
		err = -ENOMEM;
	}
	if (err) {
		machine_free(m);
		return err;
	}
	for (int t = 0; t < POP_NR; t++)
		m->pop.total[t].mapped = r.mapped[t];
	snprintf(m->source, sizeof(m->source), "recorded machine %s", name);
	return 0;
}

/* ---- the machine that ships ---- */

/* In the read-only data of the tool, so that it is found wherever the tool is. */
__asm__(".pushsection .rodata\n"
	"builtin_machine:\n"
	".incbin \"" OCTAVO_BUILTIN_MACHINE "\"\n"
	"builtin_machine_end:\n"
	".popsection\n");
extern const char builtin_machine[], builtin_machine_end[];

int record_read_builtin(struct machine *m)
{
	size_t size = (size_t)(builtin_machine_end - builtin_machine);
	/* Opened for reading: what it points to is not written. */
	FILE *f = fmemopen((void *)(unsigned long)builtin_machine, size, "r");
	int err;

	if (!f) {
		tool_error("out of memory");
		return -ENOMEM;
	}
	err = record_read(m, f, "built in");
	fclose(f);
	if (!err)
		snprintf(m->source, sizeof(m->source),
			 "the recorded machine that ships with octavo");
	return err;
}
