// SPDX-License-Identifier: MIT
/*
 * as_access.c - processes, and accesses to their memory: by programs, by the kernel, by devices, and by who moves it.
 */
#include <errno.h>
#include <string.h>

#include <octavo/migrate.h>
#include <octavo/swap.h>

#include "as_ops.h"
#include "mmu.h"

/* ---- processes ---- */

bool do_fork(struct op *o)
{
	struct mm_struct *child;
	int c = 0, err = 0;

	while (c < AS_PROCS && as.mm[c])
		c++;
	describe("fork() = %d", c);
	if (c == AS_PROCS)
		return true;
	child = ON_CORE(o, mm_fork(o->mm, &err));
	if (!child) {
		/* all of a folio that has a pinned page is copied now */
		bool many = any_pins() && as.free_before < 2 * as.m.nr;

		return (err == -ENOMEM && (as.m.never || many)) || excuse(err, -ENOMEM) ||
		       differs("fork", err, 0);
	}
	as.mm[c] = child;
	as_fork(&as.m, o->p, c);
	return as_check_areas(c) && as_check_pages(c, as.m.base, as.m.nr);
}

bool do_exit(struct op *o)
{
	int alive = 0;

	for (int p = 0; p < AS_PROCS; p++)
		alive += as.mm[p] != NULL;
	describe("exit()");
	if (alive > 1)
		as_machine_exit(o->p);
	return true;
}

/* ---- accesses ---- */

static int access_error(vm_fault_t f)
{
	return (f & VM_FAULT_SIGSEGV ? AS_SEGV : 0) | (f & VM_FAULT_MAPERR ? AS_MAPERR : 0) |
	       (f & VM_FAULT_SIGBUS ? AS_BUS : 0) |
	       (f & ~(VM_FAULT_SIGSEGV | VM_FAULT_MAPERR | VM_FAULT_SIGBUS | VM_FAULT_MAJOR) ? 64
											     : 0);
}

/* Memory ran out, perhaps after the stack grew. Return: true: that is it. */
static bool access_excused(const struct op *o, vm_fault_t f)
{
	const struct as_page *pg = as_page(&as.m, o->p, o->addr);
	bool hole = pg && !pg->flags, guard;

	/* it could not be read, and is where it was */
	if (pg && f & VM_FAULT_SIGBUS && as_excused() &&
	    as_pfn_at(o->p, o->addr & PAGE_MASK, &guard) == AS_IN_SLOT) {
		run.st->short_of++;
		return true;
	}
	if (!(f & VM_FAULT_OOM) && !(hole && f == (VM_FAULT_SIGSEGV | VM_FAULT_MAPERR)))
		return false;
	if (!as_excused() && !as.m.never)
		return false;
	as_view(o->p);
	if (hole && as.view[as_nr(&as.m, o->addr)].flags)
		as_access(&as.m, o->p, o->addr, AS_LOAD, NULL);
	else if (hole && !(f & VM_FAULT_OOM) &&
		 as_may_access(&as.m, o->p, o->addr, AS_LOAD) == access_error(f))
		return true;
	run.st->short_of++;
	return true;
}

