// SPDX-License-Identifier: MIT
/*
 * test_device_mix.c - drivers that do whatever they may, and no byte is lost.
 *
 * Three devices of two owners, private and coherent. Random ranges migrate between them and the system: to folios of the order asked
 * for, smaller, larger, mixed, with gaps, or none at all. Between address spaces of one family that change in every way; and
 * in a third of the calls something fails. Each page has a number in its first and last word, which is compared wherever the page is.
 */
#include <octavo/errno.h>
#include <octavo/fault.h>
#include <octavo/hmm.h>
#include <octavo/memremap.h>
#include <octavo/migrate.h>
#include <octavo/reclaim.h>

#include "fault_machine.h"
#include "swap_device.h"

#define TINY	 (OCTAVO_TABLE_BITS != 9)
#define NR	 (2 * LEAF_PAGES + 45)
#define NR_MMS	 4u
#define WORDS	 (PAGE_SIZE / sizeof(u64))
#define COHERENT (TINY ? 16 * PAGES_PER_SECTION : PAGES_PER_SECTION)
/* No whole number of anything. */
#define PRIVATE (TINY ? 253ul : 2053ul)

static u64 rng;

static u64 rnd(u64 below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng >> 11) % below;
}

/* From 1 on: mostly few. */
static unsigned long some(unsigned long max)
{
	return 1 + rnd(min(max, rnd(3) ? 16ul : (unsigned long)NR));
}

/* ---- failures ---- */

static bool failing;

static void begin_failing(void)
{
#if OCTAVO_FAULTS
	/* what is refused for ever is memory alone: who tries again until he has a lock would try for ever */
	bool all = !rnd(4);

	failing = !rnd(3);
	if (failing)
		octavo_fault_arm(1 + (u32)rnd(rnd(2) ? 6 : 60),
				 all ? OCTAVO_FAULT_AFTER : OCTAVO_FAULT_ONCE,
				 all ? OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB
				     : OCTAVO_FAULT_ALL & ~OCTAVO_FAULT_IO);
#endif
}

static void end_failing(void)
{
#if OCTAVO_FAULTS
	if (failing)
		octavo_fault_disarm();
#endif
	failing = false;
}

/* ---- devices ---- */

static struct device {
	struct dev_pagemap map;
	char *mem; /* of private memory */
	bool *used;
} devices[3];
static int owners[2];

static struct device *device_of(const struct page *page)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(devices); i++) {
		struct dev_pagemap *map = &devices[i].map;

		if (page >= map->words && page < map->words + map->nr)
			return &devices[i];
	}
	abort();
}

static u64 *mem_of(const struct page *page)
{
	struct device *d;

	if (!page_is_device_private(page))
		return pfn_to_virt(page_to_pfn(page));
	d = device_of(page);
	return (u64 *)(void *)(d->mem + ((unsigned long)(page - d->map.words) << PAGE_SHIFT));
}

static void freed(struct folio *folio)
{
	struct device *d = device_of(folio_page(folio, 0));
	unsigned long at = (unsigned long)(folio_page(folio, 0) - d->map.words);

	for (unsigned long i = at; i < at + folio_nr_pages(folio); i++) {
		assert_true(d->used[i]);
		d->used[i] = false;
	}
}

/* Memory of @kind: 0: the system's, else of a device: locked. NULL: none. */
static struct folio *take(unsigned int kind, unsigned int order)
{
	struct device *d = &devices[kind ? kind - 1 : 0];
	unsigned long nr = 1ul << order, blocks = d->map.nr >> order, first;
	struct folio *folio;
	int err;

	if (!kind) {
		folio = folio_alloc(GFP_HIGHUSER_MOVABLE, order, FOLIO_ANON);
		if (folio)
			folio_lock(folio);
		return folio;
	}
	first = blocks ? rnd(blocks) : 0;
	for (unsigned long b = 0; b < blocks; b++) {
		unsigned long at = (first + b) % blocks << order, n = 0;

		while (n < nr && !d->used[at + n])
			n++;
		if (n < nr)
			continue;
		folio = zone_device_folio_init(d->map.words + at, &d->map, order, &err);
		if (folio)
			memset(d->used + at, true, nr);
		return folio;
	}
	return NULL;
}

