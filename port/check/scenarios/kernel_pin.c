/* SPDX-License-Identifier: MIT */
/*
 * kernel_pin.c - kernels of GUP-fast, alone: pin against unmap and exclusivity (k2), against fork
 * (k2d), with a pin count of its own (k2e), against split (k3), of a run (k3r), against migration
 * (k3m). With their weakenings, which must fail.
 */
#include "check.h"

enum {
	STRONG,
	FENCES, /* the same with relaxed accesses and fences: must pass */
	PIN_ACQ_REL,
	REREAD_ACQUIRE,
	REREAD_RELAXED,
	CLEAR_ACQ_REL,
	PINS_ACQUIRE,
	RESTORE_RELAXED,
	EXCL_EARLY,
	NO_REREAD,
	PIN_LATE,
	PINS_EARLY,
	FORK_PLAIN,
	SEQ_RELAXED,
	NO_SEQ_REREAD,
	Q2_RELAXED,
	TG_RELAXED,
	UNFREEZE_RELAXED,
	NO_WORD_REREAD,
	UNFREEZE_EARLY,
	NO_FREEZE,
	RUN_ONE_REREAD,
	NO_PTE_REREAD,
	BY_READING,
};

static SHARED struct {
	u64 pte;
	u64 exclusive;
	u32 refs, pins;
	u32 seq;
	u32 got, shared; /* plain, each of one thread */
	unsigned long word[2];
	u32 o_ref, n_ref;
	u64 o_nr, n_pfn; /* plain */
	u64 data, copy;
	u64 result;
} s;

/* ---- k2 ---- */

static bool fences(void)
{
	return check_variant() == FENCES;
}

static u32 read_pins(void)
{
	if (fences() || check_variant() == PINS_ACQUIRE)
		return smp_load_acquire(&s.pins);
	return smp_load_seq_cst(&s.pins);
}

static bool k2_pin(void)
{
	u64 p = READ_ONCE(s.pte), again;
	bool excl = check_variant() == EXCL_EARLY ? READ_ONCE(s.exclusive) : true;

	if (!p)
		return false;
	if (fences() || check_variant() == PIN_ACQ_REL)
		fetch_add_acq_rel(&s.pins, 1u);
	else
		fetch_add_seq_cst(&s.pins, 1u);
	if (fences())
		smp_mb();
	switch (check_variant()) {
	case FENCES:
	case REREAD_ACQUIRE:
		again = smp_load_acquire(&s.pte);
		break;
	case REREAD_RELAXED:
		again = READ_ONCE(s.pte);
		break;
	case NO_REREAD:
		again = p;
		break;
	default:
		again = smp_load_seq_cst(&s.pte);
	}
	if (check_variant() != EXCL_EARLY && again == p)
		excl = READ_ONCE(s.exclusive);
	if (again != p || !excl) {
		fetch_sub_release(&s.pins, 1u);
		return false;
	}
	return true;
}

static void k2_gup(void)
{
	s.got = k2_pin();
}

static void k2_unmap(void)
{
	u32 pins = check_variant() == PINS_EARLY ? read_pins() : 0;

	if (fences())
		WRITE_ONCE(s.pte, 0ul);
	else if (check_variant() == CLEAR_ACQ_REL)
		xchg_acq_rel(&s.pte, 0ul);
	else
		xchg_seq_cst(&s.pte, 0ul);
	if (fences())
		smp_mb();
	if (check_variant() != PINS_EARLY)
		pins = read_pins();
	if (!pins) {
		WRITE_ONCE(s.exclusive, 0ul);
		s.shared = 1;
	}
	VARIANT(RESTORE_RELAXED, smp_store_release(&s.pte, 1ul), WRITE_ONCE(s.pte, 1ul));
}

static void k2_setup(void)
{
	s.pte = 1;
	s.exclusive = 1;
}

static void k2_done(void)
{
	CHECK(!(s.got && s.shared));
}

#define K2                                                                     \
	.setup = k2_setup, .threads = { k2_gup, k2_unmap }, .finish = k2_done, \
	.roles = { "gup", "unmap" }
