/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The record's way from the client's socket to the accepted one. It leaves with
 * the SYN, keyed by namespace and 4-tuple, and arrives before accept can return
 * the socket: the kernel holds the new socket's lock until then.
 */
#ifndef SLUICE_PASSAGE_H
#define SLUICE_PASSAGE_H

static __always_inline __u16 remote_port(struct bpf_sock_ops *ops)
{
	return bpf_htons((__u16)bpf_ntohl(ops->remote_port));
}

/* Reads a field where it stands. Read in one of two branches, the compiler
 * would make the choice a computed context pointer, which the verifier rejects;
 * so the callers read all fields and choose among the values. */
#define READ(field) (*(volatile __u32 *)&(field))

/* For an IPv6 socket on a mapped address only the IPv4 fields are filled when
 * it connects, so the caller says which ones count. */
static __always_inline struct address local_address(struct bpf_sock_ops *ops, bool v6)
{
	struct address v4_form = address_from_v4(READ(ops->local_ip4));
	struct address v6_form = {.word = {READ(ops->local_ip6[0]), READ(ops->local_ip6[1]),
					   READ(ops->local_ip6[2]), READ(ops->local_ip6[3])}};

	return v6 ? v6_form : v4_form;
}

static __always_inline struct address remote_address(struct bpf_sock_ops *ops, bool v6)
{
	struct address v4_form = address_from_v4(READ(ops->remote_ip4));
	struct address v6_form = {.word = {READ(ops->remote_ip6[0]), READ(ops->remote_ip6[1]),
					   READ(ops->remote_ip6[2]), READ(ops->remote_ip6[3])}};

	return v6 ? v6_form : v4_form;
}

static __always_inline struct passage client_passage(struct bpf_sock_ops *ops, struct origin *origin)
{
	return (struct passage){
		.netns_cookie = origin->netns_cookie,
		.client = local_address(ops, origin->via_v6),
		.client_port = bpf_htons((__u16)ops->local_port),
		.listener_port = remote_port(ops),
	};
}

/* Forgets a passage and gives its place in the namespace's quota back. */
static __always_inline bool end_passage(struct passage *key)
{
	__s32 *n;

	bpf_map_delete_elem(&passage_lineages, key); /* most have one */
	if (bpf_map_delete_elem(&passages, key))
		return false;
	n = bpf_map_lookup_elem(&passage_counts, &key->netns_cookie);
	if (n)
		__sync_fetch_and_add(n, -1);
	return true;
}

static __always_inline bool begin_passage(struct passage *key, struct origin *origin,
					  struct lineage *lineage)
{
	__s32 none = 0, *n = bpf_map_lookup_elem(&passage_counts, &key->netns_cookie);

	if (!n) {
		bpf_map_update_elem(&passage_counts, &key->netns_cookie, &none, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&passage_counts, &key->netns_cookie);
	}
	if (!n || *n >= PASSAGES_PER_NETNS)
		return false;
	end_passage(key); /* of an earlier socket with this tuple */
	if (lineage && bpf_map_update_elem(&passage_lineages, key, lineage, BPF_ANY))
		return false;
	if (bpf_map_update_elem(&passages, key, origin, BPF_NOEXIST)) {
		bpf_map_delete_elem(&passage_lineages, key);
		return false;
	}
	__sync_fetch_and_add(n, 1);
	return true;
}

/* A record that is not published is missing at accept: refused, never passed.
 * So is one whose lineage finds no room: without it an AI agent would pass for
 * anybody. */
static __always_inline void publish(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct origin *origin = bpf_sk_storage_get(&asked, sk, NULL, 0);
	struct passage key;

	if (!origin)
		return;
	key = client_passage(ops, origin);
	if (!begin_passage(&key, origin, bpf_sk_storage_get(&asked_lineages, sk, NULL, 0))) {
		count(RECORD_NO_ROOM);
		return;
	}
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	count(RECORD_PUBLISHED);
}

/* A client that closes before it was accepted leaves nothing behind. */
static __always_inline void abandon(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct origin *origin = bpf_sk_storage_get(&asked, sk, NULL, 0);
	struct passage key;

	if (!origin)
		return;
	key = client_passage(ops, origin);
	if (end_passage(&key))
		count(RECORD_ABANDONED);
}

static __always_inline void arrive(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct control *control = agent();
	struct passage key = {.listener_port = bpf_htons((__u16)ops->local_port)};
	struct asker asker = {};
	struct address listener;
	struct lineage *lineage;
	struct origin *origin;
	__u8 yes = 1;
	bool v6;

	if (!control || key.listener_port != control->listener_port)
		return;
	v6 = ops->family == 10; /* AF_INET6 */
	listener = local_address(ops, v6);
	if (!address_is_loopback(&listener))
		return;
	key.netns_cookie = bpf_get_netns_cookie(ops);
	key.client = remote_address(ops, v6);
	key.client_port = remote_port(ops);
	origin = bpf_map_lookup_elem(&passages, &key);
	lineage = bpf_map_lookup_elem(&passage_lineages, &key);
	if (!origin ||
	    (lineage && !bpf_sk_storage_get(&accepted_lineages, sk, lineage, BPF_SK_STORAGE_GET_F_CREATE)) ||
	    !bpf_sk_storage_get(&accepted, sk, origin, BPF_SK_STORAGE_GET_F_CREATE)) {
		count(RECORD_MISSING);
		return;
	}
	asker.process_start_ns = origin->process_start_ns;
	asker.pid = origin->pid;
	bpf_map_update_elem(&askers, &asker, &yes, BPF_ANY);
	end_passage(&key);
	count(RECORD_MOVED);
}

/* Has the agent still to answer for this socket's namespace? Once it has said
 * that there is no listener, or died, or left, the SYN may go: nobody listens
 * where it goes, and the client is refused at once. */
static __always_inline bool awaits_agent(struct origin *origin)
{
	__u64 cookie = origin->netns_cookie;
	struct netns *netns = bpf_map_lookup_elem(&namespaces, &cookie);
	struct control *control = agent();

	return netns && netns->state == 0 && control && is_alive(control, bpf_ktime_get_ns());
}

/* A held SYN is sent again after one jiffy instead of a second, and then twice
 * as late each time: about four seconds of tries at 250 Hz, one at 1000 Hz. */
static __always_inline void hurry(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct origin *origin = bpf_sk_storage_get(&asked, sk, NULL, 0);
	int tries = 9;

	if (!origin || !awaits_agent(origin))
		return;
	ops->reply = 1;
	if (bpf_setsockopt(ops, IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof(tries)))
		count(HOLD_SHORT);
}

SEC("sockops")
int redirect_sockops(struct bpf_sock_ops *ops)
{
	__u32 op = ops->op;
	struct bpf_sock *sk;

	/* Half of the calls are about what we have nothing to say to. */
	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_TIMEOUT_INIT &&
	    op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_STATE_CB)
		return PASS;
	sk = ops->sk;
	if (!sk)
		return PASS;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		publish(ops, sk);
	else if (op == BPF_SOCK_OPS_TIMEOUT_INIT)
		hurry(ops, sk);
	else if (op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		arrive(ops, sk);
	else if (ops->args[1] == TCP_CLOSE)
		abandon(ops, sk);
	return PASS;
}

#endif
