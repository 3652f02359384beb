// SPDX-License-Identifier: MIT
/*
 * mirror.c - the device's page tables, which mirror what the CPUs' say.
 *
 * 1. Filled under the notifier's sequence: what was read of the CPUs' tables is used only if nobody has said since that
 *    it changes. That is asked with ctx->lock held for writing, under which invalidations empty the tables, too.
 *
 * 2. Used under ctx->lock for reading, for as long as an access takes: so when the invalidation returns, no access
 *    through what it took away is going on.
 *
 * 3. A fault reads the pages around it as well, as far as they are there, and large runs become large entries.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "accel_priv.h"

/* Pages that are looked at with one fault: an entry of level 1. */
#define WINDOW_PAGES DPT_SIZE
#define WINDOW_SIZE  ((unsigned long)WINDOW_PAGES << PAGE_SHIFT)

static unsigned int dpt_index(unsigned long addr, unsigned int level)
{
	return (unsigned int)(addr >> (PAGE_SHIFT + level * DPT_BITS)) & (DPT_SIZE - 1);
}

static unsigned long dpt_span(unsigned int level)
{
	return 1ul << (PAGE_SHIFT + level * DPT_BITS);
}

/* ---- use ---- */

static bool allows(u64 e, enum mirror_access access)
{
	if (access == MIRROR_READ)
		return e & DPT_VALID;
	/* no CPU has it: of the device's own memory, or for itself for a while */
	if (access == MIRROR_ALONE && !(e & (DPT_LOCAL | DPT_ALONE)))
		return false;
	return (e & (DPT_VALID | DPT_WRITE)) == (DPT_VALID | DPT_WRITE);
}

bool mirror_translate(const struct accel_ctx *ctx, unsigned long addr, enum mirror_access access,
		      struct accel_mem *mem)
{
	const struct dpt *t = ctx->dpt;
	unsigned int level = DPT_LEVELS - 1;
	unsigned long place;
	u64 e = 0;

	while (t) {
		e = t->pte[dpt_index(addr, level)];
		if (e || !level)
			break;
		t = t->down[dpt_index(addr, level)];
		level--;
	}
	if (!allows(e, access))
		return false;
	place = (e >> DPT_SHIFT) + ((addr & (dpt_span(level) - 1)) >> PAGE_SHIFT);
	if (e & DPT_LOCAL)
		*mem = (struct accel_mem){ .kind = ACCEL_DEVICE, .at = place << PAGE_SHIFT };
	else
		*mem = (struct accel_mem){ .kind = ACCEL_HOST, .host = pfn_to_virt(place) };
	*mem = accel_mem_add(*mem, addr & (PAGE_SIZE - 1));
	return true;
}

/* ---- emptying ---- */

static void clear_table(struct dpt *t, unsigned int level, unsigned long base, unsigned long start,
			unsigned long end)
{
	unsigned long span = dpt_span(level);
	unsigned int first = start > base ? dpt_index(start, level) : 0;

	for (unsigned int i = first; i < DPT_SIZE && base + i * span < end; i++) {
		/* what is larger than the range goes as a whole: the device faults again */
		t->pte[i] = 0;
		if (t->down[i])
			clear_table(t->down[i], level - 1, base + i * span, start, end);
	}
}

void mirror_clear(struct accel_ctx *ctx, unsigned long start, unsigned long end)
{
	if (ctx->dpt)
		clear_table(ctx->dpt, DPT_LEVELS - 1, 0, start, end);
}

static void free_table(struct dpt *t)
{
	if (!t)
		return;
	for (unsigned int i = 0; i < DPT_SIZE; i++)
		free_table(t->down[i]);
	free(t);
}

void mirror_free(struct accel_ctx *ctx)
{
	free_table(ctx->dpt);
	ctx->dpt = NULL;
}

static bool mirror_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct accel_ctx *ctx = container_of(mni, struct accel_ctx, mni);

	/* our own doing: what the device is to have alone is about to be in its table */
	if (range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == ctx->dev)
		return true;
	if (range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE)
		pthread_rwlock_wrlock(&ctx->lock);
	else if (pthread_rwlock_trywrlock(&ctx->lock))
		return false;
	mmu_interval_set_seq(mni, seq);
	mirror_clear(ctx, range->start, range->end);
	pthread_rwlock_unlock(&ctx->lock);
	accel_count(ctx->dev, invalidations, 1);
	return true;
}

const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = mirror_invalidate };

/* ---- filling ---- */

/* Context: the lock for writing. Return: false: no memory for tables. */
static bool dpt_set(struct accel_ctx *ctx, unsigned long addr, unsigned int level, u64 e)
{
	struct dpt **t = &ctx->dpt;

	for (unsigned int l = DPT_LEVELS - 1;; l--) {
		if (!*t)
			*t = calloc(1, sizeof(**t));
		if (!*t)
			return false;
		if (l == level)
			break;
		/* a smaller one in its place: the rest comes when it is asked for */
		(*t)->pte[dpt_index(addr, l)] = 0;
		t = &(*t)->down[dpt_index(addr, l)];
	}
	(*t)->pte[dpt_index(addr, level)] = e;
	return true;
}

