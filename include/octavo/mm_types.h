/* SPDX-License-Identifier: MIT */
/*
 * mm_types.h - address spaces: the structs that page tables, reverse maps and the memory calls
 * share. Each field says by letter who may read and write it; docs/locking.md has the order.
 *
 *   (m) written under mmap_lock for writing; read under it at all, or as the VMA protocol below says
 *   (v) as (m), and written only after vma_start_write() of this VMA
 *   (a) atomic, any time
 *   (c) constant from creation on
 *   (s) mm->lock
 *
 * The VMA protocol: faults read VMAs without any lock and without writing to anything shared. A
 * writer, holding mmap_lock for writing, stores the mm's lock_seq into the VMA's before it changes
 * the VMA, or any page-table entry by its authority (vma_start_write()); the number grows when
 * mmap_lock is taken and when it is given back, so no value is ever stored twice. A fault looks the VMA up
 * under RCU, remembers its seq, checks that it is not the current writer's, copies what it needs, works,
 * takes the page-table lock, and looks at the seq again. Unchanged: no writer had begun when the
 * page-table lock was taken, and whoever begins now will come to that lock after us, and sees what we did.
 * Changed: give up, and start again under mmap_lock for reading. A table of the last level that a fault adds is
 * linked with the lock of the table above held, after the look at the seq; so a writer that walks by looks at
 * entries which are none under that lock. mm/space/vma_lock.h has all of it.
 */
#ifndef OCTAVO_MM_TYPES_H
#define OCTAVO_MM_TYPES_H

#include <octavo/config.h>
#include OCTAVO_PTE_HEADER
#include <octavo/atomic.h>
#include <octavo/interval_tree.h>
#include <octavo/list.h>
#include <octavo/lock.h>
#include <octavo/range_tree.h>
#include <octavo/rcu.h>
#include <octavo/rwsem.h>

struct anon_vma;
struct folio;
struct mem_cgroup;
struct mm_struct;
struct page;
struct ptdesc;
struct vm_area_struct;
struct vm_fault;

/* ---- geometry ---- */
#define VA_BITS (PAGE_SHIFT + OCTAVO_TABLE_BITS * OCTAVO_TABLE_LEVELS)
/* The lower half is the users', less a page that keeps addresses from running into the hole. */
#define TASK_SIZE_MAX ((1ul << (VA_BITS - 1)) - PAGE_SIZE)

/* Levels of a page table, the last one 0: an order argument for mappings. */
enum pgtable_level {
	PGTABLE_LEVEL_PTE = 0,
	PGTABLE_LEVEL_PMD = 1,
	PGTABLE_LEVEL_PUD = 2,
	PGTABLE_LEVEL_TOP = OCTAVO_TABLE_LEVELS - 1,
};
/* The highest level at which an entry may map memory. */
#define MAX_LEAF_LEVEL PGTABLE_LEVEL_PMD

/* ---- VMAs ---- */
typedef u64 vm_flags_t;

#define VM_READ	       (1ul << 0)
#define VM_WRITE       (1ul << 1)
#define VM_EXEC	       (1ul << 2)
#define VM_SHARED      (1ul << 3)
#define VM_MAYREAD     (1ul << 4) /* mprotect may allow it */
#define VM_MAYWRITE    (1ul << 5)
#define VM_MAYEXEC     (1ul << 6)
#define VM_MAYSHARE    (1ul << 7)
#define VM_GROWSDOWN   (1ul << 8)
#define VM_PFNMAP      (1ul << 10) /* frames only: nobody looks at words */
#define VM_UFFD_WP     (1ul << 12)
#define VM_LOCKED      (1ul << 13)
#define VM_IO	       (1ul << 14)
#define VM_SEQ_READ    (1ul << 15)
#define VM_RAND_READ   (1ul << 16)
#define VM_DONTCOPY    (1ul << 17) /* not at fork */
#define VM_DONTEXPAND  (1ul << 18)
#define VM_LOCKONFAULT (1ul << 19)
#define VM_ACCOUNT     (1ul << 20) /* counted in committed memory */
#define VM_NORESERVE   (1ul << 21)
#define VM_STACK       (1ul << 22)
#define VM_WIPEONFORK  (1ul << 25)
#define VM_DONTDUMP    (1ul << 26)
#define VM_SOFTDIRTY   (1ul << 27)
#define VM_MIXEDMAP    (1ul << 28) /* may have plain pages beside folios */
#define VM_HUGEPAGE    (1ul << 29)
#define VM_NOHUGEPAGE  (1ul << 30)
#define VM_DROPPABLE   (1ul << 32)

#define VM_ACCESS_FLAGS (VM_READ | VM_WRITE | VM_EXEC)
/* What no fault, mremap growth or lock may treat as ordinary memory. */
#define VM_SPECIAL     (VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)
#define VM_LOCKED_MASK (VM_LOCKED | VM_LOCKONFAULT)

