package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// serve runs the commands that come in by a serial line, one after the other.
// A command is a line of base64; the answer to it is its exit status and all
// that it printed, likewise. Whoever is at the other end is greeted first, and
// so hears of a reboot.
func serve(device string) error {
	line, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if err := raw(line); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(line, "hello"); err != nil {
		return err
	}
	commands := bufio.NewReader(line)
	for {
		text, err := commands.ReadString('\n')
		if err != nil {
			return err
		}
		command, err := base64.StdEncoding.DecodeString(text) // which ignores the line's end
		if err != nil {
			return err
		}
		status, out := shell(string(command))
		if _, err := fmt.Fprintf(line, "%d %s\n", status, base64.StdEncoding.EncodeToString(out)); err != nil {
			return err
		}
	}
}

func shell(command string) (status int, out []byte) {
	out, err := exec.Command("/bin/bash", "-c", command).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode(), out
	case err != nil:
		return -1, append(out, err.Error()...)
	}
	return 0, out
}

// raw takes the terminal's own ideas away.
func raw(line *os.File) error {
	settings, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Iflag, settings.Oflag, settings.Lflag = 0, 0, 0
	settings.Cc[unix.VMIN], settings.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(int(line.Fd()), unix.TCSETS, settings)
}
