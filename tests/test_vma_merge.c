/* SPDX-License-Identifier: MIT */
/*
 * test_vma_merge.c - which areas become one, which do not, and what that needs.
 */
#include "space_machine.h"

#define R PROT_READ

/* ---- new areas between others ---- */

static void test_vma_merge_of_new_areas(void **state)
{
	struct mm_struct *mm = space_boot();

	map(mm, 0, 4, RW);
	expect_areas(mm, { 0, 4, VM_READ | VM_WRITE });
	/* behind, before, between */
	map(mm, 4, 4, RW);
	expect_areas(mm, { 0, 8, VM_READ | VM_WRITE });
	map(mm, 16, 4, RW);
	map(mm, 12, 4, RW);
	expect_areas(mm, { 0, 8, VM_READ | VM_WRITE }, { 12, 20, VM_READ | VM_WRITE });
	map(mm, 8, 4, RW);
	expect_areas(mm, { 0, 20, VM_READ | VM_WRITE });
	/* what it replaces is of no interest, its other end is */
	map(mm, 5, 5, R);
	expect_areas(mm, { 0, 5, VM_READ | VM_WRITE }, { 5, 10, VM_READ },
		     { 10, 20, VM_READ | VM_WRITE });
	map(mm, 5, 5, RW);
	expect_areas(mm, { 0, 20, VM_READ | VM_WRITE });
	/* a hole in one area that fills at once */
	map(mm, 9, 2, RW);
	expect_areas(mm, { 0, 20, VM_READ | VM_WRITE });
	assert_int_equal(mm->map_count, 1);
	space_end(mm);
}

static void test_vma_merge_not_with_other_flags(void **state)
{
	struct mm_struct *mm = space_boot();

	map(mm, 0, 2, RW);
	map(mm, 2, 2, R);
	assert_int_equal(vm_mmap(mm, PG(4), SIZE(2), R, ANON | MAP_FIXED | MAP_NORESERVE, NULL, 0),
			 PG(4));
	assert_int_equal(vm_mmap(mm, PG(6), SIZE(2), R, ANON | MAP_FIXED | MAP_GROWSDOWN, NULL, 0),
			 PG(6));
	assert_int_equal(vm_mmap(mm, PG(8), SIZE(2), R, ANON | MAP_FIXED | MAP_LOCKED, NULL, 0),
			 PG(8));
	expect_areas(mm, { 0, 2, VM_READ | VM_WRITE }, { 2, 4, VM_READ }, { 4, 6, VM_READ },
		     { 6, 8, VM_READ | VM_GROWSDOWN }, { 8, 10, VM_READ | VM_LOCKED });
	space_end(mm);
}

/* ---- mprotect: eight cases, every combination of reverse maps ---- */

#define LEN 4 /* pages of each of three areas: before, the one, behind */

enum { NONE, SAME, OWN };

struct model_area {
	long start, end;
	vm_flags_t prot;
	u32 anon; /* 0: none */
};

/* Two bytes in an area; while it differs in more than access rights from its neighbours, it is given none of theirs. */
static void own_pages(struct mm_struct *mm, int i, const int *anon)
{
	if (anon[i] != OWN)
		return;
	assert_int_equal(vm_madvise(mm, PG(i * LEN), SIZE(LEN), MADV_DONTFORK), 0);
	put_byte(i * LEN + 1, (u8)(10 + i));
	put_byte(i * LEN + 2, (u8)(20 + i));
	assert_int_equal(vm_madvise(mm, PG(i * LEN), SIZE(LEN), MADV_DOFORK), 0);
}

/* Before and behind have the protection that the part of the middle gets if @like says so. */
static void set_up(struct mm_struct *mm, const int *anon, unsigned int like)
{
	bool same = anon[0] == SAME || anon[1] == SAME || anon[2] == SAME;

	map(mm, 0, 3 * LEN, RW);
	/* one reverse map for all three, if any has that of the others */
	if (same)
		put_byte(0, 100);
	protect(mm, 0, LEN, PROT_READ | PROT_EXEC);
	protect(mm, 2 * LEN, LEN, PROT_NONE);
	own_pages(mm, 1, anon);
	protect(mm, LEN, LEN, R);
	protect(mm, 0, LEN, RW);
	own_pages(mm, 0, anon);
	protect(mm, 2 * LEN, LEN, RW);
	own_pages(mm, 2, anon);
	if (!(like & 1))
		protect(mm, 0, LEN, PROT_READ | PROT_EXEC);
	if (!(like & 2))
		protect(mm, 2 * LEN, LEN, PROT_NONE);
}

