/* SPDX-License-Identifier: MIT */
/*
 * race_program.c - the threads of the race fuzzer: random operations of the public interface on shared handles.
 *
 * A handle is empty, busy, or live; who makes it busy (compare-and-swap) has it alone. So programs are legal whatever
 * the input is: nothing is freed twice, references are dropped only by who has them. What runs without asking
 * anybody is what the core promises to bear: references out of nothing, snapshots, isolation, drains, and puts
 * of references that a thread has got for itself.
 *
 * Compiled as scenarios are: accesses of memory that is not SHARED are not seen, so what a thread has is on
 * its stack.
 */
#include <octavo/octavo.h>

#include "check.h"
#include "race_program.h"

enum { HANDLES = 4, FRAMES = 48 };
enum { EMPTY, BUSY, LIVE };
enum kind { PLAIN, FOLIO, MANAGED, MOVABLE, FRAME, OBJECT, NR_KINDS };

struct race_program race_program;

static SHARED struct {
	struct handle {
		u32 state;
		enum kind kind;
		unsigned int order;
		unsigned long pfn;
		void *desc;
	} h[HANDLES];
	unsigned long seen[HANDLES]; /* a frame that it had, for walkers */
	u64 contents[FRAMES];	     /* of bare frames: plain, so two owners of one are a race */
	struct kmem_cache *cache;
} s;

/* References that a thread has got for itself. */
struct mine {
	struct page *page[4];
	u32 nr;
};

static int no_migrate(struct movable *dst, struct movable *src)
{
	(void)dst;
	(void)src;
	return -EAGAIN;
}

static const struct movable_operations ops = { .migrate = no_migrate };

static void setup(void)
{
	s.cache = kmem_cache_create("race", 64, 16, 0, NULL);
	CHECK(s.cache);
}

/* ---- handles ---- */

static struct handle *claim(u32 i, u32 from)
{
	struct handle *h = &s.h[i % HANDLES];

	/* acquire: pairs with the release of who had it busy before */
	return cmpxchg_acquire(&h->state, from, (u32)BUSY) == from ? h : NULL;
}

static void let_go(struct handle *h, u32 to)
{
	/* release: pairs with the acquire in claim() */
	smp_store_release(&h->state, to);
}

/* The frames are nobody else's. */
static void own(unsigned long pfn, unsigned int order)
{
	for (unsigned long p = pfn; p < pfn + (1ul << order); p++)
		s.contents[p] = check_thread();
}

static bool make(struct handle *h)
{
	struct page *page = NULL;
	long pfn = -1;

	switch (h->kind) {
	case PLAIN:
		page = alloc_pages(GFP_NOWAIT, h->order);
		break;
	case FOLIO:
		h->desc = folio_alloc(GFP_NOWAIT, h->order, h->pfn & 1 ? FOLIO_ANON : FOLIO_FILE);
		pfn = h->desc ? (long)folio_pfn(h->desc) : -1;
		break;
	case MANAGED:
		h->desc = mgdesc_alloc(GFP_NOWAIT, h->order);
		pfn = h->desc ? (long)mgdesc_pfn(h->desc) : -1;
		break;
	case MOVABLE:
		h->desc = movable_alloc(GFP_NOWAIT, h->order, &ops, NULL);
		pfn = h->desc ? (long)movable_pfn(h->desc) : -1;
		break;
	case FRAME:
		pfn = frame_alloc(GFP_NOWAIT, h->order, NUMA_NO_NODE);
		if (pfn >= 0)
			own((unsigned long)pfn, h->order);
		break;
	default:
		h->desc = kmem_cache_alloc(s.cache, GFP_NOWAIT);
		if (h->desc)
			((u64 *)h->desc)[7] = check_thread();
		return h->desc;
	}
	if (page)
		pfn = (long)page_to_pfn(page);
	h->pfn = (unsigned long)pfn;
	return pfn >= 0;
}

static void alloc(struct race_op op)
{
	struct handle *h = claim(op.handle, EMPTY);

	if (!h)
		return;
	h->kind = op.arg % NR_KINDS;
	h->order = op.arg / NR_KINDS % 3;
	h->pfn = op.arg >> 7;
	if (!make(h)) {
		let_go(h, EMPTY);
		return;
	}
	if (h->kind != OBJECT)
		WRITE_ONCE(s.seen[h - s.h], h->pfn + (op.arg >> 5) % (1ul << h->order));
	let_go(h, LIVE);
}

static void give(struct handle *h)
{
	struct handle old = *h;

	let_go(h, EMPTY);
	switch (old.kind) {
	case PLAIN:
		__free_pages(pfn_to_page(old.pfn), old.order);
		break;
	case FOLIO:
		folio_put(old.desc);
		break;
	case MANAGED:
		mgdesc_put(old.desc);
		break;
	case MOVABLE:
		while (movable_free(old.desc))
			octavo_port_relax();
		break;
	case FRAME:
		own(old.pfn, old.order);
		frame_free(old.pfn, old.order);
		break;
	default:
		((u64 *)old.desc)[7] = check_thread();
		kmem_cache_free(s.cache, old.desc);
		break;
	}
}

static void release(struct race_op op)
{
	struct handle *h = claim(op.handle, LIVE);

	if (h)
		give(h);
}

/* ---- references ---- */

static bool has_count(const struct handle *h)
{
	return h->kind == PLAIN || h->kind == FOLIO || h->kind == MANAGED;
}

