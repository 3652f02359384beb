// SPDX-License-Identifier: MIT
/*
 * test_as_threads.c - two CPUs use memory while a third one forks, protects, moves, collapses and unmaps around it, and a
 * fourth takes it away to a swap device, which goes off and on.
 *
 * Every word has one writer, which only ever counts it up, so each reader knows what it must find: the writer exactly
 * what it stored last; a child what the writer stored last before the fork, or while it was under way.
 */
#include "test.h"

#include <octavo/gup.h>
#include <octavo/migrate.h>
#include <octavo/mm.h>
#include <octavo/reclaim.h>

#include "mmu.h"
#include "page_out.h"
#include "swap_device.h"

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#ifdef __SANITIZE_THREAD__
#define SLOW 8
const char *__tsan_default_suppressions(void);

/* Fork copies a pinned page while whoever has pinned it may write: as with any device, either is right. */
const char *__tsan_default_suppressions(void)
{
	return "race:copy_pinned\n";
}
#else
#define SLOW 1
#endif

enum {
	SMALL = OCTAVO_TREE_ORDER <= 6,
	WRITERS = 2,
	MANAGER = WRITERS,
	PAGER,
	PAGES = SMALL ? 40 : 700, /* that the writers use */
	OWN = SMALL ? 12 : 64,	  /* that the manager has for itself */
	ROUNDS = 6000 / SLOW,
};

static struct mm_struct *mm;
static unsigned long base, own;
/* What the writer's word of a page is, and may be about to be. */
static u64 stored[WRITERS][PAGES], going[WRITERS][PAGES];
static u64 stop_now, children, moves, outs, offs;
static struct test_device *device; /* NULL: no swap */

struct dice {
	u64 x;
};

static u64 roll(struct dice *d, u64 n)
{
	d->x ^= d->x << 13;
	d->x ^= d->x >> 7;
	d->x ^= d->x << 17;
	return (d->x >> 20) % n;
}

static unsigned long word_of(unsigned int writer, unsigned long page)
{
	return base + page * PAGE_SIZE + 64 + writer * 8ul;
}

/* ---- writers ---- */

/* The manager may have made it read-only for a moment. */
static void store_word(unsigned long addr, u64 val, bool by_kernel)
{
	for (;;) {
		if (by_kernel ? !copy_to_user(mm, addr, &val, 8) : !sim_store64(addr, val))
			return;
		octavo_port_relax();
	}
}

static void count_up(unsigned int writer, unsigned long page, struct dice *d)
{
	u64 val = READ_ONCE(stored[writer][page]) + 1, old = val - 1;

	/* seq_cst: before the store, for who forks meanwhile */
	smp_store_seq_cst(&going[writer][page], val);
	if (roll(d, 8) == 0)
		while (sim_cas64(word_of(writer, page), &old, val))
			octavo_port_relax();
	else
		store_word(word_of(writer, page), val, roll(d, 4) == 0);
	if (old != val - 1)
		octavo_panic("page %lu: %lu, expected %lu", page, (unsigned long)old,
			     (unsigned long)val - 1);
	/* seq_cst: after it */
	smp_store_seq_cst(&stored[writer][page], val);
}

static void look(unsigned int writer, unsigned long page, struct dice *d)
{
	u64 val = ~0ull, want = READ_ONCE(stored[writer][page]);

	if (roll(d, 4)) {
		if (sim_load64(word_of(writer, page), &val))
			octavo_panic("page %lu cannot be read", page);
	} else if (copy_from_user(mm, &val, word_of(writer, page), 8)) {
		octavo_panic("page %lu cannot be copied from", page);
	}
	if (val != want)
		octavo_panic("page %lu: %lu, expected %lu", page, (unsigned long)val,
			     (unsigned long)want);
}

/* A pin that a device writes through: what it writes is seen, whoever forks meanwhile. */
static void count_up_pinned(unsigned int writer, unsigned long page)
{
	u64 val = READ_ONCE(stored[writer][page]) + 1;
	struct page *pinned;

	if (pin_user_pages_fast(mm, word_of(writer, page), 1, FOLL_WRITE, &pinned) != 1)
		return;
	/* seq_cst: as in count_up() */
	smp_store_seq_cst(&going[writer][page], val);
	WRITE_ONCE(*(u64 *)((char *)page_address(pinned) + 64 + writer * 8ul), val);
	smp_store_seq_cst(&stored[writer][page], val);
	unpin_user_pages_dirty_lock(&pinned, 1, true);
}

static void writer(unsigned int cpu)
{
	struct dice d = { 0x9e3779b97f4a7c15ull * (cpu + 1) };

	/* acquire: pairs with the manager's release when it is done */
	while (!smp_load_acquire(&stop_now)) {
		/* few at a time, so that both are on the same pages */
		unsigned long page = roll(&d, 3) ? roll(&d, 16) : roll(&d, PAGES);
		u64 what = roll(&d, 16);

		if (what < 7)
			count_up(cpu, page, &d);
		else if (what < 15)
			look(cpu, page, &d);
		else
			count_up_pinned(cpu, page);
	}
}

