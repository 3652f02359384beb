// SPDX-License-Identifier: MIT
/*
 * io.c - transfers between folios and their slots, and waiting for them.
 *
 * 1. A transfer's struct is one of the device's own, which are there since swapon(): reclaim must not need memory to
 *    write. If all are under way, one of them ends: the device is polled, or the caller sleeps. Devices that
 *    are done when submit returns need none: the struct is on the stack.
 *
 * 2. A transfer ends once, and its submitter may still be in submit() then. Who comes last of the two gives the
 *    struct back; and if the end came first, the submitter has the error to return.
 *
 * 3. A folio that is read is locked until the end, one that is written is under writeback. Both end by whoever
 *    completes the transfer, after which the folio may be gone: the cache's references are all that keeps it, and writeback is what
 *    keeps it in the cache.
 *
 * 4. Waiting. Who waits for writeback, or for a struct, sleeps on a queue in octavo_state: see swap_wait(). Of a device
 *    that wants to be polled each waiter polls: then nobody may sleep until somebody else does.
 *
 * 5. Errors. A failed read leaves the folio locked no longer and not uptodate. After a failed write it is dirty, in memory and in the
 *    cache: nothing is lost. With -EIO the medium is not trusted any more: the folio says so (PG_swap_failed), and
 *    its slots become bad, not free, when nobody needs them, unless a later write has succeeded. The slots themselves are left alone
 *    here, because a transfer may end in an interrupt, which must not wait for a cluster's lock.
 */
#include <octavo/errno.h>
#include <octavo/fault.h>

#include "swap_internal.h"

/* ---- sleeping until something has ended ---- */

static struct swap_waitq *waitq_of(const void *what)
{
	unsigned long a = (unsigned long)what;

	return &octavo_state.swap.wait[(a >> 4 ^ a >> 10) % SWAP_WAITQS];
}

/*
 * Sleep until @over(@what), perhaps longer, perhaps less. The waiter announces itself, then looks; who
 * ends something makes it so, then looks whether there are waiters. All four seq_cst: one of the two sees the
 * other. seq grows before the wake-up, so who has looked too early does not go to sleep.
 */
static void swap_wait(const void *what, bool (*over)(const void *what))
{
	struct swap_waitq *q = waitq_of(what);
	u32 seq;

	/* seq_cst: pairs with the load of waiters in swap_wake() */
	fetch_add_seq_cst(&q->waiters, 1u);
	/* acquire: @over comes after it; pairs with the release of seq in swap_wake() */
	seq = smp_load_acquire(&q->seq);
	if (!over(what))
		octavo_port_park(&q->seq, seq);
	fetch_sub_relaxed(&q->waiters, 1u);
}

/* After a seq_cst operation that made it so. */
static void swap_wake(const void *what)
{
	struct swap_waitq *q = waitq_of(what);

	/* seq_cst: pairs with the add in swap_wait() */
	if (likely(!smp_load_seq_cst(&q->waiters)))
		return;
	/* release: pairs with the acquire in swap_wait() */
	fetch_add_release(&q->seq, 1u);
	octavo_port_unpark(&q->seq, true);
}

/* ---- the end of a transfer ---- */

/* What a transfer's end means for the folio, while it is still locked or under writeback. */
static void note_result(struct swap_device *dev, struct folio *folio, enum swap_op op, int err)
{
	if (op == SWAP_READ) {
		if (likely(!err))
			folio_set_flag(folio, PG_uptodate);
		else
			fetch_add_relaxed(&dev->read_errors, 1ul);
	} else if (unlikely(err)) {
		fetch_add_relaxed(&dev->write_errors, 1ul);
		if (err == -EIO)
			folio_set_flag(folio, PG_swap_failed);
		folio_set_flag(folio, PG_dirty);
	} else if (unlikely(folio_test_flag(folio, PG_swap_failed))) {
		folio_clear_flag(folio, PG_swap_failed);
	}
}

/* It may be gone after this, and so may the device. */
static void let_go(struct folio *folio, enum swap_op op)
{
	if (op == SWAP_READ) {
		folio_unlock(folio);
		return;
	}
	/* seq_cst: see swap_wait(). Its release pairs with the acquire in folio_under_writeback() */
	fetch_and_seq_cst(&folio->flags, ~(1u << PG_writeback));
	swap_wake(folio);
}

/* ---- structs of transfers ---- */

static void poll(struct swap_device *dev)
{
	dev->ops->poll(dev);
	/* there may be nothing yet: the one who is to submit it has not got there */
	octavo_port_relax();
}

#define XFER_SUBMITTED 1ul /* submit has returned */
#define XFER_ENDED     2ul /* and the error above */
#define XFER_ERR_SHIFT 8

