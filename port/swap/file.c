/* SPDX-License-Identifier: MIT */
/*
 * file.c - a swap device on a file or block device of the host.
 *
 * Slot n is at byte n * 4096. Which slots have contents is a bit each in memory, so a slot that was never written is an
 * error and not whatever the file had there. A regular file has its full length from the start: when it is
 * shorter later, somebody has truncated it, writes are refused (they would make it longer again, with zeros where pages
 * were), and reads beyond its end are errors.
 *
 * How transfers are done is uring.c's, or, where that cannot be, a pread() or pwrite() in submit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "file.h"

/* ---- which slots have contents ---- */

#define BITS 64u

static bool written_all(const struct file_dev *f, unsigned long slot, u32 nr)
{
	for (unsigned long i = slot; i < slot + nr; i++)
		if (!(READ_ONCE(f->written[i / BITS]) >> i % BITS & 1))
			return false;
	return true;
}

static void written_set(struct file_dev *f, unsigned long slot, u32 nr, bool to)
{
	for (unsigned long i = slot, n; i < slot + nr; i += n) {
		unsigned long mask;

		n = min(BITS - i % BITS, slot + nr - i);
		mask = (n == BITS ? ~0ul : (1ul << n) - 1) << i % BITS;
		if (to)
			fetch_or_relaxed(&f->written[i / BITS], mask);
		else
			fetch_and_relaxed(&f->written[i / BITS], ~mask);
	}
}

static size_t written_bytes(u64 slots)
{
	return ALIGN(slots, BITS) / 8;
}

/* ---- transfers ---- */

/* What the swap core may be told of. */
static int file_error(struct file_dev *f, const struct swap_io *io, long res)
{
	if (STAT_ADD(f->stat.errors, 1) < 8)
		pr_err("swap file %s: %s of %u slots from %lu on: %s", f->path,
		       io->op == SWAP_READ ? "read" : "write", io->nr, io->slot,
		       res ? strerror((int)-res) : "beyond the end of the file");
	return res == -ENOSPC || res == -EDQUOT ? -ENOSPC : -EIO;
}

int file_progress(struct file_dev *f, struct swap_io *io, long res, int *err)
{
	const u32 left = io_bytes(io) - io_over(io);

	*err = 0;
	if (res == (long)left)
		return 1;
	STAT_ADD(f->stat.shorts, 1);
	if (res > 0) {
		/* directly, the next try has to begin at a sector */
		io->word += f->direct ? ALIGN_DOWN((u64)res, 512) : (u64)res;
		if (!f->direct || res >= 512)
			return 0;
		res = io->op == SWAP_READ ? 0 : -EINTR;
	}
	if ((res == -EINTR || res == -EAGAIN) && io->word / IO_TRY < FILE_TRIES) {
		io->word += IO_TRY;
		return 0;
	}
	*err = file_error(f, io, res);
	return 1;
}

void file_end(struct file_dev *f, struct swap_io *io, int err)
{
	if (!err) {
		if (io->op == SWAP_WRITE)
			written_set(f, io->slot, io->nr, true);
		else
			swapdev_written(io->addr, io_bytes(io));
		STAT_ADD(*(io->op == SWAP_WRITE ? &f->stat.writes : &f->stat.reads), io->nr);
	}
	swap_io_done(io, err);
}

static void file_sync(struct file_dev *f, struct swap_io *io)
{
	int err;
	long n;

	do {
		char *p = (char *)io->addr + io_over(io);
		off_t at = (off_t)(io->slot * PAGE_SIZE + io_over(io));
		size_t left = io_bytes(io) - io_over(io);

		STAT_ADD(f->stat.calls, 1);
		n = io->op == SWAP_READ ? pread(f->fd, p, left, at) : pwrite(f->fd, p, left, at);
		if (n < 0)
			n = -errno;
	} while (!file_progress(f, io, n, &err));
	file_end(f, io, err);
}

static bool file_is_whole(const struct file_dev *f)
{
	struct stat st;

	swapdev_written(&st, sizeof(st));
	return !f->regular || (fstat(f->fd, &st) == 0 && (u64)st.st_size >= f->bytes);
}

