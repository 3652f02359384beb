// SPDX-License-Identifier: MIT
/*
 * gup.c - get_user_pages: the public calls, and the slow path under mmap_lock.
 *
 * The slow path looks at entries under their page-table lock, faults in what is missing, and starts again at the
 * same address. Under the lock an entry keeps what it maps, so references are added, not tried for.
 *
 * Who may be got and pinned is docs/memdesc.md's matrix: a folio's page both ways; a counted plain page gets a
 * reference either way, because a pin exists to keep fork and reclaim away from anonymous memory, and
 * plain pages have neither; the zero page is returned for reading as it is; special entries (frozen pages, frames
 * without words) are nobody's to hand out: -EFAULT.
 *
 * An anonymous page that is not exclusive may not be pinned, even for reading: the next write of its owner
 * would go to a copy and the pin would stay with the others'. A fault with FAULT_FLAG_UNSHARE makes it so.
 */
#include <octavo/errno.h>
#include <octavo/migrate.h>
#include <octavo/string.h>

#include "fault.h"
#include "gup.h"

/* What looking at an entry can come to, besides pages taken. */
enum gup_verdict {
	GUP_TOOK,
	GUP_FAULT, /* g->fault_flags says for what */
	GUP_EFAULT,
	GUP_EHWPOISON,
};

#define GUP_PUBLIC_FLAGS \
	(FOLL_WRITE | FOLL_FORCE | FOLL_NOWAIT | FOLL_LONGTERM | FOLL_FAST_ONLY | FOLL_NOFAULT)

/* ---- one entry ---- */

/*
 * FOLL_FORCE writes to private memory that its owner may not write to (a debugger's breakpoint). The page must be
 * the owner's own by then: exclusive, and dirty, so that a fault has been through here.
 */
static bool can_follow_write(const struct vm_area_struct *vma, pte_t e, struct folio *folio,
			     unsigned long idx, u32 flags)
{
	if (pte_write(e))
		return true;
	return (flags & FOLL_FORCE) && !(vma->vm_flags & (VM_WRITE | VM_SHARED)) && folio &&
	       folio_test_anon(folio) && folio_test_anon_exclusive(folio, idx) && pte_dirty(e) &&
	       !pte_uffd_wp(e);
}

static void gup_add(struct folio *folio, unsigned long nr, u32 flags)
{
	if (!(flags & FOLL_PIN))
		folio_ref_add(folio, (u32)nr);
	else
		while (!folio_try_pin(folio, (u32)nr))
			/* mapped under our lock, so live: refused by an injected failure, or saturated */
			if ((s32)folio_ref_count(folio) < 0)
				octavo_panic("get_user_pages: folio %p: too many references",
					     (void *)folio);
}

static enum gup_verdict gup_folio(struct gup *g, const struct vm_area_struct *vma,
				  struct pt_pos *pos, struct folio *folio, u32 *fault_flags)
{
	unsigned long in = (g->addr & (level_size(pos->level) - 1)) >> PAGE_SHIFT;
	unsigned long max = (min(g->end, vma->vm_end) - g->addr) >> PAGE_SHIFT, nr;
	unsigned long idx = pte_pfn(pos->pte) + in - folio_pfn(folio);
	/* the bit that stands for a leaf is that of its first page */
	unsigned long bit = pos->level ? idx - in : idx;

	if (g->flags & FOLL_WRITE && !can_follow_write(vma, pos->pte, folio, bit, g->flags)) {
		*fault_flags = FAULT_FLAG_WRITE;
		return GUP_FAULT;
	}
	if (g->flags & FOLL_PIN && folio_test_anon(folio) &&
	    !folio_test_anon_exclusive(folio, bit)) {
		*fault_flags = FAULT_FLAG_UNSHARE;
		return GUP_FAULT;
	}
	if (pos->level) {
		nr = min(max, (1ul << level_order(pos->level)) - in);
	} else {
		pte_t e = pos->pte;

		nr = min(max, PTRS_PER_TABLE - level_index(g->addr, 0));
		nr = folio_test_large(folio)
			     ? folio_pte_batch_flags(folio, vma, pos->ptep, &e, (unsigned int)nr,
						     FPB_RESPECT_WRITE)
			     : 1;
		if (g->flags & FOLL_PIN && folio_test_anon(folio) && nr > 1) {
			bool exclusive;

			nr = folio_anon_exclusive_run(folio_subrange(folio, idx, nr), &exclusive);
		}
	}
	gup_add(folio, nr, g->flags);
	gup_answer(g, pte_pfn(pos->pte) + in, nr);
	return GUP_TOOK;
}

