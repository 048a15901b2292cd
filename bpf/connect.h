/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hooks on the socket calls: connect, sendmsg, bind, getpeername. */
#ifndef SLUICE_CONNECT_H
#define SLUICE_CONNECT_H

/* The caller sees ECONNREFUSED; before Linux 5.18, EPERM. */
static __always_inline int refuse_connect(enum counter why)
{
	count(why);
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
		bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

/* A cgroup may ask so often and no more: whoever makes namespaces by the
 * thousand must not fill the map that everybody's are in. */
static __always_inline bool may_ask(__u64 now)
{
	__u64 cgroup_id = bpf_get_current_cgroup_id();
	struct enrolment_rate first = {.since_ns = now, .asked = 1};
	struct enrolment_rate *rate = bpf_map_lookup_elem(&enrolment_rates, &cgroup_id);

	if (!rate)
		return !bpf_map_update_elem(&enrolment_rates, &cgroup_id, &first, BPF_ANY);
	if (now - rate->since_ns > ENROLMENTS_INTERVAL_NS) {
		rate->since_ns = now;
		rate->asked = 0;
	}
	return __sync_fetch_and_add(&rate->asked, 1) < ENROLMENTS_PER_CGROUP;
}

/* Returns false when the agent could not be asked. */
static __always_inline bool ask_to_enrol(__u64 cookie, struct netns *known, __u64 now)
{
	struct netns fresh = {.asked_ns = now};
	struct enrolment *event;
	__u64 thread;

	event = bpf_ringbuf_reserve(&enrolments, sizeof(*event), 0);
	if (!event)
		return false;
	if (known) {
		known->asked_ns = now;
	} else if (bpf_map_update_elem(&namespaces, &cookie, &fresh, BPF_NOEXIST) &&
		   !bpf_map_lookup_elem(&namespaces, &cookie)) {
		bpf_ringbuf_discard(event, 0);
		return false;
	}
	thread = bpf_get_current_pid_tgid();
	event->netns_cookie = cookie;
	event->pid = thread >> 32;
	event->tid = (__u32)thread;
	bpf_ringbuf_submit(event, 0);
	return true;
}

/* What the thread that connects and its ancestors executed goes with what it asks
 * for: without it an AI agent would pass for anybody. */
static __always_inline bool remember_lineage(struct bpf_sock *sk, struct task_struct *task)
{
	struct lineage *lineage = lineage_of(task), *stored;
	__u32 kept = LINEAGES_KEPT;

	bpf_sk_storage_delete(&asked_lineages, sk); /* the socket may have asked before */
	if (!lineage)
		return !bpf_map_lookup_elem(&lineages, &kept);
	stored = bpf_sk_storage_get(&asked_lineages, sk, lineage, BPF_SK_STORAGE_GET_F_CREATE);
	if (!stored)
		return false;
	if (stored->exec_id != task->self_exec_id)
		stored->whole = 0;
	return true;
}

/* Writes who asks for what onto the client's socket. */
static __always_inline bool remember(struct bpf_sock_addr *ctx, struct origin *origin)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct origin *stored;

	origin->process_start_ns = task->group_leader->start_boottime;
	origin->cgroup_id = bpf_get_current_cgroup_id();
	origin->pid = bpf_get_current_pid_tgid() >> 32;
	origin->uid = (__u32)bpf_get_current_uid_gid();
	stored = bpf_sk_storage_get(&asked, ctx->sk, origin, BPF_SK_STORAGE_GET_F_CREATE);
	if (!stored)
		return false;
	*stored = *origin; /* the socket may have asked for another before */
	return remember_lineage(ctx->sk, task);
}

/* Only who connects counts, not who made the socket. */
static __always_inline bool is_exempt_cgroup(void)
{
	__u64 cgroup_id = bpf_get_current_cgroup_id();

	return bpf_map_lookup_elem(&exempt_cgroups, &cgroup_id) != NULL;
}

/* Lets a socket through to a protected destination, but not unrecorded: what
 * the agent has not read yet waits, and when there is no room, this is refused. */
