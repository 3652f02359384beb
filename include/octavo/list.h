/* SPDX-License-Identifier: MIT */
/*
 * list.h - doubly linked circular lists. Not atomic: the list's owner names its lock.
 */
#ifndef OCTAVO_LIST_H
#define OCTAVO_LIST_H

#include <octavo/compiler.h>

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list_head *l)
{
	return l->next == l;
}

/* @n becomes the first of @head. */
static inline void list_add(struct list_head *n, struct list_head *head)
{
	n->next = head->next;
	n->prev = head;
	head->next->prev = n;
	head->next = n;
}

/* @n becomes the last of @head. */
static inline void list_add_tail(struct list_head *n, struct list_head *head)
{
	list_add(n, head->prev);
}

/* Leaves @n an empty list, so that list_empty(&n) tells whether it is on one. */
static inline void list_del_init(struct list_head *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	INIT_LIST_HEAD(n);
}

static inline void list_move(struct list_head *n, struct list_head *head)
{
	list_del_init(n);
	list_add(n, head);
}

/* All of @from becomes the first of @head; @from is empty then. */
static inline void list_splice_init(struct list_head *from, struct list_head *head)
{
	if (list_empty(from))
		return;
	from->next->prev = head;
	from->prev->next = head->next;
	head->next->prev = from->prev;
	head->next = from->next;
	INIT_LIST_HEAD(from);
}

#define list_entry(p, type, member)	     container_of(p, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
/* By address: the entry "around" the head is none, and need not even be aligned as one. */
#define list_is_head(pos, head, member) \
	((const char *)(pos) + offsetof(__typeof__(*(pos)), member) == (const char *)(head))
#define list_for_each_entry(pos, head, member)                         \
	for (pos = list_entry((head)->next, __typeof__(*pos), member); \
	     !list_is_head(pos, head, member);                         \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))
#define list_for_each_entry_safe(pos, tmp, head, member)                  \
	for (pos = list_entry((head)->next, __typeof__(*pos), member),    \
	    tmp = list_entry(pos->member.next, __typeof__(*pos), member); \
	     !list_is_head(pos, head, member);                            \
	     pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*pos), member))

#endif /* OCTAVO_LIST_H */
