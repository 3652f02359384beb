/* SPDX-License-Identifier: MIT */
/*
 * rwsem.c - lib/rwsem.c, the shipped code. A wake-up that is lost ends in a deadlock, which is a violation.
 */
#include <octavo/rwsem.h>

#include "check.h"

static SHARED struct {
	struct rw_semaphore sem;
	u64 a, b;
} s;

static void reader(void)
{
	down_read(&s.sem);
	CHECK(s.a == s.b);
	up_read(&s.sem);
}

static void writer(void)
{
	down_write(&s.sem);
	s.a++;
	s.b++;
	up_write(&s.sem);
}

static void free_at_last(void)
{
	CHECK(s.a == s.b && (s.sem.state & ~RWSEM_PHASE) == 0);
}

static void one_write(void)
{
	CHECK(s.a == 1);
	free_at_last();
}

static void two_writes(void)
{
	CHECK(s.a == 2);
	free_at_last();
}

SCENARIO(rwsem_readers) = { SCENARIO_NAME(rwsem_readers),
			    .about = "rwsem: two readers, who see all of a write or nothing",
			    .threads = { reader, reader, writer },
			    .roles = { "reader", "reader", "writer" },
			    .flags = SC_SYMMETRIC,
			    .finish = one_write };

SCENARIO(rwsem_writers) = { SCENARIO_NAME(rwsem_writers),
			    .about = "rwsem: two writers and a reader: nobody sleeps for ever",
			    .threads = { writer, writer, reader },
			    .roles = { "writer", "writer", "reader" },
			    .flags = SC_SYMMETRIC,
			    .finish = two_writes };

static void writer_stays(void)
{
	u64 a;

	down_write(&s.sem);
	s.a++;
	s.b++;
	a = s.a;
	downgrade_write(&s.sem);
	/* no other writer in between */
	CHECK(s.a == a && s.b == a);
	up_read(&s.sem);
}

SCENARIO(rwsem_downgrade) = { SCENARIO_NAME(rwsem_downgrade),
			      .about = "rwsem: from writer to reader without a gap",
			      .threads = { writer_stays, writer, reader },
			      .roles = { "downgrader", "writer", "reader" }, .finish = two_writes };

static void trier(void)
{
	if (down_write_trylock(&s.sem)) {
		s.a++;
		s.b++;
		up_write(&s.sem);
	} else if (down_read_trylock(&s.sem)) {
		CHECK(s.a == s.b);
		up_read(&s.sem);
	}
}

SCENARIO(rwsem_try) = { SCENARIO_NAME(rwsem_try), .about = "rwsem: trying leaves nobody asleep",
			.threads = { trier, writer, reader },
			.roles = { "trier", "writer", "reader" }, .finish = free_at_last };

/* The phase may turn twice: a reader that waited for the first must be inside by then. */
static void reader_twice(void)
{
	reader();
	reader();
}

SCENARIO(rwsem_phase) = { SCENARIO_NAME(rwsem_phase),
			  .about = "rwsem: a reader that waits again, two writers",
			  .threads = { writer, writer, reader_twice },
			  .roles = { "writer", "writer", "reader" },
			  .flags = SC_SYMMETRIC,
			  .bound = 3,
			  .stale = 1,
			  .finish = two_writes };

/* All of them there before the writer leaves: one wake-up must do for both readers. */
static void held_setup(void)
{
	down_write(&s.sem);
}

static void leaver(void)
{
	s.a++;
	s.b++;
	up_write(&s.sem);
}

static void sleeper(void)
{
	down_read(&s.sem);
	CHECK(s.a == 1 && s.b == 1);
	up_read(&s.sem);
}

SCENARIO(rwsem_wake_all) = {
	SCENARIO_NAME(rwsem_wake_all),
	.about = "rwsem: when a writer leaves, all readers that wait are inside",
	.setup = held_setup,
	.threads = { leaver, sleeper, sleeper },
	.roles = { "leaver", "sleeper", "sleeper" },
	.flags = SC_SYMMETRIC,
	.bound = 3,
	.finish = one_write
};