/* ---- destinations ---- */

/* As many more as a destination may reach beyond the end. */
#define ELEMENTS (NR + 2048)

struct arrays {
	unsigned long src[ELEMENTS], dst[ELEMENTS];
	unsigned long nr;
};
static struct arrays calls, faults;
static u64 moved;

/* The page that is to go to element @i. NULL: a hole. */
static struct page *source(const struct arrays *a, unsigned long i)
{
	unsigned long k = i;

	while (!a->src[k] && k)
		k--;
	if (!(a->src[k] & MIGRATE_PFN_VALID) || i - k >= 1ul << migrate_pfn_order(a->src[k]))
		return NULL;
	return migrate_pfn_to_page(a->src[k]) + (i - k);
}

static bool give(struct arrays *a, unsigned long i, unsigned int kind, unsigned int order)
{
	struct folio *folio = take(kind, order);

	if (!folio)
		return false;
	a->dst[i] = migrate_pfn(folio_page(folio, 0));
	for (unsigned long k = 0; k < folio_nr_pages(folio); k++) {
		struct page *from = i + k < a->nr ? source(a, i + k) : NULL;
		u64 *to = mem_of(folio_page(folio, k));

		if (from)
			memcpy(to, mem_of(from), PAGE_SIZE);
		else
			memset(to, 0, PAGE_SIZE);
	}
	return true;
}

/* Pieces of all sizes, and gaps. */
static void give_pieces(struct arrays *a, unsigned long i, unsigned int kind, unsigned int order)
{
	for (unsigned long k = 0; k < 1ul << order;) {
		unsigned int piece = (unsigned int)rnd(order + 1);

		if (k)
			piece = min(piece, (unsigned int)__builtin_ctzl(k));
		if (rnd(10))
			give(a, i + k, kind, piece);
		k += 1ul << piece;
	}
}

/* One that is too large, and perhaps reaches beyond the end. Return: elements dealt with. */
static unsigned long give_larger(struct arrays *a, unsigned long i, unsigned int kind,
				 unsigned int order)
{
	unsigned long end = i, nr;

	order = min(order + 1 + (unsigned int)rnd(4), LEAF_ORDER + 2u);
	nr = give(a, i, kind, order) ? 1ul << order : 1;
	/* up to the end of the last source of which it has a part */
	while (end < min(i + nr, a->nr))
		end += a->src[end] ? 1ul << migrate_pfn_order(a->src[end]) : 1;
	return end - i;
}

static unsigned long give_one(struct arrays *a, unsigned long i, unsigned int kind)
{
	unsigned int order = migrate_pfn_order(a->src[i]);

	switch (rnd(8)) {
	case 0: /* that one stays */
		if (rnd(2))
			break;
		a->src[i] = a->src[i] & MIGRATE_PFN_VALID ? a->src[i] & ~MIGRATE_PFN_MIGRATE : 0;
		break;
	case 1:
		give_pieces(a, i, kind, order);
		break;
	case 2:
		return give_larger(a, i, kind, order);
	default:
		give(a, i, rnd(16) ? kind : (unsigned int)rnd(4), order);
	}
	return 1ul << order;
}

static void give_all(struct arrays *a, unsigned int kind)
{
	unsigned long i = 0;

	while (i < a->nr) {
		if (a->src[i] & MIGRATE_PFN_MIGRATE) {
			i += give_one(a, i, kind);
			continue;
		}
		/* for what does not move */
		if (!rnd(200))
			give(a, i, kind, 0);
		i++;
	}
}

static void count_moved(const struct arrays *a)
{
	for (unsigned long i = 0; i < a->nr; i++)
		moved += a->src[i] & MIGRATE_PFN_MIGRATE && a->dst[i];
}

/* ---- a CPU touches private memory ---- */

