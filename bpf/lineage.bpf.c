// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a task and its ancestors executed, known since they did it: a parent may
 * be gone, the environment cleared and the program overwritten by the time that
 * somebody asks. Each task has its own copy, so that no other can push it out.
 *
 * An object of its own: a kernel that cannot load it guards all the same.
 * README.md says what each hook does and counts.
 */
#include "headers/kernel.h"

#include <bpf/bpf_helpers.h>

#include "lineage.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NAME_KEPT 32 /* of a program's name, its final zero included */
#define COMM_KEPT 16 /* TASK_COMM_LEN: one that is shortened to it is nobody's */
#define PATH_MAX 4096

enum lineage_counter {
	LINEAGE_BEGUN,     /* chains whose beginning was not seen */
	LINEAGE_GAP,       /* an execve before this one was not seen */
	LINEAGE_NO_ROOM,   /* no memory for a task's lineage */
	LINEAGE_COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LINEAGE_COUNTERS);
	__type(key, enum lineage_counter);
	__type(value, __u64);
} lineage_counters SEC(".maps");

/* Of a task that nothing is known of. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lineage);
} nothing SEC(".maps");

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

/* What a tracepoint passes, in the order of TP_PROTO. */
struct newtask {
	struct task_struct *child;
	__u64 clone_flags;
};

struct exec {
	struct task_struct *task;
	__u64 old_pid; /* the thread's before execve made it its process's first */
	struct linux_binprm *bprm;
};

struct exit {
	struct task_struct *task;
};

/* Gives a task a copy of a lineage. */
static __always_inline struct lineage *give(struct task_struct *task, struct lineage *what)
{
	__u32 id = task->pid;
	struct lineage *lineage;

	if (bpf_map_update_elem(&lineages, &id, what, BPF_ANY)) {
		bpf_map_delete_elem(&lineages, &id); /* nothing, rather than another's */
		return NULL;
	}
	lineage = bpf_map_lookup_elem(&lineages, &id);
	if (lineage)
		lineage->started_ns = task->start_boottime;
	return lineage;
}

/* A child, a thread and a worker of io_uring begin with what their maker has.
 * They do not run yet. */
SEC("tp_btf/task_newtask")
int lineage_fork(struct newtask *ctx)
{
	struct lineage *lineage = lineage_of(bpf_get_current_task_btf());
	__u32 id = ctx->child->pid;

	if (!lineage)
		bpf_map_delete_elem(&lineages, &id); /* of one that had this id before */
	else if (!give(ctx->child, lineage))
		count(LINEAGE_NO_ROOM);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int lineage_exit(struct exit *ctx)
{
	__u32 id = ctx->task->pid;

	bpf_map_delete_elem(&lineages, &id);
	return 0;
}

/* The lineage of a task that has none: what its parent has, or nothing, and in
 * either case it may be more. */
static __always_inline struct lineage *begin(struct task_struct *task)
{
	struct task_struct *parent = task->real_parent;
	struct lineage *known = lineage_at(parent->tgid, parent->group_leader->start_boottime), *lineage;
	__u32 key = 0;

	if (!known)
		known = bpf_map_lookup_elem(&nothing, &key);
	if (!known)
		return NULL;
	lineage = give(task, known);
	if (!lineage)
		return NULL;
	lineage->whole = 0;
	lineage->seeded = 1;
	count(LINEAGE_BEGUN);
	return lineage;
}

/* What the task had before execve, which may have given it another id. */
static __always_inline struct lineage *before_exec(struct task_struct *task, __u32 old_id)
{
	struct lineage *lineage = bpf_map_lookup_elem(&lineages, &old_id);
	__u32 id = task->pid;

	if (!lineage)
		return bpf_map_lookup_elem(&lineages, &id); /* the other agent has moved it */
	if (old_id == id)
		return lineage;
	lineage = give(task, lineage);
	bpf_map_delete_elem(&lineages, &old_id);
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
	struct lineage *lineage = before_exec(task, ctx->old_pid);
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
