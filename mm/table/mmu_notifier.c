/* SPDX-License-Identifier: MIT */
/*
 * mmu_notifier.c - who is told of what is about to be unmapped or restricted, and until when.
 *
 * Callbacks sleep, so no lock is held while one runs. What runs is counted in its notifier, under the lock of the
 * address space's subscriptions, and a notifier that is counted stays on its list. Invalidations are
 * numbered and on a list from start to end. A notifier is told of those that begin after it was
 * registered, and registering waits for the others; a reader of page tables waits for those that overlap
 * what it reads.
 *
 * While nobody is registered there is no list. Then each CPU counts what begins and ends on it (mmu_notifier.h),
 * and the first to register waits until the sum is 0.
 *
 * What it does not do: decide when to notify. That is the walkers', who know what they change.
 */
#include <octavo/errno.h>
#include <octavo/mmu_notifier.h>
#include <octavo/slab.h>
#include <octavo/state.h>

struct mmu_notifier_subscriptions {
	spinlock_t
		lock; /* nests inside ptls; guards all of this and the fields in notifiers and ranges */
	u32 waiters;
	u32 events; /* grows when something ends that somebody waits for; parked on */
	u32 told;   /* 1: no invalidation is under way that is not on the list; set once, release */
	unsigned long seq;	     /* of the last invalidation */
	struct list_head active;     /* invalidations, oldest first */
	struct list_head list;	     /* of mmu_notifier, oldest first */
	struct interval_tree ranges; /* of mmu_interval_notifier, by addresses */
};

/* ---- waiting. Context: the lock is held; may be dropped and taken again ---- */

static void something_ended(struct mmu_notifier_subscriptions *subs)
{
	if (!subs->waiters)
		return;
	/* release: pairs with the acquire in wait_untold(); else the lock orders */
	fetch_add_release(&subs->events, 1u);
	octavo_port_unpark(&subs->events, true);
}

static void wait_for_something(struct mmu_notifier_subscriptions *subs)
{
	u32 seen = READ_ONCE(subs->events);

	subs->waiters++;
	spin_unlock(&subs->lock);
	octavo_port_park(&subs->events, seen);
	spin_lock(&subs->lock);
	subs->waiters--;
}

/* ---- the address space ---- */

static void keep_mm(struct mm_struct *mm)
{
	/* relaxed: the caller is a user */
	fetch_add_relaxed(&mm->count, 1u);
}

/* Context: no lock of @mm held: the last one frees it. */
static void drop_mm(struct mm_struct *mm)
{
	octavo_state.space.mm_drop(mm);
}

static struct mmu_notifier_subscriptions *subscriptions_of(struct mm_struct *mm)
{
	/* acquire: pairs with the release in subscriptions_make() */
	return smp_load_acquire(&mm->notifiers);
}

static struct mmu_notifier_subscriptions *subscriptions_make(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(mm), *new;

	if (subs)
		return subs;
	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return NULL;
	spin_lock_init(&new->lock);
	INIT_LIST_HEAD(&new->active);
	INIT_LIST_HEAD(&new->list);
	spin_lock(&mm->lock);
	subs = mm->notifiers;
	if (!subs)
		/* release: pairs with everybody's look; it is initialised */
		smp_store_release(&mm->notifiers, new);
	spin_unlock(&mm->lock);
	if (!subs)
		return new;
	kfree(new);
	return subs;
}

/* Invalidations that began when nobody was there to be told. */
static long untold(const struct mm_struct *mm)
{
	long sum = 0;

	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		/* acquire: pairs with the release in __mmu_notifier_count_untold() */
		sum += smp_load_acquire(&mm->cpu[cpu].untold);
	return sum;
}

/*
 * No invalidation begins untold any more, and those that did are over. A CPU that finds the subscriptions takes its
 * count back before it is unpinned, so each number is what it ought to be or one too many, and then something ends
 * soon; an end may be counted on another CPU than its beginning, but every beginning is seen.
 */
