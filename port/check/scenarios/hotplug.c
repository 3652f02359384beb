/* SPDX-License-Identifier: MIT */
/*
 * hotplug.c - memory that comes and goes under whoever walks frames or allocates them. Sections
 * have 8 frames.
 */
#include <octavo/octavo.h>

#include "check.h"

#define AT   8ul
#define BASE (AT << PAGE_SHIFT)
#define SIZE (8ul << PAGE_SHIFT)

static SHARED struct {
	u64 owner[16];
	int added, removed;
	u32 looked;
} s;

/* Whatever it was a moment ago: no word, or all there is to know about a frame with one. */
static void walker(void)
{
	struct page_snapshot ps;
	struct zone_stat st;
	enum zone_type type;
	int err;

	if (!pfn_valid(AT + 1)) {
		/* its word is readable all the same */
		CHECK(memdesc_valid(page_memdesc(pfn_to_page(AT + 1))));
		return;
	}
	type = pfn_zone(AT + 1);
	err = zone_stat(pfn_to_nid(AT + 1), type, &st);
	/* unless it is gone again */
	if (pfn_valid(AT + 1))
		CHECK(err == 0);
	err = snapshot_page(&ps, AT + 1);
	CHECK(err == 0 || err == -ENXIO);
	if (!err)
		CHECK(ps.type == MEMDESC_FREE && ps.exact);
}

static void use(unsigned long pfn)
{
	CHECK(READ_ONCE(pfn_to_page(pfn)->memdesc.v) == 0);
	s.owner[pfn] = check_thread();
}

/* One frame of it, if it is there. */
static void user(void)
{
	if (frame_alloc_at(AT + 4, 0, 0))
		return;
	use(AT + 4);
	frame_free_bulk(0, 1, (unsigned long[]){ AT + 4 });
}

/* ---- added: as a zone that was not there ---- */

static void setup_absent(void)
{
	CHECK(octavo_remove_memory(BASE, SIZE) == 0);
}

static void adds(void)
{
	s.added = octavo_add_memory(BASE, SIZE, 1, true);
	CHECK(s.added == 0);
}

static void added_done(void)
{
	CHECK(pfn_valid(AT) && pfn_to_nid(AT) == 1 && pfn_zone(AT) == ZONE_MOVABLE);
	CHECK(octavo_remove_memory(BASE, SIZE) == 0);
	CHECK(octavo_add_memory(BASE, SIZE, 0, false) == 0);
}

#define HOTPLUG .frames = 16, .stale = 1, .flags = SC_VALIDATE | SC_LEAKS | SC_SYMMETRIC
SCENARIO(hotplug_add) = {
	SCENARIO_NAME(hotplug_add),
	HOTPLUG,
	.about = "a section comes, with a new zone, under a walker and an allocation",
	.rows = "S3.14",
	.setup = setup_absent,
	.threads = { walker, adds, user },
	.roles = { "walker", "adds", "allocates" },
	.finish = added_done
};

/* ---- removed ---- */

static void removes(void)
{
	s.removed = octavo_remove_memory(BASE, SIZE);
	CHECK(s.removed == 0 || s.removed == -EBUSY);
	if (s.removed)
		return;
	/* ours alone: whoever has a frame of it now races with this */
	for (u32 i = AT; i < AT + 8; i++)
		use(i);
}

static void removed_done(void)
{
	CHECK(pfn_valid(AT) == (s.removed != 0));
	if (!s.removed)
		CHECK(octavo_add_memory(BASE, SIZE, 0, false) == 0);
}

SCENARIO(hotplug_remove) = { SCENARIO_NAME(hotplug_remove),
			     HOTPLUG,
			     .about = "a section goes under a walker and an allocation from it",
			     .rows = "S3.14",
			     .threads = { walker, removes, user },
			     .roles = { "walker", "removes", "allocates" },
			     .finish = removed_done };
