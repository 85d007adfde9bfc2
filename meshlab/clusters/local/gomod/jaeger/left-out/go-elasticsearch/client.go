// Package elasticsearch stands in for Elastic's client, which is 850 packages and a quarter of Jaeger's source.
//
// The lab keeps its traces in Badger or in memory. Jaeger compiles each storage that it knows all the same, and no build tag
// leaves one out; this module, which go.mod puts in the client's place, has what Jaeger refers to and nothing else.
package elasticsearch

import (
	"errors"
	"net/http"

	"github.com/elastic/go-elasticsearch/v9/esapi"
)

// Config holds the fields that Jaeger sets.
type Config struct {
	Addresses            []string
	Username             string
	Password             string
	DiscoverNodesOnStart bool
	CompressRequestBody  bool
	Header               http.Header
	Transport            http.RoundTripper
}

// Client is never made: NewClient refuses.
type Client struct {
	Indices *esapi.Indices
}

// NewClient says that this Jaeger can't use Elasticsearch 8 and later.
func NewClient(Config) (*Client, error) {
	return nil, errors.New("this Jaeger was compiled for the mesh lab, without Elasticsearch's client")
}
