/* SPDX-License-Identifier: MIT */
/*
 * footprint.c - octavo footprint: where the machine comes from, and where the answer goes.
 *
 * Nothing appears under any name before everything has worked: files are written beside their names and renamed
 * at the end, standard output comes last.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "rebuild.h"
#include "report.h"
#include "synth.h"
#include "tool.h"

struct options {
	const char *from, *save, *record, *svg, *mix;
	u64 ram;
	bool json, live_or_recorded;
};

static const char help[] =
	"usage: octavo footprint [OPTION...]\n"
	"\n"
	"Reads what every frame of this machine's memory is used for, builds the same population "
	"out of\n"
	"Octavo's own allocators, and reports what its metadata costs: today, and with Octavo.\n"
	"\n"
	"  --from PATH          not this machine: a directory made by --save, or a file made by "
	"--record\n"
	"  --live-or-recorded   this machine, or if it can't be read the recorded one that ships\n"
	"  --ram SIZE           not this machine: one of SIZE bytes (64G, 16T), filled as --mix "
	"says\n"
	"  --mix LIST           ORDER:PERCENT,... of its memory in folios of an order, the rest "
	"idle; 'none'\n"
	"                       (default): all idle. As in --ram 64G --mix 0:60,4:30,9:10\n"
	"\n"
	"  --json               one JSON object instead of a table\n"
	"  --svg FILE           draw the page map\n"
	"  --save DIR           copy the kernel's three files to DIR, which must not exist or be "
	"empty\n"
	"  --record FILE        write the machine in the compact form\n"
	"  --help\n"
	"\n"
	"Reading this machine takes root. Exit status: 0; 1 out of memory or a write failed; 2 "
	"bad\n"
	"arguments, or input that can't be read or is something else: then nothing is written.\n";

enum { OPT_FROM = 256, OPT_LIVE, OPT_RAM, OPT_MIX, OPT_JSON, OPT_SVG, OPT_SAVE, OPT_RECORD };

static const struct option longopts[] = {
	{ "from", required_argument, NULL, OPT_FROM },
	{ "live-or-recorded", no_argument, NULL, OPT_LIVE },
	{ "ram", required_argument, NULL, OPT_RAM },
	{ "mix", required_argument, NULL, OPT_MIX },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "svg", required_argument, NULL, OPT_SVG },
	{ "save", required_argument, NULL, OPT_SAVE },
	{ "record", required_argument, NULL, OPT_RECORD },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* 0: go on; else the exit status + 1. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int c, err;

	memset(o, 0, sizeof(*o));
	while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
		switch (c) {
		case OPT_FROM:
			o->from = optarg;
			break;
		case OPT_LIVE:
			o->live_or_recorded = true;
			break;
		case OPT_RAM:
			err = tool_parse_size(optarg, &o->ram);
			if (err || !o->ram) {
				tool_error("--ram %s: not a size such as 64G", optarg);
				return TOOL_USAGE + 1;
			}
			break;
		case OPT_MIX:
			o->mix = optarg;
			break;
		case OPT_JSON:
			o->json = true;
			break;
		case OPT_SVG:
			o->svg = optarg;
			break;
		case OPT_SAVE:
			o->save = optarg;
			break;
		case OPT_RECORD:
			o->record = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return TOOL_OK + 1;
		default: /* getopt_long() has said what is wrong */
			return TOOL_USAGE + 1;
		}
	}
	if (optind < argc) {
		tool_error("unexpected argument '%s'", argv[optind]);
		return TOOL_USAGE + 1;
	}
	if ((o->from != NULL) + (o->ram != 0) + o->live_or_recorded > 1)
		tool_error("--from, --ram and --live-or-recorded exclude each other");
	else if (o->mix && !o->ram)
		tool_error("--mix needs --ram");
	else if (o->save && (o->from || o->ram || o->live_or_recorded))
		tool_error("--save copies this machine's files: it goes with no other source");
	else
		return 0;
	return TOOL_USAGE + 1;
}

/* What --save has copied is also what is looked at, so that the copies give the same answer later. */
static int read_saved(const struct options *o, struct machine *m, char **saved)
{
	int err = kpage_save(MACHINE_PROC, o->save, saved);
	struct machine live;

	if (err)
		return err;
	err = kpage_read(m, *saved);
	if (err) {
		kpage_save_discard(*saved);
		free(*saved);
		*saved = NULL;
		return err;
	}
	kpage_describe(&live);
	memcpy(m->label, live.label, sizeof(m->label));
	memcpy(m->source, live.source, sizeof(m->source));
	return 0;
}

static int read_from(const char *path, struct machine *m)
{
	struct stat st;
	FILE *f;
	int err;

	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return kpage_read(m, path);
	f = fopen(path, "re");
	if (!f) {
		err = errno;
		tool_error("cannot read %s: %s", path, strerror(err));
		return -err;
	}
	err = record_read(m, f, path);
	fclose(f);
	return err;
}

static int read_machine(const struct options *o, struct machine *m, char **saved)
{
	int err;

	*saved = NULL;
	if (o->ram)
		return synth_machine(m, o->ram, o->mix ? o->mix : "none");
	if (o->from)
		return read_from(o->from, m);
	if (o->save)
		return read_saved(o, m, saved);
	if (!o->live_or_recorded)
		return kpage_read(m, MACHINE_PROC);
	err = kpage_probe(MACHINE_PROC);
	if (!err && !kpage_read(m, MACHINE_PROC))
		return 0;
	/* When the files could be opened, what is wrong with them has been said. */
	fprintf(stderr,
		"octavo: this machine's page flags can't be read%s%s%s: showing the recorded "
		"machine\n",
		err ? " (" : "", err ? strerror(-err) : "", err ? ")" : "");
	return record_read_builtin(m);
}

static int status_of(int err)
{
	return !err ? TOOL_OK : err == -ENOMEM || err == -EIO ? TOOL_FAILED : TOOL_USAGE;
}

static int write_files(const struct options *o, const struct machine *m, const struct footprint *fp)
{
	struct out_file svg = { 0 }, record = { 0 };
	int err = 0;

	if (o->svg)
		err = out_open(&svg, o->svg);
	if (!err && o->record)
		err = out_open(&record, o->record);
	if (!err && o->svg)
		err = report_svg(m, fp, svg.f);
	if (!err && o->record)
		record_write(m, record.f);
	if (!err && o->svg)
		err = out_commit(&svg);
	if (!err && o->record)
		err = out_commit(&record);
	out_discard(&svg);
	out_discard(&record);
	return err ? TOOL_FAILED : TOOL_OK;
}

int footprint_main(int argc, char **argv)
{
	struct footprint fp;
	struct options o;
	struct machine m;
	char *saved;
	int status = parse_options(&o, argc, argv);

	if (status)
		return status - 1;
	status = status_of(read_machine(&o, &m, &saved));
	if (status)
		return status;
	if (rebuild_measure(&m.pop, !o.ram, &fp))
		status = TOOL_FAILED;
	if (!status)
		status = write_files(&o, &m, &fp);
	if (saved) {
		if (status)
			kpage_save_discard(saved);
		else if (kpage_save_commit(saved, o.save))
			status = TOOL_FAILED;
		free(saved);
	}
	if (!status && o.json)
		report_json(&m, &fp, o.ram, stdout);
	else if (!status)
		report_table(&m, &fp, stdout);
	machine_free(&m);
	return status;
}