static bool xfer_there(const void *what)
{
	const struct swap_device *dev = what;

	return smp_load_seq_cst(&dev->free_xfers) != 0;
}

/* NULL: all are under way. */
static struct swap_xfer *xfer_try(struct swap_device *dev)
{
	u64 old = READ_ONCE(dev->free_xfers);

	while (old)
		/* acquire: pairs with the release in xfer_put(): its last user is done with it */
		if (try_cmpxchg_acquire(&dev->free_xfers, &old, old & (old - 1)))
			return &dev->xfer[__builtin_ctzl(old)];
	return NULL;
}

static struct swap_xfer *xfer_get(struct swap_device *dev)
{
	struct swap_xfer *x;

	while (!(x = xfer_try(dev))) {
		if (dev->ops->poll)
			poll(dev);
		else
			swap_wait(dev, xfer_there);
	}
	return x;
}

static void xfer_put(struct swap_device *dev, struct swap_xfer *x)
{
	/* seq_cst: see swap_wait(); its release pairs with the acquire in xfer_get() */
	u64 old = fetch_or_seq_cst(&dev->free_xfers, 1ul << (x - dev->xfer));

	if (old == 0)
		swap_wake(dev);
}

bool xfers_idle(struct swap_device *dev)
{
	/* acquire: pairs with the release in xfer_put() */
	return smp_load_acquire(&dev->free_xfers) == ~0ul >> (64 - SWAP_XFERS);
}

static void xfer_done(struct swap_io *io, int err)
{
	struct swap_xfer *x = container_of(io, struct swap_xfer, io);
	struct swap_device *dev = io->dev;
	struct folio *folio = x->folio;
	enum swap_op op = io->op;
	u64 old, end = XFER_ENDED | (u64)(u32)err << XFER_ERR_SHIFT;

	VM_BUG_ON(err > 0);
	note_result(dev, folio, op, err);
	/* acq_rel: pairs with the same in transfer(): who comes second has seen all that the first did with it */
	old = fetch_or_acq_rel(&x->state, end);
	if (unlikely(old & XFER_ENDED))
		octavo_panic("swap: a transfer has ended twice");
	/* before the folio: who has waited for that finds everything at rest */
	if (old & XFER_SUBMITTED)
		xfer_put(dev, x);
	let_go(folio, op);
}

static void xfer_init(struct swap_xfer *x, struct swap_device *dev, enum swap_op op,
		      struct folio *folio)
{
	x->io = (struct swap_io){
		.dev = dev,
		.op = op,
		.slot = swp_offset(folio_swap_entry(folio, 0)),
		.nr = (u32)folio_nr_pages(folio),
		.addr = folio_address(folio),
		.done = xfer_done,
	};
	x->folio = folio;
	/* relaxed: handed over by what hands over the transfer */
	WRITE_ONCE(x->state, 0ul);
}

static void submit(struct swap_device *dev, struct swap_xfer *x)
{
	if (octavo_fault(OCTAVO_FAULT_IO))
		swap_io_done(&x->io, -EIO);
	else
		dev->ops->submit(dev, &x->io);
}

/*
 * Begin it. The folio is as it has to be during the transfer, and keeps the device until the end. Return: 0: begun, or over; its error
 * if it is over with one.
 */
static int transfer(struct swap_device *dev, struct folio *folio, enum swap_op op,
		    struct swap_xfer *x)
{
	u64 old;

	xfer_init(x, dev, op, folio);
	submit(dev, x);
	/* acq_rel: see xfer_done() */
	old = fetch_or_acq_rel(&x->state, XFER_SUBMITTED);
	return old & XFER_ENDED ? (int)(u32)(old >> XFER_ERR_SHIFT) : 1;
}

static int transfer_sync(struct swap_device *dev, struct folio *folio, enum swap_op op)
{
	struct swap_xfer x;
	int err = transfer(dev, folio, op, &x);

	if (unlikely(err > 0))
		octavo_panic("swap: device %u is not as fast as it says", dev->type);
	return err;
}

static int transfer_async(struct swap_device *dev, struct folio *folio, enum swap_op op,
			  struct swap_xfer *x)
{
	int err = transfer(dev, folio, op, x);

	if (err > 0)
		return 0;
	xfer_put(dev, x);
	return err;
}

/* The device of a folio that is in the cache and stays there. */
static struct swap_device *folio_device(const struct folio *folio)
{
	return swap_device_of(swp_type(folio_swap_entry(folio, 0)));
}

static int transfer_folio(struct folio *folio, enum swap_op op)
{
	struct swap_device *dev = folio_device(folio);

	return dev->flags & SWAP_FLAG_SYNC ? transfer_sync(dev, folio, op)
					   : transfer_async(dev, folio, op, xfer_get(dev));
}

