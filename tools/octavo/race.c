/* SPDX-License-Identifier: MIT */
/*
 * race.c - octavo race and octavo soak: programs of their own, because the core in them is compiled for the interleaving checker, and
 * with its assertions. Looked for where the build leaves them, and where they are installed.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

/* @built: where the build leaves @name, from this program's directory. Returns only if that did not work. */
static int run_other(const char *built, const char *name, char **argv)
{
	const char *const places[] = { built, "/../libexec/octavo/" };
	char self[PATH_MAX], path[PATH_MAX + 96];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len <= 0) {
		tool_error("cannot tell where this program is");
		return TOOL_USAGE;
	}
	self[len] = 0;
	slash = strrchr(self, '/');
	*slash = 0;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "%s%s%s", self, places[i], name);
		if (access(path, X_OK))
			continue;
		execv(path, argv);
		tool_error("cannot run %s: %s", path, strerror(errno));
		return TOOL_USAGE;
	}
	tool_error("%s is neither in the build tree nor installed", name);
	return TOOL_USAGE;
}

int race_main(int argc, char **argv)
{
	run_other("/../../port/check/", "octavo-race", argv);
	tool_error("octavo-race is built for x86-64, without sanitizers");
	return TOOL_USAGE;
}

int soak_main(int argc, char **argv)
{
	return run_other("/../soak/", "octavo-soak", argv);
}
