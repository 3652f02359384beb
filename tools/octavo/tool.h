/* SPDX-License-Identifier: MIT */
/*
 * tool.h - what the commands of the tool share: the command table, errors, sizes, files that appear whole or not
 * at all, a progress bar.
 */
#ifndef OCTAVO_TOOL_H
#define OCTAVO_TOOL_H

#include <stdio.h>

#include <octavo/compiler.h>

#define OCTAVO_TOOL_VERSION "0.1.0"

/* Exit statuses, the same for every command. */
enum {
	TOOL_OK = 0,
	TOOL_FAILED = 1, /* out of memory, a write failed, a check did not hold */
	TOOL_USAGE = 2,	 /* bad arguments, unreadable or foreign input; nothing was written */
};

struct tool_command {
	const char *name;
	const char *summary;
	/* argv[0] is "octavo NAME", so that messages of getopt_long() name the command. */
	int (*run)(int argc, char **argv);
};

int footprint_main(int argc, char **argv);
int race_main(int argc, char **argv);
int soak_main(int argc, char **argv);
int cmd_bench(int argc, char **argv); /* bench/ */

/* "octavo: " and a line to stderr. */
void tool_error(const char *fmt, ...) __printf(1, 2);

/**
 * tool_parse_size() - "64G", "16T", "512M", "4096"
 *
 * K, M, G, T, P are powers of 1024; case and a trailing B or iB do not matter.
 *
 * Return: 0; -EINVAL not a size; -ERANGE beyond 64 bits.
 */
int tool_parse_size(const char *text, u64 *bytes);

/* "63.9 GiB", "512 B"; @buf of 32 characters. Return: @buf. */
char *tool_size(char *buf, u64 bytes);
/* 1234567 as "1,234,567"; @buf of 32 characters. Return: @buf. */
char *tool_count(char *buf, u64 n);

/*
 * An output file that appears under its name complete or not at all: written beside it, then renamed.
 */
struct out_file {
	FILE *f;
	char *path, *temp;
};

/* Return: 0, or -errno with a message printed. */
int out_open(struct out_file *out, const char *path);
/* Everything on disk under its own name; 0, or -errno with a message printed and nothing left. */
int out_commit(struct out_file *out);
/* Forget it. Harmless after out_commit() or on a zeroed struct. */
void out_discard(struct out_file *out);

/* One line on stderr that grows; silent unless stderr is a terminal. */
struct progress {
	const char *label;
	u64 total, step, next;
	bool on;
};

void progress_start(struct progress *p, const char *label, u64 total);
void __progress_draw(struct progress *p, u64 done);
void progress_end(struct progress *p);

static inline void progress_update(struct progress *p, u64 done)
{
	if (unlikely(done >= p->next))
		__progress_draw(p, done);
}

#endif /* OCTAVO_TOOL_H */
