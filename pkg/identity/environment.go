package identity

import "context"

// readToken verifies a token that lies in a variable itself, as GitLab's
// id_tokens and CircleCI's do. Its audience is the pipeline's choice or fixed,
// and it can have been copied while it counts: no more than A3.
func (p *provider) readToken(ctx context.Context, credential []string) (statement, error) {
	return p.token(ctx, credential[0], p.Audience)
}