static bool alike(const struct model_area *a, const struct model_area *b)
{
	return a->prot == b->prot && (!a->anon || !b->anon || a->anon == b->anon);
}

/* What must be there after [@start, @end) of the middle has become writable. Return: how many areas. */
static size_t expected(const int *anon, unsigned int like, long start, long end, struct area *want)
{
	u32 id[3];
	struct model_area m[5];
	size_t n = 0, out = 0;

	for (u32 i = 0; i < 3; i++)
		id[i] = anon[i] == NONE ? 0 : anon[i] == SAME ? 9 : i + 1;
	m[n++] = (struct model_area){ 0, LEN, like & 1 ? VM_READ | VM_WRITE : VM_READ | VM_EXEC,
				      id[0] };
	if (start > LEN)
		m[n++] = (struct model_area){ LEN, start, VM_READ, id[1] };
	m[n++] = (struct model_area){ start, end, VM_READ | VM_WRITE, id[1] };
	if (end < 2 * LEN)
		m[n++] = (struct model_area){ end, 2 * LEN, VM_READ, id[1] };
	m[n++] = (struct model_area){ 2 * LEN, 3 * LEN, like & 2 ? VM_READ | VM_WRITE : 0, id[2] };
	for (size_t i = 1; i <= n; i++) {
		if (i < n && alike(&m[out], &m[i])) {
			m[out].end = m[i].end;
			m[out].anon = m[out].anon ? m[out].anon : m[i].anon;
		} else if (i < n) {
			m[++out] = m[i];
		}
	}
	for (size_t i = 0; i <= out; i++)
		want[i] = (struct area){ (unsigned long)m[i].start, (unsigned long)m[i].end,
					 m[i].prot };
	return out + 1;
}

static void check_bytes(struct mm_struct *mm, const int *anon)
{
	/* all readable, whatever it was */
	protect(mm, 0, 3 * LEN, R);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get_byte(i * LEN + 1), anon[i] == OWN ? 10 + i : 0);
		assert_int_equal(get_byte(i * LEN + 2), anon[i] == OWN ? 20 + i : 0);
	}
}

/* Legal combinations: who shares one reverse map shares it with somebody. */
static bool decode(unsigned int code, int *anon)
{
	int same = 0;

	for (int i = 0; i < 3; i++, code /= 3) {
		anon[i] = (int)(code % 3);
		same += anon[i] == SAME;
	}
	/* all three have it if one does: they were one area when it was made */
	return same == 0 || same == 3;
}

static void test_vma_merge_of_every_part(void **state)
{
	unsigned long cases = 0;

	space_machine();
	for (unsigned int code = 0; code < 27; code++) {
		int anon[3];

		if (!decode(code, anon))
			continue;
		for (unsigned int like = 0; like < 4; like++)
			for (long start = LEN; start < 2 * LEN; start++)
				for (long end = start + 1; end <= 2 * LEN; end++) {
					struct mm_struct *mm = space_new();
					struct area want[5];
					size_t n = expected(anon, like, start, end, want);

					sim_mm_use(mm);
					set_up(mm, anon, like);
					protect(mm, start, end - start, RW);
					_expect_areas(mm, want, n, __LINE__);
					assert_true(octavo_validate());
					check_bytes(mm, anon);
					space_drop(mm);
					cases++;
				}
	}
	assert_int_equal(cases, 9 * 4 * 10);
	shutdown_clean();
}

#if OCTAVO_FAULTS
static void test_vma_merge_fails_at_every_step(void **state)
{
	static struct space_image before, after;

	space_machine();
	for (unsigned int code = 0; code < 27; code++) {
		int anon[3];

		if (!decode(code, anon))
			continue;
		for (unsigned int like = 0; like < 4; like++)
			for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
				struct mm_struct *mm = space_new();

				sim_mm_use(mm);
				set_up(mm, anon, like);
				space_image(mm, &before);
				for_each_fault(k, mode, OCTAVO_FAULT_SLAB | OCTAVO_FAULT_FRAME, hit)
				{
					int err = vm_mprotect(mm, PG(LEN + (k & 1)), SIZE(2), RW);

					hit = octavo_fault_disarm();
					if (!err)
						break;
					assert_int_equal(err, -ENOMEM);
					space_image(mm, &after);
					assert_memory_equal(&before, &after, sizeof(before));
					assert_true(octavo_validate());
				}
				check_bytes(mm, anon);
				space_drop(mm);
			}
	}
	assert_true(fault_cases > 100);
	shutdown_clean();
}
#endif