static enum gup_verdict gup_present(struct gup *g, const struct vm_area_struct *vma,
				    struct pt_pos *pos, u32 *fault_flags)
{
	struct page *page = vm_normal_page(vma, g->addr, pos->pte, pos->level);
	struct folio *folio;

	if (pte_protnone(pos->pte) && !(g->flags & FOLL_FORCE)) {
		*fault_flags = 0;
		return vma->vm_flags & VM_ACCESS_FLAGS ? GUP_FAULT : GUP_EFAULT;
	}
	if (!page) {
		if (!is_zero_pfn(pte_pfn(pos->pte)))
			return GUP_EFAULT;
		*fault_flags = FAULT_FLAG_WRITE;
		if (g->flags & FOLL_WRITE)
			return GUP_FAULT;
		/* no reference is taken, and none is put */
		gup_answer(g, pte_pfn(pos->pte), 1);
		return GUP_TOOK;
	}
	folio = vm_normal_folio(vma, g->addr, pos->pte, pos->level);
	if (folio)
		return gup_folio(g, vma, pos, folio, fault_flags);
	if (g->flags & FOLL_WRITE && !pte_write(pos->pte)) {
		*fault_flags = FAULT_FLAG_WRITE;
		return GUP_FAULT;
	}
	get_page(page);
	gup_answer(g, page_to_pfn(page), 1);
	return GUP_TOOK;
}

/* Look at the entry of g->addr. Context: mmap_lock. */
static enum gup_verdict gup_look(struct gup *g, const struct vm_area_struct *vma, u32 *fault_flags)
{
	enum gup_verdict verdict = GUP_FAULT;
	struct pt_pos pos;

	*fault_flags = g->flags & FOLL_WRITE ? FAULT_FLAG_WRITE : 0;
	if (!pte_offset_lock(g->mm, g->addr, PGTABLE_LEVEL_PTE, &pos)) {
		unsigned int level = pos.level;

		/* none or of swap form: fault; a leaf: look again under its lock */
		if (!pte_leaf(pos.pte, level))
			return GUP_FAULT;
		if (!pte_offset_lock(g->mm, g->addr, level, &pos))
			return GUP_FAULT;
		if (pte_leaf(pos.pte, level))
			verdict = gup_present(g, vma, &pos, fault_flags);
		pte_unlock(&pos);
		return verdict;
	}
	if (pte_present(pos.pte))
		verdict = gup_present(g, vma, &pos, fault_flags);
	else if (pte_is_swap(pos.pte) && is_hwpoison_entry(pte_to_swp_entry(pos.pte)))
		verdict = GUP_EHWPOISON;
	pte_unlock(&pos);
	return verdict;
}

/* ---- the slow path ---- */

/* May the area be looked at like this at all? */
static int gup_check_vma(const struct vm_area_struct *vma, u32 flags)
{
	vm_flags_t f = vma->vm_flags;

	if (f & (VM_IO | VM_PFNMAP))
		return -EFAULT;
	if (flags & FOLL_WRITE) {
		if (f & VM_WRITE)
			return 0;
		/* only where a write makes a private copy */
		return flags & FOLL_FORCE && is_cow_mapping(f) ? 0 : -EFAULT;
	}
	if (f & VM_READ || (flags & FOLL_CPU && f & VM_ACCESS_FLAGS))
		return 0;
	return flags & FOLL_FORCE && f & VM_MAYREAD ? 0 : -EFAULT;
}

/* Without mmap_lock, which may have changed hands when it is back. Return: 1; -ENOMEM. */
static int gup_wait(const struct gup *g)
{
	vm_fault_t ret;

	mmap_read_unlock(g->mm);
	ret = fault_wait(g->wait);
	mmap_read_lock(g->mm);
	return ret ? -ENOMEM : 1;
}

/* Return: 0; 1: mmap_lock was given up meanwhile; -errno. */
static int gup_faultin(struct gup *g, struct vm_area_struct *vma, u32 fault_flags)
{
	vm_fault_t ret;

	if (g->flags & FOLL_NOFAULT)
		return -EFAULT;
	if (g->flags & FOLL_REMOTE)
		fault_flags |= FAULT_FLAG_REMOTE;
	if (g->flags & FOLL_NOWAIT)
		fault_flags |= FAULT_FLAG_NOWAIT;
	ret = handle_mm_fault_wait(vma, g->addr, fault_flags, g->wait);
	if (fault_waits(g->wait))
		return gup_wait(g);
	if (ret & VM_FAULT_OOM)
		return -ENOMEM;
	if (ret & VM_FAULT_HWPOISON)
		return -EHWPOISON;
	if (ret & VM_FAULT_ERROR)
		return -EFAULT;
	return ret & VM_FAULT_RETRY ? -EAGAIN : 0;
}

