package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// maxChat is how much of a text a message holds, in characters. Chats cut what is
// longer into several messages, of which only the first is a block of code.
const maxChat = 3000

func brief(text string) string {
	all := []rune(text)
	if len(all) <= maxChat {
		return text
	}
	return fmt.Sprintf("[only the first %d of %d characters are shown]\n%s…", maxChat, len(all), string(all[:maxChat]))
}

// Take posts one message.
func (c *Chat) Take(ctx context.Context, m Message) error {
	text := "*" + escaper.Replace(m.Title()) + "*\n"
	if m.Reason != "" {
		text += escaper.Replace(m.Reason) + "\n"
	}
	if m.Text != "" {
		// What stands behind the opening fence some take for a language, and hide.
		text += "```\n" + escaper.Replace(brief(m.Text)) + "\n```\n"
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
