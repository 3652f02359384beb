/* SPDX-License-Identifier: MIT */
/*
 * test_movable.c - memory that its owner migrates: isolation, migration, putback.
 */
#include "test.h"

#define MIB 32

static int boot(void **state)
{
	boot_small(MIB, 3);
	return 0;
}

/*
 * An owner with one piece of memory: what it was asked, in order, and what it answers. Its private points
 * back here.
 */
struct owner {
	struct movable *mine;
	char asked[16]; /* i, m, p */
	unsigned int nr;
	bool refuse;
	int error;
	int free_in_op; /* what movable_free() said from inside the last call */
};

static void asked(struct movable *mv, char what)
{
	struct owner *o = mv->private;

	assert_true(o->nr < sizeof(o->asked) - 1);
	o->asked[o->nr++] = what;
	/* the core has the page, whatever the owner tries */
	assert_int_equal(READ_ONCE(mv->state), MOVABLE_ISOLATED);
	o->free_in_op = movable_free(mv);
	assert_int_equal(o->free_in_op, -EBUSY);
}

static bool owner_isolate(struct movable *mv)
{
	asked(mv, 'i');
	return !((struct owner *)mv->private)->refuse;
}

static int owner_migrate(struct movable *dst, struct movable *src)
{
	struct owner *o = src->private;

	asked(src, 'm');
	assert_ptr_equal(dst->private, o);
	assert_ptr_not_equal(dst, src);
	assert_int_equal(movable_order(dst), movable_order(src));
	assert_int_equal(movable_free(dst), -EBUSY);
	if (o->error)
		return o->error;
	memcpy(movable_address(dst), movable_address(src), PAGE_SIZE << movable_order(src));
	o->mine = dst;
	return 0;
}

static void owner_putback(struct movable *mv)
{
	asked(mv, 'p');
}

static const struct movable_operations owner_ops = {
	.isolate = owner_isolate,
	.migrate = owner_migrate,
	.putback = owner_putback,
};

static struct movable *give(struct owner *o, unsigned int order)
{
	o->mine = movable_alloc(GFP_KERNEL, order, &owner_ops, o);
	assert_non_null(o->mine);
	memset(movable_address(o->mine), 0x5a, PAGE_SIZE << order);
	return o->mine;
}

static struct page *page_of(const struct movable *mv, unsigned long i)
{
	return pfn_to_page(movable_pfn(mv) + i);
}

COVERS("S3.1 S3.15 S3.25");
static void test_movable_is_live_and_named_by_every_word(void **state)
{
	for (unsigned int order = 0; order <= 3; order++) {
		struct owner o = { 0 };
		struct movable *mv = give(&o, order);
		unsigned long pfn = movable_pfn(mv);

		assert_int_equal(mv->state, MOVABLE_LIVE);
		assert_int_equal(mv->seq % 2, 1);
		assert_int_equal(movable_order(mv), order);
		for (unsigned long i = 0; i < 1ul << order; i++)
			assert_ptr_equal(page_movable(page_of(mv, i)), mv);
		assert_int_equal(movable_free(mv), 0);
		for (unsigned long i = 0; i < 1ul << order; i++)
			assert_int_equal(page_memdesc(pfn_to_page(pfn + i)).v, 0);
		assert_int_equal(o.nr, 0);
	}
}

COVERS("S3.15");
static void test_movable_isolate_and_putback(void **state)
{
	struct owner o = { 0 };
	struct movable *mv = give(&o, 2);

	/* from any page of it */
	assert_ptr_equal(isolate_movable_page(page_of(mv, 3)), mv);
	assert_int_equal(mv->state, MOVABLE_ISOLATED);
	assert_null(isolate_movable_page(page_of(mv, 0)));
	assert_int_equal(movable_free(mv), -EBUSY);
	putback_movable_page(mv);
	assert_int_equal(mv->state, MOVABLE_LIVE);
	assert_string_equal(o.asked, "ip");
	assert_int_equal(movable_free(mv), 0);
}