/* Somewhere else first, or among others the folio that is touched, which is locked, and stays. */
static void makes_room(void)
{
	struct device *d = &devices[rnd(ARRAY_SIZE(devices))];

	calls.nr = some(d->map.nr);
	memset(calls.dst, 0, calls.nr * sizeof(*calls.dst));
	assert_int_equal(
		migrate_device_range(&d->map, rnd(d->map.nr - calls.nr + 1), calls.src, calls.nr),
		0);
	give_all(&calls, (unsigned int)rnd(4));
	migrate_device_pages(calls.src, calls.dst, calls.nr);
	migrate_device_finalize(calls.src, calls.dst, calls.nr);
}

static u32 to_ram(struct vm_fault *vmf)
{
	struct folio *folio = page_folio(vmf->page);
	unsigned long idx = folio_page_idx(folio, vmf->page), at = vmf->address & PAGE_MASK;
	unsigned long before = idx, after = folio_nr_pages(folio) - idx;
	struct migrate_vma args = { .vma = vmf->vma,
				    .src = faults.src,
				    .dst = faults.dst,
				    .pgmap_owner = folio_pgmap(folio)->owner,
				    .flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
				    .fault_page = vmf->page };

	assert_true(folio_test_locked(folio));
	if (!rnd(4))
		makes_room();
	if (failing && !rnd(10))
		return VM_FAULT_SIGBUS;
	/* the folio; more or less than it; the page */
	if (rnd(2)) {
		before = rnd(3) ? rnd(40) : 0;
		after = 1 + (before ? rnd(40) : 0);
	}
	args.start = max(at - (before << PAGE_SHIFT), vmf->vma->vm_start);
	args.end = min(at + (after << PAGE_SHIFT), vmf->vma->vm_end);
	if (rnd(3))
		args.flags |= MIGRATE_VMA_SELECT_COMPOUND;
	if (!rnd(8))
		args.flags |= MIGRATE_VMA_SELECT_SYSTEM;
	faults.nr = (args.end - args.start) >> PAGE_SHIFT;
	assert_int_equal(migrate_vma_setup(&args), 0);
	for (unsigned long i = 0; i < faults.nr; i++)
		if (faults.src[i] & MIGRATE_PFN_MIGRATE)
			give(&faults, i, 0, migrate_pfn_order(faults.src[i]));
	migrate_vma_pages(&args);
	count_moved(&faults);
	migrate_vma_finalize(&args);
	return 0;
}

static const struct dev_pagemap_ops device_ops = { .folio_free = freed, .migrate_to_ram = to_ram };

/* ---- address spaces, and what is in them ---- */

enum access { NOTHING_MAPPED, NO_ACCESS, READ_ONLY, READ_WRITE };

static struct space {
	struct mm_struct *mm; /* NULL: none */
	struct mmu_interval_notifier mni;
	u64 number[NR];
	u8 access[NR];
} spaces[NR_MMS];
static u64 last_number;

static bool invalidate(struct mmu_interval_notifier *mni, const struct mmu_notifier_range *range,
		       unsigned long seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = invalidate };

static struct space *a_space(void)
{
	struct space *s;

	do
		s = &spaces[rnd(NR_MMS)];
	while (!s->mm);
	sim_mm_use(s->mm);
	return s;
}

static void watch(struct space *s)
{
	assert_int_equal(
		mmu_interval_notifier_insert(&s->mni, s->mm, 0, TASK_SIZE_MAX, &mirror_ops), 0);
}

static void end_space(struct space *s)
{
	mmu_interval_notifier_remove(&s->mni);
	sim_mm_forget(s->mm);
	mmput(s->mm);
	s->mm = NULL;
}

/* How many pages from @first on, up to @nr, are mapped. */
static unsigned long mapped(const struct space *s, unsigned long first, unsigned long nr)
{
	unsigned long n = 0;

	while (n < nr && s->access[first + n] != NOTHING_MAPPED)
		n++;
	return n;
}

