/* SPDX-License-Identifier: MIT */
/*
 * embed1.c - a tier-1 embedder: address spaces for a machine of one CPU that this program plays.
 *
 * To the nine functions of tier 0 comes one, octavo_port_tlb_flush(). The rest of a kernel's part is here
 * too: a CPU that translates addresses (hardware has that), its page-fault handler, and its context switch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/octavo.h>

/* ---- tier 0, as in examples/embed ---- */

void octavo_port_log(enum octavo_log_level level, const char *line)
{
	printf("[octavo %s] %s\n", level <= OCTAVO_LOG_WARN ? "!" : "-", line);
}

void octavo_port_panic(const char *reason)
{
	printf("panic: %s\n", reason);
	abort();
}

unsigned int octavo_port_pin(void)
{
	return 0;
}

void octavo_port_unpin(void)
{
}

unsigned int octavo_port_cpu(void)
{
	return 0;
}

void octavo_port_relax(void)
{
}

void octavo_port_membarrier(void)
{
}

void octavo_port_park(u32 *addr, u32 val)
{
}

void octavo_port_unpark(u32 *addr, bool all)
{
}

static char memory[64 << 20] __aligned(PAGE_SIZE);

/* ---- hardware: the address space in use, a translation buffer, a walker ---- */

static struct mm_struct *running;
static struct {
	unsigned long page; /* its address | 1 */
	char *host;
	bool writable;
} tlb[16];

/* Walk the tables of @running, as the CPU manuals say. NULL: a page fault. */
static char *walk(unsigned long page, bool write)
{
	const u64 marks = _PAGE_ACCESSED | (write ? _PAGE_DIRTY : 0);
	pte_t *table = running->pgd_table;

	for (unsigned int level = PGTABLE_LEVEL_TOP;; level--) {
		pte_t *e = &table[level_index(page, level)];

		if (!(e->v & _PAGE_PRESENT) || (write && !(e->v & _PAGE_RW)))
			return NULL;
		if (level && !(e->v & _PAGE_LEAF)) {
			table = pfn_to_virt(pte_pfn(*e));
			continue;
		}
		/* with several CPUs: a compare-and-swap of the entry that was looked at */
		e->v |= marks;
		return (char *)pfn_to_virt(pte_pfn(*e)) + (page & (level_size(level) - 1));
	}
}

/* ---- the kernel ---- */

/*
 * The function of tier 1. There is one CPU, so it has to forget, and nobody else does. What is flushed may be
 * more than what was asked for.
 */
void octavo_port_tlb_flush(const struct octavo_tlb_flush *flush, const unsigned long *cpus)
{
	memset(tlb, 0, sizeof(tlb));
}

/* The context switch. */
static void run(struct mm_struct *mm)
{
	if (running) {
		memset(tlb, 0, sizeof(tlb));
		mm_deactivate(running, 0);
	}
	running = mm;
	if (running)
		mm_activate(running,
			    0); /* on x86-64 then: CR3 = ptdesc_pfn(mm->pgd) << PAGE_SHIFT */
}

/* An access of a user program to one byte. Return: 0, or what would be its signal. */
static vm_fault_t user_access(unsigned long addr, char *byte, bool write)
{
	const unsigned long page = addr & ~(PAGE_SIZE - 1), i = (addr >> PAGE_SHIFT) % 16;

	while (tlb[i].page != (page | 1) || tlb[i].writable < write) {
		char *host = addr < TASK_SIZE_MAX ? walk(page, write) : NULL;
		vm_fault_t fault;

		if (host) {
			tlb[i].page = page | 1;
			tlb[i].host = host;
			tlb[i].writable = write;
			break;
		}
		/* the page-fault handler */
		tlb[i].page = 0;
		fault = mm_fault(running, addr, FAULT_FLAG_USER | (write ? FAULT_FLAG_WRITE : 0));
		if (fault & VM_FAULT_ERROR)
			return fault;
	}
	if (write)
		tlb[i].host[addr - page] = *byte;
	else
		*byte = tlb[i].host[addr - page];
	return 0;
}

static void fail(const char *what)
{
	printf("failed: %s\n", what);
	exit(1);
}

static void user_store(unsigned long addr, char c)
{
	if (user_access(addr, &c, true))
		fail("a store was not allowed");
}

static char user_load(unsigned long addr)
{
	char c;

	if (user_access(addr, &c, false))
		fail("a load was not allowed");
	return c;
}

/* ---- two processes ---- */

#define MIB (1ul << 20)

int main(void)
{
	const struct octavo_region map = { .size = sizeof(memory), .type = OCTAVO_MEM_USABLE };
	const struct octavo_boot boot = { .regions = &map,
					  .nr_regions = 1,
					  .nr_cpus = 1,
					  .direct_map = memory,
					  .dma_limit = ~0ul,
					  .dma32_limit = ~0ul };
	struct mm_struct *parent, *child;
	char back[6] = "";
	long addr;
	int err;
	char c;

	parent = octavo_init(&boot) ? NULL : mm_alloc();
	if (!parent)
		fail("no address space");
	addr = vm_mmap(parent, 0, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL,
		       0);
	if (addr < 0)
		fail("no memory to map");
	run(parent);
	for (unsigned long off = 0; off < MIB / 2; off += 100)
		user_store((unsigned long)addr + off, 'p');
	printf("1 MiB at 0x%lx, %lu pages of it used\n", addr, get_mm_rss(parent));

	/* what a system call writes for its caller, across two pages */
	if (copy_to_user(parent, (unsigned long)addr + PAGE_SIZE - 3, "hello", 6) ||
	    copy_from_user(parent, back, (unsigned long)addr + PAGE_SIZE - 3, 6))
		fail("a copy was not allowed");
	printf("a system call wrote \"%s\", and user code reads '%c'\n", back,
	       user_load((unsigned long)addr + PAGE_SIZE + 1));

	child = mm_fork(parent, &err);
	if (!child)
		fail("no child");
	run(child);
	user_store((unsigned long)addr, 'c');
	c = user_load((unsigned long)addr);
	run(parent);
	printf("after a fork and a store of the child: '%c' there, '%c' here\n", c,
	       user_load((unsigned long)addr));
	if (c != 'c' || user_load((unsigned long)addr) != 'p')
		fail("memory is shared that should not be");

	if (vm_munmap(parent, (unsigned long)addr, MIB))
		fail("munmap");
	if (user_access((unsigned long)addr, &c, false) != (VM_FAULT_SIGSEGV | VM_FAULT_MAPERR))
		fail("what is unmapped can still be read");
	run(NULL);
	mmput(child);
	mmput(parent);
	u64 leaked = octavo_shutdown();
	printf("%lu frames leaked\n", leaked);
	return leaked != 0;
}
