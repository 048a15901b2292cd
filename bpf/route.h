/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Source routes: a packet that names the hops which it wants to take has its
 * last destination not where a destination belongs, but in an IPv4 option or an
 * IPv6 routing header. Any protected address among the hops counts.
 */
#ifndef SLUICE_ROUTE_H
#define SLUICE_ROUTE_H

enum route { ROUTE_HARMLESS, ROUTE_PROTECTED, ROUTE_UNREADABLE };

#define IPV4_OPTION_END 0
#define IPV4_OPTION_NOP 1
#define IPV4_OPTION_LOOSE_ROUTE 131
#define IPV4_OPTION_STRICT_ROUTE 137
#define IPV4_OPTIONS_MAX 40
#define IPV4_HOPS_MAX 9

/* A header of each kind at most once is what the standard allows (RFC 8200,
 * section 4.1). Longer chains and routes count as unreadable. */
#define IPV6_HEADERS_MAX 8
#define IPV6_HOPS_MAX 16

#define IPV6_FRAGMENT_OFFSET 0xfff8

/* Global functions are verified apart from their callers, once: inlined, these
 * loops in loops would take the verifier seconds. */

__noinline int ipv4_hops(struct __sk_buff *skb, __u32 at, __u32 n)
{
	for (__u32 i = 0; i < IPV4_HOPS_MAX; i++) {
		struct address hop;
		__be32 v4;

		if (i >= n)
			break;
		if (bpf_skb_load_bytes(skb, at + i * sizeof(v4), &v4, sizeof(v4)))
			return ROUTE_UNREADABLE;
		hop = address_from_v4(v4);
		if (host_is_protected(&hop))
			return ROUTE_PROTECTED;
	}
	return ROUTE_HARMLESS;
}

/* The options of an IPv4 header lie between at and end. */
__noinline int ipv4_route(struct __sk_buff *skb, __u32 at, __u32 end)
{
	for (int i = 0; i < IPV4_OPTIONS_MAX; i++) {
		__u8 kind, length;
		bool route;

		if (at >= end)
			return ROUTE_HARMLESS;
		if (bpf_skb_load_bytes(skb, at, &kind, sizeof(kind)))
			return ROUTE_UNREADABLE;
		if (kind == IPV4_OPTION_END)
			return ROUTE_HARMLESS;
		if (kind == IPV4_OPTION_NOP) {
			at++;
			continue;
		}
		if (bpf_skb_load_bytes(skb, at + 1, &length, sizeof(length)))
			return ROUTE_UNREADABLE;
		route = kind == IPV4_OPTION_LOOSE_ROUTE || kind == IPV4_OPTION_STRICT_ROUTE;
		if (length < (route ? 3 : 2) || at + length > end)
			return ROUTE_UNREADABLE;
		if (route) /* there cannot be another */
			return ipv4_hops(skb, at + 3, (__u32)(length - 3) / 4);
		at += length;
	}
	return ROUTE_UNREADABLE;
}

struct ipv6_extension {
	__u8 next_header;
	__u8 length; /* in units that the header's kind decides */
	__u8 routing_type;
	__u8 segments_left;
};

#define IPV6_ROUTE_SOURCE 0
#define IPV6_ROUTE_MOBILE 2
#define IPV6_ROUTE_SEGMENTS 4

__noinline int ipv6_hops(struct __sk_buff *skb, __u32 at, __u32 n)
{
	if (n > IPV6_HOPS_MAX)
		return ROUTE_UNREADABLE;
	for (__u32 i = 0; i < IPV6_HOPS_MAX; i++) {
		struct address hop;

		if (i >= n)
			break;
		if (bpf_skb_load_bytes(skb, at + i * sizeof(hop), &hop, sizeof(hop)))
			return ROUTE_UNREADABLE;
		if (host_is_protected(&hop))
			return ROUTE_PROTECTED;
	}
	return ROUTE_HARMLESS;
}

static __always_inline enum route ipv6_routing(struct __sk_buff *skb, __u32 at,
					       struct ipv6_extension *header)
{
	if (header->segments_left == 0)
		return ROUTE_HARMLESS;
	if (header->routing_type != IPV6_ROUTE_SOURCE && header->routing_type != IPV6_ROUTE_MOBILE &&
	    header->routing_type != IPV6_ROUTE_SEGMENTS)
		return ROUTE_UNREADABLE;
	return ipv6_hops(skb, at + 8, header->length / 2);
}

/* Follows the chain of extension headers, the first of which is next and lies
 * at at. A later fragment tells nothing; the first one must tell everything
 * (RFC 7112), and without it there is no packet. */
__noinline int ipv6_route(struct __sk_buff *skb, __u8 next, __u32 at)
{
	for (int i = 0; i < IPV6_HEADERS_MAX; i++) {
		struct ipv6_extension header;
		__u32 unit = 8;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_FRAGMENT &&
		    next != IPPROTO_AH && next != IPPROTO_DSTOPTS)
			return ROUTE_HARMLESS;
		if (bpf_skb_load_bytes(skb, at, &header, sizeof(header)))
			return ROUTE_UNREADABLE;
		if (next == IPPROTO_ROUTING) {
			enum route route = ipv6_routing(skb, at, &header);

			if (route != ROUTE_HARMLESS)
				return route;
		}
		if (next == IPPROTO_FRAGMENT) {
			__be16 offset;

			__builtin_memcpy(&offset, &header.routing_type, sizeof(offset));
			if (offset & bpf_htons(IPV6_FRAGMENT_OFFSET))
				return ROUTE_HARMLESS;
			header.length = 0;
		}
		if (next == IPPROTO_AH) {
			unit = 4;
			header.length++; /* counted without the first two units, not one */
		}
		next = header.next_header;
		at += (header.length + 1) * unit;
	}
	return ROUTE_UNREADABLE;
}

#endif
