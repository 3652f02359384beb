/* SPDX-License-Identifier: MIT */
/*
 * kernel_plain.c - kernels of the inline count of a plain page's word (k5), of poison (k6), and of
 * a live reference with a dead bit (k8). With their weakenings, which must fail.
 */
#include "check.h"

enum {
	STRONG,
	WALKER_ADDS,
	OWNER_STORES,
	NO_ORDER_CHECK,
	PUT_ACQUIRE,
	HEAD_FIRST,
	FREEZE_STORES,
	TG_RELAXED,
	FENCES,
	FLAG_NO_REF,
	READ_ACQUIRE,
	COUNT_ACQ_REL,
	ADD_UNDO,
	PUT_RELAXED,
	FLAG_RELAXED,
	SUM_EARLY,
};

#define FREE	    0ul
#define MISC	    1ul
#define FILE_DESC   0x4002ul /* a descriptor's address and another type */
#define ONE	    0x100ul
#define COUNT(w)    ((w) >> 8 & 0xff)
#define ORDER_1	    0x10ul
#define FROZEN	    0x20ul
#define BIT	    0x40ul
#define TYPE(w)	    ((w)&0xf)
#define PLAIN(o, c) (MISC | (o) | (c)*ONE)

static SHARED struct {
	unsigned long word[2];
	u32 frame_free;
	u32 got, freed, shared;
	u64 pte;
	u32 ref, flag;
	u64 field;
	u32 live[2], dead, done;
} s;

/* ---- k5: count by compare-and-swap of the whole word ---- */

static bool k5_try_get(unsigned long *word, unsigned long order)
{
	unsigned long v = READ_ONCE(*word);

	if (check_variant() == WALKER_ADDS) {
		if (TYPE(v) != MISC || !COUNT(v))
			return false;
		fetch_add_acquire(word, ONE);
		return true;
	}
	do {
		if (TYPE(v) != MISC || v & FROZEN || !COUNT(v))
			return false;
		if ((v & ORDER_1) != order && check_variant() != NO_ORDER_CHECK)
			return false;
	} while (!VARIANT(TG_RELAXED, try_cmpxchg_acquire(word, &v, v + ONE),
			  try_cmpxchg_relaxed(word, &v, v + ONE)));
	return true;
}

static void k5_put(unsigned long *word, u32 pages)
{
	unsigned long v = READ_ONCE(*word), new;

	do {
		CHECK(TYPE(v) == MISC && COUNT(v));
		new = COUNT(v) == 1 ? FREE : v - ONE;
	} while (!VARIANT(PUT_ACQUIRE, try_cmpxchg_acq_rel(word, &v, new),
			  try_cmpxchg_acquire(word, &v, new)));
	if (new != FREE)
		return;
	s.field = 0; /* the memory is the allocator's */
	for (u32 i = 1; i < pages; i++)
		WRITE_ONCE(word[i], FREE);
	smp_store_release(&s.frame_free, 1u);
}

static void k5_walker(void)
{
	if (!k5_try_get(&s.word[0], 0))
		return;
	(void)*(volatile u64 *)&s.field;
	k5_put(&s.word[0], 1);
}

/* Frees; whoever gets the frame makes it a file's page, or plain again with the same word. */
static void k5_owner_file(void)
{
	k5_put(&s.word[0], 1);
	if (cmpxchg_acquire(&s.frame_free, 1u, 0u) != 1)
		return;
	smp_store_release(&s.word[0], FILE_DESC);
	s.got = READ_ONCE(s.word[0]) == FILE_DESC;
	CHECK(s.got);
}

static void k5_owner_plain(void)
{
	k5_put(&s.word[0], 1);
	if (cmpxchg_acquire(&s.frame_free, 1u, 0u) != 1)
		return;
	s.field = 1;
	smp_store_release(&s.word[0], PLAIN(0, 1));
	k5_put(&s.word[0], 1);
}

static void k5_setup(void)
{
	s.word[0] = PLAIN(0, 1);
}

static void k5_done_file(void)
{
	CHECK(s.word[0] == FILE_DESC || (s.word[0] == FREE && s.frame_free));
}

static void k5_done_plain(void)
{
	CHECK(s.word[0] == FREE && s.frame_free);
}

#define K5                                                                     \
	.setup = k5_setup, .threads = { k5_walker, k5_owner_file, k5_walker }, \
	.finish = k5_done_file, .roles = { "walker", "owner", "walker" }