static void file_submit(struct swapdev *sd, struct swap_io *io)
{
	struct file_dev *f = file_of(sd);

	io->word = 0;
	if (io->op == SWAP_READ) {
		if (!written_all(f, io->slot, io->nr)) {
			STAT_ADD(f->stat.errors, 1);
			swap_io_done(io, -EIO);
			return;
		}
	} else {
		/* until it is over there is nothing to be read */
		written_set(f, io->slot, io->nr, false);
		if (!file_is_whole(f)) {
			swap_io_done(io, file_error(f, io, 0));
			return;
		}
	}
	if (f->uring)
		uring_submit(f, io);
	else
		file_sync(f, io);
}

static void file_poll(struct swapdev *sd)
{
	struct file_dev *f = file_of(sd);

	if (f->uring)
		uring_poll(f);
}

static void file_discard(struct swapdev *sd, unsigned long slot, u32 nr)
{
	struct file_dev *f = file_of(sd);

	written_set(f, slot, nr, false);
	STAT_ADD(f->stat.discards, nr);
}

static void file_free(struct swapdev *sd)
{
	struct file_dev *f = file_of(sd);

	if (f->uring)
		uring_close(f);
	if (f->fd >= 0)
		close(f->fd);
	swapdev_unmap(f->written, written_bytes(sd->nr_slots));
	free((char *)f->path);
	free(f);
}

/* Completions come by poll, or in the thread. */
static const struct swapdev_ops file_ops = {
	.submit = file_submit,
	.poll = file_poll,
	.discard = file_discard,
	.free = file_free,
};

void swapdev_file_stat(struct swapdev *sd, struct swapdev_file_stat *st)
{
	struct file_dev *f = file_of(sd);

	BUG_ON(sd->ops != &file_ops);
	*st = (struct swapdev_file_stat){
		.reads = READ_ONCE(f->stat.reads),
		.writes = READ_ONCE(f->stat.writes),
		.discards = READ_ONCE(f->stat.discards),
		.errors = READ_ONCE(f->stat.errors),
		.shorts = READ_ONCE(f->stat.shorts),
		.calls = READ_ONCE(f->stat.calls),
		.polled = READ_ONCE(f->stat.polled),
		.reaped = READ_ONCE(f->stat.reaped),
		.uring = f->uring,
		.direct = f->direct,
		.registered = f->registered,
	};
}

/* ---- opening ---- */

static int file_bad(const struct swapdev_file_args *args, int err, const char *what)
{
	pr_err("swap file %s: %s", args->path ? args->path : "(none)", what);
	return err;
}

static int file_open(struct file_dev *f, const struct swapdev_file_args *args)
{
	int flags = O_RDWR | O_CLOEXEC;
	struct stat st;
	int err = 0;

	/* a block device that is mounted, or somebody else's, is not to be had exclusively */
	swapdev_written(&st, sizeof(st));
	if (stat(args->path, &st) == 0 && S_ISBLK(st.st_mode))
		flags = O_RDWR | O_CLOEXEC | O_EXCL;
	f->fd = open(args->path, flags);
	if (f->fd < 0 && errno == ENOENT && args->create) {
		f->fd = open(args->path, flags | O_CREAT | O_EXCL, 0600);
		f->created = f->fd >= 0;
	}
	if (f->fd < 0)
		err = -errno;
	else if (fstat(f->fd, &st))
		err = -errno;
	if (err)
		return file_bad(args, err, strerror(-err));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return file_bad(args, -EINVAL, "is neither a regular file nor a block device");
	if (flock(f->fd, LOCK_EX | LOCK_NB))
		return file_bad(args, -EBUSY, "is in use by somebody else");
	f->regular = S_ISREG(st.st_mode);
	f->bytes = (u64)st.st_size;
	if (!f->regular && ioctl(f->fd, BLKGETSIZE64, &f->bytes))
		return file_bad(args, -errno, "does not say how large it is");
	return 0;
}

/*
 * Blocks for all of it. Asked first whether there are so many: a file system gives what it has before it says no, and nobody
 * else on the host could write then. Return: 0; errno.
 */
