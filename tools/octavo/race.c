/* SPDX-License-Identifier: MIT */
/*
 * race.c - octavo race: the interleaving checker, which is a program of its own because the core in it is
 * compiled for the checker. Looked for where the build leaves it, and where it is installed.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

int race_main(int argc, char **argv)
{
	static const char *const places[] = { "/../../port/check/octavo-race",
					      "/../libexec/octavo/octavo-race" };
	char self[PATH_MAX], path[PATH_MAX + 64];
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
		snprintf(path, sizeof(path), "%s%s", self, places[i]);
		if (access(path, X_OK))
			continue;
		execv(path, argv);
		tool_error("cannot run %s: %s", path, strerror(errno));
		return TOOL_USAGE;
	}
	tool_error("octavo-race is neither in the build tree nor installed; it is built for "
		   "x86-64, without sanitizers");
	return TOOL_USAGE;
}