bool do_access(struct op *o)
{
	static const char *const names[] = { "load", "store", "cas", "add", "store", "fetch" };
	unsigned int kind = (unsigned int)o->bits % 6, w = o->misc & 1;
	enum as_access a = kind == 0 ? AS_LOAD : kind == 5 ? AS_FETCH : AS_STORE;
	unsigned long addr = (o->addr & PAGE_MASK) + as_word_offset(w);
	u64 val = 0, new = run.next_word++, old = 0;
	uint64_t *words = NULL;
	vm_fault_t f;
	int expected;

	if (o->illegal && o->misc & 8)
		addr = o->addr = o->misc & 16 ? ~0ul - 4095 + as_word_offset(w) : as.m.end;
	describe("%s(%#lx)", names[kind], addr);
	if (kind == 2)
		val = old = o->misc & 2 || !as_page(&as.m, o->p, addr)
				    ? new
				    : as_words(&as.m, as_page(&as.m, o->p, addr))[w];
	sim_mm_use(o->mm);
	if (kind == 0)
		f = ON_CORE(o, sim_load64(addr, &val));
	else if (kind == 2)
		f = ON_CORE(o, sim_cas64(addr, &val, new));
	else if (kind == 3)
		f = ON_CORE(o, sim_add64(addr, new, &val));
	else if (kind == 5)
		f = ON_CORE(o, sim_fetch(addr));
	else
		f = ON_CORE(o, sim_store64(addr, new));
	if (access_excused(o, f))
		return true;
	expected = as_access(&as.m, o->p, addr, a, &words);
	run.st->refused += expected != 0;
	if (access_error(f) != expected)
		return differs(names[kind], (long)f, expected);
	if (expected || kind == 5)
		return true;
	if ((kind == 0 || kind == 2 || kind == 3) && val != words[w])
		return as_wrong("%s: found %lx, expected %lx", names[kind], (unsigned long)val,
				(unsigned long)words[w]);
	if (kind == 2)
		words[w] = words[w] == old ? new : words[w];
	else if (kind == 3)
		words[w] += new;
	else if (a == AS_STORE)
		words[w] = new;
	return true;
}

/* Pages from @addr on that get_user_pages() (or @ask) must give, and may give. */
static void gup_expected(const struct op *o, unsigned long addr, unsigned long nr, bool write,
			 enum as_gup (*ask)(struct as_model *, int, unsigned long, bool),
			 unsigned long *must, unsigned long *may)
{
	unsigned long n = 0;

	*must = nr;
	for (; n < nr; n++, addr += PAGE_SIZE) {
		enum as_gup g = ask(&as.m, o->p, addr, write);

		if (g == AS_GUP_NO)
			break;
		if (g == AS_GUP_EITHER)
			*must = min(*must, n);
	}
	*must = min(*must, n);
	*may = n;
}

/* Bytes of a copy to or from words of the model. */
static bool copy_words(const struct op *o, unsigned long addr, unsigned long n, char *buf,
		       bool write)
{
	for (unsigned long page = addr & PAGE_MASK; page < addr + n; page += PAGE_SIZE) {
		struct as_page *pg = as_page(&as.m, o->p, page);
		uint64_t *words = NULL;

		if (write && as_access(&as.m, o->p, page, AS_STORE, &words))
			return as_wrong("copied to %lx", page);
		for (unsigned int w = 0; w < AS_WORDS; w++) {
			unsigned long at = page + as_word_offset(w);

			if (at < addr || at + 8 > addr + n)
				continue;
			if (write)
				memcpy(&words[w], buf + (at - addr), 8);
			else if (memcmp(&as_words(&as.m, pg)[w], buf + (at - addr), 8))
				return as_wrong("copied from %lx: not what is there", at);
		}
	}
	return true;
}

/* Stacks have grown for a copy, or for the first byte that was not copied. */
static void copy_grows(const struct op *o, unsigned long page, unsigned long nr)
{
	as_view(o->p);
	for (; nr--; page += PAGE_SIZE) {
		const struct as_page *pg = as_page(&as.m, o->p, page);

		if (pg && !pg->flags && as.view[as_nr(&as.m, page)].flags)
			as_access(&as.m, o->p, page, AS_LOAD, NULL);
	}
}

