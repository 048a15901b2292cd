// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a task and its ancestors executed, known since they did it: a parent may
 * be gone, the environment cleared and the program overwritten by the time that
 * somebody asks. Each task holds its own copy, so that no other can push it out.
 *
 * An object of its own: a kernel that cannot load it guards all the same.
 * README.md says what each hook does and counts.
 */
#include "headers/kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "addr.h"
#include "asked.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NAME_KEPT 32 /* of a program's name, its final zero included */
#define COMM_KEPT 16 /* TASK_COMM_LEN: one that is shortened to it is nobody's */
#define PATH_MAX 4096

enum lineage_counter {
	LINEAGE_BEGUN,     /* chains whose beginning was not seen */
	LINEAGE_GAP,       /* an execve before this one was not seen */
	LINEAGE_NO_ROOM,   /* no memory for a task's lineage */
	LINEAGE_CONNECTED, /* lineages that went with a connect */
	LINEAGE_UNKNOWN,   /* connects of tasks that have none */
	LINEAGE_REFUSED,   /* no memory for a socket's lineage: the connection is reset */
	LINEAGE_COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LINEAGE_COUNTERS);
	__type(key, enum lineage_counter);
	__type(value, __u64);
} lineage_counters SEC(".maps");

/* Ends with its task, and not before. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct lineage);
} lineages SEC(".maps");

/* The last component of a path, with zeros behind it. */
struct program_name {
	__u8 bytes[NAME_KEPT];
};

/* The known AI agents, counted from 1, by the names of their programs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct program_name);
	__type(value, __u8);
} agent_programs SEC(".maps");

/* Only measures paths. Tracepoints do not interrupt each other on a CPU. */
struct path_buffer {
	char bytes[PATH_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct path_buffer);
} path_buffers SEC(".maps");

static __always_inline void count(enum lineage_counter c)
{
	__u64 *n = bpf_map_lookup_elem(&lineage_counters, &c);

	if (n)
		(*n)++;
}

/* A thread of a process that was there before us has none of its own. */
static __always_inline struct lineage *lineage_of(struct task_struct *task)
{
	struct lineage *lineage = bpf_task_storage_get(&lineages, task, NULL, 0);

	return lineage ? lineage : bpf_task_storage_get(&lineages, task->group_leader, NULL, 0);
}

/* What a tracepoint passes, in the order of TP_PROTO. */
struct newtask {
	struct task_struct *child;
	__u64 clone_flags;
};

struct exec {
	struct task_struct *task;
	__u64 old_pid;
	struct linux_binprm *bprm;
};

struct state_change {
	struct sock *sk;
	__u64 from, to;
};

/* A child, a thread and a worker of io_uring begin with what their maker has.
 * They do not run yet, and are in their cgroup already. */
SEC("tp_btf/task_newtask")
int lineage_fork(struct newtask *ctx)
{
	struct lineage *lineage = lineage_of(bpf_get_current_task_btf());

	if (lineage && !bpf_task_storage_get(&lineages, ctx->child, lineage, BPF_LOCAL_STORAGE_GET_F_CREATE))
		count(LINEAGE_NO_ROOM);
	return 0;
}

/* The lineage of a task that has none: what its parent has, or nothing, and in
 * either case it may be more. */
static __always_inline struct lineage *begin(struct task_struct *task)
{
	struct lineage *known = lineage_of(task), *lineage;

	if (!known)
		known = bpf_task_storage_get(&lineages, task->real_parent, NULL, 0);
	lineage = bpf_task_storage_get(&lineages, task, known, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!lineage)
		return NULL;
	lineage->whole = 0;
	lineage->seeded = 1;
	count(LINEAGE_BEGUN);
	return lineage;
}

/* Has the task left the cgroup, and what is below it, in which its chain began?
 * It has where that is not known. All cgroups are below the root. */
static __always_inline bool has_left(struct lineage *lineage)
{
	if (lineage->cgroup_level == 0)
		return bpf_get_current_cgroup_id() != lineage->cgroup_id;
	return bpf_get_current_ancestor_cgroup_id(lineage->cgroup_level) != lineage->cgroup_id;
}

static __always_inline __u8 agent_called(struct program_name *name)
{
	__u8 *agent = bpf_map_lookup_elem(&agent_programs, name);

	return agent ? *agent : 0;
}

/* The known AI agent that the program is called like: by the last component of
 * what execve was given, which the kernel has just made the task's name, and by
 * the name of the file, so that neither a link nor a descriptor hides it. */
