// SPDX-License-Identifier: MIT
/*
 * jobs.c - the queue, and the threads that compute on user addresses.
 *
 * A job is done piece by piece, each within a page of what it reads and writes, under the mirror's lock for reading. The backend computes. A piece
 * whose translation is missing is a device fault, without the lock, and is tried again. So a job sees each word as it is when it comes
 * to it, as a CPU would.
 */
#include <errno.h>
#include <stdlib.h>

#include "../sim/sim.h"
#include "accel_priv.h"

/* ---- pieces ---- */

static bool op_writes(enum accel_op op)
{
	return op != ACCEL_REDUCE && op != ACCEL_PREFETCH;
}

static bool op_reads_src(enum accel_op op)
{
	return op == ACCEL_COPY || op == ACCEL_REDUCE;
}

static enum mirror_access dst_access(const struct accel_job *job)
{
	return job->op == ACCEL_ATOMIC ? MIRROR_ALONE : MIRROR_WRITE;
}

/* Bytes from @at on that lie in one page of all that is used. */
static unsigned long piece_len(const struct accel_job *job, unsigned long at)
{
	unsigned long len = job->len - at;

	if (op_writes(job->op))
		len = min(len, PAGE_SIZE - ((job->dst + at) & (PAGE_SIZE - 1)));
	if (op_reads_src(job->op))
		len = min(len, PAGE_SIZE - ((job->src + at) & (PAGE_SIZE - 1)));
	return len;
}

#define DST_MISSING 1
#define SRC_MISSING 2

/* Do what begins at @at. Return: 0; what is missing; -errno. */
static int piece_try(struct accel_job *job, unsigned long at, unsigned long len)
{
	struct accel_work work = { .op = job->op,
				   .words = len / sizeof(u64),
				   .value = job->value,
				   .result = &job->result };
	struct accel_ctx *ctx = job->ctx;
	int missing = 0;

	/* no other thread of the device's may be at it */
	if (job->op == ACCEL_ATOMIC)
		pthread_rwlock_wrlock(&ctx->lock);
	else
		pthread_rwlock_rdlock(&ctx->lock);
	if (op_writes(job->op) && !mirror_translate(ctx, job->dst + at, dst_access(job), &work.dst))
		missing |= DST_MISSING;
	if (op_reads_src(job->op) && !mirror_translate(ctx, job->src + at, MIRROR_READ, &work.src))
		missing |= SRC_MISSING;
	if (!missing)
		missing = ctx->dev->be->ops->compute(ctx->dev->be, &work);
	pthread_rwlock_unlock(&ctx->lock);
	return missing;
}

static int piece_run(struct accel_job *job, unsigned long at, unsigned long len, u64 resets)
{
	int missing, err = 0;

	while (!err && (missing = piece_try(job, at, len))) {
		if (missing < 0)
			return missing;
		if (__atomic_load_n(&job->ctx->dev->resets, __ATOMIC_RELAXED) != resets)
			return -EIO;
		if (missing & DST_MISSING)
			err = mirror_fault(job->ctx, job->dst + at, dst_access(job));
		if (!err && missing & SRC_MISSING)
			err = mirror_fault(job->ctx, job->src + at, MIRROR_READ);
	}
	return err;
}

/* ---- jobs ---- */

static bool overlaps(const struct accel_job *job)
{
	return job->dst != job->src && job->dst < job->src + job->len &&
	       job->src < job->dst + job->len;
}

static int prefetch(struct accel_job *job)
{
	unsigned long end = ALIGN(job->dst + job->len, PAGE_SIZE);
	long n = accel_migrate(job->ctx, job->dst & PAGE_MASK, end - (job->dst & PAGE_MASK));

	if (n < 0)
		return (int)n;
	job->result = (u64)n;
	return 0;
}

