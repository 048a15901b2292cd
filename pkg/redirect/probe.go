package redirect

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Feature is one thing that interception needs from this machine.
type Feature struct {
	Name     string
	Required bool   // without it Open fails
	OK       bool   // false also where it could not be told
	Why      string // what is missing, or what its absence means
}

// Probe tries what Open will need and changes nothing. Kernel versions are not
// compared: distributions port features back.
func Probe(cgroup string) []Feature {
	probed := []Feature{
		feature("root of cgroup v2", probeRoot(cgroup)),
		feature("kernel BTF", probeBTF()),
		feature("initial pid namespace", probePIDs()),
	}
	for _, need := range programNeeds {
		probed = append(probed, feature(need.name, errors.Join(
			features.HaveProgramType(need.program), haveHelpers(need.program, need.helpers))))
	}
	for _, need := range mapNeeds {
		probed = append(probed, feature(need.String()+" maps", features.HaveMapType(need)))
	}
	probed = append(probed, feature("all programs load", probeLoad()))

	errno := feature("errno of a refused connect",
		features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnSetRetval))
	errno.Required = false
	if !errno.OK {
		errno.Why = "a refused connect fails with EPERM instead of ECONNREFUSED: " + errno.Why
	}
	lineages := feature("exec lineage", probeTracing())
	lineages.Required = false
	if !lineages.OK {
		lineages.Why = "sessions do not say what a process's ancestors executed: " + lineages.Why
	}
	v6 := feature("IPv6", probeIPv6())
	v6.Required = false
	named := feature("cgroups told apart", probeNames(cgroup))
	named.Required = false
	return append(probed, errno, lineages, v6, named)
}

var programNeeds = []struct {
	name    string
	program ebpf.ProgramType
	helpers []asm.BuiltinFunc
}{
	{"socket call hooks", ebpf.CGroupSockAddr, []asm.BuiltinFunc{
		asm.FnSkStorageGet, asm.FnGetNetnsCookie, asm.FnGetCurrentCgroupId, asm.FnGetCurrentTaskBtf,
	}},
	{"TCP hooks", ebpf.SockOps, []asm.BuiltinFunc{asm.FnSkStorageGet, asm.FnGetNetnsCookie}},
	{"egress hook", ebpf.CGroupSKB, []asm.BuiltinFunc{asm.FnSkStorageGet, asm.FnSkbCgroupId}},
}

var mapNeeds = []ebpf.MapType{ebpf.SkStorage, ebpf.LPMTrie, ebpf.RingBuf}

func feature(name string, err error) Feature {
	f := Feature{Name: name, Required: true, OK: err == nil}
	if err != nil {
		f.Why = err.Error()
	}
	return f
}

func haveHelpers(program ebpf.ProgramType, helpers []asm.BuiltinFunc) error {
	var errs []error
	for _, helper := range helpers {
		if err := features.HaveProgramHelper(program, helper); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", helper, err))
		}
	}
	return errors.Join(errs...)
}

func probeRoot(cgroup string) error {
	root, err := openCgroupRoot(cgroup)
	if err != nil {
		return err
	}
	return root.Close()
}

// probeNames fails where only cgroup v1 names the processes of this host.
func probeNames(cgroup string) error {
	if cgroup == "" {
		found, err := findMount("cgroup2", "")
		if err != nil {
			return err
		}
		if found == "" {
			return errors.New("degraded: cgroup v1 only. A process that has ended before it is looked at stays unnamed, nobody can be exempt, " +
				"and alerts of packets name no container; mount cgroup v2 beside v1 for these")
		}
	}
	return nil
}

func probeBTF() error {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return err
}

// initialPIDNamespace is PROC_PID_INIT_INO of include/linux/proc_ns.h.
const initialPIDNamespace = "pid:[4026531836]"

// probePIDs fails where the pids that the kernel records mean nothing in /proc.
func probePIDs() error {
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return err
	}
	if ns != initialPIDNamespace {
		return errors.New("the agent must share the host's pid namespace")
	}
	return nil
}

// probeLoad runs the kernel's verifier over every program.
func probeLoad() error {
	var objects redirectObjects
	if err := loadRedirectObjects(&objects, nil); err != nil {
		return err
	}
	return objects.Close()
}

// probeTracing loads and attaches what records lineages, for a moment.
func probeTracing() error {
	spec, err := loadLineage()
	if err != nil {
		return err
	}
	lineages, err := ebpf.NewMap(spec.Maps[lineageMapLineages])
	if err != nil {
		return err
	}
	defer func() { _ = lineages.Close() }() // it was only tried
	t, err := newTracing(lineages)
	if err != nil {
		return err
	}
	return errors.Join(t.attachEach(func(link.Link, string) error { return nil }), t.close())
}

func probeIPv6() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
