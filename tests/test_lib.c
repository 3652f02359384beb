/* SPDX-License-Identifier: MIT */
/*
 * test_lib.c - log formatting, locks, fault injection, assertions.
 */
#include "test.h"

#include <octavo/lock.h>

static void test_log_formats_like_printf(void **state)
{
	char a[128], b[128];

#define SAME(...)                                                         \
	do {                                                              \
		int n = octavo_scnprintf(a, sizeof(a), __VA_ARGS__);      \
		assert_int_equal(snprintf(b, sizeof(b), __VA_ARGS__), n); \
		assert_string_equal(a, b);                                \
	} while (0)
	SAME("%d %i %u %x", -5, 0, 4000000000u, 0xbeefu);
	SAME("%5d|%-5d|%05d|%x", -42, 42, -42, 0u);
	SAME("%ld %lu %lx", -(1l << 62), ~0ul, 0xfedcba9876543210ul);
	SAME("%zu %lld %%", (size_t)7, -1ll);
	SAME("%s|%8s|%-8s|%.2s|%c", "ab", "cd", "ef", "xyz", 'q');
	SAME("%016lx", 0x1234ul);
	SAME("%p", (void *)0x1234);
#undef SAME
	assert_int_equal(octavo_scnprintf(a, 4, "123456"), 3);
	assert_string_equal(a, "123");
	assert_int_equal(octavo_scnprintf(a, 0, "x"), 0);
}

/* At any place, of any length, with any word wrong in any bit. */
static void test_words_in_a_ramp(void **state)
{
	static unsigned long words[64] __attribute__((aligned(64)));
	const unsigned long step = 0x1000, v = 0xabcdef0123456067ul;

	for (unsigned long at = 0; at < 4; at++)
		for (unsigned long n = 0; n < 40; n++) {
			unsigned long *p = words + 1 + at, seen = 1ul << 63;

			memset(words, 0x5a, sizeof(words));
			words_ramp_release(p, v, step, n);
			assert_int_equal(p[-1], 0x5a5a5a5a5a5a5a5aul);
			assert_int_equal(p[n], 0x5a5a5a5a5a5a5a5aul);
			for (unsigned long i = 0; i < n; i++)
				assert_int_equal(p[i], v + i * step);
			/* what goes on behind the end is not looked at */
			p[n] = v + n * step;
			assert_int_equal(words_ramp_run(p, v, step, ~0ul, n, NULL), n);
			for (unsigned long bad = 0; bad < n; bad++) {
				unsigned long bit = 1ul << (bad * 7 + n) % 64, want = 1ul << 63;

				p[bad] ^= bit;
				assert_int_equal(words_ramp_run(p, v, step, ~0ul, n, NULL), bad);
				assert_int_equal(words_ramp_run(p, v, step, ~bit, n, &seen), n);
				for (unsigned long i = 0; i < n; i++)
					want |= p[i];
				assert_int_equal(seen, want);
				seen = want = 1ul << 63;
				assert_int_equal(words_ramp_run(p, v, step, bit, n, &seen), bad);
				for (unsigned long i = 0; i < bad; i++)
					want |= p[i];
				assert_int_equal(seen, want);
				seen = 1ul << 63;
				p[bad] ^= bit;
			}
		}
}

/* The same of those that one who may store them changes or looks at together. */
static void test_words_together(void **state)
{
	static unsigned long words[64] __attribute__((aligned(64)));

	for (unsigned long at = 0; at < 4; at++)
		for (unsigned long n = 0; n < 40; n++) {
			unsigned long *p = words + 1 + at, any;

			for (unsigned long i = 0; i < 64; i++)
				words[i] = i << 40;
			any = 0;
			for (unsigned long i = 0; i < n; i++)
				any |= p[i] + 3;
			assert_int_equal(words_add(p, 3, n), any);
			for (unsigned long i = 0; i < 64; i++)
				assert_int_equal(words[i],
						 (i << 40) + (i > at && i <= at + n ? 3 : 0));
			words_add(p, -3ul, n);
			assert_int_equal(p[n], (at + 1 + n) << 40);
			for (unsigned long i = 0; i < 64; i++)
				words[i] = i > at && i <= at + n ? 5 : ~0ul;
			assert_int_equal(words_or(p, 0, n), n ? 5 : 0);
			for (unsigned long bad = 0; bad < n; bad++) {
				p[bad] = 4;
				assert_int_equal(words_or(p, 5, n), ~0ul);
				assert_int_equal(words_or(p, 4, n), n > 1);
				p[bad] = 5;
			}
		}
}

static void drop_line(enum octavo_log_level level, const char *line)
{
}

static void unlock_free(void *lock)
{
	spin_unlock(lock);
}

