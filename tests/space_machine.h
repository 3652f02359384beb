/* SPDX-License-Identifier: MIT */
/*
 * space_machine.h - an address space on a simulated machine, its areas as a list, and random numbers.
 */
#ifndef OCTAVO_SPACE_MACHINE_H
#define OCTAVO_SPACE_MACHINE_H

#include <octavo/mm.h>
#include <octavo/rmap.h>

#include "mmu.h"
#include "test.h"

#define SPACE_CPUS 4u

/* The n-th page of where tests map; the same in both geometries, aligned for a leaf. */
#define BASE	0x200000ul
#define PG(n)	(BASE + ((unsigned long)(n) << PAGE_SHIFT))
#define SIZE(n) ((unsigned long)(n) << PAGE_SHIFT)

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static inline void space_machine(void)
{
	boot_small(OCTAVO_TREE_ORDER > 6 ? 64 : 4, SPACE_CPUS);
	sim_set_cpu(0);
}

static inline struct mm_struct *space_new(void)
{
	struct mm_struct *mm = mm_alloc();

	assert_non_null(mm);
	return mm;
}

static inline struct mm_struct *space_boot(void)
{
	space_machine();
	return space_new();
}

static inline void space_drop(struct mm_struct *mm)
{
	assert_true(octavo_validate());
	assert_true(sim_mmu_check(mm));
	sim_mm_forget(mm);
	mmput(mm);
	assert_int_equal(vm_committed_as(), 0);
}

/* The end of a test: valid, nothing left, nothing leaked. */
static inline void space_end(struct mm_struct *mm)
{
	space_drop(mm);
	shutdown_clean();
}

static inline u64 rnd(u64 *seed, u64 below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed >> 11) % below;
}

/* ---- areas ---- */

#define MAX_AREAS 512u

struct area {
	unsigned long start, end;
	vm_flags_t flags;
};

struct areas {
	u32 nr;
	struct area a[MAX_AREAS];
};

static inline bool areas_add(const struct vm_area_struct *vma, void *arg)
{
	struct areas *l = arg;

	assert_true(l->nr < MAX_AREAS);
	l->a[l->nr++] = (struct area){ vma->vm_start, vma->vm_end, vma->vm_flags };
	return true;
}

static inline void areas_get(struct mm_struct *mm, struct areas *l)
{
	l->nr = 0;
	mm_for_each_vma(mm, areas_add, l);
}

/* What a call that fails may not change. */
struct space_image {
	struct areas areas;
	unsigned long total_vm, data_vm, exec_vm, stack_vm, locked_vm, map_count, brk;
	vm_flags_t def_flags;
	u64 committed;
};

static inline void space_image(struct mm_struct *mm, struct space_image *im)
{
	memset(im, 0, sizeof(*im));
	areas_get(mm, &im->areas);
	im->total_vm = mm->total_vm;
	im->data_vm = mm->data_vm;
	im->exec_vm = mm->exec_vm;
	im->stack_vm = mm->stack_vm;
	im->locked_vm = mm->locked_vm;
	im->map_count = mm->map_count;
	im->brk = mm->brk;
	im->def_flags = mm->def_flags;
	im->committed = vm_committed_as();
}

/* Pages relative to BASE; flags but for those that say nothing about the case. */
#define expect_areas(mm, ...)                                                         \
	do {                                                                          \
		const struct area want_[] = { __VA_ARGS__ };                          \
		_expect_areas(mm, want_, sizeof(want_) / sizeof(want_[0]), __LINE__); \
	} while (0)

#define AREA_FLAGS                                                                   \
	(VM_ACCESS_FLAGS | VM_SHARED | VM_LOCKED_MASK | VM_GROWSDOWN | VM_DONTCOPY | \
	 VM_WIPEONFORK | VM_DONTDUMP | VM_SEQ_READ | VM_RAND_READ | VM_HUGEPAGE | VM_NOHUGEPAGE)

static inline void _expect_areas(struct mm_struct *mm, const struct area *want, size_t n, int line)
{
	static struct areas l;

	areas_get(mm, &l);
	if (l.nr != n) {
		mm_dump(mm);
		fail_msg("line %d: %u areas, expected %zu", line, l.nr, n);
	}
	for (size_t i = 0; i < n; i++) {
		if (l.a[i].start == PG(want[i].start) && l.a[i].end == PG(want[i].end) &&
		    (l.a[i].flags & AREA_FLAGS) == want[i].flags)
			continue;
		mm_dump(mm);
		fail_msg("line %d: area %zu is [%ld, %ld) 0x%lx", line, i,
			 (long)(l.a[i].start - BASE) >> PAGE_SHIFT,
			 (long)(l.a[i].end - BASE) >> PAGE_SHIFT, l.a[i].flags & AREA_FLAGS);
	}
}

/* ---- short ---- */

static inline void map(struct mm_struct *mm, long page, long nr, unsigned long prot)
{
	assert_int_equal(vm_mmap(mm, PG(page), SIZE(nr), prot, ANON | MAP_FIXED, NULL, 0),
			 PG(page));
}

static inline void unmap(struct mm_struct *mm, long page, long nr)
{
	assert_int_equal(vm_munmap(mm, PG(page), SIZE(nr)), 0);
}

static inline void protect(struct mm_struct *mm, long page, long nr, unsigned long prot)
{
	assert_int_equal(vm_mprotect(mm, PG(page), SIZE(nr), prot), 0);
}

/* The address space is the one in use on this CPU. */
static inline void put_byte(long page, u8 v)
{
	assert_int_equal(sim_store(PG(page) + 7, &v, 1), 0);
}

static inline u8 get_byte(long page)
{
	u8 v = 0xee;

	assert_int_equal(sim_load(PG(page) + 7, &v, 1), 0);
	return v;
}

#endif /* OCTAVO_SPACE_MACHINE_H */
