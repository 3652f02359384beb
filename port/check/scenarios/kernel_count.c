/* SPDX-License-Identifier: MIT */
/*
 * kernel_count.c - kernels of the reference protocols, written on atomic.h with nothing around
 * them: publication and recycling of a descriptor against speculative readers (k1), a put to zero
 * against try_get (k4). Each order and each check that a kernel needs has a weakening here that
 * must fail; so the checker is tested on what the core relies on.
 */
#include "check.h"

enum {
	STRONG,
	TG_RELAXED,
	PUB1_RELAXED,
	PUT_ACQUIRE,
	PUT_RELEASE,
	W1_RELAXED,
	PUBW_RELAXED,
	NO_REREAD,
	WORD_LATE,
	REF_FIRST,
	FREES_WHENCE,
	ADD_UNDO,
	FREES_TWICE,
};

#define FREE   0ul
#define FOLIO  3ul
#define NO_PFN ~0ul

static SHARED struct {
	unsigned long word[2];
	u32 ref;
	u32 cached;	   /* the descriptor is in its cache */
	unsigned long pfn; /* plain: under a reference or by whoever dropped the last one */
	u32 freed;	   /* times the count became 0 */
	u32 second;
	u64 field;
} s;

/* ---- k1 ---- */

static void k1_put(unsigned long whence)
{
	u32 old = VARIANT(
		PUT_ACQUIRE,
		VARIANT(PUT_RELEASE, fetch_sub_acq_rel(&s.ref, 1u), fetch_sub_release(&s.ref, 1u)),
		fetch_sub_acquire(&s.ref, 1u));
	unsigned long pfn;

	CHECK(old != 0);
	if (old != 1)
		return;
	pfn = check_variant() == FREES_WHENCE ? whence : s.pfn;
	s.pfn = NO_PFN;
	if (check_variant() != WORD_LATE)
		WRITE_ONCE(s.word[pfn], FREE);
	/* release: pairs with the acquire of whoever takes it from the cache */
	smp_store_release(&s.cached, 1u);
	if (check_variant() == WORD_LATE)
		WRITE_ONCE(s.word[pfn], FREE);
}

static bool k1_try_get(void)
{
	u32 v = READ_ONCE(s.ref);

	do {
		if (!v)
			return false;
	} while (!VARIANT(TG_RELAXED, try_cmpxchg_acquire(&s.ref, &v, v + 1),
			  try_cmpxchg_relaxed(&s.ref, &v, v + 1)));
	return true;
}

static void k1_reader(unsigned long i, unsigned long nr)
{
	unsigned long w = VARIANT(W1_RELAXED, smp_load_acquire(&s.word[i]), READ_ONCE(s.word[i]));

	if (w != FOLIO || !k1_try_get())
		return;
	if (check_variant() != NO_REREAD && READ_ONCE(s.word[i]) != w) {
		k1_put(i);
		return;
	}
	CHECK(i - s.pfn < nr);
	k1_put(i);
}

static void k1_reader_0(void)
{
	k1_reader(0, 1);
}

static void k1_reader_1(void)
{
	k1_reader(1, 1);
}

static void k1_publish(unsigned long pfn)
{
	s.pfn = pfn;
	smp_store_release(&s.word[pfn], FOLIO);
	VARIANT(PUB1_RELAXED, smp_store_release(&s.ref, 1u), WRITE_ONCE(s.ref, 1u));
}

/* Drops the folio of page 0; if the descriptor comes back, it lives again for page 1. */
static void k1_owner(void)
{
	k1_put(0);
	if (cmpxchg_acquire(&s.cached, 1u, 0u) != 1)
		return;
	k1_publish(1);
	k1_put(1);
}

static void k1_setup(void)
{
	s.word[0] = FOLIO;
	s.ref = 1;
}

static void k1_done(void)
{
	CHECK(s.ref == 0 && s.word[0] == FREE && s.word[1] == FREE && s.cached);
}

#define K1                                                                          \
	.setup = k1_setup, .threads = { k1_reader_0, k1_owner }, .finish = k1_done, \
	.roles = { "walker", "owner" }