static void wait_untold(struct mm_struct *mm, struct mmu_notifier_subscriptions *subs)
{
	/* acquire: pairs with the release below */
	if (smp_load_acquire(&subs->told))
		return;
	/* pairs with the light one in __mmu_notifier_count_untold(): after it every untold beginning is seen */
	smp_mb_heavy();
	spin_lock(&subs->lock);
	subs->waiters++;
	spin_unlock(&subs->lock);
	for (;;) {
		/* acquire: pairs with the release in something_ended(): the count below is newer */
		u32 seen = smp_load_acquire(&subs->events);

		if (untold(mm) == 0)
			break;
		octavo_port_park(&subs->events, seen);
	}
	spin_lock(&subs->lock);
	subs->waiters--;
	spin_unlock(&subs->lock);
	/* release: whoever does not look is ordered after what those invalidations did */
	smp_store_release(&subs->told, 1u);
}

void __mmu_notifier_untold_end(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(mm);

	spin_lock(&subs->lock);
	something_ended(subs);
	spin_unlock(&subs->lock);
}

/* ---- callbacks. Context: the lock is held, and dropped around each ---- */

/* Who is called at all: not who came after @range began. */
static bool hears(const struct mmu_notifier *mn, unsigned long seq)
{
	return !mn->gone && !mn->released && mn->seq < seq;
}

static void callback_begins(struct mmu_notifier_subscriptions *subs, struct mmu_notifier *mn)
{
	mn->users++;
	spin_unlock(&subs->lock);
}

static void free_put(struct rcu_head *head)
{
	struct mmu_notifier *mn = container_of(head, struct mmu_notifier, rcu);

	if (mn->ops->free_notifier)
		mn->ops->free_notifier(mn);
}

/* Of a notifier that was put, nothing runs any more. The caller drops the address space. */
static void end_put(struct mmu_notifier *mn)
{
	list_del_init(&mn->list);
	call_rcu(&mn->rcu, free_put);
}

/* Return: the one after it; @mn may be gone. */
static struct mmu_notifier *callback_ended(struct mmu_notifier_subscriptions *subs,
					   struct mmu_notifier *mn)
{
	struct mmu_notifier *next;

	spin_lock(&subs->lock);
	next = list_entry(mn->list.next, struct mmu_notifier, list);
	if (--mn->users || !mn->gone)
		return next;
	if (!mn->put) {
		something_ended(subs);
		return next;
	}
	/* release: pairs with the acquire of the last one; it is not this, who is inside the address space */
	if (fetch_sub_release(&mn->mm->count, 1u) == 1)
		octavo_panic("mmu_notifier: %p: a callback in an address space that nobody has",
			     (void *)mn);
	end_put(mn);
	return next;
}

/* Tell whoever was told of the beginning, up to but not including @until, of the end. */
static void tell_end(struct mmu_notifier_subscriptions *subs, struct mmu_notifier_range *range,
		     const struct mmu_notifier *until)
{
	struct mmu_notifier *mn = list_first_entry(&subs->list, struct mmu_notifier, list);

	while (!list_is_head(mn, &subs->list, list) && mn != until) {
		if (!hears(mn, range->seq) || !mn->ops->invalidate_range_end) {
			mn = list_entry(mn->list.next, struct mmu_notifier, list);
			continue;
		}
		callback_begins(subs, mn);
		mn->ops->invalidate_range_end(mn, range);
		mn = callback_ended(subs, mn);
	}
}

/* A notifier that could not be told of a blockable range keeps what must not be kept. */
static bool would_block(const struct mmu_notifier_range *range, const void *who)
{
	if (range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE)
		octavo_panic("mmu_notifier: %p refuses a range that it may sleep for", who);
	return true;
}

/* Return: 0; -EAGAIN: those before the one who would have to sleep were told of the end. */
static int tell_start(struct mmu_notifier_subscriptions *subs, struct mmu_notifier_range *range)
{
	struct mmu_notifier *mn = list_first_entry(&subs->list, struct mmu_notifier, list);

	while (!list_is_head(mn, &subs->list, list)) {
		int err;

		if (!hears(mn, range->seq) || !mn->ops->invalidate_range_start) {
			mn = list_entry(mn->list.next, struct mmu_notifier, list);
			continue;
		}
		callback_begins(subs, mn);
		err = mn->ops->invalidate_range_start(mn, range);
		if (err && would_block(range, mn)) {
			spin_lock(&subs->lock);
			tell_end(subs, range, mn);
			spin_unlock(&subs->lock);
			callback_ended(subs, mn);
			return -EAGAIN;
		}
		mn = callback_ended(subs, mn);
	}
	return 0;
}