bool do_copy(struct op *o)
{
	static u64 buf[5 * 512];
	bool write = o->bits & 1;
	unsigned long addr = (o->addr & PAGE_MASK) + (o->bits >> 4) % 512 * 8;
	unsigned long n = (o->len / 8 % (4 * 512) + 1) * 8, asked, pages, must, may, left, done;

	describe("copy_%s(%#lx, %#lx)", write ? "to" : "from", addr, n);
	asked = (((addr & ~PAGE_MASK) + n - 1) >> PAGE_SHIFT) + 1;
	gup_expected(o, addr & PAGE_MASK, asked, write, as_copy, &must, &may);
	for (unsigned long i = 0; i < n / 8; i++)
		buf[i] = write ? run.next_word++ : ~0ull;
	if (write)
		left = ON_CORE(o, copy_to_user(o->mm, addr, buf, n));
	else
		left = ON_CORE(o, copy_from_user(o->mm, buf, addr, n));
	done = n - left;
	if (left > n || (done < n && (addr + done) & ~PAGE_MASK && done))
		return as_wrong("copy: %lu of %lu bytes left", left, n);
	pages = done ? (((addr & ~PAGE_MASK) + done - 1) >> PAGE_SHIFT) + 1 : 0;
	if (pages > may || (pages < must && !as_excused()))
		return as_wrong("copy: %lu pages, expected %lu to %lu", pages, must, may);
	copy_grows(o, addr & PAGE_MASK, asked);
	return !done || copy_words(o, addr, done, (char *)buf, write);
}

/* ---- pins ---- */

static bool keep_pin(const struct op *o, unsigned long addr, struct page *page, bool pinned,
		     bool write)
{
	struct as_page *pg = as_page(&as.m, o->p, addr);
	unsigned long pfn = page_to_pfn(page);
	struct as_pin *pin = as.pin;
	bool guard;

	while (pin->page)
		pin++;
	if (as_pfn_at(o->p, addr, &guard) != pfn)
		return as_wrong("get_user_pages: not the frame that is mapped at %lx", addr);
	*pin = (struct as_pin){ .page = page, .pinned = pinned, .write = write };
	if (pg->file && page == as.page[pg->file - 1][pg->pgoff]) {
		pin->shared = as.m.file[pg->file - 1][pg->pgoff];
		if (write && !(pg->flags & AS_SHARED))
			return as_wrong("an object's page for writing, privately");
	} else if (pg->flags & AS_SHARED) {
		return as_wrong("shared memory, and not the object's page");
	} else if (page_folio(page)) {
		pin->data = as_data_get(as_own(&as.m, pg));
	} else if (write || pg->data) {
		return as_wrong("the zero page for writing, or for what is not zero");
	}
	return true;
}

bool do_pin(struct op *o)
{
	struct page *pages[8];
	bool write = o->bits & 1, pinned = o->bits & 6, fast = o->bits & 8;
	u32 flags = (write ? FOLL_WRITE : 0) |
		    (pinned && (o->bits & 0x70) == 0 ? FOLL_LONGTERM : 0) |
		    ((o->bits & 0x380) == 0 ? FOLL_NOFAULT : 0);
	unsigned long nr = 1 + o->misc % 6, must, may, room = 0;
	unsigned long addr = o->addr & PAGE_MASK;
	long ret;

	for (int i = 0; i < AS_PINS; i++)
		room += !as.pin[i].page;
	nr = min(nr, room);
	describe("%s%s(%#lx, %lu, %#x)", pinned ? "pin" : "get", fast ? "_fast" : "_remote", addr,
		 nr, flags);
	if (!nr || addr >= as.m.end)
		return true;
	nr = min(nr, (as.m.end - addr) >> PAGE_SHIFT);
	gup_expected(o, addr, nr, write, as_gup, &must, &may);
	if (flags & FOLL_NOFAULT)
		must = 0;
	if (fast)
		ret = ON_CORE(o, pinned ? pin_user_pages_fast(o->mm, addr, nr, flags, pages)
					: get_user_pages_fast(o->mm, addr, nr, flags, pages));
	else
		ret = ON_CORE(o, pinned ? pin_user_pages_remote(o->mm, addr, nr, flags, pages)
					: get_user_pages_remote(o->mm, addr, nr, flags, pages));
	if (ret <= 0 && must && !as_excused())
		return differs("get_user_pages", ret, (long)must);
	if (ret <= 0) {
		run.st->refused++;
		return ret == -EFAULT || ((ret == -ENOMEM || ret == -EAGAIN) && as_excused()) ||
		       differs("get_user_pages", ret, -EFAULT);
	}
	if ((unsigned long)ret > may || ((unsigned long)ret < must && !as_excused()))
		return as_wrong("get_user_pages: %ld, expected %lu to %lu", ret, must, may);
	for (long i = 0; i < ret; i++)
		if (!keep_pin(o, addr + (unsigned long)i * PAGE_SIZE, pages[i], pinned, write))
			return false;
	return as_check_pins();
}