/* ---- folios ---- */

int swap_writeout(struct folio *folio)
{
	if (unlikely(!folio_test_locked(folio) || !folio_test_flag(folio, PG_swapcache) ||
		     folio_test_flag(folio, PG_writeback)))
		octavo_panic(
			"swap_writeout() of folio %p: not locked, without slots, or being written",
			(void *)folio);
	VM_BUG_ON(!folio_test_flag(folio, PG_uptodate));
	folio_clear_flag(folio, PG_dirty);
	/* release: pairs with the acquire in folio_under_writeback() and writeback_over(): who sees it sees which device */
	fetch_or_release(&folio->flags, 1u << PG_writeback);
	/* before the end of writeback can come, after which it may be gone */
	folio_unlock(folio);
	return transfer_folio(folio, SWAP_WRITE);
}

void swap_read_folio(struct folio *folio)
{
	if (unlikely(!folio_test_locked(folio) || !folio_test_flag(folio, PG_swapcache)))
		octavo_panic("swap_read_folio() of folio %p: not locked, or without slots",
			     (void *)folio);
	VM_BUG_ON(folio_test_flag(folio, PG_uptodate) || folio_test_flag(folio, PG_writeback));
	transfer_folio(folio, SWAP_READ);
}

bool swap_try_read_folio(struct folio *folio)
{
	struct swap_device *dev = folio_device(folio);
	struct swap_xfer *x;

	if (dev->flags & SWAP_FLAG_SYNC) {
		swap_read_folio(folio);
		return true;
	}
	x = xfer_try(dev);
	if (x)
		transfer_async(dev, folio, SWAP_READ, x);
	return x;
}

/* Of a folio that is under writeback, or was a moment ago: does its device want to be polled? */
static bool wants_poll(const struct folio *folio)
{
	const struct swap_device *dev;
	bool polled = false;

	rcu_read_lock();
	dev = swap_device_of(swp_type(folio_swap_entry(folio, 0)));
	if (dev)
		polled = dev->ops->poll;
	rcu_read_unlock();
	return polled;
}

/*
 * The device of a folio, if it is one that wants to be polled; held. @dev: what this was before, held, or NULL. Held
 * once, not in each turn of a loop, which then only looks. The folio may leave the cache at any time: then it
 * is some device, or none, and the caller looks again anyway.
 */
static struct swap_device *polled_device(struct folio *folio, struct swap_device *dev)
{
	bool cached = folio_test_flag(folio, PG_swapcache);
	unsigned int type = swp_type(folio_swap_entry(folio, 0));

	if (dev && cached && dev->type == type)
		return dev;
	if (dev)
		swap_device_put(dev);
	dev = cached ? swap_device_get(type, true) : NULL;
	if (dev && !dev->ops->poll) {
		swap_device_put(dev);
		dev = NULL;
	}
	return dev;
}

/*
 * Is there no reason to sleep? Who has no lock may have seen the folio between two writes, or on its way from one device to another; and
 * who began the second write may not be one who waits. So the device is looked at again, after writeback. If that is still the write that was
 * seen, then this is its device. If it is not, the write that was seen has ended after the waiter had announced himself, and he is woken.
 */
static bool writeback_over(const void *what)
{
	const struct folio *folio = what;

	/* seq_cst: see swap_wait(). Acquire, in it: pairs with the release of who set it, who named the slots before */
	if (!(smp_load_seq_cst(&folio->flags) & (1u << PG_writeback)))
		return true;
	return wants_poll(folio);
}

void folio_wait_writeback(struct folio *folio)
{
	struct swap_device *dev = NULL;

	while (folio_under_writeback(folio)) {
		dev = polled_device(folio, dev);
		if (dev)
			poll(dev);
		else
			swap_wait(folio, writeback_over);
	}
	if (dev)
		swap_device_put(dev);
}

/*
 * Of a device that wants to be polled, who waits for the lock of a folio that is read may not sleep: whoever reads it need
 * not wait for it, and then nobody would poll. Others have the lock for a short time.
 */
void swap_lock_folio(struct folio *folio)
{
	struct swap_device *dev = NULL;
	bool locked;

	for (;;) {
		locked = folio_trylock(folio);
		if (locked || folio_test_flag(folio, PG_uptodate))
			break;
		dev = polled_device(folio, dev);
		if (!dev)
			break;
		poll(dev);
	}
	if (dev)
		swap_device_put(dev);
	if (!locked)
		folio_lock(folio);
}

void swap_wait_locked(struct folio *folio)
{
	swap_lock_folio(folio);
	folio_unlock(folio);
}
