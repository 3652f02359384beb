/* SPDX-License-Identifier: MIT */
/*
 * json.h - writing JSON, correct by construction: commas, nesting and escapes are not the caller's business.
 */
#ifndef OCTAVO_TOOL_JSON_H
#define OCTAVO_TOOL_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_MAX_DEPTH = 16 };

struct json {
	FILE *f;
	bool pretty; /* a member a line; else all on one line */
	unsigned int depth;
	bool empty[JSON_MAX_DEPTH]; /* nothing written at this depth yet */
};

void json_init(struct json *j, FILE *f, bool pretty);

/*
 * @key: the member's name inside an object, NULL inside an array and for the outermost value.
 */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
/* Closes the innermost object or array; after the outermost one a newline. */
void json_end(struct json *j, char close);

void json_u64(struct json *j, const char *key, uint64_t v);
void json_s64(struct json *j, const char *key, int64_t v);
/* @digits after the point. Not a number and infinities are null: JSON has no word for them. */
void json_double(struct json *j, const char *key, double v, int digits);
void json_bool(struct json *j, const char *key, bool v);
void json_null(struct json *j, const char *key);
/* Bytes that are not UTF-8 become U+FFFD. NULL is null. */
void json_string(struct json *j, const char *key, const char *s);

#endif /* OCTAVO_TOOL_JSON_H */
