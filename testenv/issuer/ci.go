package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// CI answers whose a job's credential is, in the forms that GitHub, Buildkite and
// GitLab have. Its jobs are files in a directory, so that one process can serve
// them and another start them. The tokens are the issuer's, and real.
//
// The forms are those of @actions/http-client's getIDToken, of buildkite-agent's
// api/oidc.go and of GitLab's documentation of GET /job.
type CI struct {
	issuer *Issuer
	dir    string
}

// NewCI returns the CI system beside an issuer, with the jobs of dir.
func NewCI(i *Issuer, dir string) (*CI, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open CI: %w", err)
	}
	return &CI{i, dir}, nil
}

// Start starts a job, of which the CI system says so much, and returns its
// credential.
func (c *CI) Start(says map[string]any) (credential string, err error) {
	credential = "job-" + rand.Text()
	text, err := json.Marshal(says)
	if err != nil {
		return "", fmt.Errorf("start job: %w", err)
	}
	if err := os.WriteFile(c.file(credential), text, 0o600); err != nil {
		return "", fmt.Errorf("start job: %w", err)
	}
	return credential, nil
}

// End ends a job: its credential says nothing from then on.
func (c *CI) End(credential string) error { return os.Remove(c.file(credential)) }

// RequestURL is where a job asks for its tokens, as GitHub's runner tells it.
func (c *CI) RequestURL() string {
	return c.issuer.url + "/_apis/pipelines/workflows/1/idtoken?api-version=2.0"
}

func (c *CI) file(credential string) string {
	name := sha256.Sum256([]byte(credential))
	return filepath.Join(c.dir, hex.EncodeToString(name[:]))
}

// Handler serves the API; the issuer's documents are served beside it.
func (c *CI) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_apis/pipelines/workflows/{run}/idtoken", c.github)
	mux.HandleFunc("POST /v3/jobs/{job}/oidc/tokens", c.buildkite)
	mux.HandleFunc("GET /api/v4/job", c.gitlab)
	return mux
}

// says is what is known of the job of a credential.
func (c *CI) says(credential string, found bool) (map[string]any, error) {
	if !found || credential == "" {
		return nil, errors.New("no credential")
	}
	text, err := os.ReadFile(c.file(credential))
	if err != nil {
		return nil, err
	}
	var says map[string]any
	return says, json.Unmarshal(text, &says)
}

func (c *CI) github(w http.ResponseWriter, r *http.Request) {
	says, err := c.says(strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	token, err := c.mint(says, r.URL.Query().Get("audience"))
	answer(w, map[string]any{"count": len(token), "value": token}, err)
}

func (c *CI) buildkite(w http.ResponseWriter, r *http.Request) {
	says, err := c.says(strings.CutPrefix(r.Header.Get("Authorization"), "Token "))
	var asked struct {
		Audience string   `json:"audience"`
		Claims   []string `json:"claims"`
	}
	if err != nil || says["job_id"] != r.PathValue("job") || json.NewDecoder(r.Body).Decode(&asked) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	optional := map[string]any{"organization_id": "org-1", "pipeline_id": "pipe-1", "build_id": "build-1"}
	for _, name := range asked.Claims {
		says[name] = optional[name]
	}
	token, err := c.mint(says, asked.Audience)
	answer(w, map[string]any{"token": token}, err)
}

func (c *CI) gitlab(w http.ResponseWriter, r *http.Request) {
	says, err := c.says(r.Header.Get("JOB-TOKEN"), true)
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer(w, says, nil)
}

// mint makes a token of a job for an audience.
func (c *CI) mint(says map[string]any, audience string) (string, error) {
	claims := maps.Clone(says)
	claims["aud"] = audience
	return c.issuer.Mint(claims)
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // an error means that the client has gone
}
