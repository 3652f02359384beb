/* SPDX-License-Identifier: MIT */
/*
 * swap_space.h - an address space with a swap device that is this test's memory: it counts, fails where it is told to,
 * keeps transfers until it is asked, and calls the test before it does anything.
 */
#ifndef OCTAVO_TESTS_SWAP_SPACE_H
#define OCTAVO_TESTS_SWAP_SPACE_H

#include "fault_machine.h"
#include "page_out.h"

#define DEV_SLOTS 512u

static struct {
	u64 mem[DEV_SLOTS][PAGE_SIZE / 8];
	bool written[DEV_SLOTS];
	bool broken[DEV_SLOTS];		    /* cannot be read */
	u32 reads, writes, slots_read;	    /* transfers, and pages */
	bool keep;			    /* transfers wait for poll */
	struct swap_io *kept;		    /* the last one first */
	void (*before)(struct swap_io *io); /* told of each transfer, once */
	int type;
} dev;

static void dev_do(struct swap_io *io)
{
	int err = 0;

	for (u32 i = 0; i < io->nr; i++) {
		unsigned long slot = io->slot + i;
		char *page = (char *)io->addr + (unsigned long)i * PAGE_SIZE;

		if (io->op == SWAP_WRITE) {
			memcpy(dev.mem[slot], page, PAGE_SIZE);
			dev.written[slot] = true;
		} else if (dev.broken[slot] || !dev.written[slot]) {
			err = -EIO;
		} else {
			memcpy(page, dev.mem[slot], PAGE_SIZE);
		}
	}
	swap_io_done(io, err);
}

static void dev_submit(struct swap_device *sd, struct swap_io *io)
{
	void (*before)(struct swap_io *) = dev.before;

	assert_in_range(io->slot + io->nr - 1, 1, DEV_SLOTS - 1);
	dev.before = NULL;
	if (before)
		before(io);
	if (io->op == SWAP_READ) {
		dev.reads++;
		dev.slots_read += io->nr;
	} else {
		dev.writes++;
	}
	if (dev.keep) {
		io->link = dev.kept;
		dev.kept = io;
	} else {
		dev_do(io);
	}
}

static void dev_poll(struct swap_device *sd)
{
	while (dev.kept) {
		struct swap_io *io = dev.kept;

		dev.kept = io->link;
		dev_do(io);
	}
}

static void dev_discard(struct swap_device *sd, unsigned long slot, u32 nr)
{
	for (u32 i = 0; i < nr; i++)
		dev.written[slot + i] = false;
}

static const struct swap_device_ops dev_ops = {
	.submit = dev_submit,
	.poll = dev_poll,
	.discard = dev_discard,
};

static inline void dev_on(u32 flags)
{
	memset(&dev, 0, sizeof(dev));
	dev.type = swapon(&dev_ops, NULL, DEV_SLOTS, 0, flags);
	assert_in_range(dev.type, 0, MAX_SWAPFILES - 1);
}

static inline struct swap_stat dev_stat(void)
{
	struct swap_stat st;

	assert_true(swap_stat(dev.type, &st));
	return st;
}

static inline void swap_up(u32 flags)
{
	space_up();
	dev_on(flags);
}

/* Everything is unmapped first: then no slot is in use. */
static inline void swap_down(void)
{
	assert_true(octavo_validate());
	assert_true(sim_mmu_check(as));
	sim_mm_forget(as);
	mmput(as);
	assert_int_equal(dev_stat().used, 0);
	assert_int_equal(swapoff(dev.type), 0);
	shutdown_clean();
}

/* Pages of one address space to the device, and out of the cache. */
static inline void out_of(struct mm_struct *m, unsigned long page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		struct folio *folio = page_out_folio(m, at(page + i));

		if (!folio)
			continue;
		folio_put(folio);
		assert_int_equal(page_out(m, at(page), at(page + nr), at(page + i)), 0);
	}
}

static inline void out(unsigned long page, unsigned long nr)
{
	out_of(as, page, nr);
}

/* @nr pages from @page on with contents that tell which they are, out. */
static inline void fill_out(unsigned long page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		put64(page + i, 100 + page + i);
	out(page, nr);
}

static inline swp_entry_t slot_in(struct mm_struct *m, unsigned long page)
{
	struct pt_pos pos = pos_in(m, page);

	assert_true(!pos.level && pte_is_swap_slot(pos.pte));
	return pte_to_swp_entry(pos.pte);
}

static inline bool is_slot(unsigned long page)
{
	return pte_is_swap_slot(entry(page));
}

static inline bool cached(swp_entry_t e)
{
	struct folio *folio = swap_cache_get_folio(e);

	if (folio)
		folio_put(folio);
	return folio;
}

static inline unsigned long rss(enum mm_counter member)
{
	return get_mm_counter(as, member);
}

#endif /* OCTAVO_TESTS_SWAP_SPACE_H */
