package postgres

import (
	"crypto"
	_ "crypto/sha512" // for certificates that are signed with it
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// applicationProtocol is what both sides agree on by ALPN. With direct TLS they
// must, so that no other protocol's bytes are taken for this one.
const applicationProtocol = "postgresql"

var errApplicationProtocol = errors.New("direct TLS without the application protocol " + applicationProtocol)

// secure returns conn with TLS as this conversation needs it, on both legs.
func (c *conversation) secure(conn *protocol.Conn) (*protocol.Conn, error) {
	own := *conn
	shown, err := certificates(conn)
	if err != nil {
		return nil, err
	}
	if own.ClientTLS != nil {
		own.ClientTLS = own.ClientTLS.Clone()
		own.ClientTLS.NextProtos = []string{applicationProtocol}
		own.ClientTLS.VerifyConnection = func(state tls.ConnectionState) error {
			if c.start.direct && state.NegotiatedProtocol != applicationProtocol {
				return errApplicationProtocol
			}
			return nil
		}
	}
	own.TLS.Config = serverConfig(conn.TLS.Config, shown, &c.login)
	return &own, nil
}

// serverConfig is how a server leg speaks TLS; in learns the channel binding.
func serverConfig(configured *tls.Config, shown []tls.Certificate, in *login) *tls.Config {
	if configured == nil {
		return nil
	}
	cfg := configured.Clone()
	cfg.NextProtos = []string{applicationProtocol}
	cfg.Certificates = shown
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		in.endpoint = endpoint(state.PeerCertificates[0])
		return nil
	}
	return cfg
}

// certificates are what the agent shows to a server that asks for one.
func certificates(conn *protocol.Conn) ([]tls.Certificate, error) {
	if len(conn.Credential.Certificate) == 0 {
		return nil, nil
	}
	if conn.TLS.Mode == protocol.TLSOff {
		return nil, errors.New("a certificate to log in with needs server_tls")
	}
	pair, err := tls.X509KeyPair(conn.Credential.Certificate, conn.Credential.Key)
	if err != nil {
		return nil, errors.New("the certificate to log in with and its key do not fit") // what is wrong may quote a file
	}
	return []tls.Certificate{pair}, nil
}

// endpoint is the channel binding tls-server-end-point (RFC 5929, section
// 4.1): the hash of the server's certificate, by the hash of its signature. It
// is nil where the signature names none.
func endpoint(server *x509.Certificate) []byte {
	var hash crypto.Hash
	switch server.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		hash = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		hash = crypto.SHA512
	default:
		return nil
	}
	h := hash.New()
	h.Write(server.Raw)
	return h.Sum(nil)
}