SCENARIO(k2) = { SCENARIO_NAME(k2), K2, .about = "pin against unmap, seq_cst accesses" };
SCENARIO(k2_fences) = { SCENARIO_NAME(k2_fences), K2, .variant = FENCES,
			.about = "pin against unmap, fences" };
WEAKENED(k2_pin_acq_rel, K2, PIN_ACQ_REL, "k2 with the pin acq_rel");
WEAKENED(k2_reread_acquire, K2, REREAD_ACQUIRE, "k2 with the PTE re-read acquire");
WEAKENED(k2_reread_relaxed, K2, REREAD_RELAXED, "k2 with the PTE re-read relaxed");
WEAKENED(k2_clear_acq_rel, K2, CLEAR_ACQ_REL, "k2 with the PTE clear acq_rel");
WEAKENED(k2_pins_acquire, K2, PINS_ACQUIRE, "k2 with the pin count read acquire");
WEAKENED(k2_restore_relaxed, K2, RESTORE_RELAXED, "k2 with the PTE restored relaxed");
WEAKENED(k2_exclusive_early, K2, EXCL_EARLY, "k2 with exclusivity looked at before the pin");
WEAKENED(k2_no_reread, K2, NO_REREAD, "k2 without the PTE re-read");
WEAKENED(k2_pins_early, K2, PINS_EARLY, "k2 with the pin count read before the clear");

/* ---- k2e: references and pins in two counters ---- */

static void k2e_gup(void)
{
	u64 p = READ_ONCE(s.pte);
	bool late = check_variant() == PIN_LATE;

	if (!p)
		return;
	fetch_add_acquire(&s.refs, 1u);
	if (!late)
		fetch_add_seq_cst(&s.pins, 1u);
	if (smp_load_seq_cst(&s.pte) == p && READ_ONCE(s.exclusive)) {
		if (late)
			fetch_add_seq_cst(&s.pins, 1u);
		s.got = 1;
	} else {
		if (!late)
			fetch_sub_release(&s.pins, 1u);
		fetch_sub_release(&s.refs, 1u);
	}
}

#define K2E                                                                     \
	.setup = k2_setup, .threads = { k2e_gup, k2_unmap }, .finish = k2_done, \
	.roles = { "gup", "unmap" }
SCENARIO(k2e) = { SCENARIO_NAME(k2e), K2E, .about = "pin count apart from references" };
WEAKENED(k2e_pin_late, K2E, PIN_LATE, "k2e with the pin counted after the PTE re-read");

/* ---- k2d: fork ---- */

static void k2d_gup(void)
{
	u32 seq = VARIANT(SEQ_RELAXED, smp_load_acquire(&s.seq), READ_ONCE(s.seq));
	u64 p = READ_ONCE(s.pte);

	if (seq & 1 || !p)
		return;
	fetch_add_seq_cst(&s.pins, 1u);
	if (smp_load_seq_cst(&s.pte) != p || !READ_ONCE(s.exclusive) ||
	    (check_variant() != NO_SEQ_REREAD && smp_load_seq_cst(&s.seq) != seq)) {
		fetch_sub_release(&s.pins, 1u);
		return;
	}
	s.got = 1;
}

static void k2d_fork(void)
{
	VARIANT(FORK_PLAIN, smp_store_seq_cst(&s.seq, 1u), WRITE_ONCE(s.seq, 1u));
	if (!smp_load_seq_cst(&s.pins)) {
		WRITE_ONCE(s.exclusive, 0ul);
		s.shared = 1;
	}
	VARIANT(Q2_RELAXED, smp_store_release(&s.seq, 2u), WRITE_ONCE(s.seq, 2u));
}

#define K2D                                                                     \
	.setup = k2_setup, .threads = { k2d_gup, k2d_fork }, .finish = k2_done, \
	.roles = { "gup", "fork" }
SCENARIO(k2d) = { SCENARIO_NAME(k2d), K2D, .about = "pin against fork" };
WEAKENED(k2d_fork_plain, K2D, FORK_PLAIN,
	 "k2d with fork's counter stored relaxed (fails on x86 too)");
