package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/identity"
)

const (
	idle      = 30 * time.Minute // without a request a login ends
	life      = 10 * time.Hour   // and in any case
	loginTime = 10 * time.Minute // that logging in may take
)

// person is somebody as a login keeps them.
type person struct {
	Issuer  string   `json:"iss"`
	Subject string   `json:"sub"`
	Email   string   `json:"email,omitempty"`
	Name    string   `json:"name,omitempty"`
	Groups  []string `json:"groups"`
}

func (p person) identity() identity.Person { return identity.Person(p) }

// cookieName is bound to this host where TLS allows it (RFC 6265bis §4.1.3.2).
func (c *console) cookieName() string {
	if c.secure {
		return "__Host-sluice"
	}
	return "sluice"
}

func (c *console) setCookie(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(maxAge / time.Second), HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteLaxMode,
	})
}

func hashOf(cookie string) []byte {
	sum := sha256.Sum256([]byte(cookie))
	return sum[:]
}

// begun is what the browser keeps while its person is at the issuer. It is no
// secret from that person, and whoever could forge it could as well begin a
// login of their own.
type begun struct {
	identity.Pending
	Next string `json:"next"`
}

// welcome asks a visitor to log in.
func (c *console) welcome(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || strings.HasSuffix(r.URL.Path, "/live") {
		c.fail(w, &api.Refusal{Status: http.StatusUnauthorized, Reason: "Your login has ended. Load the page and log in again."})
		return
	}
	if c.People == nil {
		c.fail(w, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "Nobody can log in: the collector's configuration names no issuer (people.issuer)."})
		return
	}
	next := "/login?" + url.Values{"next": {r.URL.RequestURI()}}.Encode()
	if err := c.write(w, http.StatusUnauthorized, "welcome", frame{Title: "Log in", Data: next}); err != nil {
		c.fail(w, err)
	}
}

func (c *console) beginLogin(w http.ResponseWriter, r *http.Request) {
	if c.People == nil {
		c.welcome(w, r)
		return
	}
	pending, address, err := c.People.BeginLogin(r.Context(), c.URL+"/login/callback", r.URL.Query().Get("fresh") == "1")
	if err != nil {
		c.Log.Error("A login cannot begin", zap.Error(err))
		c.fail(w, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "The issuer of logins cannot be reached."})
		return
	}
	kept, err := json.Marshal(begun{pending, local(r.URL.Query().Get("next"))})
	if err != nil {
		c.fail(w, err)
		return
	}
	// The issuer's answer comes from another site: Lax lets it bring the cookie.
	c.setCookie(w, c.cookieName()+"_login", base64.RawURLEncoding.EncodeToString(kept), loginTime)
	http.Redirect(w, r, address, http.StatusSeeOther)
}

// local returns a path on this server, whatever was asked for.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(next, `\`) {
		return "/"
	}
	return u.RequestURI()
}

func (c *console) finishLogin(w http.ResponseWriter, r *http.Request) {
	if c.People == nil {
		c.welcome(w, r)
		return
	}
	var kept begun
	if cookie, err := r.Cookie(c.cookieName() + "_login"); err == nil {
		if raw, err := base64.RawURLEncoding.DecodeString(cookie.Value); err == nil {
			_ = json.Unmarshal(raw, &kept) // what cannot be read is a login that did not begin here
		}
	}
	c.setCookie(w, c.cookieName()+"_login", "", -time.Second)
	proof, err := c.People.FinishLogin(r.Context(), c.URL+"/login/callback", kept.Pending, r.URL.Query())
	if err != nil {
		if errors.Is(err, identity.ErrLogin) {
			c.Limiter.Failed(r)
		}
		c.Log.Warn("A login is refused", zap.Error(err))
		c.fail(w, &api.Refusal{Status: http.StatusForbidden, Reason: "The login was not accepted. Begin again."})
		return
	}
	c.Limiter.Succeeded(r)
	if err := c.enter(w, r, proof); err != nil {
		c.fail(w, err)
		return
	}
	http.Redirect(w, r, local(kept.Next), http.StatusSeeOther)
}

// enter gives a person a fresh cookie; the one that the browser had before is
// worth nothing from then on.
func (c *console) enter(w http.ResponseWriter, r *http.Request, proof identity.Proof) error {
	by := c.Caller(proof.Person)
	by.From, _, _ = net.SplitHostPort(r.RemoteAddr)
	if by.Sees(seer...).Nothing() {
		return &api.Refusal{Status: http.StatusForbidden, Reason: by.Name + " has no role here. Ask whoever runs the collector."}
	}
	kept, err := json.Marshal(person(proof.Person))
	if err != nil {
		return err
	}
	if err := c.Witness(r.Context(), by, api.Act{Kind: "login"}); err != nil {
		return err
	}
	var before []byte
	if cookie, err := r.Cookie(c.cookieName()); err == nil {
		before = hashOf(cookie.Value)
	}
	cookie := rand.Text() + rand.Text()
	err = c.Store.AddLogin(r.Context(), hashOf(cookie), before, store.Login{Person: kept, Created: time.Now(), Proven: proof.At})
	if err != nil {
		return err
	}
	c.setCookie(w, c.cookieName(), cookie, life)
	return nil
}

func (c *console) logout(v *visit) error {
	if err := c.Witness(v.ctx(), v.by, api.Act{Kind: "logout"}); err != nil {
		return err
	}
	if err := c.Store.EndLogin(v.ctx(), hashOf(v.cookie)); err != nil {
		return err
	}
	c.setCookie(v.w, c.cookieName(), "", -time.Second)
	v.w.Header().Set("Clear-Site-Data", `"cache", "cookies", "storage"`)
	http.Redirect(v.w, v.r, "/", http.StatusSeeOther)
	return nil
}

// fresh reports whether a person proved who they are so recently that they can
// vote now, with time left to read.
func (v *visit) fresh() bool {
	return time.Since(v.login.Proven) < approval.MaxLoginAge-10*time.Second
}
