/* SPDX-License-Identifier: MIT */
/*
 * log.c - formatting for logs, dumps and panics: what the core needs of printf, without a libc.
 */
#include <stdarg.h>

#include <octavo/debug.h>

struct out {
	char *buf;
	size_t size, len;
};

static void put_char(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void put_padded(struct out *o, const char *s, size_t len, size_t width, bool left, char pad)
{
	size_t fill = width > len ? width - len : 0;

	/* zeros go between sign and digits */
	if (pad == '0' && len && *s == '-') {
		put_char(o, '-');
		s++;
		len--;
	}
	while (!left && fill) {
		put_char(o, pad);
		fill--;
	}
	while (len--)
		put_char(o, *s++);
	while (fill--)
		put_char(o, ' ');
}

static size_t digits(char *end, u64 v, unsigned int base)
{
	char *p = end;

	do
		*--p = "0123456789abcdef"[v % base];
	while (v /= base);
	return (size_t)(end - p);
}

static u64 arg_unsigned(va_list *ap, int longs)
{
	return longs ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned int);
}

static s64 arg_signed(va_list *ap, int longs)
{
	return longs ? va_arg(*ap, long) : va_arg(*ap, int);
}

static void format(struct out *o, const char *fmt, va_list *ap)
{
	char num[24], *end = num + sizeof(num);

	for (; *fmt; fmt++) {
		bool left = false;
		char pad = ' ';
		size_t width = 0, n, prec = ~(size_t)0;
		int longs = 0;
		const char *s;
		s64 d;

		if (*fmt != '%') {
			put_char(o, *fmt);
			continue;
		}
		for (fmt++; *fmt == '-' || *fmt == '0'; fmt++) {
			left |= *fmt == '-';
			pad = *fmt == '0' ? '0' : pad;
		}
		if (left)
			pad = ' ';
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (size_t)(*fmt - '0');
		if (*fmt == '.')
			for (fmt++, prec = 0; *fmt >= '0' && *fmt <= '9'; fmt++)
				prec = prec * 10 + (size_t)(*fmt - '0');
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			longs++;
		switch (*fmt) {
		case 'd':
		case 'i':
			d = arg_signed(ap, longs);
			n = digits(end, d < 0 ? 0 - (u64)d : (u64)d, 10);
			if (d < 0)
				end[-(long)++n] = '-';
			put_padded(o, end - n, n, width, left, pad);
			break;
		case 'u':
			n = digits(end, arg_unsigned(ap, longs), 10);
			put_padded(o, end - n, n, width, left, pad);
			break;
		case 'x':
			n = digits(end, arg_unsigned(ap, longs), 16);
			put_padded(o, end - n, n, width, left, pad);
			break;
		case 'p':
			n = digits(end, (u64)(uintptr_t)va_arg(*ap, void *), 16);
			end[-(long)++n] = 'x';
			end[-(long)++n] = '0';
			put_padded(o, end - n, n, width, left, ' ');
			break;
		case 'c':
			num[0] = (char)va_arg(*ap, int);
			put_padded(o, num, 1, width, left, ' ');
			break;
		case 's':
			s = va_arg(*ap, const char *);
			s = s ? s : "(null)";
			for (n = 0; n < prec && s[n];)
				n++;
			put_padded(o, s, n, width, left, ' ');
			break;
		case '%':
			put_char(o, '%');
			break;
		default: /* not ours: show it, take no argument, stop before argument and format disagree */
			put_char(o, '%');
			return;
		}
	}
}

static int vformat(char *buf, size_t size, const char *fmt, va_list *ap)
{
	struct out o = { buf, size, 0 };

	if (!size)
		return 0;
	format(&o, fmt, ap);
	o.len = o.len < size ? o.len : size - 1;
	buf[o.len] = 0;
	return (int)o.len;
}

int octavo_scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vformat(buf, size, fmt, &ap);
	va_end(ap);
	return n;
}

void octavo_log(enum octavo_log_level level, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vformat(line, sizeof(line), fmt, &ap);
	va_end(ap);
	octavo_port_log(level, line);
}

void octavo_panic(const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vformat(line, sizeof(line), fmt, &ap);
	va_end(ap);
	octavo_port_log(OCTAVO_LOG_ERR, line);
	octavo_port_panic(line);
}