/* Who has a reverse map is kept, so that a merge of whole areas needs no memory but for the tree's. */
static void test_vma_merge_keeps_reverse_maps(void **state)
{
	struct mm_struct *mm = space_boot();
	struct anon_vma *anon_vma;

	sim_mm_use(mm);
	map(mm, 0, 4, RW);
	map(mm, 8, 4, RW);
	put_byte(9, 1);
	anon_vma = vma_lookup(mm, PG(8))->anon_vma;
	assert_non_null(anon_vma);
	map(mm, 4, 4, RW);
	expect_areas(mm, { 0, 12, VM_READ | VM_WRITE });
	assert_ptr_equal(vma_lookup(mm, PG(0))->anon_vma, anon_vma);
	/* pages of what was an area of its own are found from their folio on */
	put_byte(1, 2);
	assert_int_equal(get_byte(9), 1);
	assert_int_equal(get_byte(1), 2);
	/* two reverse maps stay two */
	map(mm, 20, 4, RW);
	put_byte(20, 3);
	map(mm, 12, 8, RW);
	expect_areas(mm, { 0, 20, VM_READ | VM_WRITE }, { 20, 24, VM_READ | VM_WRITE });
	space_end(mm);
}

/* ---- files ---- */

static int nr_open, nr_close;

static void count_open(struct vm_area_struct *vma)
{
	nr_open++;
}

static void count_close(struct vm_area_struct *vma)
{
	nr_close++;
}

static const struct vm_operations_struct open_close = { .open = count_open, .close = count_close };
static const struct vm_operations_struct no_close = { .open = count_open };

static int mmap_open_close(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &open_close;
	return 0;
}

static int mmap_no_close(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &no_close;
	return 0;
}

static void map_file(struct mm_struct *mm, long page, long nr, struct vm_file *file, long pgoff)
{
	assert_int_equal(vm_mmap(mm, PG(page), SIZE(nr), PROT_READ, MAP_SHARED | MAP_FIXED, file,
				 SIZE(pgoff)),
			 PG(page));
}

static void test_vma_merge_of_files(void **state)
{
	static const struct vm_file_operations closing = { .mmap = mmap_open_close };
	static const struct vm_file_operations plain = { .mmap = mmap_no_close };
	struct mm_struct *mm = space_boot();
	struct vm_file a, b;

	nr_open = 0;
	nr_close = 0;
	vm_file_init(&a, &plain);
	vm_file_init(&b, &closing);
	/* contiguous there too */
	map_file(mm, 0, 4, &a, 10);
	map_file(mm, 4, 4, &a, 14);
	map_file(mm, 8, 4, &a, 19);
	expect_areas(mm, { 0, 8, VM_READ | VM_SHARED }, { 8, 12, VM_READ | VM_SHARED });
	assert_int_equal(a.refcount, 3);
	protect(mm, 2, 2, RW);
	assert_int_equal(nr_open, 2);
	protect(mm, 2, 2, PROT_READ);
	expect_areas(mm, { 0, 8, VM_READ | VM_SHARED }, { 8, 12, VM_READ | VM_SHARED });
	assert_int_equal(a.refcount, 3);
	/* who wants to be told of the end of each area has each */
	map_file(mm, 20, 4, &b, 0);
	map_file(mm, 24, 4, &b, 4);
	assert_int_equal(mm->map_count, 4);
	protect(mm, 22, 2, RW);
	protect(mm, 22, 2, PROT_READ);
	assert_int_equal(mm->map_count, 5);
	assert_int_equal(b.refcount, 4);
	unmap(mm, 0, 30);
	assert_int_equal(nr_close, 3);
	assert_int_equal(a.refcount, 1);
	assert_int_equal(b.refcount, 1);
	space_end(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vma_merge_of_new_areas),
		TEST(test_vma_merge_not_with_other_flags),
		TEST(test_vma_merge_of_every_part),
#if OCTAVO_FAULTS
		TEST(test_vma_merge_fails_at_every_step),
#endif
		TEST(test_vma_merge_keeps_reverse_maps),
		TEST(test_vma_merge_of_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
