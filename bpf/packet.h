/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets, wherever a hook sees them. They are read by copy, so that their
 * layout in memory cannot matter.
 */
#ifndef SLUICE_PACKET_H
#define SLUICE_PACKET_H

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10

struct ipv4_header {
	__u8 version_length;
	__u8 tos;
	__u16 total_length;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__u32 version_class_flow;
	__u16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	struct address source;
	struct address destination;
};

struct ports {
	__u16 source;
	__u16 destination;
};

struct packet {
	struct address destination;
	__u32 network;   /* offset of the IP header */
	__u32 transport; /* offset of what follows it */
	__u16 port;
	__u8 protocol;
	bool fragment;
	bool has_port;
	enum route route;
};

static __always_inline bool read_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct ipv4_header ip;

	if (bpf_skb_load_bytes(skb, p->network, &ip, sizeof(ip)))
		return false;
	p->destination = address_from_v4(ip.destination);
	p->transport = p->network + (ip.version_length & 0x0f) * 4;
	p->protocol = ip.protocol;
	p->fragment = ip.fragment & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET);
	p->route = ipv4_route(skb, p->network + sizeof(ip), p->transport);
	return true;
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6_header ip;

	if (bpf_skb_load_bytes(skb, p->network, &ip, sizeof(ip)))
		return false;
	p->destination = ip.destination;
	p->transport = p->network + sizeof(ip);
	p->protocol = ip.next_header;
	p->route = ipv6_route(skb, ip.next_header, p->transport);
	return true;
}

/* Extension headers hide the port: then there is none. */
static __always_inline void read_port(struct __sk_buff *skb, struct packet *p)
{
	struct ports ports;

	if (p->fragment || (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP))
		return;
	if (bpf_skb_load_bytes(skb, p->transport, &ports, sizeof(ports)))
		return;
	p->port = ports.destination;
	p->has_port = true;
}

/* Reads a packet at p->network. Returns false when it is not even an IP header. */
static __always_inline bool read_packet(struct __sk_buff *skb, __be16 type, struct packet *p)
{
	if (type == bpf_htons(ETH_P_IP) ? !read_ipv4(skb, p) : !read_ipv6(skb, p))
		return false;
	read_port(skb, p);
	return true;
}

/* Is it for a protected destination, as far as anybody can tell? */
static __always_inline bool packet_is_protected(struct packet *p)
{
	if (p->route != ROUTE_HARMLESS)
		return true;
	if (p->has_port)
		return endpoint_is_protected(&p->destination, p->port);
	if (!p->fragment && (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6))
		return false;
	return host_is_protected(&p->destination);
}

/* What is wrong with a packet that is dropped, relative to the first counter of
 * the hook that drops it. */
enum fault { FAULT_ENDPOINT, FAULT_NO_PORT, FAULT_ROUTE, FAULT_UNREADABLE };

static __always_inline enum fault packet_fault(struct packet *p)
{
	if (p->route != ROUTE_HARMLESS)
		return FAULT_ROUTE;
	return p->has_port ? FAULT_ENDPOINT : FAULT_NO_PORT;
}

#endif
