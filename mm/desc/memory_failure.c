/* SPDX-License-Identifier: MIT */
/*
 * memory_failure.c - the hardware says that a frame is bad.
 *
 * The truth is the set of poisoned frames (mm/frame/poison.c), and the path that frees frames asks it. So
 * all that is left to do here is to put the frame in, and to see to the two cases in which nobody is going
 * to free it: it is free now, or it never will be.
 *
 * Two parties, each writes one thing and then reads the other's:
 *
 *	memory_failure()	set += pfn; full fence; read the word
 *	freeing			word = FREE; full fence; look the pfn up in the set; hand it on, or keep it
 *
 * so at least one sees the other. If this side reads a word that is not FREE, whoever frees the frame
 * later looks it up and keeps it out. If it reads FREE, the frame is in the allocator, or on its way into
 * or out of it: it is claimed from the allocator before its word is touched, because storing HWPOISON into a
 * frame that somebody was just handed would wipe its new word. A claim that fails means that
 * somebody else has the frame and the word is about to change: look again.
 *
 * unpoison_memory() is the mirror image: it takes the pfn out, full fence, reads the word; keeping a frame
 * out is word = HWPOISON, full fence, look it up once more. Whoever turns HWPOISON back into FREE, by
 * compare-and-swap, owns the frame and frees it.
 *
 * A folio's flag is a hint for those who hold the folio. It is set while holding a reference, after the
 * word was read again, or it could mark another folio that the descriptor describes by now.
 *
 * What it does not do: unmap, kill, or move anything. The hook tells those who can.
 */
#include <octavo/errno.h>
#include <octavo/folio.h>
#include <octavo/frame.h>
#include <octavo/hwpoison.h>

/*
 * Looks at a word that is about to change, and claims, each of which may interrupt all CPUs. Somebody who is
 * stopped in the middle, or holds bare frames, makes it more. Giving up then is legal, since the set is the
 * truth: it costs a folio's holders the hint, and a frame that is just being freed is kept out by whoever
 * would hand it out next.
 */
#define MF_TURNS  100000
#define MF_CLAIMS 16

/* Neither an enum mf_result nor an errno that callers see. */
#define MF_AGAIN (-1)

/* FREE: take it from the allocator, then it is ours to mark. */
static int fail_free(unsigned long pfn, u32 *claims)
{
	struct page *page = pfn_to_page(pfn);

	if (frame_alloc_at(pfn, 0, FRAME_AT_ISOLATED | FRAME_AT_POISONED))
		return ++*claims < MF_CLAIMS ? MF_AGAIN : MF_DELAYED;
	/* release: whoever unpoisons it (acquire) has the frame after us */
	smp_store_release(&page->memdesc.v, memdesc_pointer(MEMDESC_HWPOISON, NULL).v);
	return MF_RECOVERED;
}

static int fail_folio(struct page *page)
{
	/* NULL: its count is 0 (being split, migrated, freed, or not yet born) or the word changed */
	struct folio *folio = page_try_get_folio(page);

	if (!folio)
		return MF_AGAIN;
	folio_set_flag(folio, PG_hwpoison);
	folio_put(folio);
	return MF_DELAYED;
}

static int fail_once(unsigned long pfn, u32 *claims)
{
	struct page *page = pfn_to_page(pfn);
	memdesc_t md = page_memdesc(page);

	switch (memdesc_type(md)) {
	case MEMDESC_FREE:
		return fail_free(pfn, claims);
	case MEMDESC_HWPOISON: /* freed between insert and now, and kept out */
		return MF_RECOVERED;
	case MEMDESC_FILE:
	case MEMDESC_ANON:
		return fail_folio(page);
	case MEMDESC_DEVICE:
		return MF_IGNORED;
	case MEMDESC_MISC:
		return memdesc_subtype(md) == MISC_RESERVED ? MF_IGNORED : MF_DELAYED;
	default:
		return MF_DELAYED;
	}
}

/* Idle or not: what it means its driver knows. That nobody gets it any more while it is idle, the set sees to. */
static int fail_device(unsigned long pfn, int ret)
{
	/* acquire: pairs with the release in device_up(), before there was such a frame */
	const struct device_upcalls *device = smp_load_acquire(&octavo_state.upcalls.device);
	bool dealt_with = device && device->memory_failure(pfn);

	return ret == MF_IGNORED && dealt_with ? MF_RECOVERED : ret;
}

int memory_failure(unsigned long pfn)
{
	u32 claims = 0;
	int ret;

	if (!pfn_valid(pfn))
		return -ENXIO;
	/* or an unpoison_memory() of the same frame could look before we have acted */
	spin_lock(&octavo_state.desc.failure_lock);
	ret = poison_insert(pfn);
	if (ret) {
		spin_unlock(&octavo_state.desc.failure_lock);
		return ret == -EEXIST ? MF_ALREADY : ret;
	}
	/*
	 * Pairs with the light fence of the free path between storing FREE and looking up the set. Without
	 * it a freer can miss the insertion while we still read the old word, and hands the frame on.
	 */
	smp_mb_heavy();
	for (u32 turn = 0;; turn++) {
		ret = fail_once(pfn, &claims);
		if (ret != MF_AGAIN)
			break;
		if (turn == MF_TURNS) {
			ret = MF_DELAYED;
			break;
		}
		octavo_port_relax();
	}
	spin_unlock(&octavo_state.desc.failure_lock);
	if (pfn_zone(pfn) == ZONE_DEVICE)
		ret = fail_device(pfn, ret);
	if (ret == MF_DELAYED && octavo_state.hooks && octavo_state.hooks->memory_failure)
		octavo_state.hooks->memory_failure(pfn);
	return ret;
}

int unpoison_memory(unsigned long pfn)
{
	const unsigned long bad = memdesc_pointer(MEMDESC_HWPOISON, NULL).v;
	struct folio *folio;
	struct page *page;
	int ret;

	if (!pfn_valid(pfn))
		return -ENOENT;
	page = pfn_to_page(pfn);
	spin_lock(&octavo_state.desc.failure_lock);
	ret = poison_remove(pfn);
	if (!ret) {
		/* pairs with the fence of the free path between storing HWPOISON and its second look */
		smp_mb_heavy();
		/* acquire: pairs with the release of HWPOISON: the frame is ours with all that was done */
		if (cmpxchg_acquire(&page->memdesc.v, bad, 0ul) == bad)
			frame_free(pfn, 0);
		folio = page_try_get_folio(page);
		if (folio) {
			if (pfn_poisoned_in(folio_pfn(folio), folio_nr_pages(folio)) == ~0ul)
				folio_clear_flag(folio, PG_hwpoison);
			folio_put(folio);
		}
	}
	spin_unlock(&octavo_state.desc.failure_lock);
	return ret;
}
