/* SPDX-License-Identifier: MIT */
/*
 * test_oracle.c - random programs on the core and on the naive model.
 */
#include <dirent.h>

#include "test.h"

#include "oracle.h"

static u64 seed = 0x243f6a8885a308d3;

static u8 byte(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u8)(seed >> 24);
}

COVERS("S3.7 S3.23 SX.5 SX.6");
static void test_oracle_agrees_with_the_core(void **state)
{
	enum { PROGRAMS = OCTAVO_TREE_ORDER >= 12 ? 12 : 60, OPS = 1500 };
	static u8 prog[OPS * 8];
	struct oracle_stats st = { 0 };

	for (int p = 0; p < PROGRAMS; p++) {
		u64 start = seed;
		const char *error;

		for (size_t i = 0; i < sizeof(prog); i++)
			prog[i] = byte();
		/* half of the programs run without injected failures, and must then never be refused for nothing */
		for (size_t i = 6; p % 2 && i < sizeof(prog); i += 8)
			prog[i] = 0;
		error = oracle_run(prog, sizeof(prog), &st);
		if (error)
			fail_msg("program of seed %#lx: %s", (unsigned long)start, error);
	}
	assert_true(st.ops == PROGRAMS * (unsigned long)OPS);
	assert_true(st.checks > st.ops);
#if OCTAVO_FAULTS
	assert_true(st.faults > 0);
#endif
}

/* What a fuzzer found worth keeping: a file a program. */
COVERS("S3.7 S3.23 SX.5 SX.6");
static void test_oracle_replays_the_corpus(void **state)
{
	static u8 prog[1 << 16];
	struct oracle_stats st = { 0 };
	struct dirent *entry;
	unsigned int files = 0;
	DIR *dir = opendir(TEST_CORPUS);

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[1024];
		const char *error;
		size_t len;
		FILE *f;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", TEST_CORPUS, entry->d_name);
		f = fopen(path, "rb");
		assert_non_null(f);
		len = fread(prog, 1, sizeof(prog), f);
		fclose(f);
		error = oracle_run(prog, len, &st);
		if (error)
			fail_msg("%s: %s", path, error);
		files++;
	}
	closedir(dir);
	assert_true(files > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle_agrees_with_the_core),
		cmocka_unit_test(test_oracle_replays_the_corpus),
	};

	return cmocka_run_group_tests_name("oracle", tests, NULL, NULL);
}