static void get(struct race_op op, struct mine *mine)
{
	struct handle *h = mine->nr < ARRAY_SIZE(mine->page) ? claim(op.handle, LIVE) : NULL;

	if (!h)
		return;
	if (has_count(h)) {
		struct page *page = pfn_to_page(h->pfn + op.arg % (1ul << h->order));

		get_page(page);
		mine->page[mine->nr++] = page;
	}
	let_go(h, LIVE);
}

/* What a reference keeps as it is. */
static void look_at_mine(struct page *page)
{
	memdesc_t md = page_memdesc(page);
	struct folio *folio;

	CHECK(page_count(page) >= 1);
	(void)*(volatile u64 *)&s.contents[page_to_pfn(page)];
	switch (memdesc_type(md)) {
	case MEMDESC_MISC:
		CHECK(!memdesc_frozen(md));
		break;
	case MEMDESC_FILE:
	case MEMDESC_ANON:
		folio = page_folio(page);
		CHECK(folio && folio_contains(folio, page_to_pfn(page)));
		break;
	case MEMDESC_MANAGED:
		CHECK(page_mgdesc(page) && mgdesc_pfn(page_mgdesc(page)) <= page_to_pfn(page));
		break;
	default:
		CHECK(false);
	}
}

static void put(struct mine *mine, u32 which)
{
	struct page *page;

	if (!mine->nr)
		return;
	which %= mine->nr;
	page = mine->page[which];
	mine->page[which] = mine->page[--mine->nr];
	look_at_mine(page);
	put_page(page);
}

static struct page *some_page(struct race_op op)
{
	return pfn_to_page((READ_ONCE(s.seen[op.handle % HANDLES]) + op.arg % 2) % FRAMES);
}

static void try_get(struct race_op op, struct mine *mine)
{
	struct page *page = some_page(op);

	if (mine->nr == ARRAY_SIZE(mine->page) || !try_get_page(page))
		return;
	mine->page[mine->nr++] = page;
	look_at_mine(page);
	/* some keep it for longer */
	if (op.arg & 2)
		put(mine, mine->nr - 1);
}

/* ---- what else may come at any time ---- */

static void snapshot(struct race_op op)
{
	unsigned long pfn = page_to_pfn(some_page(op));
	struct page_snapshot ps;

	CHECK(snapshot_page(&ps, pfn) == 0);
	if (ps.exact)
		CHECK(ps.first_pfn <= pfn && pfn < ps.first_pfn + (1ul << ps.order));
}

static void isolate(struct race_op op)
{
	struct page *page = some_page(op);
	struct movable *mv = isolate_movable_page(page);

	if (!mv)
		return;
	CHECK(page_movable(page) == mv && movable_pfn(mv) <= page_to_pfn(page));
	putback_movable_page(mv);
}

static void split_folio_of(struct handle *h)
{
	unsigned long pfn = h->pfn, end = pfn + (1ul << h->order);
	struct folio *folio = h->desc;
	int err;

	folio_lock(folio);
	err = h->order ? folio_split(folio, 0, 0, GFP_NOWAIT) : -EINVAL;
	if (err) {
		folio_unlock(folio);
		return;
	}
	/* the first piece stays the handle's */
	h->order = 0;
	for (unsigned long p = pfn; p < end; p++) {
		folio = page_folio(pfn_to_page(p));
		CHECK(folio && folio_pfn(folio) == p && folio_order(folio) == 0);
		folio_unlock(folio);
		if (p == pfn)
			h->desc = folio;
		else
			folio_put(folio);
	}
}

static void split(struct race_op op)
{
	struct handle *h = claim(op.handle, LIVE);

	if (!h)
		return;
	if (h->kind == FOLIO) {
		split_folio_of(h);
	} else if (h->kind == PLAIN && split_page(pfn_to_page(h->pfn), h->order) == 0) {
		for (unsigned long p = h->pfn + 1; p < h->pfn + (1ul << h->order); p++)
			put_page(pfn_to_page(p));
		h->order = 0;
	}
	let_go(h, LIVE);
}

static void drain(struct race_op op)
{
	if (op.arg & 4)
		kmem_cache_shrink(s.cache);
	else
		frame_drain(op.arg % race_program.threads);
}

static void thread(void)
{
	u32 me = check_thread();
	struct mine mine = { .nr = 0 };

	for (u32 i = 0; i < race_program.nr[me]; i++) {
		struct race_op op = race_program.op[me][i];

		switch (op.what % 16) {
		case 0 ... 3:
			alloc(op);
			break;
		case 4 ... 5:
			release(op);
			break;
		case 6:
			get(op, &mine);
			break;
		case 7:
			put(&mine, op.arg);
			break;
		case 8 ... 10:
			try_get(op, &mine);
			break;
		case 11:
			snapshot(op);
			break;
		case 12:
			isolate(op);
			break;
		case 13 ... 14:
			split(op);
			break;
		default:
			drain(op);
			break;
		}
	}
	while (mine.nr)
		put(&mine, 0);
}

static void finish(void)
{
	for (u32 i = 0; i < HANDLES; i++)
		if (claim(i, LIVE))
			give(&s.h[i]);
	kmem_cache_destroy(s.cache);
	frame_drain_all();
}

const struct scenario race_fuzz = {
	.name = "fuzz",
	.file = __FILE__,
	.about = "random programs",
	.setup = setup,
	.threads = { thread, thread, thread },
	.finish = finish,
	.frames = FRAMES,
	.flags = SC_LEAKS | SC_VALIDATE,
	.kinds = OCTAVO_FAULT_ALL,
};
