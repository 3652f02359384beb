/* SPDX-License-Identifier: MIT */
/*
 * kpage.c - the kernel's own account of its frames: /proc/kpageflags and /proc/kpagecount (a 64-bit word a frame,
 * in the machine's byte order, from pfn 0 on) and /proc/zoneinfo.
 *
 * The kernel does not stand still meanwhile. Flags and counts are read in turns, 64 KiB of each, so that those of one
 * frame are as close in time as they can be; what remains shows as irregular compound pages and is counted.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "classify.h"
#include "machine.h"
#include "tool.h"

enum { CHUNK = 8192, MAX_ZONES = 1024 };

static const char *const files[] = { "kpageflags", "kpagecount", "zoneinfo" };

void machine_free(struct machine *m)
{
	pop_free(&m->pop);
	memset(m, 0, sizeof(*m));
}

/* ---- a file of words ---- */

struct words {
	char path[4096 + 16];
	int fd;
	u64 *buf;
	size_t nr; /* words in buf */
	u64 bytes; /* read so far */
};

static int words_error(const struct words *w, int err, const char *what)
{
	if (err == EACCES || err == EPERM)
		tool_error("cannot read %s: %s; only root can (CAP_SYS_ADMIN), or give saved "
			   "copies with --from",
			   w->path, strerror(err));
	else if (what)
		tool_error("%s: %s", w->path, what);
	else
		tool_error("cannot read %s: %s", w->path, strerror(err));
	return -err;
}

static int words_open(struct words *w, const char *dir, const char *file)
{
	memset(w, 0, sizeof(*w));
	snprintf(w->path, sizeof(w->path), "%s/%s", dir, file);
	w->fd = open(w->path, O_RDONLY | O_CLOEXEC);
	if (w->fd < 0)
		return words_error(w, errno, NULL);
	w->buf = malloc(CHUNK * sizeof(u64));
	if (!w->buf)
		return words_error(w, ENOMEM, NULL);
	return 0;
}

static void words_close(struct words *w)
{
	if (w->fd > 0)
		close(w->fd);
	free(w->buf);
	memset(w, 0, sizeof(*w));
}

