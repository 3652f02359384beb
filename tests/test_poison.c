/* SPDX-License-Identifier: MIT */
/*
 * test_poison.c - the set of poisoned frames, against a plain list.
 */
#include "test.h"

#define FULL ((u64)OCTAVO_POISON_SLOTS - OCTAVO_POISON_SLOTS / 4)

static u64 seed;

static u64 rnd(u64 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed * 0x2545f4914f6cdd1dull >> 32) % n;
}

static void test_poison_insert_look_up_remove(void **state)
{
	const unsigned long pfn[] = { 0, 1, 511, 512, 123456789, (1ul << 40) - 1 };

	boot_small(64, 1);
	assert_int_equal(nr_poisoned(), 0);
	assert_int_equal(pfn_poisoned_in(0, ~0ul), ~0ul);
	for (u32 i = 0; i < ARRAY_SIZE(pfn); i++) {
		assert_false(pfn_poisoned(pfn[i]));
		assert_int_equal(poison_remove(pfn[i]), -ENOENT);
		assert_int_equal(poison_insert(pfn[i]), 0);
		assert_int_equal(poison_insert(pfn[i]), -EEXIST);
		assert_true(pfn_poisoned(pfn[i]));
		assert_int_equal(nr_poisoned(), i + 1);
	}
	assert_false(pfn_poisoned(2));
	assert_int_equal(pfn_poisoned_in(0, 1), 0);
	assert_int_equal(pfn_poisoned_in(2, 509), ~0ul);
	assert_int_equal(pfn_poisoned_in(2, 510), 511);
	assert_int_equal(pfn_poisoned_in(512, 1ul << 27), 512);
	assert_int_equal(pfn_poisoned_in(513, 1ul << 40), 123456789);
	assert_int_equal(pfn_poisoned_in(123456790, ~0ul), (1ul << 40) - 1);
	assert_int_equal(pfn_poisoned_in(0, 0), ~0ul);
	assert_true(octavo_validate());
	for (u32 i = 0; i < ARRAY_SIZE(pfn); i++) {
		assert_int_equal(poison_remove(pfn[i]), 0);
		assert_int_equal(poison_remove(pfn[i]), -ENOENT);
		assert_false(pfn_poisoned(pfn[i]));
	}
	assert_int_equal(nr_poisoned(), 0);
	shutdown_clean();
}

static void test_poison_reserve_runs_out_cleanly(void **state)
{
	boot_small(64, 1);
	/* one 2 MiB group first: all in one probe sequence */
	for (u64 i = 0; i < FULL; i++)
		assert_int_equal(poison_insert(1000 + i), 0);
	assert_int_equal(poison_insert(7), -ENOMEM);
	assert_int_equal(poison_insert(1000), -EEXIST);
	assert_int_equal(nr_poisoned(), FULL);
	assert_false(pfn_poisoned(7));
	assert_int_equal(pfn_poisoned_in(0, 1ul << 30), 1000);
	assert_int_equal(pfn_poisoned_in(1000 + FULL, 1ul << 30), ~0ul);
	assert_int_equal(poison_remove(1000), 0);
	assert_int_equal(poison_insert(7), 0);
	assert_int_equal(pfn_poisoned_in(8, 1ul << 30), 1001);
	assert_true(octavo_validate());
	assert_int_equal(poison_remove(7), 0);
	for (u64 i = 1; i < FULL; i++)
		assert_int_equal(poison_remove(1000 + i), 0);
	/* nothing is left behind that would slow down look-ups */
	for (u64 i = 0; i < OCTAVO_POISON_SLOTS; i++)
		assert_int_equal(octavo_state.hwpoison.slot[i], 0);
	shutdown_clean();
}

/* What the set must answer, from a plain array of flags. */
static void test_poison_random_programs_against_a_list(void **state)
{
	enum { SPAN = 3000 };
	static bool bad[SPAN];
	u64 nr = 0;

	boot_small(64, 1);
	memset(bad, 0, sizeof(bad));
	seed = 0x706f69;
	for (int step = 0; step < 20000; step++) {
		unsigned long pfn = rnd(SPAN), len = 1 + rnd(rnd(2) ? 40 : SPAN), want = ~0ul;
		/* phases of growth and of decay */
		bool insert = rnd(100) < (step / 4000 % 2 ? 20u : 80u);

		if (insert) {
			int err = bad[pfn] ? -EEXIST : nr < FULL ? 0 : -ENOMEM;

			assert_int_equal(poison_insert(pfn), err);
			nr += !err;
			bad[pfn] |= !err;
		} else {
			assert_int_equal(poison_remove(pfn), bad[pfn] ? 0 : -ENOENT);
			nr -= bad[pfn];
			bad[pfn] = false;
		}
		assert_int_equal(nr_poisoned(), nr);
		pfn = rnd(SPAN);
		for (unsigned long i = pfn; i < SPAN && i < pfn + len && want == ~0ul; i++)
			want = bad[i] ? i : want;
		assert_int_equal(pfn_poisoned_in(pfn, len), want);
		assert_int_equal(pfn_poisoned(pfn), bad[pfn]);
		if (step % 500 == 0)
			assert_true(octavo_validate());
	}
	for (unsigned long i = 0; i < SPAN; i++)
		if (bad[i])
			assert_int_equal(poison_remove(i), 0);
	shutdown_clean();
}

static u32 stop;
static u64 looked;

static void change_or_look(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		for (u32 i = 0; i < 20000 || (i < 2000000 && READ_ONCE(looked) < 1000); i++) {
			unsigned long pfn = 512 + i * 7 % 64;

			if (poison_insert(pfn))
				poison_remove(pfn);
		}
		WRITE_ONCE(stop, 1);
		return;
	}
	while (!READ_ONCE(stop)) {
		/* these are in all the time, whatever comes and goes around them */
		if (!pfn_poisoned(600) || pfn_poisoned_in(590, 20) != 600 ||
		    pfn_poisoned_in(577, 100000) != 600 || pfn_poisoned(601))
			abort();
		fetch_add_relaxed(&looked, 1ul);
	}
}

static void test_poison_readers_never_miss_what_stays(void **state)
{
	boot_small(64, 3);
	/* inserted behind others of its probe sequence that then go: it must not be lost */
	for (unsigned long i = 0; i < 4; i++)
		assert_int_equal(poison_insert(640 + i), 0);
	assert_int_equal(poison_insert(600), 0);
	for (unsigned long i = 0; i < 4; i++)
		assert_int_equal(poison_remove(640 + i), 0);
	stop = 0;
	looked = 0;
	sim_run(3, false, change_or_look, NULL);
	assert_true(pfn_poisoned(600));
	assert_true(octavo_validate());
	for (unsigned long pfn = 512; pfn < 576; pfn++)
		poison_remove(pfn);
	assert_int_equal(poison_remove(600), 0);
	assert_int_equal(nr_poisoned(), 0);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_poison_insert_look_up_remove),
		cmocka_unit_test(test_poison_reserve_runs_out_cleanly),
		cmocka_unit_test(test_poison_random_programs_against_a_list),
		cmocka_unit_test(test_poison_readers_never_miss_what_stays),
	};

	return cmocka_run_group_tests_name("poison", tests, NULL, NULL);
}
