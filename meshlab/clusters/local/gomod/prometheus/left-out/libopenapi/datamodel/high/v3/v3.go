// Package v3 holds an OpenAPI document as Prometheus fills it in. It is written as one line that says that it was left out.
package v3

import (
	"github.com/pb33f/libopenapi/datamodel/high/base"
	"github.com/pb33f/libopenapi/orderedmap"
)

// Document is the whole.
type Document struct {
	Version    string
	Info       *base.Info
	Servers    []*Server
	Tags       []*base.Tag
	Paths      *Paths
	Components *Components
}

// Render says that it was left out.
func (*Document) Render() ([]byte, error) {
	return []byte("# This Prometheus was compiled for the mesh lab, without the description of its API.\n"), nil
}

// Server that has the API.
type Server struct {
	URL string
}

// Components hold the schemas by name.
type Components struct {
	Schemas *orderedmap.Map[string, *base.SchemaProxy]
}

// Paths hold what is at each path.
type Paths struct {
	PathItems *orderedmap.Map[string, *PathItem]
}

// PathItem holds the operations of a path.
type PathItem struct {
	Get, Post, Put, Delete, Options *Operation
}

// Operation of a path.
type Operation struct {
	OperationId, Summary, Description string

	Tags        []string
	Parameters  []*Parameter
	RequestBody *RequestBody
	Responses   *Responses
}

// Parameter of an operation.
type Parameter struct {
	Name, In, Description string

	Required, Explode *bool
	Schema            *base.SchemaProxy
	Examples          *orderedmap.Map[string, *base.Example]
}

// RequestBody of an operation.
type RequestBody struct {
	Description string
	Required    *bool
	Content     *orderedmap.Map[string, *MediaType]
}

// Responses by code.
type Responses struct {
	Codes *orderedmap.Map[string, *Response]
}

// Response of an operation.
type Response struct {
	Description string
	Content     *orderedmap.Map[string, *MediaType]
}

// MediaType of a body.
type MediaType struct {
	Schema, ItemSchema *base.SchemaProxy
	Examples           *orderedmap.Map[string, *base.Example]
}