/* The next CHUNK words, or what is left. The kernel's files insist on whole words. */
static int words_next(struct words *w)
{
	size_t want = CHUNK * sizeof(u64), have = 0;

	while (have < want) {
		ssize_t n = read(w->fd, (char *)w->buf + have, want - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return words_error(w, errno, NULL);
		if (n == 0)
			break;
		have += (size_t)n;
	}
	w->bytes += have;
	if (have % sizeof(u64))
		return words_error(w, EINVAL,
				   "truncated, or not such a file: its size is no multiple of 8");
	w->nr = have / sizeof(u64);
	return 0;
}

/* ---- zoneinfo ---- */

static bool field(const char *line, const char *name, u64 *v)
{
	size_t len = strlen(name);

	line += strspn(line, " ");
	if (strncmp(line, name, len) || (line[len] != ' ' && line[len] != ':'))
		return false;
	line += len;
	line += strspn(line, ": ");
	if (*line < '0' || *line > '9')
		return false;
	errno = 0;
	*v = strtoull(line, NULL, 10);
	return !errno;
}

static int parse_zoneinfo(FILE *f, const char *path, struct zone_line *zones, u32 *nr)
{
	struct zone_line *z = NULL;
	char *line = NULL;
	size_t size = 0;
	u64 v;
	int err = 0;

	*nr = 0;
	while (getline(&line, &size, f) > 0) {
		struct zone_line new = { 0 };

		if (sscanf(line, "Node %u, zone %15s", &new.node, new.name) == 2) {
			if (*nr == MAX_ZONES) {
				err = EINVAL;
				break;
			}
			z = &zones[(*nr)++];
			*z = new;
		} else if (!z) {
			continue;
		} else if (field(line, "pages free", &v)) {
			z->free = v;
		} else if (field(line, "spanned", &v)) {
			z->spanned = v;
		} else if (field(line, "present", &v)) {
			z->present = v;
		} else if (field(line, "managed", &v)) {
			z->managed = v;
		} else if (field(line, "start_pfn", &v)) {
			z->start = v;
		} else if (field(line, "count", &v)) {
			z->pcp += v;
		}
	}
	free(line);
	if (ferror(f)) {
		tool_error("cannot read %s: %s", path, strerror(errno));
		return -EIO;
	}
	v = 0;
	for (u32 i = 0; i < *nr; i++) {
		v += zones[i].managed;
		if (zones[i].start > POP_MAX_PFN || zones[i].spanned > POP_MAX_PFN ||
		    zones[i].present > zones[i].spanned || zones[i].managed > zones[i].present)
			err = EINVAL;
	}
	if (err || !v) {
		tool_error("%s: not a zoneinfo file, or truncated", path);
		return -EINVAL;
	}
	return 0;
}

static int read_zoneinfo(const char *dir, struct zone_line *zones, u32 *nr)
{
	char path[4096 + 16];
	FILE *f;
	int err;

	snprintf(path, sizeof(path), "%s/%s", dir, files[2]);
	f = fopen(path, "re");
	if (!f) {
		err = errno;
		tool_error("cannot read %s: %s", path, strerror(err));
		return -err;
	}
	err = parse_zoneinfo(f, path, zones, nr);
	fclose(f);
	return err;
}

/* ---- the three together ---- */

/* So many frames that no kernel could have written: another kind of file. Some are forgiven: flags change. */
static bool too_strange(u64 bad, u64 frames)
{
	return bad > 64 && bad > frames / 16;
}

static int read_frames(struct machine *m, struct words *flags, struct words *counts, u64 end,
		       u64 nr_free)
{
	struct progress bar;
	struct classifier c;
	u64 bad_counts = 0, total = 0;
	int err;

	classify_init(&c, &m->pop);
	progress_start(&bar, "reading", end);
	for (;;) {
		err = words_next(flags);
		if (!err)
			err = words_next(counts);
		if (err)
			break;
		if (flags->nr != counts->nr) {
			err = words_error(counts, EINVAL,
					  "truncated: it has not as many frames as kpageflags");
			break;
		}
		if (!flags->nr)
			break;
		for (size_t i = 0; i < flags->nr; i++) {
			/* Nothing is mapped 2^32 times: the kernel's counter has 32 bits. */
			bad_counts += counts->buf[i] >> 32 != 0;
			classify_feed(&c, flags->buf[i], counts->buf[i]);
		}
		total += flags->nr;
		if (total > POP_MAX_PFN || too_strange(c.impossible, total)) {
			err = words_error(flags, EINVAL, "this is not a copy of /proc/kpageflags");
			break;
		}
		if (too_strange(bad_counts, total)) {
			err = words_error(counts, EINVAL, "this is not a copy of /proc/kpagecount");
			break;
		}
		if (m->pop.failed) {
			err = words_error(flags, ENOMEM, "out of memory");
			break;
		}
		progress_update(&bar, total);
	}
	progress_end(&bar);
	if (err)
		return err;
	classify_finish(&c);
	if (total < end)
		return words_error(flags, EINVAL,
				   "truncated: zoneinfo knows frames beyond its end");
	if (c.impossible && c.impossible > c.flagged / 16)
		return words_error(flags, EINVAL, "this is not a copy of /proc/kpageflags");
	if (nr_free && !m->pop.total[POP_FREE].frames)
		return words_error(flags, EINVAL,
				   "this is not a copy of /proc/kpageflags: no frame is free, and "
				   "zoneinfo counts some");
	if (!c.flagged)
		return words_error(flags, EINVAL,
				   "no frame has a flag: this is not a copy of /proc/kpageflags");
	return 0;
}

void kpage_describe(struct machine *m)
{
	struct utsname u;

	snprintf(m->source, sizeof(m->source), "this machine");
	*m->label = '\0';
	if (!uname(&u))
		snprintf(m->label, sizeof(m->label), "%.40s %.80s %.30s", u.sysname, u.release,
			 u.machine);
}

int kpage_read(struct machine *m, const char *dir)
{
	struct words flags = { .fd = -1 }, counts = { .fd = -1 };
	struct zone_line *zones = calloc(MAX_ZONES, sizeof(*zones));
	u32 nr_zones = 0;
	u64 end = 0, nr_free = 0;
	int err;

	memset(m, 0, sizeof(*m));
	pop_init(&m->pop);
	if (!zones) {
		tool_error("out of memory");
		return -ENOMEM;
	}
	err = words_open(&flags, dir, files[0]);
	if (!err)
		err = words_open(&counts, dir, files[1]);
	if (!err)
		err = read_zoneinfo(dir, zones, &nr_zones);
	for (u32 i = 0; i < nr_zones; i++) {
		end = max(end, zones[i].start + zones[i].spanned);
		nr_free += zones[i].free;
	}
	if (!err)
		err = read_frames(m, &flags, &counts, end, nr_free);
	if (!err) {
		resolve_unflagged(&m->pop, zones, nr_zones);
		if (m->pop.failed) {
			tool_error("out of memory");
			err = -ENOMEM;
		}
	}
	if (!strcmp(dir, MACHINE_PROC))
		kpage_describe(m);
	else
		snprintf(m->source, sizeof(m->source), "copies in %s", dir);
	words_close(&flags);
	words_close(&counts);
	free(zones);
	if (err)
		machine_free(m);
	return err;
}

int kpage_probe(const char *dir)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		char path[4096 + 16];
		u64 word;
		ssize_t n;
		int fd, err = 0;

		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		n = read(fd, &word, sizeof(word));
		if (n < 0)
			err = errno;
		else if (n < (ssize_t)sizeof(word))
			err = ENODATA;
		close(fd);
		if (err)
			return -err;
	}
	return 0;
}

