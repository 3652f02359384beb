/* SPDX-License-Identifier: MIT */
/*
 * page.c - references on pages: the first two rows of the matrix of docs/memdesc.md.
 *
 * A page has no count of its own. Its word says whose count it is: that of the plain allocation (inline,
 * in the first page's word), of the folio, of the managed descriptor; or that it has none, and then
 * somebody who believes otherwise is about to free memory that is in use, so it is fatal, in every
 * build. Each function reads the word once and acts on that value.
 *
 * get_page() and put_page() are for holders of a reference, under which page, word and descriptor can't
 * part. try_get_page() is for those who have nothing: it may follow only type-stable descriptors, inside
 * an RCU section, and looks at the word again when it has the reference.
 *
 * What it does not do: find the page again that the caller came for. If what led to the page can change,
 * the caller looks at that again too.
 */
#include <octavo/desc.h>
#include <octavo/folio.h>
#include <octavo/plain.h>

static bool has_mgdesc(memdesc_t md)
{
	return memdesc_type(md) == MEMDESC_MANAGED;
}

void get_page(struct page *page)
{
	memdesc_t md = page_memdesc(page);

	if (memdesc_is_folio(md))
		folio_get(memdesc_ptr(md));
	else if (memdesc_is_misc(md))
		plain_get(page);
	else if (has_mgdesc(md))
		mgdesc_get(memdesc_ptr(md));
	else
		bad_page(page_to_pfn(page), "get_page: a page of this type has no count");
}

void put_page(struct page *page)
{
	memdesc_t md = page_memdesc(page);

	if (memdesc_is_folio(md))
		folio_put(memdesc_ptr(md));
	else if (memdesc_is_misc(md))
		plain_put(page);
	else if (has_mgdesc(md))
		mgdesc_put(memdesc_ptr(md));
	else
		bad_page(page_to_pfn(page), "put_page: a page of this type has no count");
}

static bool try_get_desc(memdesc_t md)
{
	if (memdesc_is_folio(md))
		return folio_try_get(memdesc_ptr(md));
	return has_mgdesc(md) && mgdesc_try_get(memdesc_ptr(md));
}

static void put_desc(memdesc_t md)
{
	if (memdesc_is_folio(md))
		folio_put(memdesc_ptr(md));
	else
		mgdesc_put(memdesc_ptr(md));
}

bool try_get_page(struct page *page)
{
	memdesc_t md;
	bool got;

	/* the descriptor can go at any time; its memory stays a descriptor of this type until we leave */
	rcu_read_lock();
	md = page_memdesc(page);
	if (memdesc_is_misc(md)) {
		got = plain_try_get(page);
		rcu_read_unlock();
		return got;
	}
	got = try_get_desc(md);
	rcu_read_unlock();
	/*
	 * relaxed: if the descriptor started another life meanwhile, the acquire of the successful try
	 * pairs with the release that set its count, and what came before that, this word's end included,
	 * is seen. The put is of whatever it describes now, and may be its last.
	 */
	if (got && !memdesc_eq(page_memdesc_relaxed(page), md)) {
		put_desc(md);
		return false;
	}
	return got;
}

unsigned int page_count(const struct page *page)
{
	unsigned int count = 0;
	memdesc_t md;

	rcu_read_lock();
	md = page_memdesc(page);
	if (memdesc_is_misc(md))
		count = plain_count(page);
	else if (memdesc_is_folio(md))
		count = folio_ref_count(memdesc_ptr(md));
	else if (has_mgdesc(md))
		count = mgdesc_ref_count(memdesc_ptr(md));
	rcu_read_unlock();
	return count;
}
