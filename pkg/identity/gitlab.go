package identity

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// gitlabJob is what we read of GitLab's answer to GET /api/v4/job (GitLab's Jobs
// API, "Get job token's job").
type gitlabJob struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Ref      string `json:"ref"`
	WebURL   string `json:"web_url"`
	Pipeline struct {
		ID        int64  `json:"id"`
		ProjectID int64  `json:"project_id"`
		SHA       string `json:"sha"`
	} `json:"pipeline"`
	User struct {
		ID       int64  `json:"id"`
		Username string `json:"username"`
	} `json:"user"`
	Runner struct {
		ID int64 `json:"id"`
	} `json:"runner"`
}

// askGitLab looks up whose a job token is. That needs no change of the pipeline,
// but it is no token that was minted for us: whoever a job shows its token to,
// as it does to registries, can ask the same. So it gives no more than A3.
func (p *provider) askGitLab(ctx context.Context, credential []string) (statement, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Issuer+"/api/v4/job", nil)
	if err != nil {
		return statement{}, err
	}
	request.Header.Set("JOB-TOKEN", credential[0])
	var job gitlabJob
	if err := p.call(request, &job); err != nil {
		return statement{}, err
	}
	if job.ID <= 0 {
		return statement{}, errors.New("the provider names no job")
	}
	return statement{claims: job.claims(p.Issuer)}, nil
}

// claims are the job's facts under the names that GitLab's ID tokens have for
// them. What GitLab does not say is absent.
func (j gitlabJob) claims(issuer string) map[string]any {
	claims := map[string]any{"iss": issuer}
	for name, id := range map[string]int64{
		"job_id": j.ID, "pipeline_id": j.Pipeline.ID, "project_id": j.Pipeline.ProjectID, "user_id": j.User.ID, "runner_id": j.Runner.ID,
	} {
		if id > 0 {
			claims[name] = strconv.FormatInt(id, 10)
		}
	}
	for name, text := range map[string]string{
		"job_name": j.Name, "ref": j.Ref, "sha": j.Pipeline.SHA, "user_login": j.User.Username, "project_path": j.project(issuer),
	} {
		if text != "" {
			claims[name] = text
		}
	}
	return claims
}

// project is the path of the job's project, which stands in its address alone:
// https://gitlab.example.com/acme/shop/-/jobs/8.
func (j gitlabJob) project(issuer string) string {
	path, found := strings.CutPrefix(j.WebURL, issuer+"/")
	if !found {
		return ""
	}
	path, found = strings.CutSuffix(path, "/-/jobs/"+strconv.FormatInt(j.ID, 10))
	if !found || strings.Contains(path, "/-/") {
		return ""
	}
	return path
}
