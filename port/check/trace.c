/* SPDX-License-Identifier: MIT */
/*
 * trace.c - what happened in an execution, a column a thread: as text, as a page of HTML, as JSON.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"

static char *notes[4096];
static u32 nr_notes;

static struct event *new_event(enum event_kind kind)
{
	struct event *e;

	if (E.nr_ev == E.cap_ev) {
		E.cap_ev = E.cap_ev ? 2 * E.cap_ev : 256;
		E.ev = realloc(E.ev, E.cap_ev * sizeof(*E.ev));
		if (!E.ev)
			abort();
	}
	e = &E.ev[E.nr_ev++];
	memset(e, 0, sizeof(*e));
	e->kind = (u8)kind;
	e->op = E.op;
	e->tid = E.cur ? E.cur->tid : MAXT;
	e->from_op = ~0u;
	return e;
}

void trace_event(enum event_kind kind, struct loc *loc, int order, const char *site, u64 old,
		 u64 new, const struct msg *from, u32 stale, bool ok)
{
	struct event *e = new_event(kind);

	e->loc = loc;
	e->order = (u8)order;
	e->site = site;
	e->old = old;
	e->new = new;
	e->stale = (u8)min(stale, 255u);
	e->ok = ok;
	if (from) {
		e->from_tid = from->tid;
		e->from_op = from->op;
		e->from_site = from->site;
	}
}

void trace_note(const char *fmt, ...)
{
	struct event *e;
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (!E.cur)
		return;
	e = new_event(EV_NOTE);
	if (nr_notes == ARRAY_SIZE(notes))
		nr_notes = 0;
	free(notes[nr_notes]);
	e->site = notes[nr_notes++] = strdup(line);
}

/* ---- words ---- */

static const char *order_name(u32 order)
{
	static const char *const names[] = { "relaxed", "consume", "acquire",
					     "release", "acq_rel", "seq_cst" };

	return order < ARRAY_SIZE(names) ? names[order] : "?";
}

static void print_value(char *buf, size_t size, u64 v)
{
	if (v < 4096)
		snprintf(buf, size, "%lu", (unsigned long)v);
	else if (plain_tracks((void *)v))
		snprintf(buf, size, "&%s", addr_name((void *)v));
	else if (plain_tracks((void *)(v & ~15ul)))
		snprintf(buf, size, "&%s|%lu", addr_name((void *)(v & ~15ul)),
			 (unsigned long)(v & 15));
	else
		snprintf(buf, size, "%#lx", (unsigned long)v);
}

/* "dir/folio.h:12|&(folio->refcount)": "folio.h:12" and "folio->refcount" */
static void split_site(const char *site, char *where, char *expr, size_t size)
{
	const char *bar = strchr(site, '|'), *slash = site, *p;
	size_t n;

	where[0] = expr[0] = 0;
	if (!bar)
		bar = site + strlen(site);
	for (p = site; p < bar; p++)
		if (*p == '/')
			slash = p + 1;
	snprintf(where, size, "%.*s", (int)(bar - slash), slash);
	if (!*bar)
		return;
	p = bar + 1;
	n = strlen(p);
	if (n > 3 && p[0] == '&' && p[1] == '(' && p[n - 1] == ')') {
		p += 2;
		n -= 3;
	} else if (n > 1 && p[0] == '&') {
		p++;
		n--;
	}
	snprintf(expr, size, "%.*s", (int)n, p);
}

static void describe_from(const struct event *e, char *buf, size_t size)
{
	char where[128], expr[128];

	buf[0] = 0;
	/* of words that one thread alone uses there is nothing to tell */
	if (!e->loc || !(e->loc->touched & (e->loc->touched - 1)) || e->kind == EV_STORE)
		return;
	if (e->from_op == ~0u) {
		snprintf(buf, size, " [initial%s]", e->stale ? ", stale" : "");
		return;
	}
	if (e->from_site)
		split_site(e->from_site, where, expr, sizeof(where));
	else
		snprintf(where, sizeof(where), "plain");
	snprintf(buf, size, " [T%u's at %u, %s%s]", e->from_tid, e->from_op, where,
		 e->stale ? ", stale" : "");
}

