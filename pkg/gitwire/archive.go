package gitwire

import "context"

// archive serves git-upload-archive: the client sends its arguments, one
// "argument" line each, and a flush packet; the server answers ACK or NACK
// (builtin/upload-archive.c in git). It is a fetch like any other.
func (s *service) archive(ctx context.Context) error {
	asked, _, err := s.group()
	if err != nil {
		return s.misasked(ctx, asked, err)
	}
	if asked == nil {
		return s.leave(nil)
	}
	return s.decideFetch(ctx, asked)
}
