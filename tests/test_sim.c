/* SPDX-License-Identifier: MIT */
/*
 * test_sim.c - what the simulation port asks of the host, and what it does if that is refused.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* From now on this process's membarrier(@cmd) fails. False: the host has no filters. */
static bool refuse_membarrier(u32 cmd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, cmd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { .len = ARRAY_SIZE(code), .filter = code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}

static void membarrier(void *arg)
{
	octavo_port_membarrier();
}

enum { PANICS, RETURNS, NO_FILTERS };

/* In a process of its own: a filter is for ever. */
static int refused(u32 cmd)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		const char *reason;

		if (!refuse_membarrier(cmd))
			_exit(NO_FILTERS);
		reason = sim_expect_panic(membarrier, NULL);
		_exit(reason && strstr(reason, "membarrier") ? PANICS : RETURNS);
	}
	assert_int_not_equal(pid, -1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Whoever asks for a barrier goes on as if there had been one: one that the host did not make is the end. */
static void test_sim_membarrier_refused(void **state)
{
	int first = refused(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);

	if (first == NO_FILTERS)
		skip();
	assert_int_equal(first, PANICS);
	assert_int_equal(refused(MEMBARRIER_CMD_PRIVATE_EXPEDITED), PANICS);
	membarrier(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sim_membarrier_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
