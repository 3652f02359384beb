/* SPDX-License-Identifier: MIT */
/*
 * test_oracle.c - random programs on the core and on the naive model.
 */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle_agrees_with_the_core),
	};

	return cmocka_run_group_tests_name("oracle", tests, NULL, NULL);
}
