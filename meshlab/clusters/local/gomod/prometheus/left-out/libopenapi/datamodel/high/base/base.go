// Package base holds the parts of an OpenAPI document that Prometheus fills in.
package base

import (
	"github.com/pb33f/libopenapi/orderedmap"
	yaml "go.yaml.in/yaml/v4"
)

// Contact of who made the API.
type Contact struct {
	Name, URL string
}

// Info about the API.
type Info struct {
	Title, Description, Version string
	Contact                     *Contact
}

// Tag of an operation.
type Tag struct {
	Name, Summary, Description string
}

// Example of a value.
type Example struct {
	Summary, Description string
	Value                *yaml.Node
}

// DynamicValue is an A, or with N = 1 a B.
type DynamicValue[A any, B any] struct {
	N int
	A A
	B B
}

// Schema of a value.
type Schema struct {
	Title, Description, Format, ContentMediaType string

	Type, Required       []string
	Enum                 []*yaml.Node
	Example              *yaml.Node
	AnyOf, OneOf         []*SchemaProxy
	ContentSchema        *SchemaProxy
	MinItems, MaxItems   *int64
	Properties           *orderedmap.Map[string, *SchemaProxy]
	AdditionalProperties *DynamicValue[*SchemaProxy, bool]
	Items                *DynamicValue[*SchemaProxy, bool]
}

// SchemaProxy is a schema, or the name of one.
type SchemaProxy struct {
	schema *Schema
	ref    string
}

// CreateSchemaProxy holds a schema.
func CreateSchemaProxy(schema *Schema) *SchemaProxy { return &SchemaProxy{schema: schema} }

// CreateSchemaProxyRef holds the name of a schema.
func CreateSchemaProxyRef(ref string) *SchemaProxy { return &SchemaProxy{ref: ref} }
