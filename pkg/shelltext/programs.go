package shelltext

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// command notes a simple command, and reads on in one that runs another.
func (r *reading) command(words []string, depth int) {
	if words[0] == "" || depth > maxNested {
		r.doubt()
		return
	}
	r.add(words[0], words[1:]...)
	name, args := path.Base(words[0]), words[1:]
	switch {
	case isShell[name]:
		r.shell(args, depth)
	case wrappers[name].known:
		r.wrapped(wrappers[name], args, depth)
	case name == "exec", name == "command", name == "builtin":
		r.builtin(name, args, depth)
	case isScripted(name):
		if len(args) == 0 || strings.HasPrefix(args[0], "-") && !slices.Equal(args, []string{"--version"}) {
			r.doubt()
		}
	case refusedWith[name] != nil:
		if refusedWith[name](args) {
			r.doubt()
		}
	case isOpaque[name], versioned.MatchString(name):
		r.doubt()
	}
}

func set(names string) map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		all[name] = true
	}
	return all
}

// isShell are those whose -c is read like the line itself.
var isShell = set("sh bash dash ash ksh mksh zsh rbash")

// isOpaque are programs and builtins that run what their arguments or their
// input say, or that change what later words mean.
var isOpaque = set(`eval source . alias unalias trap hash enable shopt function select coproc repeat foreach noglob nocorrect
autoload zmodload zcompile bind complete compgen fc history readarray mapfile read getopts unset let [[ (( emulate whence
xargs parallel awk gawk mawk nawk original-awk ed ex vi vim view nvim emacs nano expect fish csh tcsh pwsh busybox toybox
su runuser sg newgrp setpriv capsh chroot unshare nsenter systemd-run machinectl script scriptreplay watch flock strace
ltrace gdb gdbserver lldb perf valgrind proot fakeroot entr ssh slogin dbclient plink mosh sshpass ssh-agent autossh at
batch crontab incrontab socat nc ncat netcat m4 make gmake cmake ninja start-stop-daemon daemonize tmux screen dtach
pkexec run-parts run-one trickle cpulimit taskset numactl chrt choom prlimit setarch linux32 linux64 i386 unbuffer rlwrap
multitime hyperfine time-admin gosu su-exec tini dumb-init catchsegv ld.so ld-linux.so.2 ld-linux-x86-64.so.2
ld-linux-aarch64.so.1 rc dc bc mail mailx mutt man less more pager most
- eatmydata firejail bwrap xvfb-run dbus-run-session dbus-launch systemd-inhibit systemd-cat systemd-nspawn schroot fakechroot
torify torsocks tsocks proxychains proxychains4 chronic ifne cgexec aa-exec runcon chpst setuidgid envuidgid envdir softlimit
setlock faketime annotate-output mosh-server xterm uxterm urxvt npx uvx bunx run-mailcap gnuplot julia osascript octave
yash posh rksh pdksh lksh elvish nu xonsh rvim gvim emacsclient`)

// versioned are shells by the names of one version.
var versioned = regexp.MustCompile(`^(r?bash|m?ksh|zsh|dash)[-0-9.]+$`)

// isScripted reports whether a program is an interpreter, for which a file is
// as good as any program, and anything else is code.
func isScripted(name string) bool {
	return scripted.MatchString(name)
}

var scripted = regexp.MustCompile(`^(python|pypy|perl|ruby|node|nodejs|php|lua|luajit|tclsh|wish|Rscript|guile|deno|bun|jrunscript|groovy)[0-9.]*$`)

