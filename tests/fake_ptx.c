// SPDX-License-Identifier: MIT
/*
 * fake_ptx.c - reads and runs PTX, for the double of the CUDA driver library.
 *
 * It wants of a text what an assembler would: a version, a target, 64-bit addresses; every register declared, of the
 * type that the instruction takes; labels and parameters that exist.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_ptx.h"

enum { MOV, MAD, CVT, PARAM, SETP, BRA, CVTA, SHL, ADD, LOAD, STORE, RED, RET };

/* Operands: p r d registers by type, s special, P [parameter], M [register with an address], i number, l label. */
static const struct {
	const char *name, *args;
} insns[] = {
	[MOV] = { "mov.u32", "rs" },
	[MAD] = { "mad.lo.u32", "rrrr" },
	[CVT] = { "cvt.u64.u32", "dr" },
	[PARAM] = { "ld.param.u64", "dP" },
	[SETP] = { "setp.ge.u64", "pdd" },
	[BRA] = { "bra", "l" },
	[CVTA] = { "cvta.to.global.u64", "dd" },
	[SHL] = { "shl.b64", "ddi" },
	[ADD] = { "add.s64", "ddd" },
	[LOAD] = { "ld.global.u64", "dM" },
	[STORE] = { "st.global.u64", "Md" },
	[RED] = { "red.global.add.u64", "Md" },
	[RET] = { "ret", "" },
};
static const char *const specials[] = { "%ctaid.x", "%ntid.x", "%tid.x" };

#define NR(array) (sizeof(array) / sizeof((array)[0]))

/* ---- reading ---- */

/* Where labels are, and where they are wanted. */
struct reader {
	struct ptx_kernel *k;
	char label[4][PTX_NAME], wanted[PTX_INSNS][PTX_NAME];
	unsigned int at[4], nr_labels;
	char bad[128];
};