static __always_inline int exempt(struct bpf_sock *sk, struct origin *origin)
{
	struct exemption *event;
	__u8 yes = 1;

	if (!bpf_sk_storage_get(&exempt_sockets, sk, &yes, BPF_SK_STORAGE_GET_F_CREATE))
		return refuse_connect(CONNECT_REFUSED_NO_ROOM);
	event = bpf_ringbuf_reserve(&exemptions, sizeof(*event), 0);
	if (!event)
		return refuse_connect(CONNECT_REFUSED_NO_ROOM);
	event->destination = origin->destination;
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->netns_cookie = origin->netns_cookie;
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->port = origin->port;
	event->zero = 0;
	bpf_ringbuf_submit(event, 0);
	count(CONNECT_EXEMPT);
	return PASS;
}

/* A socket may have gone to a protected destination before, with or without
 * the agent. */
static __always_inline void forget_history(struct bpf_sock *sk)
{
	if (bpf_sk_storage_get(&asked, sk, NULL, 0)) {
		bpf_sk_storage_delete(&asked, sk);
		bpf_sk_storage_delete(&asked_lineages, sk);
	}
	if (bpf_sk_storage_get(&exempt_sockets, sk, NULL, 0))
		bpf_sk_storage_delete(&exempt_sockets, sk);
}

/*
 * Decides on a connect. PASS with redirect set means: the caller rewrites the
 * destination to the listener.
 */
static __always_inline int connect(struct bpf_sock_addr *ctx, struct address *destination,
				   __u16 *redirect_port)
{
	struct origin origin = {.port = ctx->user_port};
	struct control *control = agent();
	struct bpf_sock *sk = ctx->sk;
	struct netns *netns;
	__u32 wanted;

	if (!control)
		return refuse_connect(CONNECT_REFUSED_NO_AGENT);
	if (is_listeners_end(sk))
		return refuse_connect(CONNECT_REFUSED_LISTENER);
	address_resolve_any(destination);
	forget_history(sk);
	if (!endpoint_is_protected(destination, origin.port)) {
		if (origin.port == control->listener_port && ctx->type == SOCK_STREAM &&
		    address_is_loopback(destination) && !is_agent(sk))
			return refuse_connect(CONNECT_REFUSED_LISTENER);
		count(CONNECT_UNPROTECTED);
		return PASS;
	}
	if (is_agent(sk)) {
		count(CONNECT_AGENT);
		return PASS;
	}
	if (ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP) {
		count(CONNECT_REFUSED_PROTOCOL);
		return REFUSE;
	}
	origin.destination = *destination;
	origin.netns_cookie = bpf_get_netns_cookie(ctx);
	if (is_exempt_cgroup())
		return exempt(sk, &origin);

	/* It could not reach loopback, and would wait for minutes to find out. */
	if (sk->bound_dev_if > LOOPBACK_IFINDEX)
		return refuse_connect(CONNECT_REFUSED_DEVICE);

	origin.via_v6 = !address_is_v4(destination);
	wanted = origin.via_v6 ? NETNS_LISTENS_V6 : NETNS_LISTENS_V4;
	netns = bpf_map_lookup_elem(&namespaces, &origin.netns_cookie);
	if (!netns || !(netns->state & wanted)) {
		__u64 now = bpf_ktime_get_ns();

		if (!is_alive(control, now))
			return refuse_connect(CONNECT_REFUSED_NO_AGENT);
		if (netns && netns->state & NETNS_ENROLLED)
			return refuse_connect(CONNECT_REFUSED_NO_LISTENER);
		if (!netns || now - netns->asked_ns >= ENROLMENT_RETRY_NS) {
			if (!may_ask(now))
				return refuse_connect(CONNECT_REFUSED_QUOTA);
			if (!ask_to_enrol(origin.netns_cookie, netns, now))
				return refuse_connect(CONNECT_REFUSED_NO_ROOM);
		}
		count(CONNECT_HELD);
	}
	if (!remember(ctx, &origin))
		return refuse_connect(CONNECT_REFUSED_NO_ROOM);
	count(CONNECT_REDIRECTED);
	*redirect_port = control->listener_port;
	return PASS;
}