#define K1_3                                                                                     \
	.setup = k1_setup, .threads = { k1_reader_0, k1_owner, k1_reader_0 }, .finish = k1_done, \
	.roles = { "walker", "owner", "walker" }
#define K1_01                                                                                    \
	.setup = k1_setup, .threads = { k1_reader_0, k1_owner, k1_reader_1 }, .finish = k1_done, \
	.roles = { "walker of 0", "owner", "walker of 1" }
/*
 * The freer is passed by the owner's put, is overtaken by the new life, and comes back: three
 * preemptions.
 */
#define K1_3_DEEP K1_3, .bound = 3
SCENARIO(k1) = { SCENARIO_NAME(k1), K1, .about = "recycling against a walker" };
SCENARIO(k1_same) = { SCENARIO_NAME(k1_same), K1_3,
		      .about = "recycling against two walkers of one page" };
SCENARIO(k1_both) = { SCENARIO_NAME(k1_both), K1_01,
		      .about = "recycling against walkers of the old and the new page" };
WEAKENED(k1_tg_relaxed, K1, TG_RELAXED, "k1 with try_get relaxed");
WEAKENED(k1_pub1_relaxed, K1, PUB1_RELAXED, "k1 with count = 1 relaxed");
WEAKENED(k1_put_acquire, K1, PUT_ACQUIRE, "k1 with put not release");
WEAKENED(k1_put_release, K1, PUT_RELEASE, "k1 with the last put not acquire");
WEAKENED(k1_no_reread, K1, NO_REREAD, "k1 without the re-read of the word");
WEAKENED(k1_word_late, K1_3_DEEP, WORD_LATE,
	 "k1 with the word cleared after the descriptor was freed");
WEAKENED(k1_frees_whence, K1_3, FREES_WHENCE,
	 "k1 with a put that frees the page that the walker came from");

/*
 * ---- k1g: first life of a descriptor in memory that held something else; a folio of two pages
 * ----
 */

static void k1g_setup(void)
{
	s.ref = 7;
}

static void k1g_owner(void)
{
	/*
	 * The constructor, plain. As an atomic store it could come after a reader's
	 * compare-and-swap in modification order although it is executed before: what this model
	 * leaves out. So the weak orders are found as races with it.
	 */
	s.ref = 0;
	s.pfn = 0;
	if (check_variant() == REF_FIRST)
		smp_store_release(&s.ref, 1u);
	for (u32 i = 0; i < 2; i++)
		VARIANT(PUBW_RELAXED, smp_store_release(&s.word[i], FOLIO),
			WRITE_ONCE(s.word[i], FOLIO));
	if (check_variant() != REF_FIRST)
		VARIANT(PUB1_RELAXED, smp_store_release(&s.ref, 1u), WRITE_ONCE(s.ref, 1u));
}

static void k1g_reader(unsigned long i)
{
	unsigned long w = VARIANT(W1_RELAXED, smp_load_acquire(&s.word[i]), READ_ONCE(s.word[i]));

	if (w != FOLIO || !k1_try_get())
		return;
	CHECK(i - s.pfn < 2);
	/* a folio that one has a reference on is whole */
	CHECK(READ_ONCE(s.word[0]) == FOLIO && READ_ONCE(s.word[1]) == FOLIO);
	fetch_sub_acq_rel(&s.ref, 1u);
}

static void k1g_reader_0(void)
{
	k1g_reader(0);
}

static void k1g_reader_1(void)
{
	k1g_reader(1);
}

static void k1g_done(void)
{
	CHECK(s.ref == 1);
}

#define K1G                                                                       \
	.setup = k1g_setup, .threads = { k1g_reader_0, k1g_owner, k1g_reader_1 }, \
	.finish = k1g_done, .roles = { "walker of 0", "owner", "walker of 1" }