#define K5ABA                                                                   \
	.setup = k5_setup, .threads = { k5_walker, k5_owner_plain, k5_walker }, \
	.finish = k5_done_plain, .roles = { "walker", "owner", "walker" }
SCENARIO(k5) = { SCENARIO_NAME(k5), K5, .about = "inline count, the page becomes a file's" };
SCENARIO(k5_aba) = { SCENARIO_NAME(k5_aba), K5ABA,
		     .about = "inline count, the page is plain again: ABA is harmless" };
WEAKENED(k5_walker_adds, K5, WALKER_ADDS, "k5 with a walker that adds");
WEAKENED(k5_tg_relaxed, K5ABA, TG_RELAXED, "k5 with try_get relaxed");
WEAKENED(k5_put_acquire, K5, PUT_ACQUIRE, "k5 with put not release");

/* k5c: the owner changes a payload bit of a counted word. */
static void k5c_owner(void)
{
	if (check_variant() == OWNER_STORES)
		WRITE_ONCE(s.word[0], READ_ONCE(s.word[0]) | BIT);
	else
		fetch_or_relaxed(&s.word[0], BIT);
	k5_put(&s.word[0], 1);
}

#define K5C                                                                \
	.setup = k5_setup, .threads = { k5_walker, k5c_owner, k5_walker }, \
	.finish = k5_done_plain, .roles = { "walker", "owner", "walker" }
SCENARIO(k5c) = { SCENARIO_NAME(k5c), K5C, .about = "the owner sets a bit of a counted word" };
WEAKENED(k5c_store, K5C, OWNER_STORES, "k5c by load and store");

/* k5d: an order-1 allocation is freed, page 0 allocated again alone; a walker stands on page 1. */
static void k5d_walker(void)
{
	unsigned long v = smp_load_acquire(&s.word[1]);

	if (TYPE(v) != MISC || !(v & ORDER_1) || !k5_try_get(&s.word[0], ORDER_1))
		return;
	CHECK(READ_ONCE(s.word[0]) & ORDER_1);
	s.got = 1;
	k5_put(&s.word[0], 2);
}

static void k5d_owner(void)
{
	k5_put(&s.word[0], 2);
	if (cmpxchg_acquire(&s.frame_free, 1u, 0u) != 1)
		return;
	smp_store_release(&s.word[0], PLAIN(0, 1));
}

static void k5d_setup(void)
{
	s.word[0] = PLAIN(ORDER_1, 1);
	s.word[1] = PLAIN(ORDER_1, 0);
}

#define K5D                                                       \
	.setup = k5d_setup, .threads = { k5d_walker, k5d_owner }, \
	.roles = { "walker of page 1", "owner" }
SCENARIO(k5d) = { SCENARIO_NAME(k5d), K5D, .about = "a walker on the second page of two" };
WEAKENED(k5d_no_order, K5D, NO_ORDER_CHECK, "k5d without the check of the first word's order");

/* k5w: who gets a reference through the first page sees all words. */
static void k5w_owner(void)
{
	if (check_variant() == HEAD_FIRST)
		smp_store_release(&s.word[0], PLAIN(ORDER_1, 1));
	WRITE_ONCE(s.word[1], PLAIN(ORDER_1, 0));
	if (check_variant() != HEAD_FIRST)
		smp_store_release(&s.word[0], PLAIN(ORDER_1, 1));
}

static void k5w_walker(void)
{
	if (k5_try_get(&s.word[0], ORDER_1))
		CHECK(READ_ONCE(s.word[1]) == PLAIN(ORDER_1, 0));
}

#define K5W .threads = { k5w_walker, k5w_owner }, .roles = { "walker", "owner" }
SCENARIO(k5w) = { SCENARIO_NAME(k5w), K5W, .about = "the first word is published last" };
WEAKENED(k5w_head_first, K5W, HEAD_FIRST, "k5w with the first word first");
WEAKENED(k5w_tg_relaxed, K5W, TG_RELAXED, "k5w with try_get relaxed");

/* k5f: counted -> frozen -> counted by the owner. */
static void k5f_owner(void)
{
	unsigned long w = PLAIN(0, 1);

	if (check_variant() == FREEZE_STORES) {
		if (READ_ONCE(s.word[0]) != w)
			return;
		WRITE_ONCE(s.word[0], MISC | FROZEN);
	} else if (cmpxchg_acquire(&s.word[0], w, MISC | FROZEN) != w) {
		return;
	}
	s.field = 1;
	smp_store_release(&s.word[0], w);
}

