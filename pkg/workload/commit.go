package workload

// Commit returns the commit that a job runs, as its verified token names it,
// empty where no token was verified or none is named. GitHub's and GitLab's
// tokens name it in sha, Buildkite's in build_commit.
func (w *Workload) Commit() string {
	if w.Assurance < Verified {
		return ""
	}
	for _, claim := range []string{"sha", "build_commit"} {
		if commit, _ := w.Verified[claim].(string); commit != "" {
			return commit
		}
	}
	return ""
}
