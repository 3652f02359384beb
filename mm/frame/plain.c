/* SPDX-License-Identifier: MIT */
/*
 * plain.c - plain pages: memory that needs nothing but its word.
 *
 * A plain allocation of 2^order pages is naturally aligned. Its head is its first page, found from any
 * page of it by rounding the pfn down. All words of it say type, subtype, order, flags; the head's has the
 * count as well, or all are frozen.
 *
 *	FREE --alloc--> counted(1) --get/put--> counted(n) --last put--> FREE
 *	  |                |   ^                     |
 *	  |                +---+---- split_page -----+ (head frozen from 1, then 2^order counted(1))
 *	  +--alloc frozen--> frozen --free_frozen_pages--> FREE
 *
 * Rules
 * 1. Every change of a count is a compare-and-swap of the whole head word, from a value that was checked: plain,
 *    not frozen, of the order that the caller entered with, count above 0. A fetch_add could land in a word
 *    that has become somebody's pointer; a compare-and-swap can not. That the word may have been freed and
 *    become the same value again in between is harmless: the reference is then on the new allocation.
 * 2. Who holds a reference, or owns a frozen allocation, need not fear that words change under him, but for
 *    counts and payload bits.
 * 3. Allocation stores tails first, the head last, with release: who got a reference by the head
 *    (acquire) sees all tails. Freeing clears the head first: from then on nobody gets in; then the tails;
 *    then the frames go to the allocator, and no word of theirs is stored after that.
 * 4. A speculative reference through a tail is good only if, after it was taken, the tail's word still says the
 *    same order.
 * 5. A count that reaches MISC_COUNT_SATURATED stays there for ever. A holder's get may take it there (and
 *    says so once); a speculative one may not, so that walkers cannot leak memory.
 *
 * What it does not do: get_page() and the other entry points for pages of every type (mm/desc/page.c).
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/plain.h>
#include <octavo/state.h>
#include <octavo/string.h>

/* ---- words ---- */

static unsigned long *word_of(struct page *page)
{
	return &page->memdesc.v;
}

/* Tails, then the head: rule 3. */
static __always_inline void store_words(struct page *page, unsigned int order, memdesc_t head)
{
	memdesc_t tail = memdesc_mk(head.v & ~MISC_COUNT_MASK);

	if (order)
		words_fill_release(word_of(page) + 1, tail.v, (1ul << order) - 1);
	/* release: pairs with the acquire of a get through the head, and of page_memdesc() */
	smp_store_release(word_of(page), head.v);
}

/*
 * A value of a head word that a count may be changed from: plain, counted, of @order, and somebody has it.
 */
static bool counted(memdesc_t md, unsigned int order)
{
	const unsigned long shape = MEMDESC_TYPE_MASK | MISC_ORDER_MASK | MISC_FROZEN;

	return (md.v & shape) == memdesc_misc(0, order, 0).v && (md.v & MISC_COUNT_MASK);
}

static bool is_head(const struct page *page, unsigned int order)
{
	return IS_ALIGNED(page_to_pfn(page), 1ul << order);
}

/* A value of any page's word that can lead to such a head. */
static bool leads_to_count(memdesc_t md)
{
	return memdesc_is_misc(md) && !memdesc_frozen(md) && memdesc_order(md) <= MAX_FOLIO_ORDER;
}

/* ---- allocation ---- */

static __always_inline struct page *publish(unsigned long pfn, gfp_t gfp, unsigned int order,
					    enum misc_subtype subtype, bool frozen)
{
	struct page *page = pfn_to_page(pfn);

	VM_BUG_ON(page_memdesc(page).v != 0);
	if (gfp & __GFP_ZERO)
		memset(pfn_to_virt(pfn), 0, PAGE_SIZE << order);
	store_words(page, order,
		    frozen ? memdesc_misc_frozen(subtype, order) : memdesc_misc(subtype, order, 1));
	return page;
}

struct page *__alloc_plain_pages(gfp_t gfp, unsigned int order, int nid, enum misc_subtype subtype,
				 bool frozen)
{
	long pfn = frame_alloc(gfp, order, nid);

	return pfn < 0 ? NULL : publish((unsigned long)pfn, gfp, order, subtype, frozen);
}

