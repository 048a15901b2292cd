package shelltext

import (
	_ "embed"
	"os/exec"
	"strings"
	"testing"
)

// show writes commands as words in angle brackets.
func show(line string) (text string, certain bool) {
	commands, certain := Read(line)
	var lines []string
	for _, c := range commands {
		lines = append(lines, "<"+strings.Join(append([]string{c.Program}, c.Args...), "><")+">")
	}
	return strings.Join(lines, " "), certain
}

func TestCommandLinesThatAreCertain(t *testing.T) {
	for line, want := range map[string]string{
		"uptime":                                "<uptime>",
		"/bin/rm -rf /srv":                      "</bin/rm><-rf></srv>",
		`"rm" -'r'f "/s"r\v`:                    "<rm><-rf></srv>",
		`\rm -r\f /srv`:                         "<rm><-rf></srv>",
		"r\\\nm x":                              "<rm><x>",
		`echo "a \$b \"c\" \d" 'e $f'`:          `<echo><a $b "c" \d><e $f>`,
		"true; ls && cat a || id | wc -l &":     "<true> <ls> <cat><a> <id> <wc><-l>",
		"(cd /srv; rm a)\n{ id; }":              "<cd></srv> <rm><a> <id>",
		"if [ ! -f a ]; then rm b; else ls; fi": "<[><!><-f><a><]> <rm><b> <ls>",
		"while true; do ls; done":               "<true> <ls>",
		"cat <a >b 2>>c 2>&1 >/dev/null":        "<<><a> <>><b> <>><c> <cat>",
		"> /etc/passwd":                         "<>></etc/passwd>",
		"LANG=C LC_ALL=C sort a":                "<sort><a>",
		"cat <<'E'\n$x `y`\nE":                  "<cat>",
		"sh -c 'rm -r a; id'":                   "<sh><-c><rm -r a; id> <rm><-r><a> <id>",
		`bash -lc "sh -c 'rm a'"`:               `<bash><-lc><sh -c 'rm a'> <sh><-c><rm a> <rm><a>`,
		"sudo -n -u app -- rm -r a":             "<sudo><-n><-u><app><--><rm><-r><a> <rm><-r><a>",
		"sudo -uroot LANG=C rm a":               "<sudo><-uroot><LANG=C><rm><a> <rm><a>",
		"env -i LC_ALL=C nice -n 5 rm a":        "<env><-i><LC_ALL=C><nice><-n><5><rm><a> <nice><-n><5><rm><a> <rm><a>",
		"timeout -k 5 10s nohup rm a":           "<timeout><-k><5><10s><nohup><rm><a> <nohup><rm><a> <rm><a>",
		"time rm a":                             "<time><rm><a> <rm><a>",
		"command -v git":                        "<command><-v><git>",
		"exec rm a":                             "<exec><rm><a> <rm><a>",
		"python3 deploy.py --now":               "<python3><deploy.py><--now>",
		"bash deploy.sh -c":                     "<bash><deploy.sh><-c>",
		"sed -i 's/a/b/g' f":                    "<sed><-i><s/a/b/g><f>",
		"sed -n '5,10p' f":                      "<sed><-n><5,10p><f>",
		"rsync --server -vlogDtpre.iLsfxC . /x": "<rsync><--server><-vlogDtpre.iLsfxC><.></x>",
		"scp -t -- /srv/x":                      "<scp><-t><--></srv/x>",
		"git-upload-pack '/shop.git'":           "<git-upload-pack></shop.git>",
		"git receive-pack '/shop.git'":          "<git><receive-pack></shop.git>",
		"tar -xzf a.tgz -C /srv":                "<tar><-xzf><a.tgz><-C></srv>",
		"find /srv -name x -delete":             "<find></srv><-name><x><-delete>",
		"ls # rm -rf x":                         "<ls>",
		"echo 'ä ö'":                            "<echo><ä ö>",
	} {
		if got, certain := show(line); !certain || got != want {
			t.Errorf("%q: got %s, certain %v; want %s", line, got, certain, want)
		}
	}
}

// evasions run what their text does not plainly say, in some usual shell. They
// are only ever parsed. Each is between lines of "%%".
//
//go:embed testdata/evasions
var evasions string

func TestCommandLinesThatAreNot(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(evasions, "\n"), "\n%%\n")
	if len(lines) < 150 {
		t.Errorf("only %d lines", len(lines))
	}
	lines = append(lines, "", " ", "\n", "rm\x00-rf", "rm\r-rf x", "ls\r\nrm x", "rm\x0b-rf", "rm\u00a0-rf x", "rm \xff", "ls \x7f",
		strings.Repeat("(", 40<<10), strings.Repeat("(", 8<<10), strings.Repeat("sh -c ", 20)+"id", strings.Repeat("nohup ", 20)+"id", strings.Repeat("a", maxLine+1))
	for _, line := range lines {
		if got, certain := show(line); certain {
			t.Errorf("%.200q is certain: %s", line, got)
		}
	}
}

// A line that is certain is read by real shells as it was read here.
func TestShellsReadWhatIsCertainTheSame(t *testing.T) {
	for _, shell := range []string{"/bin/bash", "/bin/dash"} {
		for _, line := range []string{
			`p "a \$b \"c\" \d" 'e $f' \x\ y a\\b`, `"p" -'r'f "/s"r\v`, "p a\\\nb", "p 'a\nb' \"c\\\nd\"",
			`p "a'b" 'c"d' "" ''`, "p 'ä' \"ö\"", `p a=b @x %y ,z`, `p \\ \' \" \$ \* "\\" "\x"`, `p [ ] !`,
		} {
			commands, certain := Read(line)
			if !certain || len(commands) != 1 {
				t.Errorf("%q: certain %v, %v", line, certain, commands)
				continue
			}
			want := strings.Join(append(commands[0].Args, ""), "\x01")
			out, err := exec.Command(shell, "-c", "p() { printf '%s\\001' \"$@\"; }\n"+line).Output() //nolint:gosec // lines of this test
			if err != nil || string(out) != want {
				t.Errorf("%s reads %q as %q, and here it is %q: %v", shell, line, out, want, err)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for line := range strings.SplitSeq(evasions, "\n%%\n") {
		f.Add(line)
	}
	f.Add(`sudo -n sh -c "rm -r 'a b'"; cat <a >b`)
	f.Fuzz(func(t *testing.T, line string) {
		commands, certain := Read(line)
		if !certain {
			return
		}
		// What is certain stays so when a command follows, which is then seen.
		if strings.Contains(line, "<<") || strings.HasSuffix(line, "\\") {
			return
		}
		more, still := Read(line + "\nid")
		if len(line) < maxLine/2 && (!still || len(more) != len(commands)+1) {
			t.Errorf("%q: %v, and with a command behind it %v, certain %v", line, commands, more, still)
		}
	})
}
