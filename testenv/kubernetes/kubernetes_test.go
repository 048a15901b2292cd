package kubernetes_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/kubernetes"
)

// TestServerKnowsItsUsers starts a server and asks it who has asked.
func TestServerKnowsItsUsers(t *testing.T) {
	programs, err := kubernetes.Build(t.Context(), "etcd", "kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s, err := kubernetes.Start(t.Context(), kubernetes.Config{
		Dir: t.TempDir(), Programs: programs, Address: "127.0.0.1", Names: []string{"kube.example"}, Flags: kubernetes.Small,
		Users: []kubernetes.User{{Name: "reader", Token: "readers-token", Groups: []string{"readers"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("it answers after %v", time.Since(began).Round(10*time.Millisecond))
	if err := s.Admin.CreateNamespace(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	cert, key, err := s.Certify("deployer", "deployers")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if got := who(t, s, "readers-token", nil); got != "reader [readers system:authenticated]" {
		t.Errorf("the token is of %s", got)
	}
	if got := who(t, s, "", []tls.Certificate{pair}); got != "deployer [deployers system:authenticated]" {
		t.Errorf("the certificate is of %s", got)
	}
	log, err := os.ReadFile(s.AuditLog)
	if err != nil || !strings.Contains(string(log), `"username":"reader"`) {
		t.Errorf("the audit log says nothing of the reader: %v", err)
	}
}

// who asks the server whom it takes somebody for.
func who(t *testing.T, s *kubernetes.Server, token string, pairs []tls.Certificate) string {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.Roots, Certificates: pairs, ServerName: "kube.example"},
	}}
	const review = `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost,
		s.URL+"/apis/authentication.k8s.io/v1/selfsubjectreviews", strings.NewReader(review))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Status.UserInfo.Username + " [" + strings.Join(answer.Status.UserInfo.Groups, " ") + "]"
}
