package credential_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/credential"
)

const secret = "correct horse"

// dir returns a directory that only we can change.
func dir(t *testing.T) string {
	t.Helper()
	d := t.TempDir()
	if err := os.Chmod(d, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// write makes a file.
func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, os.Chmod(path, mode))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read opens a file and reads the secret in it.
func read(path string) (string, error) {
	file, err := credential.File(path).Open()
	if err != nil {
		return "", err
	}
	defer file.Close()
	return credential.Read(file)
}

// refused reads a file that must not be read, and checks that the error says
// why and not what.
func refused(t *testing.T, path, why string) {
	t.Helper()
	got, err := read(path)
	if err == nil || got != "" || !strings.Contains(err.Error(), why) {
		t.Errorf("got %d bytes and %v, want an error with %q", len(got), err, why)
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the error repeats the secret: %v", err)
	}
}

func TestTrailingNewlineIsNotPartOfTheSecret(t *testing.T) {
	for _, content := range []string{secret, secret + "\n", secret + "\r\n"} {
		path := write(t, filepath.Join(dir(t), "s"), content, 0o600)
		if got, err := read(path); err != nil || got != secret {
			t.Errorf("%q: got %q, %v", content, got, err)
		}
	}
	path := write(t, filepath.Join(dir(t), "s"), " "+secret+" \n", 0o400)
	if got, err := read(path); err != nil || got != " "+secret+" " {
		t.Errorf("spaces: got %q, %v", got, err)
	}
}

func TestChangedFileIsReadAnew(t *testing.T) {
	path := write(t, filepath.Join(dir(t), "s"), "old\n", 0o600)
	for _, want := range []string{"old", "new"} {
		if got, err := read(path); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		replacement := write(t, path+".next", "new\n", 0o600)
		must(t, os.Rename(replacement, path))
	}
}

func TestFileThatOthersCouldReadIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o644, 0o666} {
		refused(t, write(t, filepath.Join(dir(t), "s"), secret, mode), "chmod 600")
	}
}

func TestContentThatIsNoSecretIsRefused(t *testing.T) {
	d := dir(t)
	refused(t, write(t, filepath.Join(d, "empty"), "", 0o600), "is empty")
	refused(t, write(t, filepath.Join(d, "newline"), "\n", 0o600), "is empty")
	refused(t, write(t, filepath.Join(d, "two"), secret+"\n"+secret+"\n", 0o600), "more than one line")
	refused(t, write(t, filepath.Join(d, "zero"), secret+"\x00", 0o600), "zero byte")
	refused(t, write(t, filepath.Join(d, "long"), strings.Repeat("x", credential.MaxBytes+1), 0o600), "is longer")
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	d := dir(t)
	refused(t, filepath.Join(d, "missing"), "no such file")
	refused(t, "", "is not a regular file") // the working directory
	refused(t, d, "is not a regular file")
	fifo := filepath.Join(d, "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	refused(t, fifo, "is not a regular file")
	refused(t, "/dev/zero", "is not a regular file")
}

func TestLinksOfKubernetesAreFollowed(t *testing.T) {
	d := dir(t)
	must(t, os.Mkdir(filepath.Join(d, "..2026"), 0o700))
	write(t, filepath.Join(d, "..2026", "password"), secret, 0o400)
	must(t, os.Symlink("..2026", filepath.Join(d, "..data")))
	must(t, os.Symlink("..data/password", filepath.Join(d, "password")))
	if got, err := read(filepath.Join(d, "password")); err != nil || got != secret {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPathThatOthersCouldTurnIsRefused(t *testing.T) {
	d := dir(t)
	open := filepath.Join(d, "open")
	must(t, os.Mkdir(open, 0o700))
	inside := write(t, filepath.Join(open, "s"), secret, 0o600)
	must(t, os.Symlink(inside, filepath.Join(d, "link")))
	must(t, os.Chmod(open, 0o777))
	refused(t, inside, "which others can write")
	refused(t, filepath.Join(d, "link"), "which others can write")
	refused(t, filepath.Join(open, "..", "open", "s"), "which others can write")
	must(t, os.Chmod(open, 0o777|os.ModeSticky))
	if got, err := read(inside); err != nil || got != secret {
		t.Errorf("in a sticky directory: got %q, %v", got, err)
	}
}

func TestWhatBelongsToAnotherUserIsRefused(t *testing.T) {
	const other = 12345
	d := dir(t)
	path := write(t, filepath.Join(d, "s"), secret, 0o600)
	must(t, os.Symlink("s", filepath.Join(d, "link")))
	must(t, os.Lchown(filepath.Join(d, "link"), other, other))
	refused(t, filepath.Join(d, "link"), "a link that belongs to user 12345")
	must(t, os.Chown(path, other, other))
	refused(t, path, "belongs to user 12345")
	must(t, os.Chown(d, other, other))
	refused(t, path, "which belongs to user 12345")
}

func TestEndlessLinksAreRefused(t *testing.T) {
	d := dir(t)
	must(t, os.Symlink("b", filepath.Join(d, "a")))
	must(t, os.Symlink("a", filepath.Join(d, "b")))
	refused(t, filepath.Join(d, "a"), "too many levels")
}

func TestKeyMayHaveManyLinesButNotTooMany(t *testing.T) {
	for _, test := range []struct {
		name, content string
		ok            bool
	}{
		{"a key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", true},
		{"empty", "", false},
		{"the largest", strings.Repeat("x", credential.MaxKeyBytes), true},
		{"too large", strings.Repeat("x", credential.MaxKeyBytes+1), false},
	} {
		file, err := credential.File(write(t, filepath.Join(dir(t), "key"), test.content, 0o600)).Open()
		must(t, err)
		got, err := credential.ReadKey(file)
		if (err == nil) != test.ok || test.ok && string(got) != test.content {
			t.Errorf("%s: got %d bytes and %v", test.name, len(got), err)
		}
		must(t, file.Close())
	}
}

func TestTokenIsOneFieldOfHTTP(t *testing.T) {
	for content, want := range map[string]string{
		"eyJ.a-b_c~d+e/f==": "eyJ.a-b_c~d+e/f==",
		" \n eyJ \r\n\n":    "eyJ",
		"":                  "",
		" \n":               "",
		"two words":         "",
		"two\nlines":        "",
		"a\r\nX-Evil: b":    "",
		"a\x00b":            "",
		"a\x7fb":            "",
		"a\u00e9":           "",
		strings.Repeat("x", credential.MaxTokenBytes):   strings.Repeat("x", credential.MaxTokenBytes),
		strings.Repeat("x", credential.MaxTokenBytes+1): "",
	} {
		got, err := credential.ReadToken(strings.NewReader(content))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q gives %.20q, %v", content, got, err)
		}
		if err != nil && len(content) > 3 && strings.Contains(err.Error(), content[:3]) {
			t.Errorf("the error quotes the file: %v", err)
		}
	}
}