WEAKENED(k2d_seq_relaxed, K2D, SEQ_RELAXED, "k2d with the counter first read relaxed");
WEAKENED(k2d_q2_relaxed, K2D, Q2_RELAXED, "k2d with the counter made even relaxed");
WEAKENED(k2d_no_seq_reread, K2D, NO_SEQ_REREAD, "k2d without the counter's re-read");

/* ---- k3: split. word[1] goes from O to N; the PTE comes back with the same value ---- */

#define OLD 1ul
#define NEW 2ul

static bool k3_try_get(u32 *ref, u32 n)
{
	u32 v = READ_ONCE(*ref);

	do {
		if (!v)
			return false;
	} while (!VARIANT(TG_RELAXED, try_cmpxchg_acquire(ref, &v, v + n),
			  try_cmpxchg_relaxed(ref, &v, v + n)));
	return true;
}

static void k3_put(u32 *ref, u32 n)
{
	fetch_sub_acq_rel(ref, n);
}

static void k3_gup(void)
{
	u64 p = READ_ONCE(s.pte);
	unsigned long w;
	u32 *ref;

	if (!p)
		return;
	w = smp_load_acquire(&s.word[1]);
	ref = w == OLD ? &s.o_ref : &s.n_ref;
	if (!k3_try_get(ref, 1))
		return;
	if ((check_variant() != NO_WORD_REREAD && READ_ONCE(s.word[1]) != w) ||
	    READ_ONCE(s.pte) != p) {
		k3_put(ref, 1);
		return;
	}
	if (w == OLD)
		CHECK(s.o_nr == 2);
	else
		CHECK(s.n_pfn == 1);
	/* kept: the piece that page 1 is in now must be the one that is held */
	s.result = w;
}

static void k3_split(void)
{
	u32 held;

	WRITE_ONCE(s.pte, 0ul);
	held = fetch_sub_acq_rel(&s.o_ref, 1u) - 1; /* the mapping's */
	if (check_variant() != NO_FREEZE && (held != 1 || cmpxchg_acquire(&s.o_ref, 1u, 0u) != 1)) {
		fetch_add_relaxed(&s.o_ref, 1u);
		smp_store_release(&s.pte, 1ul);
		return;
	}
	WRITE_ONCE(s.n_ref, 0u);
	s.n_pfn = 1;
	s.o_nr = 1;
	if (check_variant() == UNFREEZE_EARLY)
		smp_store_release(&s.o_ref, 1u);
	smp_store_release(&s.word[1], NEW);
	smp_store_release(&s.n_ref, 1u);
	if (check_variant() != UNFREEZE_EARLY)
		VARIANT(UNFREEZE_RELAXED, smp_store_release(&s.o_ref, 1u), WRITE_ONCE(s.o_ref, 1u));
	smp_store_release(&s.pte, 1ul);
}

static void k3_setup(void)
{
	s.pte = 1;
	s.word[0] = s.word[1] = OLD;
	s.o_ref = 2; /* the splitter's and the mapping's */
	s.o_nr = 2;
	s.n_ref = 7; /* memory that was something else */
}

static void k3_done(void)
{
	if (s.result)
		CHECK(s.result == s.word[1]);
}

#define K3                                                                     \
	.setup = k3_setup, .threads = { k3_gup, k3_split }, .finish = k3_done, \
	.roles = { "gup", "split" }
SCENARIO(k3) = { SCENARIO_NAME(k3), K3, .about = "try_get and re-read against split" };
WEAKENED(k3_no_word_reread, K3, NO_WORD_REREAD, "k3 without the re-read of the word");
WEAKENED(k3_unfreeze_relaxed, K3, UNFREEZE_RELAXED, "k3 with the unfreeze relaxed");
WEAKENED(k3_tg_relaxed, K3, TG_RELAXED, "k3 with try_get relaxed");
WEAKENED(k3_unfreeze_early, K3, UNFREEZE_EARLY, "k3 with the unfreeze before the word");
WEAKENED(k3_no_freeze, K3, NO_FREEZE, "k3 without the freeze");