static void k5f_done(void)
{
	CHECK(s.word[0] == PLAIN(0, 1));
}

#define K5F                                                                                    \
	.setup = k5_setup, .threads = { k5_walker, k5f_owner, k5_walker }, .finish = k5f_done, \
	.roles = { "walker", "owner", "walker" }
SCENARIO(k5f) = { SCENARIO_NAME(k5f), K5F, .about = "freezing a counted page" };
WEAKENED(k5f_store, K5F, FREEZE_STORES, "k5f that freezes by load and store");

/* ---- k6b: "no users" by reading a count, against a getter ---- */

static void k6b_gup(void)
{
	if (!READ_ONCE(s.pte))
		return;
	if (check_variant() == COUNT_ACQ_REL)
		fetch_add_acq_rel(&s.ref, 1u);
	else
		fetch_add_seq_cst(&s.ref, 1u);
	if (check_variant() == FENCES)
		smp_mb();
	s.got = check_variant() == FENCES ? READ_ONCE(s.pte) != 0 : smp_load_seq_cst(&s.pte) != 0;
}

static void k6b_failure(void)
{
	WRITE_ONCE(s.flag, 1u);
	if (check_variant() == FENCES) {
		WRITE_ONCE(s.pte, 0ul);
		smp_mb();
		s.shared = READ_ONCE(s.ref) == 1;
		return;
	}
	smp_store_seq_cst(&s.pte, 0ul);
	if (check_variant() == READ_ACQUIRE)
		s.shared = smp_load_acquire(&s.ref) == 1;
	else
		s.shared = smp_load_seq_cst(&s.ref) == 1;
}

static void k6b_setup(void)
{
	s.pte = 1;
	s.ref = 1;
}

static void k6b_done(void)
{
	CHECK(!(s.got && s.shared));
}

#define K6B                                                                          \
	.setup = k6b_setup, .threads = { k6b_gup, k6b_failure }, .finish = k6b_done, \
	.roles = { "gup", "memory failure" }
SCENARIO(k6b) = { SCENARIO_NAME(k6b), K6B, .about = "poison: no users, by seq_cst accesses" };
SCENARIO(k6b_fences) = { SCENARIO_NAME(k6b_fences), K6B, .variant = FENCES,
			 .about = "poison: no users, by fences" };
WEAKENED(k6b_read_acquire, K6B, READ_ACQUIRE, "k6b with the count read acquire");
WEAKENED(k6b_count_acq_rel, K6B, COUNT_ACQ_REL, "k6b with the reference taken acq_rel");

/* ---- k8a: live references with a dead bit in one word: completes exactly once ---- */

#define DEAD 0x80000000u

static void k8_complete(void)
{
	CHECK(fetch_add_relaxed(&s.done, 1u) == 0);
	s.field = 1;
}

static void k8_put(void)
{
	u32 old = VARIANT(PUT_RELAXED, fetch_sub_acq_rel(&s.live[0], 1u),
			  fetch_sub_relaxed(&s.live[0], 1u));

	if (old == (DEAD | 1))
		k8_complete();
}

static void k8_user(void)
{
	u32 v = READ_ONCE(s.live[0]);

	if (check_variant() == ADD_UNDO) {
		if (fetch_add_acquire(&s.live[0], 1u) & DEAD) {
			k8_put();
			return;
		}
	} else {
		do {
			if (v & DEAD)
				return;
		} while (!try_cmpxchg_acquire(&s.live[0], &v, v + 1));
	}
	CHECK(s.field == 0);
	k8_put();
}

static void k8_kill(void)
{
	if (fetch_or_acquire(&s.live[0], DEAD) == 0)
		k8_complete();
}

static void k8_done(void)
{
	CHECK(s.done == 1);
}

#define K8                                                           \
	.threads = { k8_user, k8_kill, k8_user }, .finish = k8_done, \
	.roles = { "user", "kill", "user" }
SCENARIO(k8) = { SCENARIO_NAME(k8), K8, .about = "live references: completes once" };
WEAKENED(k8_put_relaxed, K8, PUT_RELAXED, "k8 with put relaxed");
WEAKENED(k8_add_undo, K8, ADD_UNDO, "k8 with a failing user that adds and takes back");