static u64 dpt_entry(const struct accel_ctx *ctx, unsigned long el)
{
	unsigned long place = hmm_pfn_value(el);
	u64 e = DPT_VALID;

	if (el & HMM_PFN_WRITE)
		e |= DPT_WRITE;
	if (el & HMM_PFN_PRIVATE) {
		e |= DPT_LOCAL;
		place -= ctx->dev->pgmap.base.v;
	}
	return e | place << DPT_SHIFT;
}

/* What was read. Context: the lock for writing, the sequence checked. */
static bool mirror_fill(struct accel_ctx *ctx, const struct hmm_range *range)
{
	unsigned long nr = (range->end - range->start) >> PAGE_SHIFT, n;

	for (unsigned long i = 0; i < nr; i += n) {
		unsigned long addr = range->start + (i << PAGE_SHIFT), el = range->hmm_pfns[i];
		bool large = hmm_pfn_order(el) >= DPT_BITS && IS_ALIGNED(addr, dpt_span(1)) &&
			     nr - i >= DPT_SIZE;

		n = large ? DPT_SIZE : 1;
		if (el & HMM_PFN_VALID && !dpt_set(ctx, addr, large, dpt_entry(ctx, el)))
			return false;
	}
	return true;
}

/* The range to look at, and what is asked for in it. Context: mmap_lock. */
static int plan_fault(struct accel_ctx *ctx, unsigned long addr, bool write,
		      struct hmm_range *range)
{
	struct vm_area_struct *vma = vma_lookup(ctx->mm, addr);
	unsigned long base = addr & ~(WINDOW_SIZE - 1);

	if (!vma)
		return -EFAULT;
	range->start = max(base, vma->vm_start);
	range->end = min(base + WINDOW_SIZE, vma->vm_end);
	memset(range->hmm_pfns, 0, WINDOW_PAGES * sizeof(*range->hmm_pfns));
	range->hmm_pfns[(addr - range->start) >> PAGE_SHIFT] =
		HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
	return 0;
}

/* One attempt. Return: 0; -EBUSY: again; -errno. */
static int fault_once(struct accel_ctx *ctx, unsigned long addr, bool write)
{
	unsigned long pfns[WINDOW_PAGES];
	struct hmm_range range = {
		.notifier = &ctx->mni,
		.hmm_pfns = pfns,
		.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.owner = ctx->dev,
	};
	int err;

	range.notifier_seq = mmu_interval_read_begin(range.notifier);
	mmap_read_lock(ctx->mm);
	err = plan_fault(ctx, addr, write, &range);
	if (!err)
		err = hmm_range_fault(&range);
	mmap_read_unlock(ctx->mm);
	if (err)
		return err;
	pthread_rwlock_wrlock(&ctx->lock);
	if (mmu_interval_read_retry(range.notifier, range.notifier_seq))
		err = -EBUSY;
	else if (!mirror_fill(ctx, &range))
		err = -ENOMEM;
	pthread_rwlock_unlock(&ctx->lock);
	return err;
}

static int fault_in(struct accel_ctx *ctx, unsigned long addr, bool write)
{
	int err;

	while ((err = fault_once(ctx, addr, write)) == -EBUSY)
		accel_count(ctx->dev, retries, 1);
	return err;
}

/* ---- exclusive access ---- */

static int exclusive_once(struct accel_ctx *ctx, unsigned long addr)
{
	unsigned long seq = mmu_interval_read_begin(&ctx->mni);
	struct folio *folio;
	struct page *page;
	int err;

	mmap_read_lock(ctx->mm);
	page = make_device_exclusive(ctx->mm, addr, ctx->dev, &folio, &err);
	mmap_read_unlock(ctx->mm);
	if (!page)
		return err;
	/* locked: a CPU that touches it waits, and then invalidates what we fill in */
	err = 0;
	pthread_rwlock_wrlock(&ctx->lock);
	if (mmu_interval_read_retry(&ctx->mni, seq))
		err = -EBUSY;
	else if (!dpt_set(ctx, addr, 0,
			  (u64)page_to_pfn(page) << DPT_SHIFT | DPT_VALID | DPT_WRITE | DPT_ALONE))
		err = -ENOMEM;
	pthread_rwlock_unlock(&ctx->lock);
	folio_unlock(folio);
	folio_put(folio);
	return err;
}

/* As it is, if it is the device's memory; else the page is taken from the CPUs. */
static int fault_alone(struct accel_ctx *ctx, unsigned long addr)
{
	int err = fault_in(ctx, addr, true);
	struct accel_mem mem;
	bool there;

	if (err)
		return err;
	pthread_rwlock_rdlock(&ctx->lock);
	there = mirror_translate(ctx, addr, MIRROR_ALONE, &mem);
	pthread_rwlock_unlock(&ctx->lock);
	if (there)
		return 0;
	accel_count(ctx->dev, exclusive, 1);
	while ((err = exclusive_once(ctx, addr)) == -EBUSY)
		octavo_port_relax();
	return err;
}

int mirror_fault(struct accel_ctx *ctx, unsigned long addr, enum mirror_access access)
{
	addr &= PAGE_MASK;
	accel_count(ctx->dev, faults, 1);
	if (access == MIRROR_ALONE)
		return fault_alone(ctx, addr);
	/* what cannot be brought is used where it is */
	if (ctx->dev->cfg.migrates)
		(void)accel_migrate(ctx, addr, PAGE_SIZE);
	return fault_in(ctx, addr, access == MIRROR_WRITE);
}