static int tell_intervals(struct mmu_notifier_subscriptions *subs, struct mmu_notifier_range *range)
{
	const unsigned long last = range->end - 1;
	struct interval_node *node = interval_tree_first(&subs->ranges, range->start, last);
	bool ok = true;

	while (node && ok) {
		struct mmu_interval_notifier *mni =
			container_of(node, struct mmu_interval_notifier, node);

		mni->users++;
		spin_unlock(&subs->lock);
		ok = mni->ops->invalidate(mni, range, range->seq) || !would_block(range, mni);
		spin_lock(&subs->lock);
		node = interval_tree_next(node, range->start, last);
		if (--mni->users == 0)
			something_ended(subs);
	}
	return ok ? 0 : -EAGAIN;
}

/* ---- invalidations ---- */

static void range_begins(struct mmu_notifier_subscriptions *subs, struct mmu_notifier_range *range)
{
	range->seq = ++subs->seq;
	list_add_tail(&range->active, &subs->active);
}

static void range_ended(struct mmu_notifier_subscriptions *subs, struct mmu_notifier_range *range)
{
	list_del_init(&range->active);
	something_ended(subs);
}

int __mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(range->mm);
	int err;

	VM_BUG_ON(range->start >= range->end);
	spin_lock(&subs->lock);
	range_begins(subs, range);
	err = tell_intervals(subs, range);
	if (!err)
		err = tell_start(subs, range);
	if (err)
		range_ended(subs, range);
	spin_unlock(&subs->lock);
	return err;
}

void __mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(range->mm);

	spin_lock(&subs->lock);
	tell_end(subs, range, NULL);
	range_ended(subs, range);
	spin_unlock(&subs->lock);
}

bool __mmu_notifier_clear_young(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(mm);
	struct mmu_notifier *mn;
	bool young = false;

	if (!subs)
		return false;
	spin_lock(&subs->lock);
	mn = list_first_entry(&subs->list, struct mmu_notifier, list);
	while (!list_is_head(mn, &subs->list, list)) {
		if (mn->gone || mn->released || !mn->ops->clear_young) {
			mn = list_entry(mn->list.next, struct mmu_notifier, list);
			continue;
		}
		callback_begins(subs, mn);
		young |= mn->ops->clear_young(mn, mm, start, end);
		mn = callback_ended(subs, mn);
	}
	spin_unlock(&subs->lock);
	return young;
}

/* ---- coming and going ---- */

/* Whether an invalidation is under way that began no later than number @seq. */
static bool older_active(const struct mmu_notifier_subscriptions *subs, unsigned long seq)
{
	return !list_empty(&subs->active) &&
	       list_first_entry(&subs->active, struct mmu_notifier_range, active)->seq <= seq;
}

int mmu_notifier_register(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs;

	VM_BUG_ON(!READ_ONCE(mm->users));
	subs = subscriptions_make(mm);
	if (!subs)
		return -ENOMEM;
	keep_mm(mm);
	mn->mm = mm;
	mn->users = 0;
	mn->released = false;
	mn->gone = false;
	mn->put = false;
	wait_untold(mm, subs);
	spin_lock(&subs->lock);
	mn->seq = subs->seq;
	list_add_tail(&mn->list, &subs->list);
	while (older_active(subs, mn->seq))
		wait_for_something(subs);
	spin_unlock(&subs->lock);
	return 0;
}

/* Context: the lock is held, and dropped around the callback. */
static void call_release(struct mmu_notifier_subscriptions *subs, struct mmu_notifier *mn)
{
	mn->released = true;
	callback_begins(subs, mn);
	if (mn->ops->release)
		mn->ops->release(mn, mn->mm);
}

/* The lock, for somebody who is registered and goes. */
static struct mmu_notifier_subscriptions *lock_for_leaving(struct mmu_notifier *mn,
							   struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = mm ? subscriptions_of(mm) : NULL;
	bool there = subs && mn->mm == mm;

	if (there) {
		spin_lock(&subs->lock);
		there = !mn->gone && !list_empty(&mn->list);
	}
	if (unlikely(!there))
		octavo_panic("mmu_notifier: %p is not registered", (void *)mn);
	return subs;
}