COVERS("S3.15");
static void test_movable_owner_refuses(void **state)
{
	struct owner o = { .refuse = true };
	struct movable *mv = give(&o, 0);

	assert_null(isolate_movable_page(page_of(mv, 0)));
	assert_string_equal(o.asked, "i");
	assert_int_equal(mv->state, MOVABLE_LIVE);
	assert_int_equal(movable_free(mv), 0);
}

static int plain_migrate(struct movable *dst, struct movable *src)
{
	*(struct movable **)src->private = dst;
	return 0;
}

static void test_movable_optional_operations(void **state)
{
	static const struct movable_operations ops = { .migrate = plain_migrate };
	struct movable *mv, *dst, *mine = NULL;

	mv = movable_alloc(GFP_KERNEL, 0, &ops, &mine);
	assert_non_null(mv);
	assert_ptr_equal(isolate_movable_page(page_of(mv, 0)), mv);
	putback_movable_page(mv);
	assert_ptr_equal(isolate_movable_page(page_of(mv, 0)), mv);
	assert_int_equal(migrate_movable_page(mv, GFP_KERNEL, &dst), 0);
	assert_ptr_equal(mine, dst);
	assert_int_equal(movable_free(mine), 0);
}

COVERS("S3.15");
static void test_movable_migrates(void **state)
{
	for (unsigned int order = 0; order <= 2; order++) {
		struct owner o = { 0 };
		struct movable *src = give(&o, order), *dst = NULL;
		unsigned long old = movable_pfn(src);
		const unsigned char *mem;

		assert_ptr_equal(isolate_movable_page(page_of(src, 0)), src);
		assert_int_equal(migrate_movable_page(src, GFP_KERNEL, &dst), 0);
		assert_ptr_equal(o.mine, dst);
		assert_string_equal(o.asked, "im");
		assert_int_equal(dst->state, MOVABLE_LIVE);
		assert_int_equal(movable_order(dst), order);
		assert_int_not_equal(movable_pfn(dst), old);
		mem = movable_address(dst);
		for (size_t i = 0; i < PAGE_SIZE << order; i++)
			assert_int_equal(mem[i], 0x5a);
		for (unsigned long i = 0; i < 1ul << order; i++)
			assert_int_equal(page_memdesc(pfn_to_page(old + i)).v, 0);
		assert_int_equal(movable_free(dst), 0);
	}
}

COVERS("S3.15 S3.23 SX.8");
static void test_movable_failed_migration_changes_nothing(void **state)
{
	struct owner o = { .error = -EAGAIN };
	struct movable *src = give(&o, 1), *dst = (void *)&o;
	struct movable before = *src;
	unsigned long word = page_memdesc(page_of(src, 0)).v;
	struct desc_stat st;

	assert_ptr_equal(isolate_movable_page(page_of(src, 0)), src);
	assert_int_equal(migrate_movable_page(src, GFP_KERNEL, &dst), -EAGAIN);
	assert_ptr_equal(dst, (void *)&o);
	desc_stat(&st);
	assert_int_equal(st.movables, 1);
	assert_int_equal(src->state, MOVABLE_ISOLATED);
	assert_int_equal(src->seq, before.seq);
	assert_int_equal(src->pfn_order, before.pfn_order);
	assert_ptr_equal(src->private, before.private);
	assert_int_equal(page_memdesc(page_of(src, 0)).v, word);
	assert_int_equal(page_memdesc(page_of(src, 1)).v, word);
	putback_movable_page(src);
	assert_string_equal(o.asked, "imp");
	assert_int_equal(movable_free(src), 0);
}

static void free_movable(void *mv)
{
	(void)!movable_free(mv);
}
static void migrate_movable(void *mv)
{
	(void)!migrate_movable_page(mv, GFP_KERNEL, NULL);
}
static void putback_movable(void *mv)
{
	putback_movable_page(mv);
}

