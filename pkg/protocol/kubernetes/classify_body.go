package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"strings"
	"unicode/utf8"
)

// The media types that API servers read, of those that differ from JSON.
const (
	jsonType     = "application/json"
	protobufType = "application/vnd.kubernetes.protobuf"
)

// nameInBody is the name of the object that a create's body holds; empty where
// the server makes one up. What cannot be read makes the request uncertain.
func (r *reading) nameInBody() string {
	var name string
	var err error
	switch r.mediaType() {
	case jsonType:
		name, err = nameInJSON(r.body)
	case protobufType:
		name, err = nameInProtobuf(r.body)
	default:
		err = errUnread
	}
	r.certain = r.certain && err == nil
	return name
}

// dryDelete reads whether a delete is a dry run. Where there is a body it
// decides, and the query is not looked at: a query that says otherwise is
// refused.
func (r *reading) dryDelete() (bool, error) {
	inQuery, err := dry(r.query["dryRun"])
	if err != nil || len(r.body) == 0 {
		return inQuery, err
	}
	var values []string
	switch r.mediaType() {
	case jsonType:
		values, err = dryInJSON(r.body)
	case protobufType:
		values, err = dryInProtobuf(r.body)
	default:
		err = errUnread
	}
	if err != nil {
		r.certain = false
		return false, nil
	}
	inBody, err := dry(values)
	if err == nil && inQuery && !inBody {
		return false, badRequest("the query asks for a dry run and the body, which decides, does not")
	}
	return inBody, err
}

// mediaType is how the body is to be read. YAML is JSON where it is written as
// JSON, as kubectl writes it, and else unread.
func (r *reading) mediaType() string {
	if r.contentType == "" {
		return jsonType // the server's own default
	}
	media, _, err := mime.ParseMediaType(r.contentType)
	switch {
	case err != nil:
		return ""
	case media == "application/yaml" || media == "application/apply-patch+yaml":
		return jsonType
	}
	return media
}

// errUnread reports a body that is not read, or that could be read in two ways.
var errUnread = errors.New("the body cannot be read with certainty")

// nameInJSON reads metadata.name.
func nameInJSON(body []byte) (string, error) {
	object, err := members(body, "metadata")
	if err != nil || object["metadata"] == nil {
		return "", err
	}
	metadata, err := members(object["metadata"], "name", "generateName")
	if err != nil {
		return "", err
	}
	return textOf(metadata["name"])
}

func dryInJSON(body []byte) ([]string, error) {
	options, err := members(body, "dryRun")
	if err != nil || options["dryRun"] == nil {
		return nil, err
	}
	var values []string
	if json.Unmarshal(options["dryRun"], &values) != nil {
		return nil, errUnread
	}
	return values, nil
}

// textOf reads a string; nothing and null are the empty one.
func textOf(value json.RawMessage) (text string, err error) {
	if value != nil && json.Unmarshal(value, &text) != nil {
		return "", errUnread
	}
	return text, nil
}

// members returns those members of a JSON object that are wanted. A wanted one
// that stands twice, or once more in another case, is an error: decoders take
// the first, the last, or both.
func members(object []byte, wanted ...string) (map[string]json.RawMessage, error) {
	if !utf8.Valid(object) || !json.Valid(object) {
		return nil, errUnread
	}
	decoder := json.NewDecoder(bytes.NewReader(object))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		if err == nil && opening == nil {
			return nil, nil // null
		}
		return nil, errUnread
	}
	found := map[string]json.RawMessage{}
	for decoder.More() {
		key, err := decoder.Token()
		name, isText := key.(string)
		var value json.RawMessage
		if err != nil || !isText || decoder.Decode(&value) != nil {
			return nil, errUnread
		}
		for _, want := range wanted {
			if !strings.EqualFold(want, name) {
				continue
			}
			if want != name || found[want] != nil {
				return nil, errUnread
			}
			found[want] = value
		}
	}
	return found, nil
}