struct page *alloc_plain_pages_at(unsigned long pfn, unsigned int order, enum misc_subtype subtype,
				  bool frozen, unsigned int at_flags)
{
	if (frame_alloc_at(pfn, order, at_flags))
		return NULL;
	return publish(pfn, 0, order, subtype, frozen);
}

struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned int order)
{
	return __alloc_plain_pages(gfp, order, nid, MISC_DRIVER, false);
}

struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	return __alloc_plain_pages(gfp, order, NUMA_NO_NODE, MISC_DRIVER, false);
}

struct page *alloc_frozen_pages(gfp_t gfp, unsigned int order)
{
	return __alloc_plain_pages(gfp, order, NUMA_NO_NODE, MISC_DRIVER, true);
}

/* ---- freeing ---- */

/* What words become: device memory goes back to its driver, everything else to the allocator. */
static memdesc_t word_when_free(memdesc_t md)
{
	return memdesc_mk(memdesc_subtype(md) == MISC_DEVICE ? MEMDESC_DEVICE : MEMDESC_FREE);
}

/* The head says @now already, so nobody can get in any more. */
static __always_inline void free_tails_and_frames(struct page *head, unsigned int order,
						  memdesc_t now)
{
	/* release: the memory was used before its words say that it is not */
	if (order)
		words_fill_release(word_of(head) + 1, now.v, (1ul << order) - 1);
	if (likely(memdesc_type(now) == MEMDESC_FREE))
		frame_free(page_to_pfn(head), order);
	else
		/* acquire: pairs with the release in device_up(), before there were such pages */
		smp_load_acquire(&octavo_state.upcalls.device)->page_free(head, order);
}

/*
 * Drop one of @head's references; @md is what was last read, @order is how the caller got here.
 *
 * Return: true if it was the last: the head says word_when_free(*@was), and the caller frees the rest.
 */
static __always_inline bool drop_reference(struct page *head, memdesc_t md, unsigned int order,
					   memdesc_t *was)
{
	for (;;) {
		memdesc_t new;

		if (unlikely(!counted(md, order)))
			bad_page(page_to_pfn(head), "put of a page that has no reference");
		if (unlikely(memdesc_count(md) >= MISC_COUNT_SATURATED))
			return false;
		new = memdesc_count(md) == 1 ? word_when_free(md)
					     : memdesc_mk(md.v - MISC_COUNT_ONE);
		/*
		 * acq_rel: release pairs with the acquire of whoever makes it 0: what we did to the memory
		 * is over; acquire, at 0: what the others did is over too, before the next owner has it
		 */
		if (try_cmpxchg_acq_rel(word_of(head), &md.v, new.v))
			break;
	}
	*was = md;
	return memdesc_count(md) == 1;
}

static __always_inline void put_head(struct page *head, memdesc_t md, unsigned int order)
{
	if (drop_reference(head, md, order, &md))
		free_tails_and_frames(head, order, word_when_free(md));
}

void plain_put(struct page *page)
{
	memdesc_t md = page_memdesc_relaxed(page);
	struct page *head;

	if (unlikely(!leads_to_count(md)))
		bad_page(page_to_pfn(page), "put of a page that is not counted");
	head = page_run_head(page, memdesc_order(md));
	put_head(head, head == page ? md : page_memdesc_relaxed(head), memdesc_order(md));
}

/* The word of @page, which must be the head of a counted allocation of @order. */
static __always_inline memdesc_t check_head(struct page *page, unsigned int order)
{
	memdesc_t md = page_memdesc_relaxed(page);

	if (unlikely(!counted(md, order) || !is_head(page, order)))
		bad_page(page_to_pfn(page), "__free_pages: not a counted allocation of this order");
	return md;
}

void __free_pages(struct page *page, unsigned int order)
{
	put_head(page, check_head(page, order), order);
}