/*
 * What is mapped when it is not anonymous memory: the embedder's object, with the embedder's own
 * memory around it. A VMA has a reference.
 */
struct vm_file {
	const struct vm_file_operations *ops;
	u32 refcount; /* (a) */
};

struct vm_file_operations {
	/*
	 * The VMA is about to be mapped; may set its vm_ops, vm_private_data, flags among VM_IO,
	 * VM_PFNMAP, VM_MIXEDMAP, VM_DONTCOPY, VM_DONTEXPAND, VM_DONTDUMP, and may fill it with vm_insert_page()
	 * or remap_pfn_range(). mmap_lock is held for writing. An error ends the mmap.
	 */
	int (*mmap)(struct vm_file *file, struct vm_area_struct *vma);
	/* The last reference is gone. May sleep. */
	void (*release)(struct vm_file *file);
};

/* Any may be NULL. */
struct vm_operations_struct {
	void (*open)(struct vm_area_struct *vma);  /* a copy by split, fork or mremap */
	void (*close)(struct vm_area_struct *vma); /* this VMA goes; may sleep */
	int (*may_split)(struct vm_area_struct *vma, unsigned long addr);
	int (*mremap)(struct vm_area_struct *vma);
	/*
	 * A page is missing. mmap_lock is held for reading; may sleep. Return: VM_FAULT_NOPAGE after
	 * installing an entry itself; 0 with vmf->page set to a page that the caller's new entry takes
	 * over a reference of; VM_FAULT_... errors.
	 */
	u32 (*fault)(struct vm_fault *vmf);
	/*
	 * A write to a present entry that does not allow it, shared VMAs, whose entries are all made without that right then.
	 * As fault.
	 */
	u32 (*pfn_mkwrite)(struct vm_fault *vmf);
	/* A read or write by the kernel where there are no words. Bytes done or -errno. */
	int (*access)(struct vm_area_struct *vma, unsigned long addr, void *buf, int len,
		      int write);
};

/*
 * Type-stable under RCU. Stable prefix: vm_seq, vm_mm.
 */
struct vm_area_struct {
	u64 vm_seq;		 /* mm->lock_seq of its last writer; seq_cst, see above */
	struct mm_struct *vm_mm; /* NULL: not in use; stored before it is in a tree */

	unsigned long vm_start, vm_end; /* (v) */
	vm_flags_t vm_flags;		/* (v) */
	pgprot_t
		vm_page_prot; /* (v) what a new entry gets; never writable for what is copied on write */
	/* (v) of what is mapped, in pages; anonymous memory: vm_start >> PAGE_SHIFT when it was made */
	unsigned long vm_pgoff;
	/*
	 * (s) set once by anon_vma_prepare(), release, with mmap_lock held for reading or writing; else
	 * (v). NULL: no anonymous folio was ever mapped here.
	 */
	struct anon_vma *anon_vma;
	struct list_head anon_vma_chain;	   /* (s) or (m), and the chains' anon_vma locks */
	const struct vm_operations_struct *vm_ops; /* (v) NULL: anonymous */
	struct vm_file *vm_file;		   /* (v) */
	/*
	 * (a) 1: may have guard markers. Set with mmap_lock held for reading, before the first marker; never cleared but
	 * with the VMA. Not a flag, because flags are read plainly by who has mmap_lock.
	 */
	u64 vm_guards;
	u64 vm_swap_ahead; /* (a) relaxed: how slots near a fault are read ahead: swap_ahead.c; a hint */
	void *vm_private_data;
};

/* A missing or protected page, as handlers see it. */
struct vm_fault {
	struct vm_area_struct *vma;
	struct mm_struct *mm;
	unsigned long address; /* page aligned */
	unsigned long pgoff;   /* in what is mapped */
	u32 flags;	       /* FAULT_FLAG_... */
	struct page *page;     /* set by vm_ops->fault */
};

/* ---- reverse maps of anonymous folios: see docs/rmap.md ---- */

/*
 * All VMAs of an address space and its descendants that may map folios which were made for one VMA.
 * A fork gives the child's VMA an anon_vma of its own and links it into all those of its parent's too,
 * so the walk for a folio made after the fork never sees the parent.
 *
 * Type-stable under RCU. Stable prefix: what is before parent. The lock is in it because whoever drops
 * it keeps nothing that keeps the anon_vma, so its last access may come when that is free or another.
 */
struct anon_vma {
	u32 refcount;	       /* (a) inc-not-zero; keeps the descriptor, not the VMAs */
	u32 nr_vmas;	       /* (l) nodes in tree; read without the lock as a hint, acquire */
	struct anon_vma *root; /* (c) of one life: whose lock is ours */
	/* the root's is taken; (l) is: held for writing to change, for reading to look */
	struct rw_semaphore lock;

