/* SPDX-License-Identifier: MIT */
/*
 * file.h - what file.c and uring.c share.
 */
#ifndef OCTAVO_PORT_SWAP_FILE_H
#define OCTAVO_PORT_SWAP_FILE_H

#include <liburing.h>
#include <pthread.h>

#include "swapdev_priv.h"

/* Transfers that are collected before the host is told, while others are under way. */
#define FILE_BATCH 16u
/* Second tries of one transfer that the host asked for. */
#define FILE_TRIES 1000u

/*
 * io->word of a transfer that the device has: bytes that are done, and tries from bit 32 on.
 */
#define IO_TRY (1ul << 32)

static inline u32 io_bytes(const struct swap_io *io)
{
	return io->nr * (u32)PAGE_SIZE;
}

static inline u32 io_over(const struct swap_io *io)
{
	return (u32)io->word;
}

/* (l): lock. (r): who has the role, reaping. */
struct file_dev {
	struct swapdev sd;
	const char *path;
	int fd;
	bool direct, regular, uring, registered;
	bool created, grown;	/* here */
	u64 bytes;		/* while it is opened: what it was */
	unsigned long *written; /* a bit a slot: it has contents; atomic */

	pthread_mutex_t lock;
	struct swap_io *first, **last; /* (l) not given to the host yet, by link */
	u32 queued, flying;	       /* (l) how many; how many the host has */
	u32 depth;
	bool reaping;	      /* (l) somebody takes completions */
	bool stop;	      /* (l) */
	u64 rounds;	      /* (l) grows when somebody has taken completions */
	pthread_cond_t taken; /* rounds has grown */
	pthread_cond_t begun; /* something is flying, or stop: for the thread */
	struct io_uring ring; /* submission (l), completion (r) */
	const char *mem;
	size_t mem_bytes;
	struct swapdev_thread thread;
	pthread_t tid;
	struct swapdev_file_stat stat; /* relaxed adds */
};

static inline struct file_dev *file_of(struct swapdev *sd)
{
	return container_of(sd, struct file_dev, sd);
}

/* file.c: the host has done @res bytes of it, or it is -errno. Return: 0 go on; 1 over, *@err says how. */
int file_progress(struct file_dev *f, struct swap_io *io, long res, int *err);
/* file.c: count it, and hand it back. */
void file_end(struct file_dev *f, struct swap_io *io, int err);

/* uring.c */
int uring_open(struct file_dev *f);
void uring_close(struct file_dev *f);
void uring_submit(struct file_dev *f, struct swap_io *io);
void uring_poll(struct file_dev *f);

#endif /* OCTAVO_PORT_SWAP_FILE_H */