/* What a mirror is told, which moves nothing. */
static int mirror(struct space *s, unsigned long first, unsigned long nr, unsigned long flags,
		  unsigned long *el)
{
	struct hmm_range range = { .notifier = &s->mni,
				   .start = at(first),
				   .end = at(first + nr),
				   .hmm_pfns = el,
				   .default_flags = flags,
				   .owner = &owners[0] };
	int err;

	memset(el, 0, nr * sizeof(*el));
	do {
		range.notifier_seq = mmu_interval_read_begin(&s->mni);
		mmap_read_lock(s->mm);
		err = hmm_range_fault(&range);
		mmap_read_unlock(s->mm);
	} while (err == -EBUSY);
	return err;
}

static void check_space(struct space *s)
{
	static unsigned long el[NR];

	assert_int_equal(mirror(s, 0, NR, 0, el), 0);
	for (unsigned long i = 0; i < NR; i++) {
		unsigned long value = hmm_pfn_value(el[i]);
		const u64 *mem;

		assert_int_equal(el[i] == HMM_PFN_ERROR, s->access[i] == NOTHING_MAPPED);
		if (!(el[i] & HMM_PFN_VALID))
			continue;
		assert_true(s->access[i] >= (el[i] & HMM_PFN_WRITE ? READ_WRITE : READ_ONLY));
		mem = mem_of(el[i] & HMM_PFN_PRIVATE ? device_private_page((devidx_t){ value })
						     : pfn_to_page(value));
		if (mem[0] != s->number[i] || mem[WORDS - 1] != s->number[i])
			fail_msg("page %lu has %lu and %lu, not %lu", i, (unsigned long)mem[0],
				 (unsigned long)mem[WORDS - 1], (unsigned long)s->number[i]);
	}
}

static void check_all(void)
{
	assert_true(octavo_validate());
	for (unsigned int i = 0; i < NR_MMS; i++)
		if (spaces[i].mm)
			check_space(&spaces[i]);
	for (unsigned int k = 0; k < ARRAY_SIZE(devices); k++)
		for (unsigned long i = 0; i < devices[k].map.nr; i++)
			assert_int_equal(devices[k].used[i],
					 page_memdesc(devices[k].map.words + i).v !=
						 MEMDESC_DEVICE);
}

/* ---- calls ---- */

static void cpu_writes(struct space *s)
{
	unsigned long i = rnd(NR);
	vm_fault_t ret;

	begin_failing();
	ret = sim_store64(at(i), last_number + 1);
	end_failing();
	if (ret) {
		assert_true(s->access[i] != READ_WRITE || ret & (VM_FAULT_SIGBUS | VM_FAULT_OOM));
		return;
	}
	assert_int_equal(s->access[i], READ_WRITE);
	s->number[i] = ++last_number;
	assert_int_equal(sim_store64(at(i) + (WORDS - 1) * 8, last_number), 0);
}

static void cpu_reads(struct space *s)
{
	unsigned long i = rnd(NR);
	vm_fault_t ret;
	u64 v;

	begin_failing();
	ret = sim_load64(at(i), &v);
	end_failing();
	if (ret)
		assert_true(s->access[i] < READ_ONLY || ret & (VM_FAULT_SIGBUS | VM_FAULT_OOM));
	else
		assert_int_equal(v, s->number[i]);
}

static void migrates(struct space *s)
{
	unsigned long first = rnd(NR), nr = mapped(s, first, some(NR - first)), can = 0;
	struct migrate_vma args = { .src = calls.src, .dst = calls.dst, .flags = rnd(16) };
	unsigned int kind = (unsigned int)rnd(4);

	args.pgmap_owner = &owners[!rnd(8)];
	args.start = at(first);
	mmap_read_lock(s->mm);
	args.vma = nr ? vma_lookup(s->mm, args.start) : NULL;
	if (args.vma) {
		args.end = min(args.vma->vm_end, at(first + nr));
		calls.nr = (args.end - args.start) >> PAGE_SHIFT;
		begin_failing();
		assert_int_equal(migrate_vma_setup(&args), 0);
		for (unsigned long i = 0; i < calls.nr; i++)
			can += !!(calls.src[i] & MIGRATE_PFN_MIGRATE);
		assert_int_equal(args.cpages, can);
		if (rnd(20)) {
			give_all(&calls, kind);
			migrate_vma_pages(&args);
			count_moved(&calls);
		}
		migrate_vma_finalize(&args);
		end_failing();
	}
	mmap_read_unlock(s->mm);
}

