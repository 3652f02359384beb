/* SPDX-License-Identifier: MIT */
/*
 * bench.c - octavo bench [NAME...] [--json] [--quick] [--rounds N] [--thp] [--device KIND]
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const struct {
	const char *name;
	void (*run)(void);
	const char *help;
} benches[] = {
	{ "frames", bench_frames, "frame allocator: bulk, repeat, random, fragmentation" },
	{ "folios", bench_folios,
	  "folios beside bare frames, exclusivity, split, merge, PFN walk" },
	{ "slab", bench_slab, "kmem_cache beside libc and mimalloc" },
	{ "vs-linux", bench_vs_linux, "address spaces: populate, zap, fork, copy, protect, move" },
	{ "gup", bench_gup, "get_user_pages and pins" },
	{ "vmap", bench_vmap, "kernel mappings: 100 MiB by runs and by pages, vmalloc" },
	{ "device", bench_device, "migration to a device and back, by size of folios" },
	{ "unmap", bench_unmap, "folios to swap slots and back, page-out to compressed memory" },
	{ "exclusive", bench_exclusive, "sharing and un-sharing the pages of a folio" },
};

static int usage(FILE *to)
{
	fprintf(to, "usage: octavo bench [NAME...] [--json] [--quick] [--rounds N] [--thp] "
		    "[--device KIND]\n"
		    "Measures Octavo and its peers in turns, in one run. Without a name: all of\n");
	for (unsigned int i = 0; i < ARRAY_SIZE(benches); i++)
		fprintf(to, "  %-10s %s\n", benches[i].name, benches[i].help);
	fprintf(to,
		"  --json      one object a line: bench, case, value, unit, peer, peer_value, "
		"ratio\n"
		"  --quick     small sizes, one round: figures are not for quoting\n"
		"  --rounds N  rounds a case, at least 3 (9)\n"
		"  --thp       let vs-linux switch Linux's 64 KiB folios on for a while (root)\n"
		"  --device KIND  what device is: sim (a simulated one), or cuda (a GPU, if there "
		"is "
		"one)\n");
	return to == stdout ? 0 : 2;
}

static int find(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(benches); i++)
		if (!strcmp(benches[i].name, name))
			return (int)i;
	return -1;
}

int cmd_bench(int argc, char **argv)
{
	bool chosen[ARRAY_SIZE(benches)] = { false }, any = false;
	double start = bench_now();

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			return usage(stdout);
		if (!strcmp(argv[i], "--count-child") && i + 3 < argc)
			return bench_count_child(argv[i + 1], argv[i + 2],
						 strtoul(argv[i + 3], NULL, 10));
		if (!strcmp(argv[i], "--json")) {
			bench_opt.json = true;
		} else if (!strcmp(argv[i], "--quick")) {
			bench_opt.quick = true;
		} else if (!strcmp(argv[i], "--thp")) {
			bench_opt.thp = true;
		} else if (!strcmp(argv[i], "--device") && i + 1 < argc) {
			bench_opt.cuda = !strcmp(argv[++i], "cuda");
			if (!bench_opt.cuda && strcmp(argv[i], "sim")) {
				fprintf(stderr,
					"octavo bench: --device takes sim or cuda, not %s\n",
					argv[i]);
				return 2;
			}
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
			char *end;
			unsigned long n = strtoul(argv[++i], &end, 10);

			if (*end || n < 3 || n > 1000) {
				fprintf(stderr, "octavo bench: --rounds takes 3 to 1000, not %s\n",
					argv[i]);
				return 2;
			}
			bench_opt.rounds = (u32)n;
		} else if (argv[i][0] != '-' && find(argv[i]) >= 0) {
			chosen[find(argv[i])] = any = true;
		} else {
			fprintf(stderr, "octavo bench: unknown %s %s\n",
				argv[i][0] == '-' ? "option" : "benchmark", argv[i]);
			return usage(stderr);
		}
	}
	bench_calibrate();
	for (unsigned int i = 0; i < ARRAY_SIZE(benches); i++)
		if (!any || chosen[i])
			benches[i].run();
	if (!bench_opt.json)
		printf("\n%lu rounds disturbed by foreign load were run again; %.0f s in all\n",
		       bench_rejected(), (bench_now() - start) / 1e9);
	return 0;
}