static const char *skip_space(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* A word that ends at one of @ends. Return: what comes after it; NULL: too long. */
static const char *read_word(const char *s, const char *ends, char *to)
{
	size_t n;

	s = skip_space(s);
	n = strcspn(s, ends);
	if (n >= PTX_NAME)
		return NULL;
	memcpy(to, s, n);
	while (n && isspace((unsigned char)to[n - 1]))
		n--;
	to[n] = '\0';
	return s + strcspn(s, ends);
}

static int find(char (*names)[PTX_NAME], unsigned int nr, const char *name)
{
	for (unsigned int i = 0; i < nr; i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return -1;
}

/* A register of that type. */
static int find_register(struct ptx_kernel *k, const char *name, char type)
{
	int i = find(k->reg, k->nr_registers, name);

	return i >= 0 && k->type[i] == type ? i : -1;
}

/* .reg .TYPE NAME, NAME... */
static bool read_registers(struct ptx_kernel *k, const char *s)
{
	char type[PTX_NAME];

	s = read_word(s, " ", type);
	while (s && k->nr_registers < PTX_REGISTERS) {
		char *name = k->reg[k->nr_registers];

		s = read_word(s, ",", name);
		if (!s || name[0] != '%')
			return false;
		k->type[k->nr_registers++] = !strcmp(type, ".pred")  ? 'p'
					     : !strcmp(type, ".b32") ? 'r'
					     : !strcmp(type, ".b64") ? 'd'
								     : '?';
		if (!*s)
			return true;
		s++;
	}
	return false;
}

static int read_operand(struct reader *r, char kind, char *s)
{
	size_t len = strlen(s);

	if (kind == 'P' || kind == 'M') {
		if (len < 2 || s[0] != '[' || s[len - 1] != ']')
			return -1;
		s[len - 1] = '\0';
		s++;
		if (kind == 'P')
			return find(r->k->param, r->k->nr_params, s);
		kind = 'd';
	}
	if (kind == 's') {
		for (unsigned int i = 0; i < NR(specials); i++)
			if (!strcmp(s, specials[i]))
				return (int)i;
		return -1;
	}
	if (kind == 'i')
		return isdigit((unsigned char)s[0]) ? atoi(s) : -1;
	if (kind == 'l') {
		strcpy(r->wanted[r->k->nr], s);
		return 0;
	}
	return find_register(r->k, s, kind);
}

/* [LABEL:] [@PREDICATE] NAME OPERAND, OPERAND... */
static bool read_insn(struct reader *r, const char *s)
{
	struct ptx_insn *insn = &r->k->insn[r->k->nr];
	char word[PTX_NAME];
	const char *args;

	if (s[strcspn(s, ":[ ")] == ':' && r->nr_labels < NR(r->label)) {
		r->at[r->nr_labels] = r->k->nr;
		s = read_word(s, ":", r->label[r->nr_labels++]);
		if (!s)
			return false;
		s = skip_space(s + 1);
	}
	insn->pred = -1;
	if (*s == '@') {
		s = read_word(s + 1, " ", word);
		insn->pred = s ? find_register(r->k, word, 'p') : -1;
		if (insn->pred < 0)
			return false;
	}
	s = read_word(s, " ", word);
	if (!s || r->k->nr == PTX_INSNS)
		return false;
	for (insn->op = 0; strcmp(insns[insn->op].name, word);)
		if (++insn->op == NR(insns))
			return false;
	args = insns[insn->op].args;
	for (unsigned int i = 0; args[i]; i++) {
		int arg;

		s = read_word(s, ",", word);
		arg = s ? read_operand(r, args[i], word) : -1;
		if (arg < 0 || (*s == ',') != (args[i + 1] != '\0'))
			return false;
		insn->arg[i] = (unsigned int)arg;
		s += *s == ',';
	}
	r->k->nr++;
	return *skip_space(s) == '\0';
}

/* (.param .u64 NAME, ...) */
static const char *read_params(struct ptx_kernel *k, const char *s)
{
	while (s && *s != ')') {
		char type[PTX_NAME];

		s = skip_space(s + 1);
		if (strncmp(s, ".param ", 7) || k->nr_params == PTX_PARAMS)
			return NULL;
		s = read_word(s + 7, " ", type);
		if (!s || strcmp(type, ".u64"))
			return NULL;
		s = read_word(s, ",)", k->param[k->nr_params++]);
	}
	return s ? skip_space(s + 1) : NULL;
}

static bool read_body(struct reader *r, const char *s)
{
	while (*(s = skip_space(s)) != '}') {
		size_t n = strcspn(s, ";}");

		snprintf(r->bad, sizeof(r->bad), "%.*s", (int)n, s);
		if (s[n] != ';' || n >= sizeof(r->bad))
			return false;
		s += n + 1;
		if (!strncmp(r->bad, ".reg ", 5) ? !read_registers(r->k, r->bad + 5)
						 : !read_insn(r, r->bad))
			return false;
	}
	for (unsigned int i = 0; i < r->k->nr; i++) {
		int label = find(r->label, r->nr_labels, r->wanted[i]);

		if (r->k->insn[i].op != BRA)
			continue;
		snprintf(r->bad, sizeof(r->bad), "%s", r->wanted[i]);
		if (label < 0)
			return false;
		r->k->insn[i].arg[0] = r->at[label];
	}
	return r->k->nr && r->k->insn[r->k->nr - 1].op == RET;
}

const char *ptx_read(const char *text, const char *name, struct ptx_kernel *kernel)
{
	static struct reader r;
	char entry[64];
	const char *s;

	memset(kernel, 0, sizeof(*kernel));
	memset(&r, 0, sizeof(r));
	r.k = kernel;
	snprintf(kernel->name, sizeof(kernel->name), "%s", name);
	snprintf(entry, sizeof(entry), ".visible .entry %s(", name);
	if (strncmp(text, ".version 6.0\n.target sm_50\n.address_size 64\n", 44))
		return "no header";
	s = strstr(text, entry);
	if (!s)
		return "no such kernel";
	s = read_params(kernel, s + strlen(entry) - 1);
	if (!s || *s != '{')
		return "parameters";
	return read_body(&r, s + 1) ? NULL : r.bad;
}

/* ---- running ---- */

bool ptx_run(const struct ptx_kernel *kernel, const unsigned long long *params, unsigned int block,
	     unsigned int size, unsigned int thread,
	     unsigned long long *(*word)(unsigned long long at))
{
	const unsigned int special[] = { block, size, thread };
	unsigned long long v[PTX_REGISTERS] = { 0 }, *p;
	unsigned int steps = 0;

	for (unsigned int pc = 0; pc < kernel->nr && steps < 1000; steps++) {
		const struct ptx_insn *i = &kernel->insn[pc++];
		const unsigned int *a = i->arg;

		if (i->pred >= 0 && !v[i->pred])
			continue;
		switch (i->op) {
		case MOV:
			v[a[0]] = special[a[1]];
			break;
		case MAD:
			v[a[0]] = (unsigned int)(v[a[1]] * v[a[2]] + v[a[3]]);
			break;
		case CVT:
		case CVTA:
			v[a[0]] = v[a[1]];
			break;
		case PARAM:
			v[a[0]] = params[a[1]];
			break;
		case SETP:
			v[a[0]] = v[a[1]] >= v[a[2]];
			break;
		case BRA:
			pc = a[0];
			break;
		case SHL:
			v[a[0]] = v[a[1]] << a[2];
			break;
		case ADD:
			v[a[0]] = v[a[1]] + v[a[2]];
			break;
		case RET:
			return true;
		default:
			p = word(v[a[i->op == LOAD]]);
			if (!p)
				return false;
			if (i->op == LOAD)
				v[a[0]] = *p;
			else
				*p = v[a[1]] + (i->op == RED ? *p : 0);
		}
	}
	return false;
}
