package pods

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/testenv/kubernetes"
)

// object is one of Kubernetes'.
type object = kubernetes.Object

// api is a client of the API server, of the few calls that tests need.
type api struct{ *kubernetes.Client }

// prepare makes what controllers would.
func (a api) prepare(ctx context.Context) error {
	for _, namespace := range []string{"shop", "elsewhere", "sluice"} {
		if err := a.CreateNamespace(ctx, namespace); err != nil {
			return err
		}
	}
	// The agent asks for the issuer's public keys without a token, as everybody may
	// where operations.md says so.
	_, err := a.Call(ctx, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", object{
		"metadata": object{"name": "issuer-is-public"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
		"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}},
	})
	return err
}

// waitNode waits until the kubelet takes pods.
func (a api) waitNode(ctx context.Context) error {
	err := kubernetes.Until(ctx, 2*time.Minute, func() (bool, error) {
		found, err := a.Call(ctx, http.MethodGet, "/api/v1/nodes/"+nodeName, nil)
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
		all, err := a.Call(ctx, http.MethodGet, "/api/v1/pods", nil)
		return list(all, "items"), err
	}
	pods, err := left()
	for _, pod := range pods {
		err = errors.Join(err, a.deletePod(ctx, text(pod, "metadata", "namespace"), text(pod, "metadata", "name"), 1))
	}
	return errors.Join(err, kubernetes.Until(ctx, time.Minute, func() (bool, error) {
		pods, err := left()
		return len(pods) == 0, err
	}))
}

// deletePod tells the kubelet to end a pod. It is gone some time after.
func (a api) deletePod(ctx context.Context, namespace, name string, grace int) error {
	_, err := a.Call(ctx, http.MethodDelete, "/api/v1/namespaces/"+namespace+"/pods/"+name, object{"gracePeriodSeconds": grace})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
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