/* Two that let go again, so that the splitter's freeze must be an acquire. */
static void k3_gup_drop(void)
{
	unsigned long w = smp_load_acquire(&s.word[1]);
	u32 *ref = w == OLD ? &s.o_ref : &s.n_ref;

	if (!k3_try_get(ref, 1))
		return;
	if (READ_ONCE(s.word[1]) == w && w == OLD)
		CHECK(s.o_nr == 2);
	k3_put(ref, 1);
}

SCENARIO(k3_drop) = { SCENARIO_NAME(k3_drop), .about = "split against two that get and put",
		      .setup = k3_setup, .threads = { k3_gup_drop, k3_split, k3_gup_drop },
		      .roles = { "walker", "split", "walker" } };

/* ---- k3r: a run of two PTEs taken with one add ---- */

static void k3r_gup(void)
{
	u64 p = READ_ONCE(s.pte);
	bool one = check_variant() == RUN_ONE_REREAD;

	if (!p || smp_load_acquire(&s.word[0]) != OLD)
		return;
	if (!k3_try_get(&s.o_ref, 2))
		return;
	if (READ_ONCE(s.word[0]) != OLD || (!one && READ_ONCE(s.word[1]) != OLD) ||
	    READ_ONCE(s.pte) != p) {
		k3_put(&s.o_ref, 2);
		return;
	}
	s.result = OLD; /* of both pages */
}

#define K3R                                                                     \
	.setup = k3_setup, .threads = { k3r_gup, k3_split }, .finish = k3_done, \
	.roles = { "gup", "split" }
SCENARIO(k3r) = { SCENARIO_NAME(k3r), K3R, .about = "a run taken with one add, against split" };
WEAKENED(k3r_one_reread, K3R, RUN_ONE_REREAD, "k3r with only the first page's word read again");

/* ---- k3m: migration. The PTE changes, the word does not ---- */

static void k3m_gup(void)
{
	u64 p = READ_ONCE(s.pte);

	if (p != 1 || !k3_try_get(&s.o_ref, 1))
		return;
	if (check_variant() != NO_PTE_REREAD && READ_ONCE(s.pte) != p) {
		k3_put(&s.o_ref, 1);
		return;
	}
	WRITE_ONCE(s.data, 1ul);
	s.got = 1;
	k3_put(&s.o_ref, 1);
}

static void k3m_migrate(void)
{
	/* our own reference and the mapping's */
	WRITE_ONCE(s.pte, 0ul);
	if (check_variant() == BY_READING ? smp_load_acquire(&s.o_ref) != 2
					  : cmpxchg_acquire(&s.o_ref, 2u, 0u) != 2) {
		smp_store_release(&s.pte, 1ul);
		return;
	}
	s.copy = READ_ONCE(s.data);
	smp_store_release(&s.pte, 2ul);
	if (check_variant() != BY_READING)
		VARIANT(UNFREEZE_RELAXED, smp_store_release(&s.o_ref, 1u), WRITE_ONCE(s.o_ref, 1u));
	s.shared = 1; /* moved */
}

static void k3m_done(void)
{
	/* who wrote through the old frame was in time for the copy */
	if (s.got && s.shared)
		CHECK(s.copy == 1);
}

#define K3M                                                                         \
	.setup = k3_setup, .threads = { k3m_gup, k3m_migrate }, .finish = k3m_done, \
	.roles = { "gup", "migrate" }
SCENARIO(k3m) = { SCENARIO_NAME(k3m), K3M, .about = "gup against migration" };
WEAKENED(k3m_no_pte_reread, K3M, NO_PTE_REREAD, "k3m without the PTE re-read");
WEAKENED(k3m_tg_relaxed, K3M, TG_RELAXED, "k3m with try_get relaxed");
WEAKENED(k3m_unfreeze_relaxed, K3M, UNFREEZE_RELAXED, "k3m with the unfreeze relaxed");
WEAKENED(k3m_by_reading, K3M, BY_READING, "k3m that decides by reading the count");