static void describe(const struct event *e, char *buf, size_t size)
{
	char where[128], expr[128], old[80], new[80], from[256];

	if (e->kind == EV_NOTE) {
		snprintf(buf, size, "%s", e->site);
		return;
	}
	split_site(e->site, where, expr, sizeof(where));
	print_value(old, sizeof(old), e->old);
	print_value(new, sizeof(new), e->new);
	describe_from(e, from, sizeof(from));
	switch (e->kind) {
	case EV_LOAD:
		snprintf(buf, size, "%s load %s %s = %s%s", where, order_name(e->order), expr, old,
			 from);
		break;
	case EV_STORE:
		snprintf(buf, size, "%s store %s %s := %s", where, order_name(e->order), expr, new);
		break;
	case EV_RMW:
		snprintf(buf, size, "%s rmw %s %s %s -> %s%s", where, order_name(e->order), expr,
			 old, new, from);
		break;
	case EV_CAS:
		if (e->ok)
			snprintf(buf, size, "%s cas %s %s %s -> %s%s", where, order_name(e->order),
				 expr, old, new, from);
		else
			snprintf(buf, size, "%s cas %s %s fails, is %s%s", where,
				 order_name(e->order), expr, old, from);
		break;
	case EV_FENCE:
		snprintf(buf, size, "%s %s", where,
			 e->old			  ? "fence on all CPUs"
			 : e->order == _A_SEQ_CST ? "fence seq_cst"
						  : "fence");
		break;
	}
}

/*
 * "at 0x401234" in @why becomes "in folio_put at folio.c:12"; the compiler knows no more of a plain
 * access.
 */
static void name_code(const char *why, char *out, size_t size)
{
	char exe[512], cmd[700], line[256];
	const char *p = why, *q;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	size_t at = 0;

	if (n < 0)
		n = 0;
	exe[n] = 0;
	while ((q = strstr(p, " at 0x")) && at + 200 < size) {
		char *end;
		unsigned long pc = strtoul(q + 4, &end, 16);
		FILE *f;

		at += (size_t)snprintf(out + at, size - at, "%.*s", (int)(q - p), p);
		snprintf(cmd, sizeof(cmd), "addr2line -s -f -p -e '%s' %#lx 2>/dev/null", exe,
			 pc - 1);
		f = popen(cmd, "r");
		if (f && fgets(line, sizeof(line), f)) {
			line[strcspn(line, "\n")] = 0;
			at += (size_t)snprintf(out + at, size - at, " in %s", line);
		} else {
			at += (size_t)snprintf(out + at, size - at, " at %#lx", pc);
		}
		if (f)
			pclose(f);
		p = end;
	}
	snprintf(out + at, size - at, "%s", p);
}

static void role(const struct scenario *sc, u32 tid, char *buf, size_t size)
{
	if (sc->roles[tid])
		snprintf(buf, size, "T%u %s", tid, sc->roles[tid]);
	else
		snprintf(buf, size, "T%u", tid);
}

static u32 threads_of(const struct scenario *sc)
{
	u32 n = 0;

	while (n < MAXT && sc->threads[n])
		n++;
	return n;
}

/* ---- text ---- */

/* The next at most @width characters of *@s, broken at a space if there is one. */
static int take_line(const char **s, u32 width, const char **line)
{
	u32 n = (u32)strlen(*s), cut = n;

	*line = *s;
	if (n > width) {
		cut = width;
		for (u32 i = width; i > width / 3; i--) {
			if ((*s)[i] == ' ') {
				cut = i;
				break;
			}
		}
	}
	*s += cut;
	while (**s == ' ')
		(*s)++;
	return (int)cut;
}

