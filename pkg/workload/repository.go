package workload

// Repository is the repository whose pipeline the workload belongs to, as a
// verified token names it: "acme/shop". It is empty where none does: what a
// job says of itself decides nothing. The claims are GitHub's, GitLab's and
// Buildkite's, whose pipelines stand for their repositories.
func (w *Workload) Repository() string {
	if w.Assurance < Verified {
		return ""
	}
	for _, claim := range []string{"repository", "project_path"} {
		if name, _ := w.Verified[claim].(string); name != "" {
			return name
		}
	}
	organization, _ := w.Verified["organization_slug"].(string)
	pipeline, _ := w.Verified["pipeline_slug"].(string)
	if organization == "" || pipeline == "" {
		return ""
	}
	return organization + "/" + pipeline
}
