// Package libopenapi stands in for a library that is two thirds of the time in which Prometheus compiles.
//
// Prometheus describes its API with it at /api/v1/openapi.yaml, and checks its answers against that in its own tests, which it
// compiles into the server. The lab asks neither. This module, which go.mod puts in the library's place, has what Prometheus
// refers to and nothing else; the page says that it was left out.
package libopenapi

import "errors"

// Document is never made: NewDocument refuses.
type Document struct{}

// NewDocument says that this Prometheus can't read an OpenAPI document.
func NewDocument([]byte) (*Document, error) {
	return nil, errors.New("this Prometheus was compiled for the mesh lab, without OpenAPI")
}