static int job_run(struct accel_job *job)
{
	struct accel *dev = job->ctx->dev;
	u64 resets = __atomic_load_n(&dev->resets, __ATOMIC_RELAXED);
	unsigned long len;
	int err = 0;

	accel_count(dev, jobs, 1);
	job->result = 0;
	if (!IS_ALIGNED(job->dst | job->src | job->len, sizeof(u64)))
		return -EINVAL;
	if (job->op == ACCEL_COPY && overlaps(job))
		return -EINVAL;
	if (job->op == ACCEL_PREFETCH)
		return prefetch(job);
	for (unsigned long at = 0; at < job->len && !err; at += len) {
		if (__atomic_load_n(&dev->resets, __ATOMIC_RELAXED) != resets)
			return -EIO;
		len = piece_len(job, at);
		err = piece_run(job, at, len, resets);
	}
	return err;
}

/* ---- the queue ---- */

struct worker {
	struct accel *dev;
	unsigned int cpu;
};

static struct accel_job *next_job(struct accel_queue *q)
{
	struct accel_job *job;

	pthread_mutex_lock(&q->lock);
	while (!q->first && !q->stop)
		pthread_cond_wait(&q->work, &q->lock);
	job = q->first;
	if (job) {
		q->first = job->next;
		if (!q->first)
			q->last = &q->first;
	}
	pthread_mutex_unlock(&q->lock);
	return job;
}

static void *work(void *arg)
{
	struct worker w = *(struct worker *)arg;
	struct accel_job *job;

	free(arg);
	sim_thread_begin(w.cpu);
	while ((job = next_job(&w.dev->queue))) {
		int status = job_run(job);

		pthread_mutex_lock(&w.dev->queue.lock);
		job->status = status;
		job->done = true;
		pthread_cond_broadcast(&w.dev->queue.done);
		pthread_mutex_unlock(&w.dev->queue.lock);
	}
	sim_thread_end();
	return NULL;
}

static int start_worker(struct accel *dev, unsigned int i)
{
	struct worker *w = malloc(sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct worker){ dev, dev->cfg.first_cpu + i };
	if (!pthread_create(&dev->queue.thread[i], NULL, work, w))
		return 0;
	free(w);
	return -ENOMEM;
}

int jobs_init(struct accel *dev)
{
	struct accel_queue *q = &dev->queue;
	unsigned int threads = dev->cfg.threads;
	int err = 0;

	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->work, NULL);
	pthread_cond_init(&q->done, NULL);
	q->last = &q->first;
	q->thread = calloc(threads ? threads : 1, sizeof(*q->thread));
	dev->cfg.threads = 0;
	if (!q->thread)
		return -ENOMEM;
	while (!err && dev->cfg.threads < threads) {
		err = start_worker(dev, dev->cfg.threads);
		dev->cfg.threads += !err;
	}
	if (err)
		jobs_exit(dev);
	return err;
}

void jobs_exit(struct accel *dev)
{
	struct accel_queue *q = &dev->queue;

	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_broadcast(&q->work);
	pthread_mutex_unlock(&q->lock);
	for (unsigned int i = 0; i < dev->cfg.threads; i++)
		pthread_join(q->thread[i], NULL);
	free(q->thread);
	q->thread = NULL;
}

void accel_submit(struct accel_ctx *ctx, struct accel_job *job)
{
	struct accel_queue *q = &ctx->dev->queue;

	job->ctx = ctx;
	job->next = NULL;
	job->done = false;
	pthread_mutex_lock(&q->lock);
	*q->last = job;
	q->last = &job->next;
	pthread_cond_signal(&q->work);
	pthread_mutex_unlock(&q->lock);
}

int accel_wait(struct accel_job *job)
{
	struct accel_queue *q = &job->ctx->dev->queue;

	pthread_mutex_lock(&q->lock);
	while (!job->done)
		pthread_cond_wait(&q->done, &q->lock);
	pthread_mutex_unlock(&q->lock);
	return job->status;
}

int accel_run(struct accel_ctx *ctx, struct accel_job *job)
{
	accel_submit(ctx, job);
	return accel_wait(job);
}