void free_frozen_pages(struct page *page, unsigned int order)
{
	memdesc_t md = page_memdesc_relaxed(page);

	if (unlikely(!memdesc_is_misc(md) || !memdesc_frozen(md) || memdesc_order(md) != order ||
		     memdesc_subtype(md) == MISC_RESERVED || !is_head(page, order)))
		bad_page(page_to_pfn(page),
			 "free_frozen_pages: not a frozen allocation of this order");
	/* release: the memory was used before its word says that it is not */
	smp_store_release(word_of(page), word_when_free(md).v);
	free_tails_and_frames(page, order, word_when_free(md));
}

/* ---- counts ---- */

void plain_get(struct page *page)
{
	memdesc_t md = page_memdesc_relaxed(page);
	unsigned int order = memdesc_order(md);
	struct page *head;

	if (unlikely(!leads_to_count(md)))
		bad_page(page_to_pfn(page), "get of a page that is not counted");
	head = page_run_head(page, order);
	if (head != page)
		md = page_memdesc_relaxed(head);
	do {
		if (unlikely(!counted(md, order)))
			bad_page(page_to_pfn(head), "get of a page that has no reference");
		if (unlikely(memdesc_count(md) >= MISC_COUNT_SATURATED))
			return;
		/* relaxed: the caller has a reference, so there is nothing to be ordered with */
	} while (!try_cmpxchg_relaxed(word_of(head), &md.v, md.v + MISC_COUNT_ONE));
	if (unlikely(memdesc_count(md) == MISC_COUNT_SATURATED - 1))
		pr_err("pfn 0x%lx: reference count saturated, order %u is leaked",
		       page_to_pfn(head), order);
}

bool plain_try_get(struct page *page)
{
	memdesc_t md = page_memdesc_relaxed(page);
	unsigned int order = memdesc_order(md);
	struct page *head;

	if (!leads_to_count(md) || octavo_fault(OCTAVO_FAULT_TRYGET))
		return false;
	head = page_run_head(page, order);
	if (head != page)
		md = page_memdesc_relaxed(head);
	do {
		if (!counted(md, order) || memdesc_count(md) >= MISC_COUNT_SATURATED - 1)
			return false;
		/*
		 * acquire: pairs with the release that stored the head last, in publish() and in
		 * split_page(): the tails below are then this allocation's
		 */
	} while (!try_cmpxchg_acquire(word_of(head), &md.v, md.v + MISC_COUNT_ONE));
	if (head == page)
		return true;
	/*
	 * Rules 1 and 3 leave no way for this to differ. It costs a load of a line that is here, and makes a
	 * failed try of what would be a reference on the wrong pages if a publisher broke them.
	 */
	md = page_memdesc_relaxed(page);
	if (likely(leads_to_count(md) && memdesc_order(md) == order))
		return true;
	/* perhaps the last one by now, of an allocation that @page is no part of */
	put_head(head, page_memdesc_relaxed(head), order);
	return false;
}

unsigned int plain_count(const struct page *page)
{
	memdesc_t md = page_memdesc(page);
	unsigned int order = memdesc_order(md);

	if (!leads_to_count(md))
		return 0;
	md = page_memdesc(page_run_head((struct page *)page, order));
	return counted(md, order) ? memdesc_count(md) : 0;
}

/* ---- splitting ---- */

/* A page's word in an allocation of its own; its own payload bits stay. */
static memdesc_t split_word(memdesc_t md, bool frozen)
{
	md.v &= ~(MISC_ORDER_MASK | MISC_COUNT_MASK | MISC_FROZEN);
	return memdesc_mk(md.v | (frozen ? MISC_FROZEN : MISC_COUNT_ONE));
}

int split_page(struct page *page, unsigned int order)
{
	memdesc_t md = page_memdesc_relaxed(page);
	bool frozen = memdesc_frozen(md);

	if (!memdesc_is_misc(md) || memdesc_order(md) != order || !is_head(page, order) ||
	    memdesc_subtype(md) == MISC_RESERVED || !(frozen || counted(md, order)))
		bad_page(page_to_pfn(page), "split_page: not an allocation of this order");
	while (!frozen) {
		if (memdesc_count(md) != 1)
			return -EBUSY;
		/*
		 * acquire: pairs with the release of the puts that left us alone. From here on nobody gets
		 * in through any page: the head is frozen.
		 */
		if (try_cmpxchg_acquire(word_of(page), &md.v,
					(md.v & ~MISC_COUNT_MASK) | MISC_FROZEN))
			break;
	}
	for (unsigned long i = 1; i < 1ul << order; i++)
		/* release: pairs with the acquire of a get on this page, which is a head from now on */
		smp_store_release(word_of(page + i),
				  split_word(page_memdesc_relaxed(page + i), frozen).v);
	/* release: as above, and for those who entered by a tail before: rule 3 */
	smp_store_release(word_of(page), split_word(md, frozen).v);
	return 0;
}