/* ---- the manager ---- */

static void fork_and_look(struct dice *d)
{
	static u64 least[WRITERS][PAGES];
	struct mm_struct *child;
	int err = 0;

	for (unsigned int w = 0; w < WRITERS; w++)
		for (unsigned long i = 0; i < PAGES; i++)
			least[w][i] = smp_load_seq_cst(&stored[w][i]);
	child = mm_fork(mm, &err);
	if (!child)
		return;
	children++;
	sim_mm_use(child);
	for (unsigned int n = 0; n < 24; n++) {
		unsigned int w = (unsigned int)roll(d, WRITERS);
		unsigned long page = n < 16 ? n : roll(d, PAGES);
		u64 val = 0, again = 0, most;
		vm_fault_t f;

		if (sim_load64(word_of(w, page), &val))
			octavo_panic("page %lu of a child cannot be read", page);
		/* seq_cst: after what the child has was written */
		most = smp_load_seq_cst(&going[w][page]);
		if (val < least[w][page] || val > most)
			octavo_panic("page %lu of a child: %lu, not %lu to %lu", page,
				     (unsigned long)val, (unsigned long)least[w][page],
				     (unsigned long)most);
		/* what the child writes is its own; what it does not write does not change */
		f = n & 1 ? sim_store64(word_of(w, page) + 256, 0xbad) : 0;
		if (f)
			octavo_panic("page %lu of a child cannot be written to: %x", page, f);
		if (sim_load64(word_of(w, page), &again) || again != val)
			octavo_panic("page %lu of a child changes: %lu, %lu", page,
				     (unsigned long)val, (unsigned long)again);
	}
	sim_mm_forget(child);
	mmput(child);
	sim_mm_use(mm);
	/* its tables are free after a grace period, and a small machine has not many */
	if (SMALL)
		rcu_barrier();
}

static void move_a_folio(unsigned long addr, bool split)
{
	struct folio *folio;
	struct page *page;

	if (get_user_pages_fast(mm, addr, 1, FOLL_NOFAULT, &page) != 1)
		return;
	folio = page_folio(page);
	if (!folio || !folio_test_anon(folio)) {
		put_user_page(page);
		return;
	}
	if (!split) {
		moves += !migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL);
	} else if (folio_test_large(folio) && folio_trylock(folio)) {
		moves += folio_test_large(folio) && !split_folio_mapped(folio, 0, NULL);
		folio_unlock(folio);
	}
	folio_put(folio);
}

/* Rights come and go; nobody but the writers notices. */
static void protect(struct dice *d)
{
	unsigned long first = roll(d, PAGES), nr = 1 + roll(d, PAGES - first);
	unsigned long addr = base + first * PAGE_SIZE;

	(void)vm_mprotect(mm, addr, nr * PAGE_SIZE, PROT_READ);
	while (vm_mprotect(mm, addr, nr * PAGE_SIZE, PROT_READ | PROT_WRITE))
		octavo_port_relax();
}

