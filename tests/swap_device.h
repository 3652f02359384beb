/* SPDX-License-Identifier: MIT */
/*
 * swap_device.h - a swap device for tests: bytes in host memory, which says what happened to it, and fails when it is told to.
 *
 *	struct test_device *d = test_device_on(slots, prio, TD_SYNC);
 *	...
 *	test_device_off(d);
 *
 * How transfers end:
 *   TD_SYNC    in submit; the device says so (SWAP_FLAG_SYNC)
 *   TD_NOW     in submit; the device does not say so
 *   TD_HELD    when test_device_complete() is called
 *   TD_POLLED  when the core polls
 *   TD_THREAD  by a thread of the device's own, a little later
 *
 * A slot that was never written, or was discarded, cannot be read (-EIO), and its bytes are gone.
 */
#ifndef OCTAVO_SWAP_DEVICE_H
#define OCTAVO_SWAP_DEVICE_H

#include <pthread.h>
#include <sched.h>

#include <octavo/swap.h>

#include "test.h"

enum test_device_mode { TD_SYNC, TD_NOW, TD_HELD, TD_POLLED, TD_THREAD };

#define TD_PAGE 4096ul

struct test_device {
	int type;
	unsigned long nr;
	enum test_device_mode mode;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t more;
	u8 *bytes;
	u8 *written; /* [nr]: it has contents */
	struct swap_io *first, *last;
	u32 waiting; /* transfers that have not ended */
	/* What to fail: the transfers of an operation that have @fail_slot (~0ul: any), with @fail_err. */
	int fail_err[2];
	unsigned long fail_slot;
	u32 fail_left; /* this many; ~0u: all */
	bool gone;     /* everything is -ENODEV's kind of error: -EIO */
	bool stop;
	bool closed;
	pthread_t thread;
	u64 reads, writes, discards, polls; /* slots; calls */
	/* Called in submit, with the lock held. */
	void (*on_submit)(struct test_device *d, struct swap_io *io);
};

/* Lock held. */
static inline int td_fails(struct test_device *d, const struct swap_io *io)
{
	int err = d->fail_err[io->op == SWAP_WRITE];

	if (d->gone)
		return -EIO;
	if (!err || !d->fail_left || (d->fail_slot != ~0ul && d->fail_slot - io->slot >= io->nr))
		return 0;
	if (d->fail_left != ~0u)
		d->fail_left--;
	return err;
}

/* Move the bytes. Lock held. Return: what the transfer ends with. */
static inline int td_move(struct test_device *d, struct swap_io *io)
{
	int err = td_fails(d, io);

	if (err)
		return err;
	if (io->slot == 0 || io->nr == 0 || io->slot + io->nr > d->nr)
		abort();
	for (u32 i = 0; i < io->nr; i++) {
		unsigned long s = io->slot + i;
		u8 *page = (u8 *)io->addr + i * TD_PAGE;

		if (io->op == SWAP_WRITE) {
			memcpy(d->bytes + s * TD_PAGE, page, TD_PAGE);
			d->written[s] = 1;
			d->writes++;
		} else if (!d->written[s]) {
			return -EIO;
		} else {
			memcpy(page, d->bytes + s * TD_PAGE, TD_PAGE);
			d->reads++;
		}
	}
	return 0;
}

/* The oldest transfer that has not ended, off the queue; NULL: none. Lock held. */
static inline struct swap_io *td_take(struct test_device *d)
{
	struct swap_io *io = d->first;

	if (!io)
		return NULL;
	d->first = io->link;
	if (!d->first)
		d->last = NULL;
	d->waiting--;
	return io;
}

/* End up to @n transfers, the oldest first. Return: how many there were. */
static inline u32 test_device_complete(struct test_device *d, u32 n)
{
	u32 done = 0;

	while (done < n) {
		struct swap_io *io;
		int err = 0;

		pthread_mutex_lock(&d->lock);
		io = td_take(d);
		if (io)
			err = td_move(d, io);
		pthread_mutex_unlock(&d->lock);
		if (!io)
			break;
		swap_io_done(io, err);
		done++;
	}
	return done;
}