/* As many as possible from g->addr on. Context: mmap_lock for reading. Return: 0, or why it stopped. */
static int gup_slow(struct gup *g)
{
	struct vm_area_struct *vma = NULL;
	int err;

	while (g->addr < g->end) {
		u32 fault_flags;

		if (!vma || g->addr >= vma->vm_end) {
			vma = vma_lookup(g->mm, g->addr);
			if (!vma)
				return -EFAULT;
			err = gup_check_vma(vma, g->flags);
			if (err)
				return err;
		}
		switch (gup_look(g, vma, &fault_flags)) {
		case GUP_TOOK:
			continue;
		case GUP_EFAULT:
			return -EFAULT;
		case GUP_EHWPOISON:
			return -EHWPOISON;
		case GUP_FAULT:
			err = gup_faultin(g, vma, fault_flags);
			if (err < 0)
				return err;
			if (err)
				vma = NULL;
		}
	}
	return 0;
}

/* ---- giving back ---- */

void put_user_page(struct page *page)
{
	if (!is_zero_pfn(page_to_pfn(page)))
		put_page(page);
}

void unpin_user_page(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (folio)
		folio_unpin(folio, 1);
	else
		put_user_page(page);
}

unsigned long gup_same_folio(struct page **pages, unsigned long nr, struct folio **folio)
{
	struct page *first = pages[0];

	*folio = page_folio(first);
	if (!*folio)
		return 1;
	nr = min(nr, folio_nr_pages(*folio) - folio_page_idx(*folio, first));
	return words_ramp_run((const unsigned long *)pages, (unsigned long)first, sizeof(*first),
			      ~0ul, nr, NULL);
}

static void dirty_lock(struct folio *folio)
{
	if (folio_test_flag(folio, PG_dirty))
		return;
	folio_lock(folio);
	folio_set_flag(folio, PG_dirty);
	folio_unlock(folio);
}

/* @flags: FOLL_PIN or FOLL_GET: what is given back. */
static void give_back_run(struct folio *folio, struct page *page, unsigned long n, u32 flags,
			  bool make_dirty)
{
	if (!folio) {
		put_user_page(page);
		return;
	}
	if (make_dirty)
		dirty_lock(folio);
	gup_put_folio(folio, n, flags);
}

#define GIVE_BACK_BATCH 32ul

/*
 * Pages of small folios from pages[0] on. All are looked up before the first is given back: no load begins before a
 * locked operation ahead of it is done, and one page after another each would wait for memory alone.
 * Return: how many; 0: pages[0] is none.
 */
static inline unsigned long give_back_small(struct page **pages, unsigned long nr, u32 flags,
					    bool make_dirty)
{
	const u32 refs = flags & FOLL_PIN ? GUP_PIN_COUNTING_BIAS : 1;
	struct folio *folios[GIVE_BACK_BATCH];
	unsigned long n;

	nr = min(nr, GIVE_BACK_BATCH);
	for (n = 0; n < nr; n++) {
		memdesc_t md = page_memdesc(pages[n]);

		if (!memdesc_is_folio(md) || folio_class(memdesc_ptr(md)) != FOLIO_CLASS_SMALL)
			break;
		folios[n] = memdesc_ptr(md);
	}
	for (unsigned long i = 0; make_dirty && i < n; i++)
		dirty_lock(folios[i]);
	for (unsigned long i = 0; i < n; i++)
		folio_put_refs(folios[i], refs);
	return n;
}

static __always_inline void give_back(struct page **pages, unsigned long nr, u32 flags,
				      bool make_dirty)
{
	while (nr) {
		unsigned long n = give_back_small(pages, nr, flags, make_dirty);
		struct folio *folio;

		if (!n) {
			n = gup_same_folio(pages, nr, &folio);
			give_back_run(folio, pages[0], n, flags, make_dirty);
		}
		pages += n;
		nr -= n;
	}
}

/* ---- long-term pins ---- */

/*
 * Pins are given up, each folio that has to move by one reference in their place, because with a pin it could not. Its
 * first page stays in @pages, all else becomes NULL. Return: false: something of a device that is no folio.
 */