static void test_lock_unlock_of_a_free_lock_panics(void **state)
{
	static spinlock_t lock;

	assert_non_null(strstr(sim_expect_panic(unlock_free, &lock), "not held"));
}

static struct {
	spinlock_t lock;
	local_lock_t local;
	unsigned long shared, owned, remote;
} locked;

static void hammer(unsigned int cpu, void *arg)
{
	for (int i = 0; i < 20000; i++) {
		spin_lock(&locked.lock);
		locked.shared++;
		spin_unlock(&locked.lock);
		if (cpu == 0) {
			if (local_trylock(&locked.local)) {
				locked.owned++;
				locked.remote++;
				local_unlock(&locked.local);
			}
		} else if (i % 64 == 0) {
			local_lock_remote(&locked.local);
			locked.remote++;
			local_unlock_remote(&locked.local);
		}
	}
}

static void test_lock_excludes(void **state)
{
	memset(&locked, 0, sizeof(locked));
	sim_run(3, false, hammer, NULL);
	assert_int_equal(locked.shared, 60000);
	assert_int_equal(locked.remote, locked.owned + 2 * 313);
}

static void test_fault_fails_step_k_once_or_from_then_on(void **state)
{
#if OCTAVO_FAULTS
	octavo_fault_arm(2, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME);
	assert_false(octavo_fault(OCTAVO_FAULT_FRAME));
	assert_false(octavo_fault(OCTAVO_FAULT_SLAB));
	assert_true(octavo_fault(OCTAVO_FAULT_FRAME));
	assert_false(octavo_fault(OCTAVO_FAULT_FRAME));
	assert_int_equal(octavo_fault_disarm(), 1);
	octavo_fault_arm(1, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_ALL);
	assert_true(octavo_fault(OCTAVO_FAULT_IO));
	assert_false(octavo_fault(OCTAVO_FAULT_CAS));
	assert_true(octavo_fault(OCTAVO_FAULT_SLAB));
	assert_int_equal(octavo_fault_disarm(), 2);
	assert_false(octavo_fault(OCTAVO_FAULT_FRAME));
#endif
}

static void test_lib_refuses_callers_of_another_configuration(void **state)
{
	static char memory[4 << 20] __aligned(PAGE_SIZE);
	const struct octavo_region map = { .base = 0, .size = sizeof(memory) };
	const struct octavo_boot boot = {
		.regions = &map, .nr_regions = 1, .nr_cpus = 1, .direct_map = memory
	};
	const char *line;

	sim_log_quiet(true);
	assert_int_equal(__octavo_init(&boot, OCTAVO_FINGERPRINT ^ 1), -EINVAL);
	assert_true(sim_log_take(&line) > 0);
	assert_non_null(strstr(line, "other choices"));
	assert_int_equal(octavo_state.up, 0);
	assert_int_equal(octavo_init(&boot), 0);
	assert_int_equal(octavo_shutdown(), 0);
}

static unsigned int asked;

static __maybe_unused bool precondition(bool holds)
{
	asked++;
	return holds;
}

static void assert_it(void *arg)
{
	VM_BUG_ON(!precondition(false));
}

/* Of the library, which was built as this file was. */
static void break_it(void *arg)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);

	folio_ref_unfreeze(folio, 1);
}

COVERS("SX.10");
static void test_lib_assertions_are_of_test_builds(void **state)
{
	const char *reason;
	u64 warned;

	asked = 0;
	sim_log_to(drop_line);
	sim_log_take(NULL);
	VM_BUG_ON(!precondition(true));
	VM_WARN_ON(!precondition(true));
	assert_int_equal(sim_log_take(NULL), 0);
	VM_WARN_ON(!precondition(false));
	warned = sim_log_take(NULL);
	reason = sim_expect_panic(assert_it, NULL);
#if OCTAVO_DEBUG
	assert_int_equal(asked, 4);
	assert_non_null(reason);
	assert_non_null(strstr(reason, "precondition("));
	assert_int_equal(warned, 1);
#else
	/* not even evaluated */
	assert_int_equal(asked, 0);
	assert_null(reason);
	assert_int_equal(warned, 0);
#endif
	boot_small(4, 1);
	reason = sim_expect_panic(break_it, NULL);
	assert_int_equal(reason != NULL, OCTAVO_DEBUG);
	sim_log_to(NULL);
	sim_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_formats_like_printf),
		cmocka_unit_test(test_lock_unlock_of_a_free_lock_panics),
		cmocka_unit_test(test_lock_excludes),
		cmocka_unit_test(test_fault_fails_step_k_once_or_from_then_on),
		cmocka_unit_test(test_lib_refuses_callers_of_another_configuration),
		TEST(test_words_in_a_ramp),
		TEST(test_words_together),
		TEST(test_lib_assertions_are_of_test_builds),
	};

	return cmocka_run_group_tests_name("lib", tests, NULL, NULL);
}
