/* SPDX-License-Identifier: MIT */
/*
 * errno.h - error numbers, the field's own. A function that can fail returns 0 or a negative one.
 */
#ifndef OCTAVO_ERRNO_H
#define OCTAVO_ERRNO_H

#ifndef EPERM
#define EPERM  1
#define ENOENT 2
#define EIO    5
#define ENXIO  6
#define E2BIG  7
#define EAGAIN 11
#define ENOMEM 12
#define EFAULT 14
#define EBUSY  16
#define EEXIST 17
#define EINVAL 22
#define ENOSPC 28
#define ERANGE 34
#endif
#ifndef EACCES
#define EACCES 13
#endif
#ifndef EINTR
#define EINTR 4
#endif
#ifndef ENODEV
#define ENODEV 19
#endif
#ifndef EMLINK
#define EMLINK 31
#endif
#ifndef EOVERFLOW
#define EOVERFLOW 75
#endif
#ifndef EOPNOTSUPP
#define EOPNOTSUPP 95
#endif
#ifndef EHWPOISON
#define EHWPOISON 133
#endif

#endif /* OCTAVO_ERRNO_H */