static int file_reserve(struct file_dev *f, u64 want)
{
	struct statvfs fs;
	struct stat st;
	int err;

	swapdev_written(&fs, sizeof(fs));
	swapdev_written(&st, sizeof(st));
	if (!fstatvfs(f->fd, &fs) && !fstat(f->fd, &st) && want > (u64)st.st_blocks * 512 &&
	    (want - (u64)st.st_blocks * 512) / fs.f_frsize >= fs.f_bavail)
		return ENOSPC;
	do
		err = posix_fallocate(f->fd, 0, (off_t)want);
	while (err == EINTR);
	return err;
}

/* Nothing comes of it: the file is as it was, or not there. */
static void file_undo(struct file_dev *f)
{
	if (f->grown && ftruncate(f->fd, (off_t)f->bytes))
		pr_warn("swap file %s: stays longer than it was", f->path);
	if (f->created)
		unlink(f->path);
}

static int file_size(struct file_dev *f, const struct swapdev_file_args *args)
{
	u64 want = ALIGN_DOWN(args->bytes ? args->bytes : f->bytes, PAGE_SIZE);
	int err;

	if (want < 2 * PAGE_SIZE)
		return file_bad(args, -EINVAL, "has to have two pages at least");
	if (want > f->bytes) {
		if (!args->create || !f->regular)
			return file_bad(args, -EINVAL, "is smaller than what is asked for");
		f->grown = want <= INT64_MAX;
		if (!f->grown || ftruncate(f->fd, (off_t)want))
			return file_bad(args, want > INT64_MAX ? -EINVAL : -errno,
					"cannot be made so long");
	}
	err = args->reserve && f->regular ? file_reserve(f, want) : 0;
	if (err)
		return file_bad(args, -err, "cannot have so many blocks");
	f->sd.nr_slots = want / PAGE_SIZE;
	return 0;
}

/* Some file systems refuse direct I/O when it is asked for, some when it is tried. */
static void file_try_direct(struct file_dev *f)
{
	const int flags = fcntl(f->fd, F_GETFL);
	void *page = swapdev_map(PAGE_SIZE);

	f->direct = page && fcntl(f->fd, F_SETFL, flags | O_DIRECT) == 0 &&
		    pread(f->fd, page, PAGE_SIZE, 0) >= 0;
	if (!f->direct) {
		fcntl(f->fd, F_SETFL, flags);
		pr_warn("swap file %s: no direct I/O here, so the host caches it", f->path);
	}
	swapdev_unmap(page, PAGE_SIZE);
}

static int file_setup(struct file_dev *f, const struct swapdev_file_args *args)
{
	int err = file_open(f, args);

	if (!err)
		err = file_size(f, args);
	if (err)
		return err;
	f->written = swapdev_map(written_bytes(f->sd.nr_slots));
	if (!f->written)
		return file_bad(args, -ENOMEM, "no memory for its table");
	if (!args->buffered)
		file_try_direct(f);
	if (args->no_uring)
		return 0;
	err = uring_open(f);
	if (err == -ENOMEM && !f->uring)
		return file_bad(args, err, "no memory for its thread");
	return 0;
}

int swapdev_file_create(const struct swapdev_file_args *args, struct swapdev **sd)
{
	struct file_dev *f;
	int err;

	if (!args->path || !*args->path)
		return file_bad(args, -EINVAL, "no path");
	if (args->depth > 4096)
		return file_bad(args, -EINVAL, "a depth of more than 4096");
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->sd.ops = &file_ops;
	f->fd = -1;
	f->path = strdup(args->path);
	f->depth = args->depth ? args->depth : 64;
	f->mem = args->mem;
	f->mem_bytes = args->mem_bytes;
	f->thread = args->thread;
	err = f->path ? file_setup(f, args) : -ENOMEM;
	if (err) {
		file_undo(f);
		file_free(&f->sd);
		return err;
	}
	f->bytes = f->sd.nr_slots * PAGE_SIZE;
	*sd = &f->sd;
	return 0;
}