static inline void td_submit(struct swap_device *dev, struct swap_io *io)
{
	struct test_device *d = swap_device_priv(dev);
	int err = 0;

	pthread_mutex_lock(&d->lock);
	if (d->on_submit)
		d->on_submit(d, io);
	if (d->mode == TD_SYNC || d->mode == TD_NOW) {
		err = td_move(d, io);
		pthread_mutex_unlock(&d->lock);
		swap_io_done(io, err);
		return;
	}
	io->link = NULL;
	if (d->last)
		d->last->link = io;
	else
		d->first = io;
	d->last = io;
	d->waiting++;
	pthread_cond_signal(&d->more);
	pthread_mutex_unlock(&d->lock);
}

static inline void td_poll(struct swap_device *dev)
{
	struct test_device *d = swap_device_priv(dev);

	pthread_mutex_lock(&d->lock);
	d->polls++;
	pthread_mutex_unlock(&d->lock);
	test_device_complete(d, 1);
}

static inline void td_discard(struct swap_device *dev, unsigned long slot, u32 nr)
{
	struct test_device *d = swap_device_priv(dev);

	pthread_mutex_lock(&d->lock);
	if (slot == 0 || nr == 0 || slot + nr > d->nr)
		abort();
	memset(d->written + slot, 0, nr);
	memset(d->bytes + slot * TD_PAGE, 0xdd, nr * TD_PAGE);
	d->discards += nr;
	pthread_mutex_unlock(&d->lock);
}

static inline void td_close(struct swap_device *dev)
{
	struct test_device *d = swap_device_priv(dev);

	d->closed = true;
}

static inline void *td_thread(void *arg)
{
	struct test_device *d = arg;

	for (;;) {
		pthread_mutex_lock(&d->lock);
		while (!d->first && !d->stop)
			pthread_cond_wait(&d->more, &d->lock);
		if (d->stop && !d->first) {
			pthread_mutex_unlock(&d->lock);
			return NULL;
		}
		pthread_mutex_unlock(&d->lock);
		/* a little later */
		sched_yield();
		test_device_complete(d, 1);
	}
}

static const struct swap_device_ops td_ops = { .submit = td_submit,
					       .discard = td_discard,
					       .close = td_close };
static const struct swap_device_ops td_ops_polled = {
	.submit = td_submit, .poll = td_poll, .discard = td_discard, .close = td_close
};

/* The device without swapon(). */
static inline struct test_device *test_device_make(unsigned long nr, enum test_device_mode mode)
{
	struct test_device *d = calloc(1, sizeof(*d));

	if (!d || !(d->bytes = malloc(nr * TD_PAGE)) || !(d->written = calloc(nr, 1)))
		abort();
	memset(d->bytes, 0xdd, nr * TD_PAGE);
	d->nr = nr;
	d->mode = mode;
	d->type = -1;
	d->fail_slot = ~0ul;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->more, NULL);
	if (mode == TD_THREAD && pthread_create(&d->thread, NULL, td_thread, d))
		abort();
	return d;
}

static inline int test_device_swapon(struct test_device *d, int prio)
{
	d->type = swapon(d->mode == TD_POLLED ? &td_ops_polled : &td_ops, d, d->nr, prio,
			 d->mode == TD_SYNC ? SWAP_FLAG_SYNC : 0);
	return d->type;
}

/* Nothing of the core is at it any more. */
static inline void test_device_free(struct test_device *d)
{
	if (d->mode == TD_THREAD) {
		pthread_mutex_lock(&d->lock);
		d->stop = true;
		pthread_cond_signal(&d->more);
		pthread_mutex_unlock(&d->lock);
		pthread_join(d->thread, NULL);
	}
	if (d->waiting)
		abort();
	pthread_cond_destroy(&d->more);
	pthread_mutex_destroy(&d->lock);
	free(d->bytes);
	free(d->written);
	free(d);
}

static inline struct test_device *test_device_on(unsigned long nr, int prio,
						 enum test_device_mode mode)
{
	struct test_device *d = test_device_make(nr, mode);

	assert_true(test_device_swapon(d, prio) >= 0);
	return d;
}

/* Nothing of it is in use any more. */
static inline void test_device_off(struct test_device *d)
{
	assert_int_equal(swap_device_close_begin(d->type), 0);
	assert_int_equal(swap_device_close_end(d->type), 0);
	assert_true(d->closed);
	test_device_free(d);
}

static inline void test_device_fail(struct test_device *d, enum swap_op op, int err, u32 times)
{
	pthread_mutex_lock(&d->lock);
	d->fail_err[op == SWAP_WRITE] = err;
	d->fail_left = times;
	pthread_mutex_unlock(&d->lock);
}

#endif /* OCTAVO_SWAP_DEVICE_H */
