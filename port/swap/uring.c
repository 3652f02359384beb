/* SPDX-License-Identifier: MIT */
/*
 * uring.c - transfers of a file through io_uring.
 *
 * A transfer waits in a queue until the host is told of it: at once if it has nothing else, else when sixteen have
 * come together or somebody takes completions. So a burst costs few calls and a single transfer does not wait.
 *
 * Completions are taken by one at a time, who has the role of reaping and waits in the kernel for the first: whoever polls, or the
 * device's thread. Others who poll meanwhile sleep until that one has been around. The thread stands back as long as
 * somebody polls. A transfer is in exactly one place: the queue, the ring (its address is the ring's user data),
 * or the hands of who takes completions, who puts it back into the queue if it is not over.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "file.h"

#define TAKE_AT_ONCE 64u
/* How long the thread leaves completions to those who poll. */
#define STAND_BACK_NS 50000

/* ---- to the host; with the lock ---- */

static void uring_queue(struct file_dev *f, struct swap_io *io)
{
	io->link = NULL;
	*f->last = io;
	f->last = (struct swap_io **)&io->link;
	f->queued++;
}

static struct swap_io *uring_unqueue(struct file_dev *f)
{
	struct swap_io *io = f->first;

	f->first = io->link;
	if (!f->first)
		f->last = &f->first;
	f->queued--;
	return io;
}

static void uring_prepare(struct file_dev *f, struct io_uring_sqe *sqe, struct swap_io *io)
{
	char *p = (char *)io->addr + io_over(io);
	const u32 left = io_bytes(io) - io_over(io);
	const u64 at = io->slot * PAGE_SIZE + io_over(io);
	const bool fixed = f->registered && p >= f->mem && p + left <= f->mem + f->mem_bytes;

	if (io->op == SWAP_READ) {
		if (fixed)
			io_uring_prep_read_fixed(sqe, f->fd, p, left, at, 0);
		else
			io_uring_prep_read(sqe, f->fd, p, left, at);
	} else {
		if (fixed)
			io_uring_prep_write_fixed(sqe, f->fd, p, left, at, 0);
		else
			io_uring_prep_write(sqe, f->fd, p, left, at);
	}
	io_uring_sqe_set_data(sqe, io);
}

static void uring_flush(struct file_dev *f)
{
	while (f->queued && f->flying < f->depth) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&f->ring);

		if (!sqe)
			break;
		uring_prepare(f, sqe, uring_unqueue(f));
		f->flying++;
	}
	/* what the host does not take now (it has no memory) stays in the ring: whoever takes completions comes here again */
	if (io_uring_sq_ready(&f->ring)) {
		STAT_ADD(f->stat.calls, 1);
		io_uring_submit(&f->ring);
	}
	if (f->flying)
		pthread_cond_signal(&f->begun);
}

void uring_submit(struct file_dev *f, struct swap_io *io)
{
	pthread_mutex_lock(&f->lock);
	uring_queue(f, io);
	if (!f->flying || f->queued >= FILE_BATCH)
		uring_flush(f);
	pthread_mutex_unlock(&f->lock);
}

/* ---- and back ---- */

struct taken {
	struct swap_io *io;
	int res;
};

/* With the role, without the lock: what is there, or, if @wait, the first that comes. */
static u32 uring_take(struct file_dev *f, struct taken *t, bool wait)
{
	struct io_uring_cqe *cqe = NULL;
	u32 n = 0;
	int err = wait ? io_uring_wait_cqe(&f->ring, &cqe) : io_uring_peek_cqe(&f->ring, &cqe);

	while (!err && cqe && n < TAKE_AT_ONCE) {
		t[n++] = (struct taken){ io_uring_cqe_get_data(cqe), cqe->res };
		io_uring_cqe_seen(&f->ring, cqe);
		err = io_uring_peek_cqe(&f->ring, &cqe);
	}
	return n;
}

/*
 * Take the role, with the lock, and what completes, without. On return the lock is held again, and what is over has been handed
 * back. Return: transfers that the host has answered.
 */