void trace_text(const struct report *r)
{
	u32 n = threads_of(r->sc), width = n > 2 ? 46 : 58;
	char buf[700], why[1024];

	name_code(r->why, why, sizeof(why));
	printf("\n%s: %s\n  %s\n  schedule: %s\n\n       ", r->sc->name, why, r->sc->about,
	       r->schedule);
	for (u32 i = 0; i < n; i++) {
		role(r->sc, i, buf, sizeof(buf));
		printf("%-*s", (int)width + 1, buf);
	}
	printf("\n");
	for (u32 i = 0; i < E.nr_ev; i++) {
		const struct event *e = &E.ev[i];
		const char *s = buf, *line;
		bool first = true;

		if (e->tid >= n)
			continue;
		if (i == 40 && E.nr_ev > 300) {
			printf("       ... %u operations are not shown; --html shows all\n",
			       E.nr_ev - 240);
			i = E.nr_ev - 200;
		}
		describe(e, buf, sizeof(buf));
		while (*s) {
			int len = take_line(&s, width - (first ? 0 : 2), &line);

			if (first)
				printf("%5u  ", e->op);
			else
				printf("       ");
			printf("%*s%s%.*s\n", (int)((width + 1) * e->tid), "", first ? "" : "  ",
			       len, line);
			first = false;
		}
	}
	printf("       => %s\n\n", why);
}

/* ---- HTML ---- */

static void html_escape(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '<')
			fputs("&lt;", f);
		else if (*s == '>')
			fputs("&gt;", f);
		else if (*s == '&')
			fputs("&amp;", f);
		else if (*s == '"')
			fputs("&quot;", f);
		else
			fputc(*s, f);
	}
}

static const char html_head[] =
	"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
	"content='width=device-width'>"
	"<style>:root{color-scheme:light dark}"
	"body{font:14px/1.45 system-ui,sans-serif;margin:2em;max-width:120em}"
	"table{border-collapse:collapse;width:100%}"
	"td,th{text-align:left;vertical-align:top;padding:2px 8px;border-bottom:1px solid #8884;"
	"font:12px/1.4 ui-monospace,monospace}"
	"th{position:sticky;top:0;background:Canvas}"
	".op{color:#888;text-align:right;width:3em}.stale{background:#e8a3}.store{font-weight:600}"
	".why{border-left:4px solid #c33;padding:.5em "
	"1em;background:#c331}code{word-break:break-all}"
	"</style>";

bool trace_html(const struct report *r, const char *path)
{
	u32 n = threads_of(r->sc);
	char buf[700], why[1024];
	FILE *f = fopen(path, "w");

	if (!f)
		return false;
	name_code(r->why, why, sizeof(why));
	fprintf(f, "%s<title>octavo race: %s</title><h1>%s</h1><p>", html_head, r->sc->name,
		r->sc->name);
	html_escape(f, r->sc->about);
	fputs("<p class=why>", f);
	html_escape(f, why);
	fprintf(f,
		"<p>Replay: <code>octavo race %s --replay %s</code><p>Read from the top. A store "
		"shown in "
		"brackets is the one that a load read; a marked row read an older one than the "
		"newest."
		"<table><tr><th class=op>op",
		r->sc->name, r->schedule);
	for (u32 i = 0; i < n; i++) {
		role(r->sc, i, buf, sizeof(buf));
		fprintf(f, "<th>");
		html_escape(f, buf);
	}
	fputs("\n", f);
	for (u32 i = 0; i < E.nr_ev; i++) {
		const struct event *e = &E.ev[i];

		if (e->tid >= n)
			continue;
		describe(e, buf, sizeof(buf));
		fprintf(f, "<tr class='%s'><td class=op>%u", e->stale ? "stale" : "", e->op);
		for (u32 t = 0; t < n; t++) {
			fprintf(f, "<td%s>", e->kind == EV_LOAD ? "" : " class=store");
			if (t == e->tid)
				html_escape(f, buf);
		}
		fputs("\n", f);
	}
	fputs("</table></html>\n", f);
	return fclose(f) == 0;
}

/* ---- JSON ---- */

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < 32)
			printf("\\u%04x", *s);
		else
			putchar(*s);
	}
	putchar('"');
}

void trace_json(const struct report *r)
{
	char buf[700], why[1024];

	name_code(r->why, why, sizeof(why));
	printf(",\"why\":");
	json_string(why);
	printf(",\"schedule\":");
	json_string(r->schedule);
	printf(",\"trace\":[");
	for (u32 i = 0; i < E.nr_ev; i++) {
		describe(&E.ev[i], buf, sizeof(buf));
		printf("%s{\"op\":%u,\"thread\":%u,\"stale\":%u,\"what\":", i ? "," : "",
		       E.ev[i].op, E.ev[i].tid, E.ev[i].stale);
		json_string(buf);
		printf("}");
	}
	printf("]");
}