static void evicts(struct space *s)
{
	struct device *d = &devices[rnd(ARRAY_SIZE(devices))];
	unsigned long first = rnd(d->map.nr);

	calls.nr = some(d->map.nr - first);
	memset(calls.dst, 0, calls.nr * sizeof(*calls.dst));
	begin_failing();
	if (rnd(2)) {
		assert_int_equal(migrate_device_range(&d->map, first, calls.src, calls.nr), 0);
	} else {
		/* here and there, and some twice */
		for (unsigned long i = 0; i < calls.nr; i++) {
			calls.src[i] = first;
			first = (rnd(6) ? first + 1 : rnd(d->map.nr)) % d->map.nr;
		}
		assert_int_equal(migrate_device_pfns(&d->map, calls.src, calls.nr), 0);
	}
	if (rnd(10)) {
		give_all(&calls, rnd(4) ? 0 : (unsigned int)rnd(4));
		migrate_device_pages(calls.src, calls.dst, calls.nr);
		count_moved(&calls);
	}
	migrate_device_finalize(calls.src, calls.dst, calls.nr);
	end_failing();
}

static void forks(struct space *s)
{
	struct space *child = &spaces[rnd(NR_MMS)];
	int err;

	if (child == s)
		return;
	if (child->mm) {
		end_space(child);
		return;
	}
	begin_failing();
	child->mm = mm_fork(s->mm, &err);
	end_failing();
	if (!child->mm)
		return;
	memcpy(child->number, s->number, sizeof(child->number));
	memcpy(child->access, s->access, sizeof(child->access));
	watch(child);
}

static void remaps(struct space *s)
{
	unsigned long from = rnd(NR), to = rnd(NR);
	unsigned long nr = mapped(s, from, some(NR - max(from, to)));

	if (!nr || (from < to + nr && to < from + nr))
		return;
	if (vm_mremap(s->mm, at(from), nr << PAGE_SHIFT, nr << PAGE_SHIFT,
		      MREMAP_MAYMOVE | MREMAP_FIXED, at(to)) == (long)at(to)) {
		memcpy(s->number + to, s->number + from, nr * sizeof(*s->number));
		memcpy(s->access + to, s->access + from, nr);
		memset(s->number + from, 0, nr * sizeof(*s->number));
		memset(s->access + from, NOTHING_MAPPED, nr);
		return;
	}
	/* more than one area, and what was at the place may be gone */
	mmap_read_lock(s->mm);
	for (unsigned long i = to; i < to + nr; i++)
		if (!vma_lookup(s->mm, at(i))) {
			s->access[i] = NOTHING_MAPPED;
			s->number[i] = 0;
		}
	mmap_read_unlock(s->mm);
}

static void changes(struct space *s)
{
	static const unsigned long prots[] = { [NO_ACCESS] = PROT_NONE,
					       [READ_ONLY] = PROT_READ,
					       [READ_WRITE] = PROT_READ | PROT_WRITE };
	unsigned long first = rnd(NR), nr = some(NR - first), len = nr << PAGE_SHIFT;
	u8 access = rnd(2) ? READ_WRITE : (u8)(1 + rnd(3));

	switch (rnd(4)) {
	case 0:
		assert_int_equal(vm_munmap(s->mm, at(first), len), 0);
		access = NOTHING_MAPPED;
		break;
	case 1:
		assert_int_equal(vm_mmap(s->mm, at(first), len, prots[access],
					 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0),
				 at(first));
		break;
	default:
		nr = mapped(s, first, nr);
		if (!nr)
			return;
		assert_int_equal(vm_mprotect(s->mm, at(first), nr << PAGE_SHIFT, prots[access]), 0);
		memset(s->access + first, access, nr);
		return;
	}
	memset(s->number + first, 0, nr * sizeof(*s->number));
	memset(s->access + first, access, nr);
}