static bool longterm_unpin(struct page **pages, unsigned long nr)
{
	struct folio *last = NULL;
	bool ok = true;

	for (unsigned long i = 0, n; i < nr; i += n) {
		struct page *page = pages[i];
		struct folio *folio;

		n = gup_same_folio(pages + i, nr - i, &folio);
		memset(pages + i, 0, n * sizeof(*pages));
		if (folio && !gup_longterm_ok(page_to_pfn(page))) {
			if (folio != last) {
				folio_get(folio);
				pages[i] = page;
			}
			last = folio;
		} else if (!folio && pfn_zone(page_to_pfn(page)) == ZONE_DEVICE) {
			/* plain pages do not move, and these are a device's */
			ok = false;
		}
		give_back_run(folio, page, n, FOLL_PIN, false);
	}
	return ok;
}

/* How many pages, from the first on, may stay where they are. */
static unsigned long longterm_first(struct page **pages, unsigned long nr)
{
	unsigned long i = 0;

	while (i < nr && gup_longterm_ok(page_to_pfn(pages[i])))
		i++;
	return i;
}

/*
 * Leave no page where it must be able to move from. Return: 0: none is; else all pins are given up: -EAGAIN: what could be
 * moved is, pin again; -errno.
 */
static int gup_longterm(struct page **pages, unsigned long nr)
{
	int err = 0;

	if (longterm_first(pages, nr) == nr)
		return 0;
	if (!longterm_unpin(pages, nr))
		err = -EFAULT;
	for (unsigned long i = 0; i < nr; i++) {
		struct folio *folio = pages[i] ? page_folio(pages[i]) : NULL;

		if (!folio)
			continue;
		/* it may have moved already, for somebody else; who uses it just now may be through with it in the next round */
		if ((!err || err == -EAGAIN || err == -EBUSY) && folio_mapped(folio))
			err = migrate_folio(folio, NUMA_NO_NODE, GFP_USER);
		folio_put(folio);
	}
	return err && err != -EBUSY ? err : -EAGAIN;
}

/* Rounds of pinning and moving before a folio that somebody else keeps in place makes it fail. */
#define LONGTERM_ROUNDS 16

/* Context: mmap_lock for reading. */
static long gup_locked(struct gup *g)
{
	struct page **pages = g->pages;
	unsigned long start = g->addr, nr;
	int err, rounds = 0;

	for (;;) {
		err = gup_slow(g);
		nr = (g->addr - start) >> PAGE_SHIFT;
		if (!(g->flags & FOLL_LONGTERM) || !nr)
			break;
		if (g->flags & FOLL_NOWAIT) {
			/* moving sleeps: fewer pages instead */
			unsigned long stay = longterm_first(pages, nr);

			unpin_user_pages(pages + stay, nr - stay);
			nr = stay;
			err = -EAGAIN;
			break;
		}
		err = gup_longterm(pages, nr);
		if (!err)
			break;
		nr = 0;
		g->addr = start;
		g->pages = pages;
		if (err != -EAGAIN || ++rounds == LONGTERM_ROUNDS)
			break;
	}
	return nr ? (long)nr : err;
}

/* ---- the calls ---- */

static int gup_init(struct gup *g, struct mm_struct *mm, unsigned long start, unsigned long nr,
		    u32 flags, struct page **pages)
{
	if (flags & ~(GUP_PUBLIC_FLAGS | FOLL_GET | FOLL_PIN | FOLL_REMOTE | FOLL_CPU) || !pages)
		return -EINVAL;
	if (flags & FOLL_LONGTERM && !(flags & FOLL_PIN))
		return -EINVAL;
	start &= PAGE_MASK;
	if (start >= mm->task_size || nr > (mm->task_size - start) >> PAGE_SHIFT)
		return -EFAULT;
	*g = (struct gup){ .mm = mm,
			   .addr = start,
			   .end = start + (nr << PAGE_SHIFT),
			   .flags = flags,
			   .pages = pages };
	return 0;
}

static long gup_unlocked(struct gup *g)
{
	struct fault_wait wait;
	long ret;

	fault_wait_init(&wait);
	g->wait = &wait;
	if (g->flags & FOLL_NOWAIT) {
		if (!mmap_read_trylock(g->mm))
			return -EAGAIN;
	} else {
		mmap_read_lock(g->mm);
	}
	ret = gup_locked(g);
	mmap_read_unlock(g->mm);
	return ret;
}

long gup_pages(struct mm_struct *mm, unsigned long start, unsigned long nr, u32 flags,
	       struct page **pages)
{
	unsigned long fast;
	struct gup g;
	long ret = gup_init(&g, mm, start, nr, flags, pages);

