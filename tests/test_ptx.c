// SPDX-License-Identifier: MIT
/*
 * test_ptx.c - what port/cuda has a GPU run is what NVIDIA's assembler takes, for every GPU that this one knows. Without an
 * assembler (in PATH, of $CUDA_HOME, or where the toolkit usually is) there is nothing to ask.
 */
#include <signal.h>
#include <unistd.h>

#include "../port/cuda/driver.h"
#include "test.h"

static char ptxas[512]; /* "": there is none */

static bool is_ptxas(const char *dir, int len, const char *sub)
{
	int n = snprintf(ptxas, sizeof(ptxas), "%.*s%s/ptxas", len, dir, sub);

	/* a quote would end that of the shell */
	if (len && n < (int)sizeof(ptxas) && !strchr(ptxas, '\'') && !access(ptxas, X_OK))
		return true;
	ptxas[0] = '\0';
	return false;
}

static void find_ptxas(void)
{
	const char *home = getenv("CUDA_HOME"), *path = getenv("PATH");
	int len;

	for (; path && *path; path += len + (path[len] == ':')) {
		len = (int)strcspn(path, ":");
		if (is_ptxas(path, len, ""))
			return;
	}
	if (home && is_ptxas(home, (int)strlen(home), "/bin"))
		return;
	home = "/usr/local/cuda";
	is_ptxas(home, (int)strlen(home), "/bin");
}

/* Every number N of 'sm_N' in what it says of itself. Return: how many. */
static unsigned int architectures(unsigned int *sm, unsigned int max)
{
	char cmd[600], line[4096];
	unsigned int nr = 0, k;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "'%s' --help", ptxas);
	f = popen(cmd, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		for (char *at = line; (at = strstr(at, "'sm_")) != NULL;) {
			char *end;
			unsigned int n = (unsigned int)strtoul(at + 4, &end, 10);

			at = end;
			/* not those of one GPU alone: sm_90a */
			if (*end != '\'')
				continue;
			for (k = 0; k < nr && sm[k] != n; k++)
				continue;
			if (k == nr && nr < max)
				sm[nr++] = n;
		}
	pclose(f);
	return nr;
}

static bool assembles(const char *text, unsigned int sm, const char *options)
{
	char cmd[640];
	FILE *f;

	snprintf(cmd, sizeof(cmd), "'%s' -arch=sm_%u -o /dev/null - %s", ptxas, sm, options);
	f = popen(cmd, "w");
	assert_non_null(f);
	fputs(text, f);
	return pclose(f) == 0;
}

static void test_ptx_assembles(void **state)
{
	unsigned int sm[64], nr, tried = 0;
	char *wrong, *at;

	find_ptxas();
	if (!ptxas[0]) {
		printf("skipped: no ptxas\n");
		skip();
	}
	/* one that does not run takes nothing, and fails below */
	signal(SIGPIPE, SIG_IGN);
	nr = architectures(sm, ARRAY_SIZE(sm));
	for (unsigned int i = 0; i < nr; i++) {
		/* before the first that the text is for */
		if (sm[i] < 50)
			continue;
		if (!assembles(cuda_kernels, sm[i], ""))
			fail_msg("%s does not take the kernels for sm_%u", ptxas, sm[i]);
		tried++;
	}
	assert_true(tried > 0);
	/* and it does read them */
	wrong = strdup(cuda_kernels);
	assert_non_null(wrong);
	at = strstr(wrong, "shl.b64");
	assert_non_null(at);
	at[4] = 'q';
	assert_false(assembles(wrong, sm[nr - 1], "2>/dev/null"));
	free(wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ptx_assembles),
	};

	return cmocka_run_group_tests_name("ptx-" TEST_VARIANT, tests, NULL, NULL);
}
