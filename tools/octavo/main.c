/* SPDX-License-Identifier: MIT */
/*
 * main.c - octavo COMMAND ...: finds the command; everything else is the command's.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "tool.h"

/* A new command is a line here. */
static const struct tool_command commands[] = {
	{ "footprint", "what the metadata of this machine's memory costs, today and with Octavo",
	  footprint_main },
	{ "bench", "the allocators against those of the C library and mimalloc, and bare frames",
	  cmd_bench },
	{ "race", "explore the interleavings of the lockless protocols", race_main },
	{ "soak", "random programs on memory that is too small, every byte compared", soak_main },
};

static void usage(FILE *f)
{
	fputs("usage: octavo COMMAND [OPTION...]\n\ncommands:\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs("\n'octavo COMMAND --help' lists its options; 'octavo --version' the version.\n", f);
}

static int run(const struct tool_command *c, int argc, char **argv)
{
	char name[64];
	int status;

	snprintf(name, sizeof(name), "octavo %s", c->name);
	argv[0] = name;
	status = c->run(argc, argv);
	/* What could not be printed was not done: a full disk or a closed pipe shows in the status. */
	if (fflush(stdout) || ferror(stdout)) {
		if (status == TOOL_OK)
			tool_error("cannot write the output");
		return status ? status : TOOL_FAILED;
	}
	return status;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return TOOL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return TOOL_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("octavo " OCTAVO_TOOL_VERSION);
		return TOOL_OK;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return run(&commands[i], argc - 1, argv + 1);
	tool_error("%s '%s'; 'octavo --help' lists the commands",
		   argv[1][0] == '-' ? "unknown option" : "unknown command", argv[1]);
	return TOOL_USAGE;
}
