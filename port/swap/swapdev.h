/* SPDX-License-Identifier: MIT */
/*
 * swapdev.h - swap devices of a host program: compressed memory, a file or block device, and one that fails on purpose.
 *
 *	struct swapdev_file_args file = { .path = "/var/swap", .bytes = 1ul << 30, .create = true };
 *	struct swapdev_zram_args zram = { .bytes = 1ul << 32, .limit = 1ul << 28 };
 *	struct swapdev *disk, *mem;
 *
 *	swapdev_file_create(&file, &disk);
 *	zram.backing = disk;
 *	swapdev_zram_create(&zram, &mem);
 *	swapdev_on(mem, 10);
 *	...
 *	swapoff(...);
 *	swapdev_destroy(mem);
 *	swapdev_destroy(disk);
 *
 * A device is of use without swapon too: swapdev_submit() and swapdev_poll() are the two ends of struct swap_device_ops.
 *
 * What the caller promises, as the swap core does: a slot is in one transfer at a time, or in several reads;
 * it is not discarded meanwhile; pages lie in consecutive, page-aligned memory. After a write that failed its slots have
 * no contents: reading them is -EIO, as it is for slots that were never written or were discarded.
 *
 * docs/swap-devices.md has the design.
 */
#ifndef OCTAVO_PORT_SWAPDEV_H
#define OCTAVO_PORT_SWAPDEV_H

#include <octavo/swap.h>

#define SWAPDEV_MAX_RUN 512u /* slots of a transfer */

struct swapdev;

/* As struct swap_device_ops, of a device that need not be in use. */
struct swapdev_ops {
	void (*submit)(struct swapdev *sd, struct swap_io *io);
	void (*poll)(struct swapdev *sd); /* NULL: transfers end by themselves */
	void (*discard)(struct swapdev *sd, unsigned long slot, u32 nr);
	void (*free)(struct swapdev *sd);
};

/* The first member of every device. Constant but for the last. */
struct swapdev {
	const struct swapdev_ops *ops;
	unsigned long nr_slots; /* of PAGE_SIZE, the first is not for use */
	u32 flags;		/* SWAP_FLAG_... */
	u32 on;			/* atomic: between swapon and swapoff */
};

/**
 * struct swapdev_thread - a device's own thread may call into the core (swap_io_done() does), so it needs a CPU slot
 * @enter: called first in the thread: takes the slot, registers with RCU. NULL: the device has no thread
 * @leave: called last; may be NULL
 * @arg: of both
 */
struct swapdev_thread {
	void (*enter)(void *arg);
	void (*leave)(void *arg);
	void *arg;
};

/* Begin a transfer; swap_io_done() is called once, now or later. Context: may sleep. Fatal: not a run of the device's slots. */
void swapdev_submit(struct swapdev *sd, struct swap_io *io);
/* End transfers that can be ended, or wait for one. Returns at once if there is none. Context: may sleep. */
void swapdev_poll(struct swapdev *sd);
/* Context: does not sleep. */
void swapdev_discard(struct swapdev *sd, unsigned long slot, u32 nr);

/**
 * swapdev_transfer() - one transfer, to its end
 *
 * Context: may sleep. Return: 0 or what the device says.
 */
int swapdev_transfer(struct swapdev *sd, enum swap_op op, unsigned long slot, u32 nr, void *addr);

/**
 * swapdev_on() - swapon() of a device
 *
 * Return: its number; -EBUSY it is in use; what swapon() returns.
 */
int swapdev_on(struct swapdev *sd, int prio);

/**
 * swapdev_destroy() - the end of a device, its contents included
 * @sd: not in use: fatal if it is; no transfers under way. NULL is legal. Devices below it are not destroyed
 */
void swapdev_destroy(struct swapdev *sd);

/* ---- a file or block device: file.c, uring.c ---- */

/**
 * struct swapdev_file_args - which file, and how
 * @path: of a regular file or a block device
 * @bytes: how much of it; 0: all there is
 * @create: make a file that is not there, make one longer that is too short
 * @reserve: have the file system set the blocks aside now, so that -ENOSPC comes now
 * @buffered: through the host's page cache; otherwise directly, where the file system can
 * @no_uring: pread() and pwrite()
 * @depth: transfers that the host has at once, 1 to 4096; 0: 64
 * @mem: memory that pages come from, to be registered with the host; NULL: none. Pins all of it
 * @mem_bytes: of it
 * @thread: for completions that nobody polls for; without, somebody must poll
 */
struct swapdev_file_args {
	const char *path;
	u64 bytes;
	bool create, reserve, buffered, no_uring;
	u32 depth;
	void *mem;
	size_t mem_bytes;
	struct swapdev_thread thread;
};