static __always_inline __u8 agent_of(struct linux_binprm *bprm)
{
	struct program_name given = {}, file = {};
	__u8 agent;

	if (bpf_get_current_comm(&given, COMM_KEPT))
		return 0;
	agent = agent_called(&given);
	if (agent || bpf_probe_read_kernel_str(&file, sizeof(file), bprm->file->f_path.dentry->d_name.name) < 0)
		return agent;
	return agent_called(&file);
}

static __always_inline __u64 path_length(const char *path)
{
	__u32 key = 0;
	struct path_buffer *buffer = bpf_map_lookup_elem(&path_buffers, &key);
	long length;

	if (!buffer)
		return 0;
	length = bpf_probe_read_kernel_str(buffer, sizeof(*buffer), path);
	return length > 0 ? length - 1 : 0;
}

static __always_inline void append(struct lineage *lineage, const char *path, __u64 length, __u8 agent)
{
	__u64 at = lineage->executed, from = 0;
	struct program *program;

	if (at >= PROGRAMS_FIRST)
		at = PROGRAMS_FIRST + (at - PROGRAMS_FIRST) % PROGRAMS_LAST;
	asm volatile("" : "+r"(at)); /* the verifier does not know what a remainder is */
	if (at >= PROGRAMS)
		return;
	program = &lineage->programs[at];
	__builtin_memset(program, 0, sizeof(*program));
	program->length = length;
	program->agent = agent;
	if (length > PATH_KEPT)
		from = length - PATH_KEPT;
	bpf_probe_read_kernel_str(program->path, sizeof(program->path), path + from); /* or it stays empty */
	lineage->executed++;
}

/* Runs when nothing can stop the program any more, on the task that runs it. */
SEC("tp_btf/sched_process_exec")
int lineage_exec(struct exec *ctx)
{
	struct linux_binprm *bprm = ctx->bprm;
	struct task_struct *task = ctx->task;
	struct lineage *lineage = bpf_task_storage_get(&lineages, task, NULL, 0);
	__u64 exec_id = task->self_exec_id, length;
	bool begun = !lineage;
	__u8 agent, whole;

	if (begun)
		lineage = begin(task);
	if (!lineage) {
		count(LINEAGE_NO_ROOM);
		return 0;
	}
	length = path_length(bprm->filename);
	agent = agent_of(bprm);
	if (agent) {
		lineage->agents |= 1ULL << ((agent - 1) & 63);
		lineage->agent = agent;
	}
	if (!lineage->seeded && lineage->exec_id == exec_id)
		return 0; /* while one agent takes over from another, both record */

	whole = lineage->whole;
	if (has_left(lineage)) {
		whole = !begun && lineage->cgroup_id;
		lineage->cgroup_id = bpf_get_current_cgroup_id();
		lineage->cgroup_level = task->cgroups->dfl_cgrp->level;
		lineage->executed = 0;
	}
	if (!lineage->seeded && lineage->exec_id + 1 != exec_id) {
		whole = 0;
		count(LINEAGE_GAP);
	}
	lineage->whole = whole;
	lineage->seeded = 0;
	lineage->exec_id = exec_id;
	append(lineage, bprm->filename, length, agent);
	return 0;
}

/* On the task that connects, between the connect hook, which wrote what it asks
 * for, and the SYN. */
SEC("tp_btf/inet_sock_set_state")
int lineage_connect(struct state_change *ctx)
{
	struct lineage *lineage, *stored;
	struct task_struct *task;
	struct sock *sk = ctx->sk;

	if ((int)ctx->to != TCP_SYN_SENT || !bpf_sk_storage_get(&asked, sk, NULL, 0))
		return 0;
	bpf_sk_storage_delete(&asked_lineages, sk); /* it may have connected before */
	task = bpf_get_current_task_btf();
	lineage = lineage_of(task);
	if (!lineage) {
		count(LINEAGE_UNKNOWN);
		return 0;
	}
	stored = bpf_sk_storage_get(&asked_lineages, sk, lineage, BPF_SK_STORAGE_GET_F_CREATE);
	if (!stored) {
		/* An AI agent would pass for anybody: without its record it is reset. */
		bpf_sk_storage_delete(&asked, sk);
		count(LINEAGE_REFUSED);
		return 0;
	}
	if (lineage->exec_id != task->self_exec_id)
		stored->whole = 0;
	count(LINEAGE_CONNECTED);
	return 0;
}
