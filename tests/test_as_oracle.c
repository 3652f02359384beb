/* SPDX-License-Identifier: MIT */
/*
 * test_as_oracle.c - random programs of memory calls on the core and on the naive model of address spaces.
 *
 *	test_as_oracle_test --seed N --steps M [--no-faults] [--shrink]
 *	test_as_oracle_test --file FILE
 *
 * runs one program and prints it, line by line.
 */
#include <dirent.h>

#include "test.h"

#include "as_program.h"

enum {
	PROGRAMS = 300,
	STEPS = 250,
	MAX_PROGRAM = 1 << 16,
};

static u8 prog[MAX_PROGRAM];

static void say(const char *line)
{
	printf("  %s\n", line);
}

static void say_nothing(enum octavo_log_level level, const char *line)
{
}

/* Prints the shortest program that was found to go wrong. */
static void report(u64 seed, size_t len, bool faults)
{
	sim_log_to(say_nothing);
	len = as_shrink(prog, len, faults);
	sim_log_to(NULL);
	printf("the shortest program of seed %lu that goes wrong, %s injected failures:\n",
	       (unsigned long)seed, faults ? "with" : "without");
	printf("  header %u %u %u %u\n", prog[0], prog[1], prog[2], prog[3]);
	printf("  %s\n", as_run(prog, len, faults, NULL, say));
}

COVERS("S0.11 S0.13 S0.14 S0.16 S2.30 S2.32 S3.26 SX.2 SX.7");
static void test_address_spaces_agree_with_the_model(void **state)
{
	struct as_stats st = { 0 };

	for (u64 seed = 0; seed < PROGRAMS; seed++) {
		bool faults = seed % 3 == 0;
		size_t len = as_random(seed, STEPS, prog);
		const char *error = as_run(prog, len, faults, &st, NULL);

		if (error) {
			char text[512];

			snprintf(text, sizeof(text), "%s", error);
			report(seed, len, faults);
			fail_msg("--seed %lu --steps %d%s: %s", (unsigned long)seed, STEPS,
				 faults ? "" : " --no-faults", text);
		}
	}
	printf("%lu operations, %lu refused, %lu out of memory, %lu made to fail, %lu folios "
	       "moved, %lu out, %lu transfers failed, %lu areas unmerged\n",
	       st.ops, st.refused, st.short_of, st.faults, st.moved, st.out, st.io, st.unmerged);
	assert_int_equal(st.ops, PROGRAMS * (unsigned long)STEPS);
	assert_true(st.refused > 0 && st.short_of > 0 && st.moved > 0);
	assert_true(st.out > 0 && st.io > 0);
#if OCTAVO_FAULTS
	assert_true(st.faults > 0);
#endif
}

static size_t read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t len;

	assert_non_null(f);
	len = fread(prog, 1, sizeof(prog), f);
	fclose(f);
	return len;
}

/* What a fuzzer found worth keeping: a file a program. */
COVERS("S0.11 S0.13 S0.14 S0.16 S2.30 S2.32 S3.26 SX.2 SX.7");
static void test_address_spaces_replay_the_corpus(void **state)
{
	DIR *dir = opendir(TEST_AS_CORPUS);
	struct dirent *entry;
	unsigned int files = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[1024];
		const char *error;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", TEST_AS_CORPUS, entry->d_name);
		error = as_run(prog, read_file(path), true, NULL, NULL);
		if (error)
			fail_msg("%s: %s", path, error);
		files++;
	}
	closedir(dir);
	assert_true(files > 20);
}

/* ---- one program, by hand ---- */

static int replay(int argc, char **argv)
{
	unsigned long seed = 0, steps = STEPS, programs = 1;
	bool faults = true, shrink = false, one;
	const char *file = NULL, *error = NULL;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--no-faults"))
			faults = false;
		else if (!strcmp(argv[i], "--shrink"))
			shrink = true;
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--steps"))
			steps = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--programs"))
			programs = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--file"))
			file = argv[++i];
	}
	if (steps > (MAX_PROGRAM - AS_HEADER) / AS_OP)
		steps = (MAX_PROGRAM - AS_HEADER) / AS_OP;
	one = programs == 1 && !shrink;
	for (; programs && !error; programs--, seed++) {
		size_t len = file ? read_file(file) : as_random(seed, (unsigned int)steps, prog);

		error = as_run(prog, len, faults, NULL, one ? say : NULL);
		if (error && shrink)
			report(seed, len, faults);
		else if (error)
			printf("seed %lu: %s\n", seed, error);
	}
	return error != NULL;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_address_spaces_agree_with_the_model),
		TEST(test_address_spaces_replay_the_corpus),
	};

	if (argc > 1)
		return replay(argc, argv);
	return cmocka_run_group_tests_name("as_oracle", tests, NULL, NULL);
}