static struct as_pin *some_pin(const struct op *o)
{
	for (unsigned int i = 0; i < AS_PINS; i++) {
		struct as_pin *pin = &as.pin[(o->misc + i) % AS_PINS];

		if (pin->page)
			return pin;
	}
	return NULL;
}

bool do_unpin(struct op *o)
{
	struct as_pin *pin = some_pin(o);

	describe("unpin(%d)", pin ? (int)(pin - as.pin) : -1);
	if (!pin)
		return true;
	if (!pin->pinned)
		put_user_page(pin->page);
	else if (o->bits & 1 && !pin->write)
		unpin_user_page(pin->page);
	else
		unpin_user_pages_dirty_lock(&pin->page, 1, pin->write);
	as_data_put(&as.m, pin->data);
	*pin = (struct as_pin){ .page = NULL };
	return true;
}

/* A device writes to what is pinned for that. */
bool do_device(struct op *o)
{
	struct as_pin *pin = some_pin(o);
	unsigned int w = o->misc >> 5 & 1;
	uint64_t *words;

	describe("device writes to pin %d", pin ? (int)(pin - as.pin) : -1);
	if (!pin || !pin->pinned || !pin->write)
		return true;
	words = pin->data ? pin->data->w : (uint64_t *)pin->shared;
	*as_host_word(page_to_pfn(pin->page), w) = words[w] = run.next_word++;
	return true;
}

/* ---- folios ---- */

/* The anonymous folio at an address, with a reference. */
static struct folio *folio_at(const struct op *o)
{
	struct page *page;
	struct folio *folio;

	if (o->addr >= as.m.end || o->addr < as.m.base)
		return NULL;
	if (get_user_pages_remote(o->mm, o->addr & PAGE_MASK, 1, FOLL_NOFAULT | FOLL_FORCE,
				  &page) != 1)
		return NULL;
	folio = page_folio(page);
	if (folio && folio_test_anon(folio))
		return folio;
	put_user_page(page);
	return NULL;
}

bool do_migrate(struct op *o)
{
	struct folio *folio = folio_at(o);
	int ret;

	describe("migrate(%#lx)", o->addr);
	if (!folio)
		return true;
	ret = ON_CORE(o, migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL));
	run.st->moved += ret == 0;
	folio_put(folio);
	if (!ret || as_excused() || (any_pins() && (ret == -EAGAIN || ret == -EBUSY)))
		return true;
	/* a large one needs a large run of free frames */
	return ret == -ENOMEM || differs("migrate_folio", ret, 0);
}

bool do_split(struct op *o)
{
	struct folio *folio = folio_at(o);
	unsigned int order;
	int ret;

	describe("split(%#lx)", o->addr);
	if (!folio)
		return true;
	order = folio_order(folio);
	if (!order || !folio_trylock(folio)) {
		folio_put(folio);
		return true;
	}
	order = o->misc % order;
	describe("split(%#lx, %u)", o->addr, order);
	ret = ON_CORE(o,
		      split_folio_mapped(folio, order, o->bits & 1 ? folio_page(folio, 0) : NULL));
	folio_unlock(folio);
	folio_put_unmapped(folio, 1);
	run.st->moved += ret == 0;
	if (!ret || as_excused() || (any_pins() && (ret == -EAGAIN || ret == -EBUSY)))
		return true;
	return differs("split_folio_mapped", ret, 0);
}