/* ---- copies ---- */

static bool all_zero(const char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && !memcmp(p, p + 1, n - 1));
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

struct copy {
	int from, to;
	bool done;
	off_t at;
	const char *name;
};

/* The next part of one file. */
static int copy_part(struct copy *c, char *buf, size_t size)
{
	ssize_t n;

	do
		n = read(c->from, buf, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0) {
		c->done = true;
		return ftruncate(c->to, c->at) ? -errno : 0;
	}
	c->at += n;
	if (all_zero(buf, (size_t)n))
		return lseek(c->to, n, SEEK_CUR) < 0 ? -errno : 0;
	return write_all(c->to, buf, (size_t)n);
}

/* All files in turns, so that what they say of a frame is from about the same moment. */
static int copy_files(struct copy *c, u32 nr)
{
	size_t size = CHUNK * sizeof(u64);
	char *buf = malloc(size);
	bool more = true;
	int err = 0;

	if (!buf) {
		tool_error("out of memory");
		return -ENOMEM;
	}
	while (more && !err) {
		more = false;
		for (u32 i = 0; i < nr && !err; i++) {
			if (c[i].done)
				continue;
			err = copy_part(&c[i], buf, size);
			if (err)
				tool_error("cannot copy %s: %s", c[i].name, strerror(-err));
			more |= !c[i].done;
		}
	}
	free(buf);
	return err;
}

static int check_free(const char *to)
{
	struct stat st;
	struct dirent *e;
	bool empty = true;
	DIR *d;

	if (lstat(to, &st)) {
		if (errno == ENOENT)
			return 0;
		tool_error("cannot save to %s: %s", to, strerror(errno));
		return -EINVAL;
	}
	if (!S_ISDIR(st.st_mode)) {
		tool_error("cannot save to %s: it exists and is no directory", to);
		return -EEXIST;
	}
	d = opendir(to);
	while (d && (e = readdir(d)))
		empty &= !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	if (d)
		closedir(d);
	if (!d || !empty) {
		tool_error("cannot save to %s: it is not empty, and nothing is overwritten", to);
		return -EEXIST;
	}
	return 0;
}

int kpage_save(const char *from, const char *to, char **temp)
{
	struct copy c[ARRAY_SIZE(files)];
	size_t len = strlen(to);
	char path[4096 + 16];
	int err;

	*temp = NULL;
	memset(c, 0, sizeof(c));
	err = check_free(to);
	if (err)
		return err;
	while (len > 1 && to[len - 1] == '/')
		len--;
	if (asprintf(temp, "%.*s.XXXXXX", (int)len, to) < 0) {
		*temp = NULL;
		tool_error("out of memory");
		return -ENOMEM;
	}
	if (!mkdtemp(*temp)) {
		err = -errno;
		tool_error("cannot save to %s: %s", to, strerror(-err));
		free(*temp);
		*temp = NULL;
		return err;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
		c[i] = (struct copy){ -1, -1, false, 0, files[i] };
	for (unsigned int i = 0; i < ARRAY_SIZE(files) && !err; i++) {
		snprintf(path, sizeof(path), "%s/%s", from, files[i]);
		c[i].from = open(path, O_RDONLY | O_CLOEXEC);
		if (c[i].from < 0) {
			err = -errno;
			tool_error("cannot read %s: %s%s", path, strerror(-err),
				   err == -EACCES || err == -EPERM ? "; only root can" : "");
			break;
		}
		snprintf(path, sizeof(path), "%s/%s", *temp, files[i]);
		c[i].to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (c[i].to < 0) {
			err = -errno;
			tool_error("cannot write %s: %s", path, strerror(-err));
		}
	}
	if (!err)
		err = copy_files(c, ARRAY_SIZE(files));
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		if (c[i].from >= 0)
			close(c[i].from);
		if (c[i].to >= 0 && close(c[i].to) && !err) {
			err = -errno;
			tool_error("cannot write %s: %s", to, strerror(-err));
		}
	}
	if (err) {
		kpage_save_discard(*temp);
		free(*temp);
		*temp = NULL;
	}
	return err;
}

int kpage_save_commit(const char *temp, const char *to)
{
	if (rename(temp, to)) {
		int err = errno;

		tool_error("cannot save to %s: %s", to, strerror(err));
		kpage_save_discard(temp);
		return -err;
	}
	return 0;
}

void kpage_save_discard(const char *temp)
{
	char path[4096 + 16];

	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", temp, files[i]);
		unlink(path);
	}
	rmdir(temp);
}