static void advises(struct space *s)
{
	static const int advice[] = { MADV_DONTNEED, MADV_COLD,		 MADV_PAGEOUT,
				      MADV_PAGEOUT,  MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	unsigned long first = rnd(NR), nr = mapped(s, first, some(NR - first));
	int what = advice[rnd(ARRAY_SIZE(advice))], err;

	if (!nr)
		return;
	begin_failing();
	err = vm_madvise(s->mm, at(first), nr << PAGE_SHIFT, what);
	end_failing();
	if (what == MADV_DONTNEED && !err)
		memset(s->number + first, 0, nr * sizeof(*s->number));
}

static void write_number(struct space *s, unsigned long i, const struct page *page)
{
	u64 *mem = mem_of(page);

	assert_int_equal(s->access[i], READ_WRITE);
	assert_int_equal(mem[0], s->number[i]);
	mem[0] = mem[WORDS - 1] = s->number[i] = ++last_number;
}

/* The device has a page alone for a moment, or somebody has it pinned. */
static void holds(struct space *s)
{
	unsigned long i = rnd(NR);
	struct folio *folio;
	struct page *page;
	u32 flags = FOLL_WRITE | (rnd(2) ? FOLL_LONGTERM : 0);
	int err;

	begin_failing();
	if (rnd(2)) {
		mmap_read_lock(s->mm);
		page = make_device_exclusive(s->mm, at(i), &owners[0], &folio, &err);
		mmap_read_unlock(s->mm);
		end_failing();
		if (!page)
			return;
		write_number(s, i, page);
		folio_unlock(folio);
		folio_put(folio);
		return;
	}
	err = (int)pin_user_pages_fast(s->mm, at(i), 1, flags, &page);
	end_failing();
	if (err != 1)
		return;
	write_number(s, i, page);
	migrates(s);
	evicts(s);
	check_space(s);
	unpin_user_page(page);
}

/* What a page is part of, locked and with a reference. NULL: none, or it is locked. */
static struct folio *folio_behind(struct space *s, unsigned long i)
{
	struct folio *folio = NULL;
	struct pt_pos pos;

	mmap_read_lock(s->mm);
	if (pte_offset_lock(s->mm, at(i), PGTABLE_LEVEL_PTE, &pos) ||
	    (pos.level <= MAX_LEAF_LEVEL && pte_offset_lock(s->mm, at(i), pos.level, &pos))) {
		if (pte_is_device_private(pos.pte))
			folio = page_folio(place_page(swp_entry_place(pte_to_swp_entry(pos.pte))));
		else if (pte_leaf(pos.pte, pos.level) && !pte_special(pos.pte))
			folio = page_folio(pfn_to_page(pte_pfn(pos.pte)));
		if (folio && folio_trylock(folio))
			folio_get(folio);
		else
			folio = NULL;
		pte_unlock(&pos);
	}
	mmap_read_unlock(s->mm);
	return folio;
}

/* Folios become larger, smaller, and other ones. */
static void reshapes(struct space *s)
{
	unsigned int order = 1 + (unsigned int)rnd(LEAF_ORDER);
	struct folio *folio;

	WRITE_ONCE(s->mm->folio_orders, 1u | (u32)rnd(1u << (LEAF_ORDER + 1)));
	begin_failing();
	folio = rnd(2) ? folio_behind(s, rnd(NR)) : NULL;
	if (!folio) {
		(void)!collapse_range(s->mm, at(rnd(NR) & ~((1ul << order) - 1)), order,
				      (unsigned int)rnd(6));
	} else {
		order = folio_order(folio);
		if (order)
			(void)!split_folio_mapped(folio, (unsigned int)rnd(order),
						  rnd(2) ? NULL
							 : folio_page(folio, rnd(1ul << order)));
		folio_unlock(folio);
		(void)!migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL);
		folio_put(folio);
	}
	end_failing();
}