/* ---- exact sizes ---- */

/* Give [@pfn, @end) back in the largest naturally aligned runs. Their words are FREE. */
static void free_run(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		int order = min(ilog2(end - pfn), MAX_FOLIO_ORDER);

		if (pfn)
			order = min(order, __builtin_ctzl(pfn));
		frame_free(pfn, (unsigned int)order);
		pfn += 1ul << order;
	}
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	unsigned long nr = (size >> PAGE_SHIFT) + ((size & ~PAGE_MASK) != 0);
	int order = ilog2(nr) + !is_power_of_2(nr);
	long pfn;

	if (!nr || order > MAX_FOLIO_ORDER)
		return NULL;
	pfn = frame_alloc(gfp, (unsigned int)order, NUMA_NO_NODE);
	if (pfn < 0)
		return NULL;
	if (gfp & __GFP_ZERO)
		memset(pfn_to_virt((unsigned long)pfn), 0, nr << PAGE_SHIFT);
	words_fill_release(word_of(pfn_to_page((unsigned long)pfn)),
			   memdesc_misc_frozen(MISC_EXACT, 0).v, nr);
	free_run((unsigned long)pfn + nr, (unsigned long)pfn + (1ul << order));
	return pfn_to_virt((unsigned long)pfn);
}

void free_pages_exact(void *addr, size_t size)
{
	unsigned long nr = (size >> PAGE_SHIFT) + ((size & ~PAGE_MASK) != 0);
	unsigned long pfn = virt_to_pfn(addr);
	struct page *page = pfn_to_page(pfn);

	if (unlikely(!IS_ALIGNED((unsigned long)addr, PAGE_SIZE)))
		bad_page(pfn, "free_pages_exact: not the start of a page");
	for (unsigned long i = 0; i < nr; i++) {
		memdesc_t md;

		if (unlikely(!pfn_valid(pfn + i)))
			bad_page(pfn + i, "free_pages_exact: no such frame");
		md = page_memdesc_relaxed(page + i);
		if (unlikely(!memdesc_is_misc(md) || !memdesc_frozen(md) || memdesc_order(md) ||
			     memdesc_subtype(md) != MISC_EXACT))
			bad_page(pfn + i, "free_pages_exact: not of an exact allocation");
	}
	/* release: the memory was used before its words say that it is not */
	words_fill_release(word_of(page), 0, nr);
	free_run(pfn, pfn + nr);
}

/* ---- many at once ---- */

#define BULK 64 /* pfns on the stack */

/* At least one unless there is no memory; as many as are to be had at once. */
static unsigned long take_some(gfp_t gfp, unsigned long want, unsigned long *pfns)
{
	unsigned long n =
		frame_alloc_bulk(gfp, 0, NUMA_NO_NODE, min(want, (unsigned long)BULK), pfns);
	long pfn;

	if (n)
		return n;
	pfn = frame_alloc(gfp, 0, NUMA_NO_NODE);
	pfns[0] = (unsigned long)pfn;
	return pfn >= 0;
}

unsigned long alloc_plain_bulk(gfp_t gfp, int nid, enum misc_subtype subtype, unsigned long nr,
			       unsigned long *pfns)
{
	const unsigned long n = frame_alloc_bulk(gfp, 0, nid, nr, pfns);

	for (unsigned long i = 0; i < n; i++)
		publish(pfns[i], gfp, 0, subtype, false);
	return n;
}

unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long nr, struct page **pages)
{
	unsigned long pfns[BULK], have = 0, missing = 0, filled = 0;

	for (unsigned long i = 0; i < nr; i++)
		missing += !pages[i];
	for (unsigned long i = 0; i < nr; i++) {
		if (!pages[i] && !have && missing) {
			have = take_some(gfp, missing, pfns);
			/* none: only count from here on */
			missing = have ? missing - have : 0;
		}
		if (!pages[i] && have)
			pages[i] = publish(pfns[--have], gfp, 0, MISC_DRIVER, false);
		filled += pages[i] != NULL;
	}
	return filled;
}

void free_pages_bulk(unsigned long nr, struct page **pages)
{
	unsigned long pfns[BULK], have = 0;

	for (unsigned long i = 0; i < nr; i++) {
		struct page *page = pages[i];
		memdesc_t was;

		pages[i] = NULL;
		if (!page || !drop_reference(page, check_head(page, 0), 0, &was))
			continue;
		if (unlikely(memdesc_subtype(was) == MISC_DEVICE)) {
			free_tails_and_frames(page, 0, word_when_free(was));
			continue;
		}
		pfns[have++] = page_to_pfn(page);
		if (have == BULK) {
			frame_free_bulk(0, have, pfns);
			have = 0;
		}
	}
	if (have)
		frame_free_bulk(0, have, pfns);
}

void free_pages_run(struct page *page, unsigned long nr)
{
	const unsigned long pfn = page_to_pfn(page);
	unsigned long from = pfn;

	for (unsigned long i = 0; i < nr; i++) {
		memdesc_t was;
		const bool last = drop_reference(page + i, check_head(page + i, 0), 0, &was);

		if (likely(last && memdesc_subtype(was) != MISC_DEVICE))
			continue;
		/* what somebody else still has ends a run */
		free_run(from, pfn + i);
		from = pfn + i + 1;
		if (last)
			free_tails_and_frames(page + i, 0, word_when_free(was));
	}
	free_run(from, pfn + nr);
}

/* ---- payload bits ---- */

/*
 * Compare-and-swap even where the caller is alone: a walker may take a reference at any moment, and its
 * count is in the same word. relaxed: payload bits publish nothing.
 */
static void set_bits(struct page *page, unsigned long mask, unsigned long bits)
{
	memdesc_t md = page_memdesc_relaxed(page);

	do {
		if (unlikely(!memdesc_is_misc(md)))
			bad_page(page_to_pfn(page), "payload bits of a page that is not plain");
	} while (!try_cmpxchg_relaxed(word_of(page), &md.v, (md.v & ~mask) | bits));
}

static void set_bits_of_all(struct page *page, unsigned long mask, unsigned long bits)
{
	memdesc_t md = page_memdesc_relaxed(page);
	struct page *head;

	if (unlikely(!memdesc_is_misc(md)))
		bad_page(page_to_pfn(page), "payload bits of a page that is not plain");
	head = page_run_head(page, memdesc_order(md));
	for (unsigned long i = 0; i < 1ul << memdesc_order(md); i++)
		set_bits(head + i, mask, bits);
}

void page_set_mappable(struct page *page, bool mappable)
{
	set_bits_of_all(page, MISC_MAPPABLE, mappable ? MISC_MAPPABLE : 0);
}

void page_set_subtype(struct page *page, enum misc_subtype subtype)
{
	enum misc_subtype was = memdesc_subtype(page_memdesc_relaxed(page));

	/* these two decide where the frames go in the end */
	if ((unsigned int)subtype >= MISC_NR_SUBTYPES || subtype == MISC_RESERVED ||
	    subtype == MISC_DEVICE || was == MISC_RESERVED || was == MISC_DEVICE)
		bad_page(page_to_pfn(page), "page_set_subtype: from or to a subtype that is fixed");
	set_bits_of_all(page, MISC_SUBTYPE_MASK, (unsigned long)subtype << MISC_SUBTYPE_SHIFT);
}

void page_set_owner_bits(struct page *page, unsigned long bits)
{
	BUG_ON(bits > MISC_OWNER_MASK >> MISC_OWNER_SHIFT);
	set_bits(page, MISC_OWNER_MASK, bits << MISC_OWNER_SHIFT);
}
