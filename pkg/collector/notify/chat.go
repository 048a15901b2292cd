package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// Chat posts to an incoming webhook of Slack's form, which Mattermost, Rocket.Chat
// and others take too. It has no buttons: a chat's word is no vote.
type Chat struct {
	url    string
	client *http.Client
}

// NewChat returns a chat. Its address is a secret.
func NewChat(url string, guard Guard) *Chat { return &Chat{url, guard.client()} }

// escaper keeps what a job wrote from being read as a mention, a link or a
// format (api.slack.com/reference/surfaces/formatting#escaping).
var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "ˋ")

// Take posts one message.
func (c *Chat) Take(ctx context.Context, m Message) error {
	text := "*" + escaper.Replace(m.Title()) + "*\n"
	if m.Reason != "" {
		text += escaper.Replace(m.Reason) + "\n"
	}
	if m.Text != "" {
		text += "```" + escaper.Replace(m.Text) + "```\n"
	}
	text += "<" + m.Link + "|Open it in the console>"
	body, err := json.Marshal(map[string]any{"text": text, "unfurl_links": false, "unfurl_media": false, "link_names": false})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	return post(ctx, c.client, r)
}
