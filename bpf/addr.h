/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses: pure helpers, no map and no context. */
#ifndef SLUICE_ADDR_H
#define SLUICE_ADDR_H

/* An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d. Network byte order. */
struct address {
	__be32 word[4];
};

#define IPV4_MAPPED bpf_htonl(0x0000ffff)
#define IPV4_LOOPBACK bpf_htonl(0x7f000001)
#define IPV6_LOOPBACK_WORD bpf_htonl(1)

static __always_inline struct address address_from_v4(__be32 v4)
{
	return (struct address){.word = {0, 0, IPV4_MAPPED, v4}};
}

static __always_inline bool address_is_v4(const struct address *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == IPV4_MAPPED;
}

static __always_inline bool address_is_v6_loopback(const struct address *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 &&
	       a->word[3] == IPV6_LOOPBACK_WORD;
}

/* Finds the IPv4 address that a gateway would translate an address into
 * (64:ff9b::/96, RFC 6052). Prefixes of a network's own are unknown here. */
static __always_inline bool address_translate(struct address *a)
{
	if (a->word[0] != bpf_htonl(0x0064ff9b) || a->word[1] != 0 || a->word[2] != 0)
		return false;
	a->word[2] = IPV4_MAPPED;
	a->word[0] = 0;
	return true;
}

/* All of 127.0.0.0/8, and ::1. */
static __always_inline bool address_is_loopback(const struct address *a)
{
	if (address_is_v4(a))
		return (a->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return address_is_v6_loopback(a);
}

/* The kernel takes a connect to 0.0.0.0 or :: for one to loopback; so do we. */
static __always_inline void address_resolve_any(struct address *a)
{
	if (a->word[3] != 0)
		return;
	if (address_is_v4(a))
		a->word[3] = IPV4_LOOPBACK;
	else if (a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0)
		a->word[3] = IPV6_LOOPBACK_WORD;
}

#endif