SCENARIO(k1g) = { SCENARIO_NAME(k1g), K1G, .about = "first publication of a two-page folio" };
WEAKENED(k1g_w1_relaxed, K1G, W1_RELAXED, "k1g with the word read relaxed");
WEAKENED(k1g_pubw_relaxed, K1G, PUBW_RELAXED, "k1g with the words stored relaxed");
WEAKENED(k1g_pub1_relaxed, K1G, PUB1_RELAXED, "k1g with count = 1 relaxed");
WEAKENED(k1g_tg_relaxed, K1G, TG_RELAXED, "k1g with try_get relaxed");
WEAKENED(k1g_ref_first, K1G, REF_FIRST, "k1g with count = 1 before the words");

/* ---- k4: put to zero against try_get ---- */

static void k4_free(void)
{
	CHECK(fetch_add_relaxed(&s.freed, 1u) == 0);
	s.field = 1;
}

static void k4_put(void)
{
	u32 old = VARIANT(
		PUT_ACQUIRE,
		VARIANT(PUT_RELEASE, fetch_sub_acq_rel(&s.ref, 1u), fetch_sub_release(&s.ref, 1u)),
		fetch_sub_acquire(&s.ref, 1u));

	if (old == 1)
		k4_free();
}

static bool k4_get(void)
{
	if (check_variant() != ADD_UNDO)
		return k1_try_get();
	if (fetch_add_acquire(&s.ref, 1u) != 0)
		return true;
	fetch_sub_acq_rel(&s.ref, 1u);
	return false;
}

static void k4_getter(void)
{
	if (!k4_get())
		return;
	CHECK(s.field == 0);
	k4_put();
}

static void k4_owner(void)
{
	k4_put();
}

static void k4_setup(void)
{
	s.ref = 1;
}

static void k4_done(void)
{
	CHECK(s.freed == 1 && s.ref == 0);
}

#define K4                                                                                   \
	.setup = k4_setup, .threads = { k4_getter, k4_owner, k4_getter }, .finish = k4_done, \
	.roles = { "getter", "owner", "getter" }
SCENARIO(k4) = { SCENARIO_NAME(k4), K4, .about = "inc-not-zero: exactly one frees" };
WEAKENED(k4_put_acquire, K4, PUT_ACQUIRE, "k4 with put not release");
WEAKENED(k4_put_release, K4, PUT_RELEASE, "k4 with the last put not acquire");
WEAKENED(k4_add_undo, K4, ADD_UNDO, "k4 with a failing getter that adds and takes back");

/*
 * k4b: upstream's frozen bit. get adds and fails if the bit was there; put to 0 and the winner of 0
 * -> FROZEN frees. Sound only if a putter's descriptor cannot become something else before it has
 * tried to freeze it.
 */
#define FROZEN 0x80000000u

static void k4b_put(void)
{
	if (fetch_sub_release(&s.ref, 1u) != 1)
		return;
	if (cmpxchg_acquire(&s.ref, 0u, FROZEN) != 0)
		return;
	k4_free();
	if (check_variant() == FREES_TWICE) {
		/* the memory is given to another type, and holds 0 there */
		WRITE_ONCE(s.second, 1u);
		WRITE_ONCE(s.ref, 0u);
	}
}

static void k4b_owner(void)
{
	k4b_put();
}

static void k4b_getter(void)
{
	if (fetch_add_acquire(&s.ref, 1u) & FROZEN)
		return;
	k4b_put();
}

static void k4b_done(void)
{
	CHECK(s.freed == 1);
}

SCENARIO(k4b) = { SCENARIO_NAME(k4b), .about = "frozen bit, static descriptors: exactly one frees",
		  .setup = k4_setup,  .threads = { k4b_getter, k4b_owner, k4b_getter },
		  .finish = k4b_done, .roles = { "getter", "owner", "getter" } };
SCENARIO(k4g) = { SCENARIO_NAME(k4g),
		  .about = "frozen bit, memory reused, putter outside RCU: freed twice",
		  .setup = k4_setup,
		  .threads = { k4b_getter, k4b_owner },
		  .finish = k4b_done,
		  .roles = { "getter", "putter" },
		  .variant = FREES_TWICE,
		  .expects = EXPECT_VIOLATION };