	if (ret)
		return ret;
	fast = gup_fast(&g);
	if (fast == nr || flags & FOLL_FAST_ONLY)
		return (long)fast;
	ret = gup_unlocked(&g);
	if (ret < 0)
		return fast ? (long)fast : ret;
	return (long)fast + ret;
}

long get_user_pages_fast(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			 u32 gup_flags, struct page **pages)
{
	if (gup_flags & ~GUP_PUBLIC_FLAGS)
		return -EINVAL;
	return gup_pages(mm, start, nr_pages, gup_flags | FOLL_GET, pages);
}

long pin_user_pages_fast(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			 u32 gup_flags, struct page **pages)
{
	if (gup_flags & ~GUP_PUBLIC_FLAGS)
		return -EINVAL;
	return gup_pages(mm, start, nr_pages, gup_flags | FOLL_PIN, pages);
}

static long gup_under_lock(struct mm_struct *mm, unsigned long start, unsigned long nr,
			   u32 gup_flags, u32 how, struct page **pages, struct fault_wait *wait)
{
	struct gup g;
	int err;

	if (gup_flags & (~GUP_PUBLIC_FLAGS | FOLL_FAST_ONLY))
		return -EINVAL;
	err = gup_init(&g, mm, start, nr, gup_flags | how, pages);
	g.wait = wait;
	return err ? err : gup_locked(&g);
}

long get_user_pages_wait(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			 u32 gup_flags, struct page **pages, struct fault_wait *wait)
{
	return gup_under_lock(mm, start, nr_pages, gup_flags, FOLL_GET, pages, wait);
}

long get_user_pages(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
		    u32 gup_flags, struct page **pages)
{
	return gup_under_lock(mm, start, nr_pages, gup_flags, FOLL_GET, pages, NULL);
}

long pin_user_pages(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
		    u32 gup_flags, struct page **pages)
{
	return gup_under_lock(mm, start, nr_pages, gup_flags, FOLL_PIN, pages, NULL);
}

static long gup_remote(struct mm_struct *mm, unsigned long start, unsigned long nr, u32 gup_flags,
		       u32 how, struct page **pages)
{
	struct gup g;
	int err;

	if (gup_flags & (~GUP_PUBLIC_FLAGS | FOLL_FAST_ONLY))
		return -EINVAL;
	err = gup_init(&g, mm, start, nr, gup_flags | how | FOLL_REMOTE, pages);
	return err ? err : gup_unlocked(&g);
}

long get_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			   u32 gup_flags, struct page **pages)
{
	return gup_remote(mm, start, nr_pages, gup_flags, FOLL_GET, pages);
}

long pin_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			   u32 gup_flags, struct page **pages)
{
	return gup_remote(mm, start, nr_pages, gup_flags, FOLL_PIN, pages);
}

/* ---- giving back: the calls ---- */

void put_user_pages(struct page **pages, unsigned long nr_pages)
{
	give_back(pages, nr_pages, FOLL_GET, false);
}

void unpin_user_pages_dirty_lock(struct page **pages, unsigned long nr_pages, bool make_dirty)
{
	give_back(pages, nr_pages, FOLL_PIN, make_dirty);
}

void unpin_user_pages(struct page **pages, unsigned long nr_pages)
{
	give_back(pages, nr_pages, FOLL_PIN, false);
}

/* Consecutive pages of small folios. Return: how many, at least one. */
static unsigned long unpin_range_small(struct page *page, unsigned long nr, bool make_dirty)
{
	struct page *pages[GIVE_BACK_BATCH];

	nr = min(nr, GIVE_BACK_BATCH);
	for (unsigned long i = 0; i < nr; i++)
		pages[i] = page + i;
	return give_back_small(pages, nr, FOLL_PIN, make_dirty);
}

void unpin_user_page_range_dirty_lock(struct page *page, unsigned long nr_pages, bool make_dirty)
{
	while (nr_pages) {
		struct folio *folio = page_folio(page);
		unsigned long n = 1;

		if (folio && folio_class(folio) == FOLIO_CLASS_SMALL) {
			n = unpin_range_small(page, nr_pages, make_dirty);
		} else {
			if (folio)
				n = min(nr_pages,
					folio_nr_pages(folio) - folio_page_idx(folio, page));
			give_back_run(folio, page, n, FOLL_PIN, make_dirty);
		}
		page += n;
		nr_pages -= n;
	}
}