COVERS("S3.27");
static void test_movable_misuse_is_fatal(void **state)
{
	struct owner o = { 0 };
	struct movable *mv = give(&o, 0);

	assert_int_equal(movable_free(mv), 0);
	expect_panic(free_movable, mv, "free already");

	boot_small(MIB, 3);
	expect_panic(migrate_movable, give(&o, 0), "not isolated");
	boot_small(MIB, 3);
	expect_panic(putback_movable, give(&o, 0), "not isolated");

	boot_small(MIB, 3);
	mv = give(&o, 1);
	page_of(mv, 1)->memdesc = memdesc_misc_frozen(MISC_DRIVER, 0);
	expect_panic(free_movable, mv, "movable_free");
}

COVERS("S3.10 S3.11");
static void test_movable_is_type_stable(void **state)
{
	struct owner o = { 0 };
	struct movable *mv = give(&o, 0);
	u64 pfn_order = mv->pfn_order;
	u32 seq = mv->seq;

	rcu_read_lock();
	assert_int_equal(movable_free(mv), 0);
	kmem_cache_shrink(octavo_state.desc.movable);
	/* dead, says so, and no link or poison is where a walker looks */
	assert_int_equal(READ_ONCE(mv->state), MOVABLE_DEAD);
	assert_int_equal(READ_ONCE(mv->seq), seq + 1);
	assert_int_equal(READ_ONCE(mv->pfn_order), pfn_order);
	rcu_read_unlock();
}

COVERS("S3.23 SX.8");
static void test_movable_fails_at_every_step(void **state)
{
#if OCTAVO_FAULTS
	static const int modes[] = { OCTAVO_FAULT_ONCE, OCTAVO_FAULT_AFTER };
	unsigned int failed = 0;

	for (unsigned int m = 0; m < ARRAY_SIZE(modes); m++) {
		for_each_fault(k, modes[m], OCTAVO_FAULT_ALL, hit)
		{
			struct movable *mv;

			octavo_fault_disarm();
			kmem_cache_shrink_all();
			octavo_fault_arm(k, modes[m], OCTAVO_FAULT_ALL);
			mv = movable_alloc(GFP_KERNEL, 1, &owner_ops, NULL);
			hit = octavo_fault_disarm();
			failed += !mv;
			assert_true(octavo_validate());
			if (mv)
				assert_int_equal(movable_free(mv), 0);
		}
		for_each_fault(k, modes[m], OCTAVO_FAULT_ALL, hit)
		{
			struct owner o = { 0 };
			struct movable *src, *got;
			int err = -EBUSY;

			octavo_fault_disarm();
			src = give(&o, 1);
			kmem_cache_shrink_all();
			octavo_fault_arm(k, modes[m], OCTAVO_FAULT_ALL);
			got = isolate_movable_page(page_of(src, 0));
			if (got)
				err = migrate_movable_page(src, GFP_KERNEL, NULL);
			hit = octavo_fault_disarm();
			failed += err != 0;
			if (err) {
				assert_ptr_equal(o.mine, src);
				assert_int_equal(src->state, got ? MOVABLE_ISOLATED : MOVABLE_LIVE);
				if (got)
					putback_movable_page(src);
			} else {
				assert_ptr_not_equal(o.mine, src);
			}
			assert_int_equal(*(unsigned char *)movable_address(o.mine), 0x5a);
			assert_true(octavo_validate());
			assert_int_equal(movable_free(o.mine), 0);
		}
	}
	assert_true(failed >= 6);
#endif
}

/* ---- owners and migration beside each other ---- */

#define PIECES 16

/*
 * A pool of pieces; slot i's memory is full of i. The pool's lock guards which piece is in which slot;
 * who takes a piece out of its slot owns it.
 */
static struct pool {
	spinlock_t lock;
	struct movable *slot[PIECES];
	u64 migrated;
	bool wrong, done;
	u32 seed[3];
} pool;

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static int pool_migrate(struct movable *dst, struct movable *src)
{
	unsigned long i = (unsigned long)src->private;

	memcpy(movable_address(dst), movable_address(src), PAGE_SIZE << movable_order(src));
	spin_lock(&pool.lock);
	/* an owner that has taken it out to free it gets -EBUSY and puts it back: not ours to move now */
	if (pool.slot[i] != src) {
		spin_unlock(&pool.lock);
		return -EAGAIN;
	}
	pool.slot[i] = dst;
	spin_unlock(&pool.lock);
	return 0;
}