static void device_reads(struct space *s)
{
	unsigned long first = rnd(NR), nr = min(NR - first, 1 + rnd(20)), el[20];
	bool failed;
	int err;

	begin_failing();
	err = mirror(s, first, nr, rnd(4), el);
	failed = failing;
	end_failing();
	for (unsigned long i = first; i < first + nr; i++)
		failed |= s->access[i] != READ_WRITE;
	assert_true(!err || failed);
}

static void one_step(void)
{
	static void (*const call[])(struct space * s) = {
		cpu_writes, cpu_writes, cpu_writes, cpu_writes, cpu_reads, cpu_reads, migrates,
		migrates,   migrates,	migrates,   migrates,	evicts,	   evicts,    forks,
		remaps,	    changes,	changes,    advises,	holds,	   reshapes,  device_reads,
	};

	call[rnd(ARRAY_SIZE(call))](a_space());
}

/* ---- a run ---- */

static void devices_up(unsigned long pfn)
{
	static const unsigned long nr[] = { PRIVATE, COHERENT, PRIVATE / 2 };

	for (unsigned int i = 0; i < ARRAY_SIZE(devices); i++) {
		struct device *d = &devices[i];
		bool coherent = i == 1;

		d->map = (struct dev_pagemap){ .type = coherent ? MEMORY_DEVICE_COHERENT
								: MEMORY_DEVICE_PRIVATE,
					       .nr = nr[i],
					       .pfn = coherent ? pfn : 0,
					       .ops = &device_ops,
					       .owner = &owners[i == 2] };
		d->used = calloc(nr[i], sizeof(*d->used));
		d->mem = coherent ? NULL : aligned_alloc(PAGE_SIZE, nr[i] << PAGE_SHIFT);
		assert_true(d->used && (coherent || d->mem));
		assert_int_equal(memremap_pages(&d->map), 0);
	}
}

static void devices_down(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(devices); i++) {
		assert_int_equal(devices[i].map.ref, 0);
		memunmap_pages(&devices[i].map);
		free(devices[i].used);
		free(devices[i].mem);
	}
}

static void run(u64 seed, unsigned long steps)
{
	struct sim_config cfg = { .bytes = (u64)TEST_MIB << 20, .cpus = 2, .quiet = true };
	struct test_device *swap;

	rng = seed * 0x9e3779b97f4a7c15ull + 1;
	cfg.max_phys = cfg.bytes + COHERENT * PAGE_SIZE;
	assert_int_equal(sim_boot(&cfg), 0);
	sim_set_cpu(0);
	assert_int_equal(reclaim_init(), 0);
	swap = test_device_on(2048, 0, TD_NOW);
	devices_up(cfg.bytes >> PAGE_SHIFT);
	memset(spaces, 0, sizeof(spaces));
	as = spaces[0].mm = mm_alloc();
	assert_non_null(as);
	watch(&spaces[0]);
	sim_mm_use(as);
	sim_mmu_paranoid(true);
	map_anon(0, NR);
	memset(spaces[0].access, READ_WRITE, NR);
	for (unsigned long i = 0; i < steps; i++) {
		one_step();
		if (i % 64 == 0)
			check_all();
	}
	check_all();
	for (unsigned int i = 0; i < NR_MMS; i++)
		if (spaces[i].mm)
			end_space(&spaces[i]);
	devices_down();
	/* where a lock could not be had a folio that nobody needs is in the cache still */
	assert_int_equal(swapoff(swap->type), 0);
	test_device_free(swap);
	shutdown_clean();
}

COVERS("S1.19 S1.22 S1.24 S1.26 S1.27 S1.28 S1.29 S1.35 S1.38 S1.41");
static void test_device_mix(void **state)
{
	const char *s = getenv("OCTAVO_DEVICE_MIX");
	u64 seeds = s ? strtoull(s, NULL, 0) : 20;

	moved = 0;
	for (u64 seed = 1; seed <= seeds; seed++)
		run(seed, TINY ? 1500 : 700);
	assert_true(moved > 100 * seeds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_device_mix),
	};

	return cmocka_run_group_tests_name("device_mix-" TEST_VARIANT, tests, NULL, NULL);
}
