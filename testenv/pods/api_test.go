package pods

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"
)

// object is one of Kubernetes'.
type object = map[string]any

// api is a client of the API server, of the few calls that tests need.
type api struct{ client *http.Client }

func newAPI(caFile string) (api, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return api{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return api{&http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}, nil
}

// call sends a body, if there is one, and decodes the answer.
func (a api) call(ctx context.Context, method, path string, body any) (object, error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, issuerURL()+path, bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s %s: %w", method, path, fs.ErrNotExist)
	}
	if response.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	var answer object
	return answer, json.Unmarshal(text, &answer)
}

// create makes an object of a namespace.
func (a api) create(ctx context.Context, namespace, kind string, o object) error {
	_, err := a.call(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/"+kind, o)
	return err
}

// prepare waits for the API server, and makes what controllers would.
func (a api) prepare(ctx context.Context) error {
	err := a.until(ctx, time.Minute, func() (bool, error) {
		_, err := a.call(ctx, http.MethodGet, "/api/v1/namespaces/default", nil)
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the API server does not answer: %w\n%s\n%s", err, tail("etcd"), tail("kube-apiserver"))
	}
	for _, namespace := range []string{"shop", "elsewhere", "sluice"} {
		if _, err := a.call(ctx, http.MethodPost, "/api/v1/namespaces", object{"metadata": object{"name": namespace}}); err != nil {
			return err
		}
		if err := a.create(ctx, namespace, "serviceaccounts", object{"metadata": object{"name": "default"}}); err != nil {
			return err
		}
	}
	// The agent asks for the issuer's public keys without a token, as everybody may
	// where operations.md says so.
	_, err = a.call(ctx, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{
		"metadata": object{"name": "issuer-is-public"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
		"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}},
	})
	return err
}

// waitNode waits until the kubelet takes pods.
func (a api) waitNode(ctx context.Context) error {
	err := a.until(ctx, 2*time.Minute, func() (bool, error) {
		found, err := a.call(ctx, http.MethodGet, "/api/v1/nodes/"+nodeName, nil)
		if err != nil {
			return false, nil //nolint:nilerr // it has not registered yet
		}
		for _, condition := range list(found, "status", "conditions") {
			if condition["type"] == "Ready" && condition["status"] == "True" {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("the node is not ready: %w\n%s", err, tail("kubelet"))
	}
	return nil
}

// deleteAllPods ends every pod, so that none outlives its kubelet.
func (a api) deleteAllPods() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	left := func() ([]object, error) {
		all, err := a.call(ctx, http.MethodGet, "/api/v1/pods", nil)
		return list(all, "items"), err
	}
	pods, err := left()
	for _, pod := range pods {
		err = errors.Join(err, a.deletePod(ctx, text(pod, "metadata", "namespace"), text(pod, "metadata", "name"), 1))
	}
	return errors.Join(err, a.until(ctx, time.Minute, func() (bool, error) {
		pods, err := left()
		return len(pods) == 0, err
	}))
}

// deletePod tells the kubelet to end a pod. It is gone some time after.
func (a api) deletePod(ctx context.Context, namespace, name string, grace int) error {
	_, err := a.call(ctx, http.MethodDelete, "/api/v1/namespaces/"+namespace+"/pods/"+name, object{"gracePeriodSeconds": grace})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (a api) until(ctx context.Context, most time.Duration, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		if done, err := is(); done || err != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// at returns what is below keys, or nil.
func at(o object, keys ...string) any {
	var value any = o
	for _, key := range keys {
		inner, _ := value.(object)
		value = inner[key]
	}
	return value
}

func text(o object, keys ...string) string {
	value, _ := at(o, keys...).(string)
	return value
}

func list(o object, keys ...string) (all []object) {
	values, _ := at(o, keys...).([]any)
	for _, value := range values {
		if o, ok := value.(object); ok {
			all = append(all, o)
		}
	}
	return all
}