// refusedWith are programs that run others by some of their arguments.
var refusedWith = map[string]func(args []string) bool{
	"find":   has("-exec", "-execdir", "-ok", "-okdir"),
	"fd":     has("-x", "-X", "--exec"),
	"test":   has("-v", "-R"), // bash evaluates a subscript
	"[":      has("-v", "-R"),
	"printf": has("-v"),
	"tar":    tarRuns,
	"gtar":   tarRuns,
	"bsdtar": tarRuns,
	"rsync":  rsyncRuns,
	"sed":    sedRuns,
	"gsed":   sedRuns,
	"git": has("-c", "--config-env", "--exec-path", "--upload-pack", "--receive-pack", "-x", "--exec", "foreach", "filter-branch", "bisect", "-u", "difftool", "mergetool",
		"-O", "--open-files-in-pager"),
	"docker":   has("exec", "run", "attach", "create", "compose", "build", "buildx"),
	"podman":   has("exec", "run", "attach", "create", "compose", "build", "unshare"),
	"nerdctl":  has("exec", "run", "attach", "create", "compose", "build"),
	"kubectl":  has("exec", "run", "attach", "debug", "cp"),
	"ip":       has("exec"),
	"scp":      has("-S", "-o", "-F", "-J"),
	"sort":     has("--compress-program"),
	"split":    has("--filter"),
	"npm":      has("exec", "x"),
	"pnpm":     has("exec", "dlx"),
	"yarn":     has("exec", "dlx"),
	"bundle":   has("exec"),
	"poetry":   has("run"),
	"pipenv":   has("run"),
	"pdm":      has("run"),
	"uv":       has("run"),
	"apt":      has("-o", "--option", "-c", "--config-file"),
	"apt-get":  has("-o", "--option", "-c", "--config-file"),
	"dpkg":     has("--pre-invoke", "--post-invoke"),
	"zip":      has("-TT", "--unzip-command"),
	"tcpdump":  has("-z"),
	"wget":     has("--use-askpass"),
	"psql":     escapes,
	"mysql":    escapes,
	"mariadb":  escapes,
	"sqlite3":  escapes,
	"export":   assigns,
	"readonly": assigns,
	"declare":  assigns,
	"typeset":  assigns,
	"local":    assigns,
	"set":      func(args []string) bool { return len(args) > 0 && strings.HasPrefix(args[0], "-o") },
	"wait":     has("-p"),
	"sftp":     func([]string) bool { return true },
}

// has reports whether one of the arguments is, or begins with, one of the
// words. A long option may be shortened.
func has(words ...string) func(args []string) bool {
	return func(args []string) bool {
		return slices.ContainsFunc(args, func(arg string) bool {
			return slices.ContainsFunc(words, func(word string) bool {
				option, _, _ := strings.Cut(arg, "=")
				shortened := len(option) > 3 && strings.HasPrefix(option, "--") && strings.HasPrefix(word, option)
				single := len(word) == 2 && word[0] == '-' && strings.HasPrefix(arg, word)
				return option == word || shortened || single
			})
		})
	}
}

// escapes reports whether a database's client may be told to run a program: by a
// backslash, a dot or a word of its own.
func escapes(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		lower := strings.ToLower(arg)
		return strings.ContainsAny(arg, "\\\n") || strings.HasPrefix(arg, ".") && !strings.ContainsRune(arg, '/') ||
			strings.Contains(lower, "system") || strings.Contains(lower, "pager") || strings.Contains(lower, "edit(")
	})
}

// assigns reports whether a declaration gives a value to what could matter.
func assigns(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		return !Harmless(name)
	})
}

var tarOptions = has("--to-command", "--checkpoint-action", "--use-compress-program", "--rsh-command", "--rmt-command", "--info-script", "--new-volume-script")

func tarRuns(args []string) bool {
	for i, arg := range args {
		cluster := i == 0 || strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--")
		if cluster && strings.ContainsAny(arg, "IF") {
			return true
		}
	}
	return tarOptions(args)
}

var rsyncOptions = has("--rsh", "--rsync-path", "--daemon")

// rsyncRuns looks for a remote shell. A server's -e says what the client can.
func rsyncRuns(args []string) bool {
	if slices.Contains(args, "--server") {
		return rsyncOptions(args)
	}
	return rsyncOptions(args) || slices.ContainsFunc(args, func(arg string) bool {
		return strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && strings.Contains(arg, "e")
	})
}

// sedRuns reports whether sed's script may be more than one substitution, or
// lines to print or delete.
func sedRuns(args []string) bool {
	scripts := 0
	for _, arg := range args {
		switch {
		case arg == "-n" || arg == "-i" || arg == "-E" || arg == "-r" || arg == "-e" || arg == "--":
		case strings.HasPrefix(arg, "-"):
			return true
		case harmlessSed.MatchString(arg):
			scripts++
		case scripts == 0:
			return true
		}
	}
	return scripts == 0 || slices.Contains(args, "-e") && scripts < 1+strings.Count(strings.Join(args, "\x00")+"\x00", "\x00-e\x00")
}

var harmlessSed = regexp.MustCompile(`^(([0-9]+|\$)(,([0-9]+|\$))?)?([pdq]|s/([^/\\\n]|\\[^\n])*/([^/\\\n]|\\[^\n])*/[gpiI0-9]*|s\|([^|\\\n]|\\[^\n])*\|([^|\\\n]|\\[^\n])*\|[gpiI0-9]*)$`)