SEC("cgroup/connect4")
int redirect_connect4(struct bpf_sock_addr *ctx)
{
	struct address destination = address_from_v4(ctx->user_ip4);
	__u16 redirect_port = 0;
	int verdict = connect(ctx, &destination, &redirect_port);

	if (redirect_port) {
		ctx->user_ip4 = IPV4_LOOPBACK;
		ctx->user_port = redirect_port;
	}
	return verdict;
}

SEC("cgroup/connect6")
int redirect_connect6(struct bpf_sock_addr *ctx)
{
	struct address destination = {.word = {ctx->user_ip6[0], ctx->user_ip6[1],
					       ctx->user_ip6[2], ctx->user_ip6[3]}};
	__u16 redirect_port = 0;
	int verdict = connect(ctx, &destination, &redirect_port);

	if (redirect_port) {
		bool v4 = address_is_v4(&destination);

		ctx->user_ip6[0] = 0;
		ctx->user_ip6[1] = 0;
		ctx->user_ip6[2] = v4 ? IPV4_MAPPED : 0;
		ctx->user_ip6[3] = v4 ? IPV4_LOOPBACK : IPV6_LOOPBACK_WORD;
		ctx->user_port = redirect_port;
	}
	return verdict;
}

/* Datagrams have no listener to go to: a protected destination gets none. */
static __always_inline int sendmsg(struct bpf_sock_addr *ctx, struct address *destination)
{
	address_resolve_any(destination);
	if (!endpoint_is_protected(destination, ctx->user_port) || is_agent(ctx->sk))
		return PASS;
	count(SENDMSG_REFUSED);
	return REFUSE;
}

SEC("cgroup/sendmsg4")
int redirect_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct address destination = address_from_v4(ctx->user_ip4);

	return sendmsg(ctx, &destination);
}

SEC("cgroup/sendmsg6")
int redirect_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct address destination = {.word = {ctx->user_ip6[0], ctx->user_ip6[1],
					       ctx->user_ip6[2], ctx->user_ip6[3]}};

	return sendmsg(ctx, &destination);
}

/* Whoever had the listener's port would receive redirected connections. */
static __always_inline int bind(struct bpf_sock_addr *ctx)
{
	struct control *control = agent();

	if (!control || ctx->type != SOCK_STREAM || (__u16)ctx->user_port != control->listener_port)
		return PASS;
	if (is_agent(ctx->sk))
		return PASS;
	count(BIND_REFUSED);
	return REFUSE;
}

SEC("cgroup/bind4")
int redirect_bind4(struct bpf_sock_addr *ctx)
{
	return bind(ctx);
}

/* Without this one, [::] and ::ffff:127.0.0.1 would be open to anybody. */
SEC("cgroup/bind6")
int redirect_bind6(struct bpf_sock_addr *ctx)
{
	return bind(ctx);
}

/* What this socket asked for, if its peer is our listener. */
static __always_inline struct origin *asked_peer(struct bpf_sock_addr *ctx, struct address *peer)
{
	struct control *control = agent();

	if (!control || (__u16)ctx->user_port != control->listener_port || !address_is_loopback(peer))
		return NULL;
	return bpf_sk_storage_get(&asked, ctx->sk, NULL, 0);
}

SEC("cgroup/getpeername4")
int redirect_getpeername4(struct bpf_sock_addr *ctx)
{
	struct address peer = address_from_v4(ctx->user_ip4);
	struct origin *origin = asked_peer(ctx, &peer);

	if (origin) {
		ctx->user_ip4 = origin->destination.word[3];
		ctx->user_port = origin->port;
		count(PEERNAME_RESTORED);
	}
	return PASS;
}

SEC("cgroup/getpeername6")
int redirect_getpeername6(struct bpf_sock_addr *ctx)
{
	struct address peer = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2],
					ctx->user_ip6[3]}};
	struct origin *origin = asked_peer(ctx, &peer);

	if (origin) {
		ctx->user_ip6[0] = origin->destination.word[0];
		ctx->user_ip6[1] = origin->destination.word[1];
		ctx->user_ip6[2] = origin->destination.word[2];
		ctx->user_ip6[3] = origin->destination.word[3];
		ctx->user_port = origin->port;
		count(PEERNAME_RESTORED);
	}
	return PASS;
}

#endif
