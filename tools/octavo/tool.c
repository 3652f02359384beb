/* SPDX-License-Identifier: MIT */
/*
 * tool.c - errors, sizes, whole-or-nothing output files, the progress bar.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

void tool_error(const char *fmt, ...)
{
	va_list ap;

	fputs("octavo: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int tool_parse_size(const char *text, u64 *bytes)
{
	static const char units[] = "kmgtp";
	unsigned int shift = 0;
	const char *unit;
	u64 n = 0;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++) {
		u64 digit = (u64)(*text - '0');

		if (n > (~0ull - digit) / 10)
			return -ERANGE;
		n = n * 10 + digit;
	}
	if (*text && (unit = strchr(units, tolower((unsigned char)*text)))) {
		shift = (unsigned int)(unit - units + 1) * 10;
		text++;
		if (*text == 'i' && tolower((unsigned char)text[1]) == 'b')
			text++;
	}
	if (tolower((unsigned char)*text) == 'b')
		text++;
	if (*text)
		return -EINVAL;
	if (shift && n >> (64 - shift))
		return -ERANGE;
	*bytes = n << shift;
	return 0;
}

char *tool_size(char *buf, u64 bytes)
{
	static const char units[] = "KMGTP";
	double v = (double)bytes;
	int u = -1;

	while (v >= 1024 && u < 4) {
		v /= 1024;
		u++;
	}
	if (u < 0)
		snprintf(buf, 32, "%u B", (unsigned int)bytes);
	else
		snprintf(buf, 32,
			 v < 9.995   ? "%.2f %ciB"
			 : v < 999.5 ? "%.1f %ciB"
				     : "%.0f %ciB",
			 v, units[u]);
	return buf;
}

char *tool_count(char *buf, u64 n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	char *to = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return buf;
}

/* ---- output files ---- */

static mode_t umask_now(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

int out_open(struct out_file *out, const char *path)
{
	int fd, err;

	memset(out, 0, sizeof(*out));
	out->path = strdup(path);
	if (!out->path || asprintf(&out->temp, "%s.XXXXXX", path) < 0) {
		out->temp = NULL;
		out_discard(out);
		tool_error("out of memory");
		return -ENOMEM;
	}
	fd = mkstemp(out->temp);
	if (fd < 0) {
		err = errno;
		free(out->temp);
		out->temp = NULL;
		goto fail;
	}
	/* mkstemp() keeps everybody else out; the file is as public as any other that the user makes. */
	if (fchmod(fd, 0666 & ~umask_now()) || !(out->f = fdopen(fd, "w"))) {
		err = errno;
		close(fd);
		goto fail;
	}
	return 0;
fail:
	tool_error("cannot write %s: %s", path, strerror(err));
	out_discard(out);
	return -err;
}

int out_commit(struct out_file *out)
{
	FILE *f = out->f;
	bool bad = ferror(f) || fflush(f);
	int err = bad ? errno : 0;

	out->f = NULL;
	if (fclose(f) && !err)
		err = errno;
	if (bad && !err)
		err = EIO;
	if (!err && rename(out->temp, out->path))
		err = errno;
	if (err) {
		tool_error("cannot write %s: %s", out->path, strerror(err));
	} else {
		free(out->temp);
		out->temp = NULL;
	}
	out_discard(out);
	return -err;
}

void out_discard(struct out_file *out)
{
	if (out->f)
		fclose(out->f);
	if (out->temp)
		unlink(out->temp);
	free(out->temp);
	free(out->path);
	memset(out, 0, sizeof(*out));
}

/* ---- progress ---- */

void progress_start(struct progress *p, const char *label, u64 total)
{
	const char *term = getenv("TERM");

	p->label = label;
	p->total = total ? total : 1;
	p->step = p->total / 200 + 1;
	p->on = isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
	/* Nothing for the first half percent: what is over at once draws no bar. */
	p->next = p->on ? p->step : ~0ull;
}

void __progress_draw(struct progress *p, u64 done)
{
	enum { WIDTH = 30 };
	unsigned int full;

	done = min(done, p->total);
	full = (unsigned int)((double)done / (double)p->total * WIDTH);
	fprintf(stderr, "\r%-12s [%.*s%*s] %3u %%", p->label, (int)full,
		"##############################", (int)(WIDTH - full), "",
		(unsigned int)((double)done / (double)p->total * 100));
	fflush(stderr);
	p->next = done + p->step;
}

void progress_end(struct progress *p)
{
	/* Rub it out, so that what the command prints is the same with and without a bar. */
	if (p->on && p->next > p->step)
		fprintf(stderr, "\r%60s\r", "");
	p->on = false;
	p->next = ~0ull;
}