/* Its own pages, beside the writers': contents go along, and nothing else does. */
static void move_own(struct dice *d)
{
	unsigned long at = own + roll(d, OWN) * PAGE_SIZE, to;
	u64 tag = roll(d, ~0ull), val = 0;
	long got;

	if (vm_mmap(mm, at, PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) < 0)
		return;
	if (sim_load64(at, &val) || val)
		octavo_panic("new memory at %lx has %lx in it", at, (unsigned long)val);
	if (sim_store64(at, tag))
		return;
	to = own + (OWN + roll(d, OWN)) * PAGE_SIZE;
	got = vm_mremap(mm, at, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (got < 0)
		return;
	if (sim_load64(to, &val) || val != tag)
		octavo_panic("moved to %lx: %lx, expected %lx", to, (unsigned long)val,
			     (unsigned long)tag);
	if (sim_load64(at, &val) != (VM_FAULT_SIGSEGV | VM_FAULT_MAPERR))
		octavo_panic("moved away from %lx, and there is something", at);
	(void)vm_munmap(mm, to, PAGE_SIZE);
}

/* All of it back, at whatever costs; and a device again. */
static void off_and_on(void)
{
	int err = swapoff(device->type);

	if (err == -ENOMEM)
		return;
	if (err || test_device_swapon(device, 0) < 0)
		octavo_panic("swapoff: %d", err);
	offs++;
}

/* Of everything something, however threads are run. */
static bool much_has_happened(void)
{
	return children && moves && (!device || (READ_ONCE(outs) && offs));
}

static void manage(void)
{
	struct dice d = { 0x243f6a8885a308d3ull };

	for (unsigned int i = 0; i < ROUNDS || !much_has_happened(); i++) {
		unsigned long addr = base + roll(&d, PAGES) * PAGE_SIZE;
		unsigned int order = roll(&d, 2) ? OCTAVO_TABLE_BITS : 2;

		if (device && roll(&d, 64) == 0)
			off_and_on();
		switch (roll(&d, device ? 9 : 8)) {
		case 8:
			(void)vm_madvise(mm, addr, PAGE_SIZE * 4, MADV_WILLNEED);
			break;
		case 0:
			fork_and_look(&d);
			break;
		case 1:
			protect(&d);
			break;
		case 2:
		case 3:
			move_own(&d);
			break;
		case 4:
			(void)collapse_range(mm, ALIGN_DOWN(addr, PAGE_SIZE << order), order,
					     1u << order);
			break;
		case 5:
			move_a_folio(addr, true);
			break;
		case 6:
			move_a_folio(base + roll(&d, 16) * PAGE_SIZE, false);
			break;
		default:
			(void)vm_madvise(mm, addr, PAGE_SIZE, MADV_COLD);
			break;
		}
	}
	/* release: pairs with the acquire of the writers */
	smp_store_release(&stop_now, 1ull);
}

/* ---- the pager ---- */

static void pager(void)
{
	struct dice d = { 0x13198a2e03707344ull };

	/* acquire: pairs with the manager's release when it is done */
	while (!smp_load_acquire(&stop_now)) {
		struct folio *folios[4];
		u32 n = 0;

		for (unsigned int i = 0; i < ARRAY_SIZE(folios); i++) {
			unsigned long page = roll(&d, 2) ? roll(&d, 16) : roll(&d, PAGES);

			folios[n] = page_out_folio(mm, base + page * PAGE_SIZE);
			n += folios[n] != NULL;
		}
		WRITE_ONCE(outs, outs + reclaim_folios(folios, n, RECLAIM_ANYWAY));
	}
}

static void one_cpu(unsigned int cpu, void *arg)
{
	sim_mm_use(mm);
	if (cpu == MANAGER)
		manage();
	else if (cpu == PAGER)
		pager();
	else
		writer(cpu);
	sim_mm_forget(mm);
}

static void run_threads(u32 orders, enum test_device_mode mode, bool swap)
{
	const unsigned int cpus = WRITERS + 1 + swap;
	long at;

	memset(stored, 0, sizeof(stored));
	memset(going, 0, sizeof(going));
	stop_now = children = moves = outs = offs = 0;
	boot_small(SMALL ? 4 : 64, cpus);
	sim_mmu_paranoid(true);
	device = NULL;
	if (swap) {
		assert_int_equal(reclaim_init(), 0);
		device = test_device_on(SMALL ? 256 : 4096, 0, mode);
	}
	mm = mm_alloc();
	assert_non_null(mm);
	mm->folio_orders = orders;
	/* the manager's pages right behind the writers': one table for both */
	at = vm_mmap(mm, 0, (PAGES + 2 * OWN) * PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
	assert_true(at > 0);
	base = (unsigned long)at;
	own = base + PAGES * PAGE_SIZE;
	assert_int_equal(vm_munmap(mm, own, 2 * OWN * PAGE_SIZE), 0);
	sim_run(cpus, false, one_cpu, NULL);
	assert_true(much_has_happened());
	assert_true(sim_mmu_check(mm));
	for (unsigned int w = 0; w < WRITERS; w++)
		for (unsigned long i = 0; i < PAGES; i++) {
			u64 val = ~0ull;

			assert_int_equal(copy_from_user(mm, &val, word_of(w, i), 8), 0);
			assert_int_equal(val, stored[w][i]);
		}
	assert_true(mm_validate(mm));
	mmput(mm);
	if (device) {
		assert_true(octavo_validate());
		assert_int_equal(swapoff(device->type), 0);
		test_device_free(device);
	}
	shutdown_clean();
}

COVERS("S2.29 S2.30 S2.32 S3.8 S3.9 S3.26 SX.7");
static void test_words_keep_their_values_small_folios(void **state)
{
	run_threads(1, TD_SYNC, false);
}

COVERS("S2.29 S2.30 S2.32 S3.8 S3.9 S3.26 SX.7");
static void test_words_keep_their_values_large_folios(void **state)
{
	run_threads(1 | 1 << 2 | 1 << OCTAVO_TABLE_BITS, TD_SYNC, false);
}

COVERS("S2.1 S2.18 S2.26 S2.29 S2.30 S2.32");
static void test_words_keep_their_values_in_swap(void **state)
{
	run_threads(1, TD_THREAD, true);
	run_threads(1, TD_SYNC, true);
}

COVERS("S2.1 S2.18 S2.26 S2.29 S2.30 S2.32");
static void test_words_keep_their_values_in_swap_large_folios(void **state)
{
	run_threads(1 | 1 << 2 | 1 << OCTAVO_TABLE_BITS, TD_POLLED, true);
	run_threads(1 | 1 << 2, TD_NOW, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_words_keep_their_values_small_folios),
		TEST(test_words_keep_their_values_large_folios),
		TEST(test_words_keep_their_values_in_swap),
		TEST(test_words_keep_their_values_in_swap_large_folios),
	};

	return cmocka_run_group_tests_name("as_threads", tests, NULL, NULL);
}