void mmu_notifier_unregister(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = lock_for_leaving(mn, mm);

	if (!mn->released) {
		call_release(subs, mn);
		callback_ended(subs, mn);
	}
	mn->gone = true;
	while (mn->users)
		wait_for_something(subs);
	list_del_init(&mn->list);
	spin_unlock(&subs->lock);
	drop_mm(mm);
}

void mmu_notifier_put(struct mmu_notifier *mn)
{
	struct mm_struct *mm = mn->mm;
	struct mmu_notifier_subscriptions *subs = lock_for_leaving(mn, mm);
	bool last;

	mn->gone = true;
	mn->put = true;
	last = mn->users == 0;
	if (last)
		end_put(mn);
	spin_unlock(&subs->lock);
	if (last)
		drop_mm(mm);
}

void mmu_notifier_release(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(mm);
	struct mmu_notifier_range all;
	struct mmu_notifier *mn;

	if (!subs)
		return;
	mmu_notifier_range_init(&all, MMU_NOTIFY_RELEASE, mm, 0, ~0ul);
	spin_lock(&subs->lock);
	range_begins(subs, &all);
	tell_intervals(subs, &all);
	mn = list_first_entry(&subs->list, struct mmu_notifier, list);
	while (!list_is_head(mn, &subs->list, list)) {
		if (mn->gone || mn->released) {
			mn = list_entry(mn->list.next, struct mmu_notifier, list);
			continue;
		}
		call_release(subs, mn);
		mn = callback_ended(subs, mn);
	}
	range_ended(subs, &all);
	spin_unlock(&subs->lock);
}

void mmu_notifier_subscriptions_destroy(struct mm_struct *mm)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(mm);

	if (!subs)
		return;
	if (!list_empty(&subs->list) || !list_empty(&subs->active) || subs->ranges.root)
		octavo_panic("mmu_notifier: %p ends with notifiers", (void *)mm);
	mm->notifiers = NULL;
	kfree(subs);
}

/* ---- intervals ---- */

int mmu_interval_notifier_insert(struct mmu_interval_notifier *mni, struct mm_struct *mm,
				 unsigned long start, unsigned long length,
				 const struct mmu_interval_notifier_ops *ops)
{
	struct mmu_notifier_subscriptions *subs;

	VM_BUG_ON(!READ_ONCE(mm->users));
	if (length == 0 || start + length - 1 < start)
		return -EOVERFLOW;
	subs = subscriptions_make(mm);
	if (!subs)
		return -ENOMEM;
	keep_mm(mm);
	*mni = (struct mmu_interval_notifier){
		.ops = ops,
		.mm = mm,
		.node = { .start = start, .last = start + length - 1 },
	};
	wait_untold(mm, subs);
	/* invalidations under way are no matter: mmu_interval_read_begin() waits for them */
	spin_lock(&subs->lock);
	interval_tree_insert(&subs->ranges, &mni->node);
	spin_unlock(&subs->lock);
	return 0;
}

void mmu_interval_notifier_remove(struct mmu_interval_notifier *mni)
{
	struct mm_struct *mm = mni->mm;
	struct mmu_notifier_subscriptions *subs;

	if (unlikely(!mm))
		octavo_panic("mmu_interval_notifier: %p is not inserted", (void *)mni);
	subs = subscriptions_of(mm);
	spin_lock(&subs->lock);
	while (mni->users)
		wait_for_something(subs);
	interval_tree_remove(&subs->ranges, &mni->node);
	spin_unlock(&subs->lock);
	drop_mm(mm);
}

static bool being_invalidated(const struct mmu_notifier_subscriptions *subs,
			      const struct mmu_interval_notifier *mni)
{
	struct mmu_notifier_range *range;

	list_for_each_entry (range, &subs->active, active)
		if (range->start <= mni->node.last && range->end - 1 >= mni->node.start)
			return true;
	return false;
}

unsigned long mmu_interval_read_begin(struct mmu_interval_notifier *mni)
{
	struct mmu_notifier_subscriptions *subs = subscriptions_of(mni->mm);
	unsigned long seq;

	spin_lock(&subs->lock);
	while (being_invalidated(subs, mni))
		wait_for_something(subs);
	/* acquire: pairs with the release in mmu_interval_set_seq() */
	seq = smp_load_acquire(&mni->invalidate_seq);
	spin_unlock(&subs->lock);
	return seq;
}
