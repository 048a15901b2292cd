package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Webhook posts CloudEvents 1.0 in structured JSON, signed as Standard Webhooks
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
type Webhook struct {
	url    string
	source string
	secret []byte
	client *http.Client
}

// NewWebhook returns a webhook. The secret is "whsec_" and base64; source names
// this collector in events.
func NewWebhook(url, source, secret string, guard Guard) (*Webhook, error) {
	key, err := parseSecret(secret)
	if err != nil {
		return nil, err
	}
	return &Webhook{url, source, key, guard.client()}, nil
}

// parseSecret wants 24 to 64 bytes, as the specification does.
func parseSecret(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(secret), "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("the secret is not whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// event is a CloudEvent (github.com/cloudevents/spec, v1.0.2).
type event struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            eventData `json:"data"`
}

type eventData struct {
	Number     uint64    `json:"number"`
	State      string    `json:"state"`
	Resource   string    `json:"resource"`
	Repository string    `json:"repository,omitempty"`
	Rule       string    `json:"rule"`
	Reason     string    `json:"reason,omitempty"`
	Text       string    `json:"text,omitempty"`
	NotAfter   time.Time `json:"not_after"`
	Link       string    `json:"link"`
	Approvers  []string  `json:"approvers,omitempty"`
}

// Take posts one message.
func (h *Webhook) Take(ctx context.Context, m Message) error {
	kind := m.State
	if kind == "pending" {
		kind = "requested"
	}
	body, err := json.Marshal(event{
		SpecVersion: "1.0", ID: m.ID, Source: h.source, Type: "dev.sluicegate.approval." + kind, Subject: strconv.FormatUint(m.Number, 10),
		Time: m.At.UTC(), DataContentType: "application/json",
		Data: eventData{m.Number, m.State, m.Resource, m.Repository, m.Rule, m.Reason, m.Text, m.Until, m.Link, m.Approvers},
	})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	r.Header.Set("webhook-id", m.ID)
	r.Header.Set("webhook-timestamp", at)
	r.Header.Set("webhook-signature", "v1,"+h.sign(m.ID, at, body))
	return post(ctx, h.client, r)
}

func (h *Webhook) sign(id, at string, body []byte) string {
	mac := hmac.New(sha256.New, h.secret)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, body) // a hash never fails to write
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