/**
 * swapdev_file_create() - a device on a file
 * @args: nothing of it is used after the call
 * @sd: set on success
 *
 * Where the host forbids io_uring, or direct I/O, a warning says so and the device does without.
 *
 * Return: 0; -EINVAL too small, no regular file or block device, depth out of range; -EBUSY somebody else uses it; -ENOMEM;
 * -ENOSPC; what open() says. The reason is logged, a file that was made is gone again, one that was made longer is as long as it was.
 */
int swapdev_file_create(const struct swapdev_file_args *args, struct swapdev **sd) __must_check;

struct swapdev_file_stat {
	u64 reads, writes, discards; /* slots */
	u64 errors;		     /* transfers that failed */
	u64 shorts;		     /* that needed more than one call, or a second try */
	u64 calls;		     /* of the host to begin transfers; a batch is one */
	u64 polled, reaped;	     /* completions by poll, by the thread */
	bool uring, direct, registered;
};
void swapdev_file_stat(struct swapdev *sd, struct swapdev_file_stat *st);

/* ---- compressed memory: zram.c, zram_codec.c, zram_back.c ---- */

enum swapdev_codec { SWAPDEV_LZ4, SWAPDEV_ZSTD, NR_SWAPDEV_CODECS };

/**
 * struct swapdev_zram_args - compressed memory
 * @bytes: size of the device, as if nothing was compressed
 * @limit: bytes of memory that objects may have, whole frames; 0: as many as there are
 * @codec: SWAPDEV_LZ4 or SWAPDEV_ZSTD
 * @level: LZ4: acceleration, 1 up; zstd: level, 1 to 19; 0: the library's usual
 * @backing: where the oldest objects go when the limit is reached, or memory; NULL: nowhere. This device is its only user
 */
struct swapdev_zram_args {
	u64 bytes, limit;
	enum swapdev_codec codec;
	int level;
	struct swapdev *backing;
};

/**
 * swapdev_zram_create() - compressed memory
 * @args: nothing of it is used after the call
 * @sd: set on success
 *
 * Objects are in a pool of the core (zpool.h), tables in host memory. Return: 0; -EINVAL, -ENOMEM. The reason is
 * logged.
 */
int swapdev_zram_create(const struct swapdev_zram_args *args, struct swapdev **sd) __must_check;

/**
 * struct swapdev_zram_stat - exact when quiet
 * @same: slots that are one repeated word, so of no memory
 * @objects: slots that are in the pool; of these
 * @raw: ones that do not compress
 * @backed: slots that are on the backing device
 * @bytes: objects' bytes
 * @frames: the pool's
 * @written_back: slots so far
 * @back_bad: slots of the backing device given up after a write error
 * @full: pages refused for lack of room so far
 * @corrupt: objects that did not decompress so far
 */
struct swapdev_zram_stat {
	u64 same, objects, raw, backed, bytes, frames, written_back, back_bad, full, corrupt;
};
void swapdev_zram_stat(struct swapdev *sd, struct swapdev_zram_stat *st);
/* Slots, pool and backing slots against the counters. Context: nobody uses the device. False if broken (logged). */
bool swapdev_zram_validate(struct swapdev *sd);

/* ---- one that fails on purpose: inject.c ---- */

/**
 * struct swapdev_inject_args - what goes wrong
 * @inner: the device that does the work
 * @seed: of all that is random; the same seed and the same transfers, the same failures
 * @read_errors: reads that fail, of a million
 * @write_errors: the same of writes
 * @nth: this transfer, counted from 1, fails; 0: none
 * @error: as what, such as -EIO; 0: -EIO. Of random ones, one in four writes is -ENOSPC
 * @hold: transfers kept back, to be begun in another order; 0: none
 * @delay_us: how long a held transfer may wait at most before it begins, if there is a thread
 * @thread: begins held transfers after their delay; without, poll does
 */
struct swapdev_inject_args {
	struct swapdev *inner;
	u64 seed;
	u32 read_errors, write_errors;
	u64 nth;
	int error;
	u32 hold;
	u32 delay_us;
	struct swapdev_thread thread;
};

/**
 * swapdev_inject_create() - a device that fails
 * @args: nothing of it is used after the call
 * @sd: set on success
 *
 * A transfer that fails has not begun, or is over with its slots and pages as they should be, or half of it is done:
 * one as often as the others. Return: 0; -EINVAL, -ENOMEM. The reason is logged.
 */
int swapdev_inject_create(const struct swapdev_inject_args *args, struct swapdev **sd) __must_check;

/* From now on fail the @nth transfer, 1 for the next; 0: none. */
void swapdev_inject_nth(struct swapdev *sd, u64 nth);
/* New rates. */
void swapdev_inject_rates(struct swapdev *sd, u32 read_errors, u32 write_errors);

struct swapdev_inject_stat {
	u64 transfers, failed, held;
};
void swapdev_inject_stat(struct swapdev *sd, struct swapdev_inject_stat *st);

#endif /* OCTAVO_PORT_SWAPDEV_H */