	struct anon_vma *parent;   /* (c) of one life */
	struct interval_tree tree; /* (l) of anon_vma_chain, by vm_pgoff */
	u32 nr_children;	   /* (l) anon_vmas whose parent this is, itself as root included */
	u32 nr_active;		   /* (l) VMAs whose anon_vma this is */
};

/* One VMA in one anon_vma. */
struct anon_vma_chain {
	struct vm_area_struct *vma;    /* (c) */
	struct anon_vma *anon_vma;     /* (c) */
	struct list_head same_vma;     /* of vma->anon_vma_chain */
	struct interval_node interval; /* (l) pages start to last of what is mapped */
};

/* ---- address spaces ---- */

enum mm_counter {
	MM_FILEPAGES,
	MM_ANONPAGES,
	MM_SWAPENTS,
	MM_SHMEMPAGES,
	NR_MM_COUNTERS,
};

/* Stored by the CPU alone, pinned; the sum is exact when quiet. */
struct mm_cpu {
	long count[NR_MM_COUNTERS];
	long untold; /* invalidations under way that no notifier was told of; ends may be on another CPU */
} __cacheline_pair;

/* Bytes; ~0ul: no limit. Set by the embedder before the address space is used, or under mmap_lock. */
struct mm_limits {
	unsigned long as, data, stack, memlock;
};

struct mmu_notifier_subscriptions;

struct mm_struct {
	/* read by every fault, written rarely */
	struct range_tree vmas; /* (m); readers under RCU */
	/*
	 * (a) odd while mmap_lock is held for writing. Stored with seq_cst by the writer alone: see the
	 * VMA protocol.
	 */
	u64 lock_seq;
	struct ptdesc *pgd;	  /* (c) */
	pte_t *pgd_table;	  /* (c) its entries */
	struct mm_cpu *cpu;	  /* (c) [nr_cpus] */
	struct mem_cgroup *memcg; /* (c) from the first area on: see memcontrol.h; NULL: none */
	u32 folio_orders; /* (a) bit n: faults may use folios of order n; bit 0 is always meant */
	/* (a) odd while fork copies page tables: memdesc.md "Look-ups", steps 0 and 8 */
	u32 write_protect_seq;
	/* (a) CPUs that may have translations: set with seq_cst before the first, cleared after the last */
	unsigned long cpus[DIV_ROUND_UP(OCTAVO_NR_CPUS, BITS_PER_LONG)];
	void *port; /* the port's own */

	struct rw_semaphore mmap_lock __cacheline;
	u32 users;	 /* (a) 0: the address space is gone or going */
	u32 count;	 /* (a) 0: the struct is freed; all users together have one */
	spinlock_t lock; /* (s) */
	struct mmu_notifier_subscriptions *notifiers; /* (s) stored once, release */
	struct list_head all;			      /* octavo_state.space.lock */

	/* (m), bytes and addresses */
	unsigned long task_size, mmap_base, mmap_min_addr;
	unsigned long start_brk, brk;
	vm_flags_t def_flags; /* mlockall(MCL_FUTURE) */
	struct mm_limits limits;

	/* (m) pages */
	unsigned long total_vm, data_vm, exec_vm, stack_vm;
	unsigned long locked_vm;
	unsigned long map_count, max_map_count;
	unsigned long hiwater_rss;    /* (a) relaxed */
	unsigned long pgtables_bytes; /* (a) relaxed */
	u64 pinned_vm;		      /* (a) pages pinned for long */
};

/* Context: any but interrupts. */
static inline void add_mm_counter(struct mm_struct *mm, enum mm_counter member, long n)
{
	long *count = &mm->cpu[octavo_port_pin()].count[member];

	/* relaxed: this CPU's alone; others only sum */
	WRITE_ONCE(*count, READ_ONCE(*count) + n);
	octavo_port_unpin();
}

/* @n of the one are of the other now. */
static inline void move_mm_counter(struct mm_struct *mm, enum mm_counter from, enum mm_counter to,
				   long n)
{
	long *count = mm->cpu[octavo_port_pin()].count;

	/* relaxed: as above */
	WRITE_ONCE(count[from], READ_ONCE(count[from]) - n);
	WRITE_ONCE(count[to], READ_ONCE(count[to]) + n);
	octavo_port_unpin();
}

static inline bool vma_is_anonymous(const struct vm_area_struct *vma)
{
	return !vma->vm_ops;
}

static inline unsigned long vma_pages(const struct vm_area_struct *vma)
{
	return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

/* Of what is mapped, the page that is at @addr; for anonymous memory the folio's index. */
static inline unsigned long linear_page_index(const struct vm_area_struct *vma, unsigned long addr)
{
	return ((addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff;
}

/* Private memory that may be written to, so that pages are copied when they are. */
static inline bool is_cow_mapping(vm_flags_t flags)
{
	return (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

#endif /* OCTAVO_MM_TYPES_H */
