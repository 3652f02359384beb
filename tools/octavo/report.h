/* SPDX-License-Identifier: MIT */
/*
 * report.h - what footprint prints and draws.
 */
#ifndef OCTAVO_TOOL_REPORT_H
#define OCTAVO_TOOL_REPORT_H

#include "rebuild.h"

void report_table(const struct machine *m, const struct footprint *fp, FILE *f);
/* @synthetic: adds bytes_per_page. */
void report_json(const struct machine *m, const struct footprint *fp, bool synthetic, FILE *f);
/* 0, or -ENOMEM with a message printed. */
int report_svg(const struct machine *m, const struct footprint *fp, FILE *f);

#endif /* OCTAVO_TOOL_REPORT_H */
