// SPDX-License-Identifier: MIT
/*
 * load.c - the driver library, if there is one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

/* Functions, by where they go. */
#define CUDA_ENTRY(name, params) { #name, offsetof(struct cuda_driver, name) },
static const struct {
	const char *name;
	size_t at;
} entries[] = { CUDA_FUNCTIONS(CUDA_ENTRY) };

int cuda_load(struct cuda_driver *cu, const char *name, char *why, size_t why_size)
{
	memset(cu, 0, sizeof(*cu));
	if (!name)
		name = getenv("OCTAVO_CUDA_LIBRARY");
	if (!name)
		name = "libcuda.so.1";
	/* it starts threads and leaves handlers behind: it stays for as long as the program runs */
	cu->library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!cu->library) {
		snprintf(why, why_size, "no CUDA driver library: %s", dlerror());
		return -ENODEV;
	}
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		void *at = dlsym(cu->library, entries[i].name);

		if (!at) {
			snprintf(why, why_size, "%s has no %s", name, entries[i].name);
			cuda_unload(cu);
			return -ENODEV;
		}
		memcpy((char *)cu + entries[i].at, &at, sizeof(at));
	}
	return 0;
}

void cuda_unload(struct cuda_driver *cu)
{
	if (cu->library)
		dlclose(cu->library);
	cu->library = NULL;
}
