/* SPDX-License-Identifier: MIT */
/*
 * machine.h - a machine to look at, and where it came from: kpage.c reads the kernel's files or copies of them, record.c the
 * compact form.
 */
#ifndef OCTAVO_TOOL_MACHINE_H
#define OCTAVO_TOOL_MACHINE_H

#include <stdio.h>

#include "population.h"

enum { MACHINE_LABEL = 160 };

struct machine {
	struct population pop;
	char source[MACHINE_LABEL]; /* "this machine", "copies in DIR", ... */
	char label[MACHINE_LABEL];  /* what is known of it: "Linux 6.18.0 x86_64" */
};

void machine_free(struct machine *m);

/* Where the kernel has its files. */
#define MACHINE_PROC "/proc"

/* Sets source and label to those of this machine. */
void kpage_describe(struct machine *m);

/* 0, or -errno: may this process read them? Prints nothing. */
int kpage_probe(const char *dir);

/**
 * kpage_read() - read kpageflags, kpagecount and zoneinfo of a directory
 * @dir: MACHINE_PROC, or a directory of kpage_save()
 *
 * Return: 0; -errno with a message printed: a file can't be read, is truncated or is something else.
 */
int kpage_read(struct machine *m, const char *dir);

/**
 * kpage_save() - copy the three files into a new directory
 * @to: must not exist, or be an empty directory
 * @temp: set to where they are until kpage_save_commit(); free() it
 *
 * Stretches of zeros become holes of the file. Return: 0, or -errno with a message printed and nothing left.
 */
int kpage_save(const char *from, const char *to, char **temp);
/* Under its own name; 0, or -errno with a message printed. */
int kpage_save_commit(const char *temp, const char *to);
void kpage_save_discard(const char *temp);

/**
 * record_read() - read the compact form
 * @f: open for reading
 * @name: for messages
 *
 * Return: 0; -errno with a message printed.
 */
int record_read(struct machine *m, FILE *f, const char *name);
void record_write(const struct machine *m, FILE *f);
/* The machine that is part of the tool. */
int record_read_builtin(struct machine *m);

#endif /* OCTAVO_TOOL_MACHINE_H */
