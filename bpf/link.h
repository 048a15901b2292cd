/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The net under the egress hook, on the links of the agent's network namespace.
 * It sees what no socket hook sees: frames of AF_PACKET, and packets that are
 * forwarded for another namespace.
 *
 * A packet's type is read from the frame. skb->protocol is what a sender with
 * AF_PACKET says it is.
 */
#ifndef SLUICE_LINK_H
#define SLUICE_LINK_H

/* Return values of tc and tcx programs: leave it to the next one, or drop. */
enum { LINK_NEXT = -1, LINK_DROP = 2 };

enum frame { FRAME_OTHER, FRAME_IP, FRAME_UNREADABLE };

/* One tag beside the one that the kernel keeps apart, and one more. */
#define VLAN_TAGS 2

static __always_inline enum frame read_ethernet(struct __sk_buff *skb, struct packet *p)
{
	__be16 type;

	if (bpf_skb_load_bytes(skb, ETH_HLEN - sizeof(type), &type, sizeof(type)))
		return FRAME_UNREADABLE;
	p->network = ETH_HLEN;
	for (int i = 0; i < VLAN_TAGS; i++) {
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if (bpf_skb_load_bytes(skb, p->network + 2, &type, sizeof(type)))
			return FRAME_UNREADABLE;
		p->network += 4;
	}
	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD))
		return FRAME_UNREADABLE;
	if (type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6))
		return FRAME_OTHER;
	return read_packet(skb, type, p) ? FRAME_IP : FRAME_UNREADABLE;
}

/* A link without frames, such as a tunnel: the packet says itself what it is. */
static __always_inline enum frame read_bare(struct __sk_buff *skb, struct packet *p)
{
	__be16 type;
	__u8 version;

	if (bpf_skb_load_bytes(skb, 0, &version, sizeof(version)))
		return FRAME_UNREADABLE;
	version >>= 4;
	if (version != 4 && version != 6)
		return FRAME_OTHER;
	type = version == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return read_packet(skb, type, p) ? FRAME_IP : FRAME_UNREADABLE;
}

static __always_inline int drop_on_link(struct __sk_buff *skb, struct packet *p,
					enum counter first, enum fault fault)
{
	count(first + fault);
	alert(skb, p, skb->ifindex);
	return LINK_DROP;
}

/*
 * Does this packet go on with a connection that was open before there was an
 * agent? Whoever can forge one could have written into that connection anyway.
 */
static __always_inline bool is_open(struct __sk_buff *skb, struct packet *p)
{
	struct open_connection key = {.destination = p->destination, .port = p->port};
	__be32 v4;
	__u8 flags;

	if (!p->has_port || p->protocol != IPPROTO_TCP)
		return false;
	if (bpf_skb_load_bytes(skb, p->transport, &key.client_port, sizeof(key.client_port)) ||
	    bpf_skb_load_bytes(skb, p->transport + 13, &flags, sizeof(flags)) || flags & TCP_FLAG_SYN)
		return false;
	if (!address_is_v4(&p->destination)) {
		if (bpf_skb_load_bytes(skb, p->network + 8, &key.client, sizeof(key.client)))
			return false;
	} else {
		if (bpf_skb_load_bytes(skb, p->network + 12, &v4, sizeof(v4)))
			return false;
		key.client = address_from_v4(v4);
	}
	return bpf_map_lookup_elem(&open_connections, &key) != NULL;
}

/*
 * What a container sends, at our end of its link. The agent dials from our own
 * namespace, so whatever comes in here for a protected destination is not its.
 */
SEC("tc")
int redirect_link_in(struct __sk_buff *skb)
{
	struct packet p = {};
	enum frame frame = read_ethernet(skb, &p);

	if (frame == FRAME_OTHER)
		return LINK_NEXT;
	if (frame == FRAME_UNREADABLE)
		return drop_on_link(skb, &p, LINK_IN_DROPPED, FAULT_UNREADABLE);
	if (!packet_is_protected(&p))
		return LINK_NEXT;
	if (is_open(skb, &p)) {
		count(LINK_IN_OPEN);
		return LINK_NEXT;
	}
	return drop_on_link(skb, &p, LINK_IN_DROPPED, packet_fault(&p));
}

/*
 * Is this an answer that the kernel gives for a socket that is gone? It has no
 * socket, or one that was closed already; it carries no payload.
 */
static __always_inline bool is_socketless_reply(struct __sk_buff *skb, struct packet *p)
{
	__u8 offset_flags[2];

	if (!p->has_port || p->protocol != IPPROTO_TCP)
		return false;
	if (bpf_skb_load_bytes(skb, p->transport + 12, offset_flags, sizeof(offset_flags)))
		return false;
	if (!(offset_flags[1] & (TCP_FLAG_RST | TCP_FLAG_ACK)) || offset_flags[1] & TCP_FLAG_SYN)
		return false;
	return skb->len == p->transport + (offset_flags[0] >> 4) * 4;
}

/*
 * What leaves our namespace. lossy says that the link is behind another one of
 * ours, such as a bridge, which was asked already and may have lost the socket
 * in making copies.
 */
static __always_inline int leave(struct __sk_buff *skb, struct packet *p, enum frame frame,
				 bool lossy)
{
	struct bpf_sock *sk, *full = NULL;

	if (frame == FRAME_OTHER)
		return LINK_NEXT;
	if (frame == FRAME_UNREADABLE)
		return drop_on_link(skb, p, LINK_OUT_DROPPED, FAULT_UNREADABLE);
	if (!packet_is_protected(p))
		return LINK_NEXT;

	sk = skb->sk;
	if (sk)
		full = bpf_sk_fullsock(sk);
	if (full && is_agent(full)) {
		count(LINK_OUT_AGENT);
		return LINK_NEXT;
	}
	if (full && is_exempt(full)) {
		count(LINK_OUT_EXEMPT);
		return LINK_NEXT;
	}
	/* It was seen where it came in, if that is the link of a container. */
	if (!sk && (lossy || skb->ingress_ifindex)) {
		count(LINK_OUT_FORWARDED);
		return LINK_NEXT;
	}
	if (full ? is_kernel_reply(full, p) : is_socketless_reply(skb, p)) {
		count(LINK_OUT_KERNEL_REPLY);
		return LINK_NEXT;
	}
	return drop_on_link(skb, p, LINK_OUT_DROPPED, packet_fault(p));
}

SEC("tc")
int redirect_link_out(struct __sk_buff *skb)
{
	struct packet p = {};
	enum frame frame = read_ethernet(skb, &p);

	return leave(skb, &p, frame, false);
}

SEC("tc")
int redirect_link_out_bare(struct __sk_buff *skb)
{
	struct packet p = {};
	enum frame frame = read_bare(skb, &p);

	return leave(skb, &p, frame, false);
}

SEC("tc")
int redirect_link_out_port(struct __sk_buff *skb)
{
	struct packet p = {};
	enum frame frame = read_ethernet(skb, &p);

	return leave(skb, &p, frame, true);
}

#endif
