package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/identity"
)

// loginTime is how long somebody may take to log in.
const loginTime = 10 * time.Minute

func newLogin(e *env) *cobra.Command {
	var device bool
	var caFile string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in at the collector's identity provider and keep the token",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), loginTime)
			defer cancel()
			return e.login(ctx, device, caFile)
		},
	}
	cmd.Flags().BoolVar(&device, "device", false, "log in on another device: for terminals without a browser")
	cmd.Flags().StringVar(&caFile, "issuer-ca-file", "", "certificates that the identity provider's is checked against")
	return cmd
}

func (e *env) login(ctx context.Context, device bool, caFile string) error {
	path, err := e.tokenFile()
	if err != nil {
		return err
	}
	c, err := e.connect("")
	if err != nil {
		return err
	}
	var at view.Login
	if err := c.call(ctx, http.MethodGet, "/v1/login", url.Values{}, nil, &at); err != nil {
		return err
	}
	if at.Issuer == "" {
		return errors.New("nobody can log in there: the collector names no identity provider")
	}
	people, err := identity.NewPeople(ctx, identity.PeopleConfig{Issuer: at.Issuer, Audience: at.ClientID, CAFile: caFile, Scopes: at.Scopes})
	if err != nil {
		return err
	}
	var proof identity.Proof
	if device {
		proof, err = people.LoginByDevice(ctx, func(address, code string) {
			e.printf("Open %s\nand check that it shows the code %s\n", address, code)
		})
	} else {
		proof, err = people.LoginInBrowser(ctx, e.openBrowser)
	}
	if err != nil {
		return err
	}
	if err := keepToken(path, proof.Token); err != nil {
		return err
	}
	e.printf("You are %s. The token is in %s.\n", proof.Subject, path)
	return nil
}

// openBrowser shows an address and, where there is a browser, opens it.
func (e *env) openBrowser(address string) error {
	e.printf("Log in at %s\n(on another device: sluice login --device)\n", address)
	for _, opener := range []string{"xdg-open", "open"} {
		if program, err := exec.LookPath(opener); err == nil {
			cmd := exec.Command(program, address)
			if cmd.Start() == nil {
				go func() { _ = cmd.Wait() }() // whether it worked shows at the browser
			}
			return nil
		}
	}
	return nil
}

// tokenFile is where the token is: where the settings say, or beside them.
func (e *env) tokenFile() (string, error) {
	if e.settings.TokenFile != "" {
		return string(e.settings.TokenFile), nil
	}
	home, err := os.UserConfigDir()
	if err != nil {
		return "", errors.New("no token: write token_file in the configuration, or give --token-file")
	}
	return filepath.Join(home, "sluice", "token"), nil
}

// keepToken writes a token for its owner alone, whole or not at all.
func keepToken(path, token string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep token: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".token")
	if err != nil {
		return fmt.Errorf("keep token: %w", err)
	}
	_, err = file.WriteString(token + "\n")
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep token: %w", err), os.Remove(file.Name()))
	}
	return nil
}