static u32 uring_reap(struct file_dev *f)
{
	struct taken t[TAKE_AT_ONCE];
	u32 n, over = 0;
	bool stuck;

	f->reaping = true;
	uring_flush(f);
	/* all of it still waits for the host to take it: not to be waited for in the kernel */
	stuck = f->flying == io_uring_sq_ready(&f->ring);
	pthread_mutex_unlock(&f->lock);
	n = uring_take(f, t, !stuck);
	if (stuck && !n)
		sched_yield();
	pthread_mutex_lock(&f->lock);
	f->flying -= n;
	for (u32 i = 0; i < n; i++) {
		int err;

		if (file_progress(f, t[i].io, t[i].res, &err))
			t[over++] = (struct taken){ t[i].io, err };
		else
			uring_queue(f, t[i].io);
	}
	uring_flush(f);
	f->reaping = false;
	f->rounds++;
	pthread_cond_broadcast(&f->taken);
	pthread_mutex_unlock(&f->lock);
	for (u32 i = 0; i < over; i++)
		file_end(f, t[i].io, t[i].res);
	pthread_mutex_lock(&f->lock);
	return n;
}

void uring_poll(struct file_dev *f)
{
	pthread_mutex_lock(&f->lock);
	if (f->reaping) {
		const u64 rounds = f->rounds;

		while (f->rounds == rounds)
			pthread_cond_wait(&f->taken, &f->lock);
	} else if (f->flying || f->queued) {
		STAT_ADD(f->stat.polled, uring_reap(f));
	}
	pthread_mutex_unlock(&f->lock);
}

static void *uring_thread(void *arg)
{
	const struct timespec back = { 0, STAND_BACK_NS };
	struct file_dev *f = arg;
	u64 polled = 0;

	f->thread.enter(f->thread.arg);
	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		if (!f->flying && !f->queued) {
			pthread_cond_wait(&f->begun, &f->lock);
			continue;
		}
		if (f->reaping || READ_ONCE(f->stat.polled) != polled) {
			polled = READ_ONCE(f->stat.polled);
			pthread_mutex_unlock(&f->lock);
			nanosleep(&back, NULL);
			pthread_mutex_lock(&f->lock);
			continue;
		}
		STAT_ADD(f->stat.reaped, uring_reap(f));
	}
	pthread_mutex_unlock(&f->lock);
	if (f->thread.leave)
		f->thread.leave(f->thread.arg);
	return NULL;
}

/* ---- opening and closing ---- */

static void uring_register(struct file_dev *f)
{
	struct iovec v = { (void *)f->mem, f->mem_bytes };
	int err;

	if (!f->mem)
		return;
	err = io_uring_register_buffers(&f->ring, &v, 1);
	f->registered = !err;
	if (err)
		pr_warn("swap file %s: memory is not registered with the host: %s", f->path,
			strerror(-err));
}

int uring_open(struct file_dev *f)
{
	int err = io_uring_queue_init(f->depth, &f->ring, 0);

	if (err) {
		pr_warn("swap file %s: the host does not let us use io_uring (%s): pread and "
			"pwrite, one transfer at a time",
			f->path, strerror(-err));
		return err == -ENOMEM ? 0 : err;
	}
	f->last = &f->first;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->taken, NULL);
	pthread_cond_init(&f->begun, NULL);
	uring_register(f);
	if (f->thread.enter && pthread_create(&f->tid, NULL, uring_thread, f)) {
		io_uring_queue_exit(&f->ring);
		return -ENOMEM;
	}
	f->uring = true;
	return 0;
}

void uring_close(struct file_dev *f)
{
	pthread_mutex_lock(&f->lock);
	BUG_ON(f->flying || f->queued);
	f->stop = true;
	pthread_cond_broadcast(&f->begun);
	pthread_mutex_unlock(&f->lock);
	if (f->thread.enter)
		pthread_join(f->tid, NULL);
	io_uring_queue_exit(&f->ring);
	pthread_cond_destroy(&f->taken);
	pthread_cond_destroy(&f->begun);
	pthread_mutex_destroy(&f->lock);
}