static const struct movable_operations pool_ops = { .migrate = pool_migrate };

static void pool_owner(unsigned int cpu)
{
	unsigned long i = next_random(&pool.seed[cpu]) % PIECES;
	struct movable *mv;

	spin_lock(&pool.lock);
	mv = pool.slot[i];
	pool.slot[i] = NULL;
	spin_unlock(&pool.lock);
	if (mv) {
		const u8 *mem = movable_address(mv);

		if (mem[0] != i || mem[PAGE_SIZE - 1] != i)
			pool.wrong = true;
		if (movable_free(mv) == 0)
			return;
	} else {
		mv = movable_alloc(GFP_NOWAIT, (unsigned int)i % 2, &pool_ops, (void *)i);
		if (!mv)
			return;
		/* nobody migrates it in its half-written state: it is in no slot yet */
		memset(movable_address(mv), (int)i, PAGE_SIZE << movable_order(mv));
	}
	spin_lock(&pool.lock);
	if (pool.slot[i])
		pool.wrong = true;
	pool.slot[i] = mv;
	spin_unlock(&pool.lock);
}

static void pool_migrator(unsigned int cpu)
{
	unsigned long i = next_random(&pool.seed[cpu]) % PIECES, pfn = 0;
	struct movable *mv;

	/* its pfn only, as compaction finds it: the descriptor is looked up by the word */
	spin_lock(&pool.lock);
	if (pool.slot[i])
		pfn = movable_pfn(pool.slot[i]);
	spin_unlock(&pool.lock);
	if (!pfn)
		return;
	mv = isolate_movable_page(pfn_to_page(pfn));
	if (!mv)
		return;
	if (movable_pfn(mv) != ALIGN_DOWN(pfn, 1ul << movable_order(mv)))
		pool.wrong = true;
	if (next_random(&pool.seed[cpu]) % 4 == 0 || migrate_movable_page(mv, GFP_NOWAIT, NULL))
		putback_movable_page(mv);
	else
		fetch_add_relaxed(&pool.migrated, 1ul);
}

/* The migrators go on until the owner is done, and the owner until they have met, however threads are run. */
static void pool_crowd(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		for (u32 i = 0; i < 4000 || !READ_ONCE(pool.migrated); i++)
			pool_owner(cpu);
		WRITE_ONCE(pool.done, true);
		return;
	}
	while (!READ_ONCE(pool.done))
		pool_migrator(cpu);
}

COVERS("S3.14 S3.15");
static void test_movable_migration_beside_its_owner(void **state)
{
	memset(&pool, 0, sizeof(pool));
	pool.seed[1] = 1;
	pool.seed[2] = 2;
	sim_run(3, false, pool_crowd, NULL);
	assert_false(pool.wrong);
	assert_true(pool.migrated > 0);
	for (unsigned long i = 0; i < PIECES; i++)
		if (pool.slot[i]) {
			assert_int_equal(*(u8 *)movable_address(pool.slot[i]), i);
			assert_int_equal(movable_free(pool.slot[i]), 0);
		}
}

#define T(name) cmocka_unit_test_setup_teardown(name, boot, down_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_movable_is_live_and_named_by_every_word),
		T(test_movable_isolate_and_putback),
		T(test_movable_owner_refuses),
		T(test_movable_optional_operations),
		T(test_movable_migrates),
		T(test_movable_failed_migration_changes_nothing),
		T(test_movable_misuse_is_fatal),
		T(test_movable_is_type_stable),
		T(test_movable_fails_at_every_step),
		T(test_movable_migration_beside_its_owner),
	};

	return cmocka_run_group_tests_name("movable", tests, NULL, NULL);
}
