package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestArchiveCannotWriteOutsideItsDirectory(t *testing.T) {
	for _, head := range []tar.Header{
		{Name: "../x", Typeflag: tar.TypeReg},
		{Name: "/etc/x", Typeflag: tar.TypeReg},
		{Name: "a/../../x", Typeflag: tar.TypeReg},
		{Name: "a/./x", Typeflag: tar.TypeReg},
		{Name: `a\..\x`, Typeflag: tar.TypeReg},
		{Name: "", Typeflag: tar.TypeReg},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "link", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		{Name: "device", Typeflag: tar.TypeChar},
	} {
		dir := t.TempDir()
		if err := unpack(filepath.Join(dir, "bundle"), &head, strings.NewReader("x")); err == nil {
			t.Errorf("%q of type %c was written", head.Name, head.Typeflag)
		}
		entries, err := os.ReadDir(dir)
		check(t, err)
		if len(entries) > 0 {
			t.Errorf("%q left %v", head.Name, entries)
		}
	}
}

func TestFileOfAnArchiveIsNotWrittenTwice(t *testing.T) {
	dir := t.TempDir()
	head := tar.Header{Name: "notes/0", Typeflag: tar.TypeReg}
	check(t, unpack(dir, &head, strings.NewReader("first")))
	if err := unpack(dir, &head, strings.NewReader("second")); err == nil {
		t.Error("the second file of one name replaced the first")
	}
}
